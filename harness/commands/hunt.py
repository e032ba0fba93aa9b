"""``capsize hunt`` and ``capsize zoo``."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from harness.durations import parse_duration
from harness.errors import EXIT_CODES, EXIT_INTERRUPTED, UsageError, nearest
from harness.host.machine import git_facts, machine_facts
from harness.hunting.hunt import Book, Hunt
from harness.hunting.plan import (
    SHIPPED,
    OwnPlan,
    Trail,
    Way,
    ZooPlan,
    all_quarry,
    blind_trail,
    load_plan,
    own_trail,
    quarry,
    trails,
)
from harness.hunting.score import own_score
from harness.hunting.table import linked, table
from harness.progress import output
from harness.unattended import Runner
from reports import zoo as zoo_page

WAYS: Sequence[Way] = ("own", "blind", "control", "blind-control")
FOUND, ALARM, NOT_FOUND = EXIT_CODES["valid"], EXIT_CODES["invalid"], EXIT_CODES["unknown"]


def hunt_command(bug: str, runs: int, first_seed: int, blind: bool, runs_root: Path) -> int:
    """Runs a planted bug's scenario, or the suite of the zoo's plan, until it is found.

    0: found. 2: not found in so many runs. 130: interrupted twice.
    """
    plan = load_plan()
    name = quarry(bug).name
    mine = plan.model_copy(update={"own": OwnPlan(first_seed=first_seed, runs=runs)})
    trail = blind_trail(name, mine) if blind else replace(own_trail(name, mine), until_found=True)
    trail = replace(trail, runs=trail.runs[:runs])
    folder = _new_folder(runs_root, f"hunt-{name}")
    runner, hunt = _hunt([trail], Book(folder / "results.jsonl"), folder, runs_root)
    asyncio.run(_interruptible(runner, hunt))
    if runner.abandon.is_set():
        return EXIT_INTERRUPTED
    results = hunt.book.of(trail)
    seconds = sum(result.seconds for result in results)
    if not own_score(results).found:
        early = "interrupted: " if runner.stop.is_set() else ""
        hunt.report(f"{early}{name} was not found in {len(results)} runs, {seconds:.0f} s")
        return NOT_FOUND
    last = results[-1]
    hunt.report(f"{name} found in run {len(results)}, after {seconds:.0f} s: {', '.join(last.kinds)}")
    hunt.report(f"again: capsize run {last.scenario} --bug {name} --seed {last.seed} --on-violation stop")
    if last.folder:
        hunt.report(f"page: {runs_root.resolve() / last.folder / 'report.html'}")
    return FOUND


def zoo_command(
    plan_file: Path | None,
    bugs: str | None,
    ways: str | None,
    lanes: int,
    budget: str | None,
    folder: Path | None,
    markdown: Path | None,
    runs_root: Path,
) -> int:
    """Hunts every planted bug; 0: everything was done and no control was invalid; 1: a control was; 2: not all done."""
    plan = load_plan(plan_file or SHIPPED)
    every = all_quarry()
    chosen = [quarry(name) for name in _names(bugs)] if bugs is not None else every
    wanted = _ways(ways)
    if markdown is not None:
        _writable(markdown)
    folder = folder.resolve() if folder is not None else _new_folder(runs_root, "zoo")
    facts = _settle(folder, plan, markdown)
    runner, hunt = _hunt(list(trails([one.name for one in chosen], plan, wanted)), _book(folder), folder, runs_root)
    hunt.lanes, hunt.budget_s = lanes, _budget_s(budget)

    def write() -> Mapping[str, Any]:
        return _write(table(every, plan, hunt.book, facts), folder, runs_root, markdown)

    hunt.after = write
    done = asyncio.run(_interruptible(runner, hunt))
    if runner.abandon.is_set():
        return EXIT_INTERRUPTED
    data = write()
    hunt.report(zoo_page.sentence(data))
    if lost := [row["name"] for row in zoo_page.missed(data)]:
        hunt.report(f"missed by one of the two ways: {', '.join(lost)}")
    hunt.report(f"page: {folder / 'summary.html'}")
    if not done:
        again = {"--plan": plan_file, "--bugs": bugs, "--ways": ways, "--folder": folder, "--runs": runs_root}
        again |= {"--lanes": str(lanes) if lanes > 1 else None, "--markdown": markdown}
        given = [word for option, value in again.items() if value is not None for word in (option, str(value))]
        hunt.report(f"not all done; to go on: capsize zoo {shlex.join(given)}")
    return ALARM if data["totals"]["alarms"] else FOUND if done else NOT_FOUND


def _ways(text: str | None) -> Sequence[Way]:
    names = WAYS if text is None else _names(text)
    for name in names:
        if name not in WAYS:
            raise UsageError(f"--ways {name!r}: there is no such way to hunt: {nearest(name, WAYS)}")
    return [way for way in WAYS if way in names]


def _names(text: str) -> Sequence[str]:
    return [name.strip() for name in text.split(",")]


def _budget_s(text: str | None) -> float:
    try:
        return float("inf") if text is None else parse_duration(text) / 1e9
    except ValueError as error:
        raise UsageError(f"--budget {error}") from None


def _new_folder(runs_root: Path, name: str) -> Path:
    folder = runs_root.resolve() / "campaigns" / name / datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    _make(folder)
    return folder


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create {str(folder)!r}: {error.strerror}; choose another folder") from None


def _writable(page: Path) -> None:
    """A page that cannot be written is better refused before a hunt of hours than after it."""
    try:
        page.open("a").close()
    except OSError as error:
        raise UsageError(f"--markdown {str(page)!r} cannot be written: {error.strerror}; give another file") from None


def _book(folder: Path) -> Book:
    return Book.open(folder / "results.jsonl")


def _settle(folder: Path, plan: ZooPlan, markdown: Path | None) -> Mapping[str, Any]:
    """What stays the same while a hunt goes on in several sittings: the plan, and who hunts. The page that an earlier
    sitting wrote is no change of who hunts.

    Raises:
        UsageError: the folder belongs to a hunt by another plan or revision.
    """
    _make(folder)
    path, git = folder / "plan.json", git_facts(besides=markdown)
    revision = f"{(git['revision'] or 'unknown')[:12]}{' with changes' if git['dirty'] else ''}"
    mine = {"plan": plan.model_dump(), "revision": revision}
    if path.exists():
        before = _before(path)
        for name, value in mine.items():
            if before["settled"].get(name) != value:
                others = f"{before['settled'].get(name)}, now {value}"
                raise UsageError(
                    f"--folder {str(folder)!r} holds a hunt with another {name} ({others}): the results of both would "
                    "not be one measurement; give another folder, or what was given then"
                )
        return before["facts"]
    machine = machine_facts()
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": shlex.join(["capsize", *map(_nowhere, sys.argv[1:])]),
        "revision": revision,
        "machine": f"{machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, Python {machine['python']}",
    }
    path.write_bytes(orjson.dumps({"settled": mine, "facts": facts}, option=orjson.OPT_INDENT_2))
    return facts


def _before(path: Path) -> Mapping[str, dict[str, Any]]:
    """What an earlier sitting wrote down."""
    try:
        before = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error}; give another --folder") from None
    parts = ("settled", "facts")
    if not isinstance(before, dict) or not all(isinstance(before.get(part), dict) for part in parts):
        raise UsageError(f"{str(path)!r} is not the beginning of a hunt; give another --folder")
    return before


def _nowhere(word: str) -> str:
    """A word of the command line without the places of this machine: pages are published."""
    option, equals, value = word.rpartition("=")
    return f"{option}{equals}{os.path.basename(value)}" if os.path.isabs(value) else word


def _hunt(hunted: Sequence[Trail], book: Book, folder: Path, runs_root: Path) -> tuple[Runner, Hunt]:
    console = output()

    def report(line: str) -> None:
        with console.unheard():
            console.print(line, markup=False, highlight=False)

    runner = Runner(runs_root=runs_root.resolve(), log=folder / "runs.log")
    return runner, Hunt(trails=hunted, book=book, make=runner.run, report=report, stop=runner.stop)


def _write(data: Mapping[str, Any], folder: Path, runs_root: Path, markdown: Path | None) -> Mapping[str, Any]:
    (folder / "zoo.json").write_bytes(orjson.dumps(data, option=orjson.OPT_INDENT_2))
    zoo_page.build(linked(data, runs_root.resolve(), folder), folder)
    if markdown is not None:
        markdown.write_text(zoo_page.markdown(data), encoding="utf-8")
    return data


async def _interruptible(runner: Runner, hunt: Hunt) -> bool:
    """Runs with Ctrl-C mapped: the first ends the runs under way early, the second leaves them to their watchdogs."""

    def interrupt() -> None:
        if runner.stop.is_set():
            runner.abandon.set()
        runner.stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    return await hunt.run()
