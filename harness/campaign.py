"""Campaigns: many runs, unattended, within a budget.

Every run is a process of its own, so that one that fails, hangs or leaks cannot take the campaign with it: a run that
passes its time limit is interrupted, then killed, and its watchdog cleans up. What happened is appended to
``results.jsonl`` run by run; the page and the JUnit file are built from it, also when the campaign is stopped in the
middle.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from checkers.verdict import Validity, worst
from harness.scenario import load_scenario
from harness.suite import PlannedRun, Suite
from reports import campaign as campaign_page
from reports import junit
from reports.folder import RunFolder

OVERHEAD_S = 90.0
"""What a run may take beyond its load: start, heal, recover, check, page. Generous: it only bounds a run that is
stuck.
"""
INTERRUPT_GRACE_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """One line of ``results.jsonl``."""

    scenario: str
    seed: int
    folder: str | None
    validity: str | None
    exit_code: int
    seconds: float
    sentence: str
    error: str | None = None
    kinds: Sequence[str] = ()
    ledger: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Campaign:
    """A suite being run."""

    suite: Suite
    runs_root: Path
    folder: Path
    budget_s: float
    report: Callable[[str], None]
    junit_file: Path | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    results: list[RunResult] = field(default_factory=list)

    async def run(self) -> int:
        """Runs until the suite or the budget ends; returns the exit code."""
        self.folder.mkdir(parents=True)
        began = time.monotonic()
        self._write_plan()
        for number, planned in enumerate(self.suite.runs, start=1):
            if self.stop.is_set() or time.monotonic() - began >= self.budget_s:
                why = "stopped" if self.stop.is_set() else "the budget is used up"
                self.report(f"{len(self.suite.runs) - number + 1} runs left out: {why}")
                break
            self.report(f"[{number}/{len(self.suite.runs)}] {planned.scenario} seed {planned.seed}")
            result = await self._run_one(planned, number)
            self._append(result)
            outcome = f"{result.validity or 'failed'} (exit {result.exit_code}, {result.seconds:.1f} s)"
            self.report(f"    {outcome}: {result.sentence or result.error}")
        return self._finish()

    def _write_plan(self) -> None:
        plan = {
            "suite": self.suite.name,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "budget_s": self.budget_s,
            "runs": [
                {"scenario": planned.scenario, "seed": planned.seed, "set": planned.overrides}
                for planned in self.suite.runs
            ],
        }
        (self.folder / "plan.json").write_bytes(orjson.dumps(plan, option=orjson.OPT_INDENT_2))
        (self.folder / "results.jsonl").touch()

    async def _run_one(self, planned: PlannedRun, number: int) -> RunResult:
        scenario = load_scenario(planned.scenario, planned.overrides)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder = self.runs_root / scenario.name / f"{stamp}-{planned.seed}-{number}"
        began = time.monotonic()
        timeout_s = scenario.head.time / 1e9 + scenario.head.recovery / 1e9 + OVERHEAD_S
        code, stuck = await self._spawn(command_line(planned, folder, self.runs_root), timeout_s)
        return read_result(planned, folder, self.runs_root, code, stuck, time.monotonic() - began)

    async def _spawn(self, argv: Sequence[str], timeout_s: float) -> tuple[int, bool]:
        """Exit code, and whether the run had to be ended. The child has a session of its own: a Ctrl-C is for us to
        pass on.
        """
        output = (self.folder / "runs.log").open("ab")
        with output:
            child = await asyncio.create_subprocess_exec(
                *argv, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._wait_or_interrupt(child), False
            except TimeoutError:
                return await end_child(child), True

    async def _wait_or_interrupt(self, child: asyncio.subprocess.Process) -> int:
        stopped = asyncio.ensure_future(self.stop.wait())
        ended = asyncio.ensure_future(child.wait())
        await asyncio.wait({stopped, ended}, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            child.send_signal(signal.SIGINT)
        stopped.cancel()
        return await ended

    def _append(self, result: RunResult) -> None:
        self.results.append(result)
        with (self.folder / "results.jsonl").open("ab") as file:
            file.write(orjson.dumps(asdict(result), option=orjson.OPT_APPEND_NEWLINE))

    def _finish(self) -> int:
        rows: list[Mapping[str, Any]] = [asdict(result) for result in self.results]
        page = campaign_page.build(self.folder)
        junit.write(self.folder / "junit.xml", self.suite.name, rows)
        if self.junit_file is not None:
            junit.write(self.junit_file, self.suite.name, rows)
        self.report(f"page: {page}")
        return exit_code(self.results)


async def end_child(child: asyncio.subprocess.Process) -> int:
    """Interrupts a stuck run, and kills it if that does not help; its watchdog then cleans up."""
    with contextlib.suppress(ProcessLookupError):
        child.send_signal(signal.SIGINT)
    try:
        return await asyncio.wait_for(child.wait(), INTERRUPT_GRACE_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        return await child.wait()


def command_line(planned: PlannedRun, folder: Path, runs_root: Path) -> list[str]:
    """The run as a command of its own."""
    settings = [
        word
        for name, value in planned.overrides.items()
        for word in ("--set", f"{name}={orjson.dumps(value).decode()}")
    ]
    base = [sys.executable, "-m", "harness", "run", planned.scenario, "--seed", str(planned.seed)]
    return [*base, "--folder", str(folder), "--runs", str(runs_root), *settings]


def read_result(
    planned: PlannedRun, folder: Path, runs_root: Path, code: int, stuck: bool, seconds: float
) -> RunResult:
    """What a run left behind, whatever became of it."""
    verdict = _read_json(RunFolder(folder).verdict)
    validity = verdict.get("validity") if code in (0, 1, 2) else None
    error = None if validity is not None else _why_no_verdict(code, stuck)
    return RunResult(
        scenario=planned.scenario,
        seed=planned.seed,
        folder=os.path.relpath(folder, runs_root) if folder.is_dir() else None,
        validity=validity,
        exit_code=code,
        seconds=round(seconds, 3),
        sentence=str(verdict.get("sentence", "")),
        error=error,
        kinds=sorted({finding["kind"] for result in verdict.get("results", ()) for finding in result["findings"]}),
        ledger=next(
            (result["statistics"] for result in verdict.get("results", ()) if result["checker"] == "ledger"), {}
        ),
    )


def _why_no_verdict(code: int, stuck: bool) -> str:
    if stuck:
        return "the run did not end within its time limit and was killed; its watchdog cleaned up"
    return f"the run ended with exit code {code} and no verdict; see runs.log of the campaign"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return data


def exit_code(results: Sequence[RunResult]) -> int:
    """1 if any run is invalid; else 2 if any is unknown; else 70 if any failed; 0 when all are valid."""
    validity = worst(Validity(result.validity) for result in results if result.validity is not None)
    if validity is Validity.INVALID:
        return 1
    if any(result.validity is None for result in results):
        return 70
    return {Validity.UNKNOWN: 2, Validity.VALID: 0}[validity] if results else 2
