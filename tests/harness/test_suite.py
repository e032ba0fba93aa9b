"""Suites: every run is planned before the first begins, and what is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.campaign import exit_code
from harness.errors import UsageError
from harness.planning.suite import PlannedRun, load_suite, shipped_suites
from harness.unattended import RunResult, command_line, new_folder, read_result

GOOD = """\
name: mine
budget: 5m
runs:
  - {scenario: default, seeds: 1..2}
  - {scenario: local-read, seeds: [7, 8, 9], set: {bug: local-read}}
"""


def suite_of(tmp_path: Path, text: str) -> Path:
    """A suite file."""
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_seeds_take_turns(tmp_path: Path) -> None:
    """A short budget still sees every scenario."""
    suite = load_suite(str(suite_of(tmp_path, GOOD)))
    order = [(run.scenario, run.seed) for run in suite.runs]
    assert order == [("default", 1), ("local-read", 7), ("default", 2), ("local-read", 8), ("local-read", 9)]


@pytest.mark.parametrize("name", shipped_suites())
def test_every_shipped_suite_loads(name: str) -> None:
    """Its scenarios exist and are valid."""
    assert load_suite(name).runs


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("scenario: default", "scenario: defualt", 4, "did you mean 'default'"),
        ("bug: local-read", "bug: local-raed", 5, "unknown bug"),
        ("1..2", "2..1", 4, "no range"),
        ("1..2", "some", 4, "no range"),
        ("budget: 5m", "budget: 5", 2, "no unit"),
        ("1..2", "[]", 4, "list is empty"),
        ("1..2", "-1", 4, "-1 is no seed"),
        ("1..2", "[3, -1]", 4, "-1 is no seed"),
        ("1..2", str(2**63), 4, "is no seed"),
        ("1..2", f"{2**63 - 1}..{2**63}", 4, "is no seed"),
        ("1..2", f"0..{2**63 - 1}", 4, "too many seeds"),
        ("1..2", "1.." + "9" * 5000, 4, "no range"),
        ("1..2", "1..100000", 3, "more than 100,000 runs"),
        ("bug: local-read", "workload..keys: 1", 5, "workload..keys"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    """File, line, value and what would be right."""
    path = suite_of(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(UsageError, match=message) as caught:
        load_suite(str(path))
    assert f"mine.yaml:{line}:" in str(caught.value)


def result(validity: str | None, code: int) -> RunResult:
    """A run that ended so."""
    return RunResult(
        scenario="s", seed=1, folder=None, validity=validity, exit_code=code, seconds=1, sentence="", error=None
    )


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([("valid", 0), ("valid", 0)], 0),
        ([("valid", 0), ("unknown", 2)], 2),
        ([("valid", 0), ("invalid", 1), (None, 70)], 1),
        ([("unknown", 2), (None, 70)], 70),
        ([("valid", 0), (None, -9)], 70),
        ([], 2),
    ],
)
def test_the_worst_run_decides(results: list[tuple[str | None, int]], code: int) -> None:
    """A standing finding is 1 whatever else failed; a campaign in which nothing ran proved nothing."""
    assert exit_code([result(*each) for each in results]) == code


def test_a_run_that_left_nothing_is_a_failure_of_the_harness(tmp_path: Path) -> None:
    """No verdict file, or a stuck run: no verdict, and why."""
    planned = PlannedRun(scenario="default", seed=1)
    assert "exit code 70" in str(read_result(planned, tmp_path / "x", tmp_path, 70, False, 1.0).error)
    assert "time limit" in str(read_result(planned, tmp_path / "x", tmp_path, -9, True, 1.0).error)


@pytest.mark.parametrize(
    ("code", "written", "validity", "error"),
    [
        (0, '{"validity":"valid","sentence":"fine"}', "valid", None),
        (1, '{"validity":"invalid"}', "invalid", None),
        (2, '{"validity":"unknown"}', "unknown", None),
        (0, '{"validity":"invalid"}', None, "says invalid"),
        (1, '{"validity":"valid"}', None, "says valid"),
        (1, "", None, "says nothing"),
        (0, "[]", None, "says nothing"),
        (70, '{"validity":"valid"}', None, "exit code 70"),
        (130, '{"validity":"valid"}', None, "exit code 130"),
    ],
)
def test_exit_code_and_verdict_file_must_agree(
    tmp_path: Path, code: int, written: str, validity: str | None, error: str | None
) -> None:
    """A Python that died ends with 1, and a verdict may be of a run that failed afterwards: neither counts."""
    (tmp_path / "verdict.json").write_text(written)
    found = read_result(PlannedRun(scenario="default", seed=1), tmp_path, tmp_path, code, False, 1.0)
    assert found.validity == validity
    assert found.error is None if error is None else error in str(found.error)


def test_a_stuck_run_has_no_verdict(tmp_path: Path) -> None:
    """Not even when it ended with 0 after it was interrupted."""
    (tmp_path / "verdict.json").write_text('{"validity":"valid"}')
    found = read_result(PlannedRun(scenario="default", seed=1), tmp_path, tmp_path, 0, True, 1.0)
    assert found.validity is None
    assert str(found.error).startswith("stuck")
    assert exit_code([found]) == 70


def test_dots_reach_into_the_scenario(tmp_path: Path) -> None:
    """``set`` takes names with dots as ``--set`` does, and hands them on whole."""
    path = suite_of(tmp_path, GOOD.replace("bug: local-read", "workload.keys: 5"))
    run = load_suite(str(path)).runs[1]
    assert run.overrides == {"workload": {"keys": 5}}
    assert 'workload={"keys":5}' in command_line(run, tmp_path, tmp_path)


def test_overrides_arrive_as_they_were_written(tmp_path: Path) -> None:
    """``set`` becomes ``--set`` with JSON, which is YAML."""
    words = command_line(
        PlannedRun(scenario="default", seed=3, overrides={"bug": "local-read", "nodes": 3}), tmp_path, tmp_path
    )
    assert words[words.index("--set") : words.index("--set") + 4] == ["--set", 'bug="local-read"', "--set", "nodes=3"]


def test_campaigns_side_by_side_never_share_a_folder(tmp_path: Path) -> None:
    """The same scenario and seed in the same second: each run has a folder of its own, made when it was named."""
    folders = [new_folder(tmp_path / "default", "1-1") for _ in range(3)]
    assert len(set(folders)) == 3
    assert all(folder.is_dir() for folder in folders)
