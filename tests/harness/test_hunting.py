"""Hunting planted bugs: what a hunt consists of, that it goes on where it was, and how it is counted. No run is made
here: they are tables of what runs would come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.commands.hunt import zoo_command
from harness.commands.tables import OBSERVERS
from harness.errors import UsageError
from harness.hunting.hunt import Book, Hunt, ended
from harness.hunting.plan import (
    ZooPlan,
    all_quarry,
    blind_control_trail,
    blind_trail,
    control_trail,
    load_plan,
    own_trail,
    quarry,
    trails,
)
from harness.hunting.score import blind_score, own_score
from harness.hunting.table import linked, table
from harness.planning.scenario import zoo_scenarios
from harness.planning.suite import PlannedRun
from harness.unattended import RunResult
from reports import zoo as page

BUG = "local-read"
PLAN = ZooPlan.model_validate(
    {
        "own": {"first_seed": 1001, "runs": 5},
        "control": {"first_seed": 1001, "runs": 5},
        "blind": {"suite": "default", "seed_offset": 5000, "budget": "10m", "control_runs": 3},
    }
)
FACTS = {"date": "2026-11-21", "command": "capsize zoo", "revision": "abc", "machine": "2 cores"}


def result(planned: PlannedRun, validity: str | None, seconds: float = 10.0) -> RunResult:
    """What a run came to."""
    kinds = ("stale read",) if validity == "invalid" else ()
    return RunResult(
        scenario=planned.scenario,
        seed=planned.seed,
        folder=None,
        validity=validity,
        exit_code=0,
        seconds=seconds,
        sentence="as told",
        kinds=kinds,
    )


class Outcomes:
    """Makes runs in no time; they come to what was listed, in order, and then are valid."""

    def __init__(self, *validities: str | None) -> None:
        self.validities = list(validities)
        self.made: list[PlannedRun] = []

    async def __call__(self, planned: PlannedRun, number: int) -> RunResult:
        del number
        self.made.append(planned)
        return result(planned, self.validities.pop(0) if self.validities else "valid", 100.0)


def hunt(path: Path, outcomes: Outcomes, *ways: str) -> Hunt:
    """A hunt for one bug."""
    hunted = list(trails([BUG], PLAN, ways or ("own",)))  # type: ignore[arg-type]  # the names are those of the plan
    return Hunt(trails=hunted, book=Book.open(path / "results.jsonl"), make=outcomes, report=lambda _: None)


def test_the_shipped_plan_loads_and_hunts_every_bug_in_both_ways() -> None:
    """Own, blind and control for each; the seeds of own and control are the same."""
    plan = load_plan()
    names = [one.name for one in all_quarry() if one.name in zoo_scenarios()]
    every = list(trails(names, plan, ("own", "blind", "control", "blind-control")))
    assert len(every) == 3 * len(names) + 1
    own = {trail.bug: [run.seed for run in trail.runs] for trail in every if trail.way == "own"}
    control = {trail.bug: [run.seed for run in trail.runs] for trail in every if trail.way == "control"}
    assert own == control
    assert not {run.seed for trail in every for run in trail.runs} & set(range(1, 1000)), "seeds of development"


def test_only_hunted_runs_have_the_bug() -> None:
    """A control with the bug would prove the opposite of what it is for."""
    assert {run.overrides["bug"] for run in own_trail(BUG, PLAN).runs + blind_trail(BUG, PLAN).runs} == {BUG}
    controls = control_trail(BUG, PLAN).runs + blind_control_trail(PLAN).runs
    assert not any("bug" in run.overrides for run in controls)


def test_the_blind_suite_knows_no_row() -> None:
    """Neither a scenario made for a bug nor a planted bug is in it."""
    names = {one.name for one in all_quarry()}
    assert not any(run.scenario in names or "bug" in run.overrides for run in blind_control_trail(PLAN).runs)


def test_an_unknown_bug_is_refused_with_the_nearest_name() -> None:
    """Value, and next step."""
    with pytest.raises(UsageError, match=r"'local-raed'.*did you mean 'local-read'"):
        quarry("local-raed")


def test_a_plan_with_a_wrong_value_names_its_line(tmp_path: Path) -> None:
    """Like every file that is read."""
    path = tmp_path / "plan.yaml"
    path.write_text(
        "own: {first_seed: 1, runs: 5}\ncontrol: {first_seed: 1, runs: 0}\nblind: {suite: default}\n", encoding="utf-8"
    )
    with pytest.raises(UsageError, match=r"plan.yaml:2: control.runs: 0"):
        load_plan(path)


async def test_own_runs_are_all_made_and_a_blind_hunt_ends_where_it_finds(tmp_path: Path) -> None:
    """k of n needs all n; the first attempt of a blind hunt counts."""
    outcomes = Outcomes("invalid", "valid", "invalid", "unknown", None, "valid", "invalid")
    made = hunt(tmp_path, outcomes, "own", "blind")
    assert await made.run()
    assert [len(made.book.of(trail)) for trail in made.trails] == [5, 2]
    assert own_score(made.book.of(made.trails[0])).found == 2


async def test_a_blind_hunt_ends_when_its_time_is_used_up(tmp_path: Path) -> None:
    """Ten minutes of runs of 100 s each: the seventh does not begin."""
    made = hunt(tmp_path, Outcomes(), "blind")
    assert await made.run()
    results = made.book.of(made.trails[0])
    assert len(results) == 6
    assert blind_score(results, ended=True).found is False


async def test_a_hunt_goes_on_where_it_was(tmp_path: Path) -> None:
    """Nothing that was done is done again, and a torn last line is that of a run which did not end."""
    first = hunt(tmp_path, Outcomes("invalid", "invalid"), "own")
    first.trails = [trail for trail in first.trails if trail.way == "own"]
    for planned in first.trails[0].runs[:2]:
        first.book.add("own/" + BUG, await first.make(planned, 1))
    with first.book.path.open("ab") as file:
        file.write(b'{"trail": "own/local')
    outcomes = Outcomes()
    second = hunt(tmp_path, outcomes, "own")
    assert await second.run()
    assert [planned.seed for planned in outcomes.made] == [1003, 1004, 1005]
    assert own_score(Book.open(first.book.path).of(second.trails[0])).found == 2


async def test_what_a_stopped_hunt_had_under_way_does_not_count(tmp_path: Path) -> None:
    """It was cut short: it says nothing of how long a find takes."""
    made = hunt(tmp_path, Outcomes(), "own")

    async def stop(planned: PlannedRun, number: int) -> RunResult:
        del number
        made.stop.set()
        return result(planned, "valid")

    made.make = stop
    assert await made.run() is False
    assert not made.book.of(made.trails[0])


def test_a_file_that_holds_no_results_is_refused(tmp_path: Path) -> None:
    """With its line."""
    path = tmp_path / "results.jsonl"
    path.write_text('{"trail": "own/x", "what": 1}\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"results.jsonl:1: no result"):
        Book.open(path)


def own_of(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    """Median and 90th percentile of finds that took so long."""
    planned = PlannedRun(scenario="x", seed=1)
    score = own_score([result(planned, "invalid", value) for value in seconds])
    return score.median_s, score.p90_s


def test_times_are_those_of_runs_that_found() -> None:
    """Nearest rank for the 90th percentile; none without a find."""
    assert own_of([1, 2, 3, 4, 5]) == (3, 5)
    assert own_of([float(second) for second in range(1, 11)]) == (5.5, 9)
    assert own_score([result(PlannedRun(scenario="x", seed=1), "valid")]).median_s is None


async def test_the_table_counts_and_the_pages_say_what_was_missed(tmp_path: Path) -> None:
    """Four of five is found; a control that is invalid is an alarm; a miss is printed, never hidden."""
    validities = ["invalid"] * 4 + ["valid"] + ["valid"] * 6 + ["valid"] * 4 + ["invalid"] + ["valid", "valid", None]
    made = hunt(tmp_path, Outcomes(*validities), "own", "blind", "control", "blind-control")
    assert await made.run()
    data = table([quarry(BUG)], PLAN, made.book, FACTS)
    assert data["totals"] == {
        "rows": 1,
        "own_hunted": 1,
        "own_found": 1,
        "blind_hunted": 1,
        "blind_found": 0,
        "alarms": 1,
    }
    assert ended(made.trails[1], made.book.of(made.trails[1]))
    text, html = page.markdown(data), page.render(linked(data, tmp_path, tmp_path))
    assert "Missed by one of the two ways: local-read." in text
    assert "| R1 | local-read | LIN | 4 of 5; median 100.0 s, 90 % 100.0 s; 1 valid | stale read | **missed**" in text
    assert "1 false alarm in 8 control runs" in html
    assert "local-read, seed 1005: invalid" in text


async def test_each_way_links_to_a_run_that_found_it(tmp_path: Path) -> None:
    """The first of its own scenario, and the one that found it blind; no link to a page that is no more."""
    made = hunt(tmp_path, Outcomes("valid", "invalid", "invalid", "valid", "valid", "valid", "invalid"), "own", "blind")
    assert await made.run()
    (row,) = table([quarry(BUG)], PLAN, made.book, FACTS)["rows"]
    assert (row["example"]["seed"], row["blind_example"]["seed"]) == (1002, row["blind"]["seed"])
    for name in ("example", "blind_example"):
        row[name]["folder"] = name
    (tmp_path / "blind_example").mkdir()
    (tmp_path / "blind_example" / "report.html").touch()
    html = page.render(linked({**table([quarry(BUG)], PLAN, made.book, FACTS), "rows": [row]}, tmp_path, tmp_path))
    assert '<a href="blind_example/report.html">a run that found it</a>' in html
    assert html.count("a run that found it") == 1


def test_a_folder_whose_plan_is_torn_is_refused(tmp_path: Path) -> None:
    """So is one whose plan.json is something else, and a page that nobody can write: before anything is run."""
    for content in ("{", "{}", '{"settled": 1, "facts": {}}'):
        (tmp_path / "plan.json").write_text(content)
        with pytest.raises(UsageError, match="another --folder"):
            zoo_command(None, BUG, "own", 1, "0s", tmp_path, None, tmp_path)
    with pytest.raises(UsageError, match=r"--markdown .*another file"):
        zoo_command(None, BUG, "own", 1, "0s", tmp_path, tmp_path / "none" / "zoo.md", tmp_path)


def test_a_page_that_hunted_nothing_says_so() -> None:
    """Nothing is green that was not looked at."""
    data = table(all_quarry(), PLAN, Book(Path("none")), FACTS)
    html = page.render(linked(data, Path("runs"), Path("runs")))
    assert "Nothing was hunted" in html
    assert "none hunted by its own scenario; none hunted blind; no control run." in html


def test_the_list_of_bugs_explains_every_observer_that_it_names() -> None:
    """A row says INV or DUR; who reads it must not have to guess."""
    named = {code for one in all_quarry() for code in one.bug.observer.split(", ")}
    assert named == set(OBSERVERS)


def test_the_line_that_goes_on_repeats_what_was_asked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Without the plan and the bugs it would be refused, or hunt everything."""
    plan = tmp_path / "mine.yaml"
    plan.write_text("own: {first_seed: 1, runs: 1}\ncontrol: {first_seed: 1, runs: 1}\nblind: {suite: smoke}\n")
    folder = tmp_path / "hunt"
    assert zoo_command(plan, BUG, "own", 1, "0s", folder, None, tmp_path) == 2
    line = "".join(capfd.readouterr().out.split("\n"))
    assert f"capsize zoo --plan {plan} --bugs {BUG} --ways own --folder {folder} --runs {tmp_path}" in line
    assert zoo_command(plan, BUG, "own", 1, "0s", folder, None, tmp_path) == 2
    with pytest.raises(UsageError, match="another plan"):
        zoo_command(None, BUG, "own", 1, "0s", folder, None, tmp_path)
