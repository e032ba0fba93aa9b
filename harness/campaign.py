"""Campaigns: many runs, unattended, within a budget.

Every run is a process of its own (:mod:`harness.unattended`). What happened goes to ``results.jsonl``, run by run;
the page and the JUnit file are built from it, also when the campaign is stopped in the middle.

The exit code is that of the runs' verdicts, whatever becomes of the page.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from checkers.verdict import Validity, worst
from harness.errors import (
    EXIT_HARNESS,
    EXIT_INTERRUPTED,
    UsageError,
)
from harness.planning.suite import Suite
from harness.unattended import Runner, RunResult
from reports import campaign as campaign_page
from reports import junit

logger = logging.getLogger(__name__)


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
    """The run under way ends early and is judged; no other begins."""
    abandon: asyncio.Event = field(default_factory=asyncio.Event)
    """The run under way is left to its watchdog."""
    results: list[RunResult] = field(default_factory=list)

    async def run(self) -> int:
        """Runs until the suite or the budget ends; returns the exit code.

        Raises:
            UsageError: the campaign's folder cannot be made.
        """
        began = time.monotonic()
        try:
            self.folder.mkdir(parents=True)
            self._write_plan()
        except OSError as error:
            raise UsageError(f"cannot create {str(self.folder)!r}: {error.strerror}; choose another --runs") from None
        runner = Runner(runs_root=self.runs_root, log=self.folder / "runs.log", stop=self.stop, abandon=self.abandon)
        for number, planned in enumerate(self.suite.runs, start=1):
            if self.stop.is_set() or time.monotonic() - began >= self.budget_s:
                why = "stopped" if self.stop.is_set() else "the budget is used up"
                self.report(f"{len(self.suite.runs) - number + 1} runs left out: {why}")
                break
            self.report(f"[{number}/{len(self.suite.runs)}] {planned.scenario} seed {planned.seed}")
            result = await runner.run(planned, number)
            if self.abandon.is_set():
                self.report("interrupted twice: the run under way is left to its watchdog; there is no page")
                return EXIT_INTERRUPTED
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

    def _append(self, result: RunResult) -> None:
        self.results.append(result)
        try:
            with (self.folder / "results.jsonl").open("ab") as file:
                file.write(orjson.dumps(asdict(result), option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            self.report(f"    results.jsonl cannot be written: {error}")

    def _finish(self) -> int:
        rows: list[Mapping[str, Any]] = [asdict(result) for result in self.results]
        for path in (self.folder / "junit.xml", self.junit_file):
            if path is not None:
                self._write(str(path), partial(junit.write, path, self.suite.name, rows))
        page = self._write("the page", partial(campaign_page.build, self.folder))
        if page is not None:
            self.report(f"page: {page}")
        return exit_code(self.results)

    def _write(self, name: str, write: Callable[[], Path | None]) -> Path | None:
        """What shows the results; one that fails is said, and takes neither the others nor the exit code with it."""
        try:
            return write()
        except Exception as error:
            logger.exception("%s could not be written", name)
            self.report(f"{name} could not be written: {type(error).__name__}: {error}")
            return None


def exit_code(results: Sequence[RunResult]) -> int:
    """1 if any run is invalid; else 70 if any has no verdict; else 2 if any is unknown, or nothing ran; else 0."""
    validity = worst(Validity(result.validity) for result in results if result.validity is not None)
    if validity is Validity.INVALID:
        return 1
    if any(result.validity is None for result in results):
        return EXIT_HARNESS
    return {Validity.UNKNOWN: 2, Validity.VALID: 0}[validity] if results else 2
