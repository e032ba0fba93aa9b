"""A run that nobody watches, as a process of its own, so that one that fails, hangs or leaks cannot take its campaign
with it: a run that passes its time limit is interrupted, then killed, and its watchdog cleans up. A campaign that is
killed takes its run along: the kernel interrupts the run, which heals, judges and cleans up.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from checkers.verdict import Blame, Validity
from harness.errors import EXIT_CODES, EXIT_HARNESS, CapsizeError, HarnessError, internal_error
from harness.host.tools import wait_exit
from harness.planning.suite import PlannedRun, load_unattended
from reports.folder import RunFolder

OVERHEAD_S = 90.0
"""What a run may take beyond its load: start, heal, recover, check, page. Generous: it only bounds a run that is
stuck.
"""
INTERRUPT_GRACE_S = 30.0
FOLDER_TRIES = 1000
ABANDON_GRACE_S = 2.0
"""How long a run that was interrupted twice is waited for; it only has to exit."""
VERDICTS: Mapping[int, str] = {code: validity for validity, code in EXIT_CODES.items()}
"""What a run's exit code says; ``verdict.json`` must say the same."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)

logger = logging.getLogger(__name__)


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
class Runner:
    """Makes runs, one at a time; several runners may work side by side."""

    runs_root: Path
    log: Path
    """Gets what the runs print."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """The run under way ends early and is judged."""
    abandon: asyncio.Event = field(default_factory=asyncio.Event)
    """The run under way is left to its watchdog."""

    async def run(self, planned: PlannedRun, number: int) -> RunResult:
        """One run, whatever becomes of it: nothing is raised but cancellation. ``number`` tells folders apart."""
        began = time.monotonic()
        try:
            return await self._run_one(planned, number)
        except Exception as error:
            logger.exception("%s seed %d failed", planned.scenario, planned.seed)
            why = str(error) if isinstance(error, CapsizeError) else internal_error(error)
            return RunResult(
                scenario=planned.scenario,
                seed=planned.seed,
                folder=None,
                validity=None,
                exit_code=EXIT_HARNESS,
                seconds=round(time.monotonic() - began, 3),
                sentence="",
                error=f"the run could not be made: {why}",
            )

    async def _run_one(self, planned: PlannedRun, number: int) -> RunResult:
        scenario = load_unattended(planned.scenario, planned.overrides)
        folder = new_folder(self.runs_root / scenario.name, f"{planned.seed}-{number}")
        began = time.monotonic()
        timeout_s = scenario.head.time / 1e9 + scenario.head.recovery / 1e9 + OVERHEAD_S
        code, stuck = await self._spawn(command_line(planned, folder, self.runs_root), timeout_s)
        return read_result(planned, folder, self.runs_root, code, stuck, time.monotonic() - began)

    async def _spawn(self, argv: Sequence[str], timeout_s: float) -> tuple[int, bool]:
        """Exit code, and whether the run had to be ended. The child has a session of its own: a Ctrl-C is for us to
        pass on. Popen and a pidfd, not asyncio's subprocesses, which wait in a thread: the kernel tells a child of the
        death of each of its parent's threads, and two SIGINTs would make the run leave without a verdict.
        """
        output = self.log.open("ab")
        with output:
            child = subprocess.Popen(  # noqa: ASYNC220 - a fork takes a millisecond, and nothing else is under way
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=partial(_end_with_parent, os.getpid()),
            )
            try:
                async with asyncio.timeout(timeout_s):
                    return await self._wait_or_interrupt(child), False
            except TimeoutError:
                return await end_child(child), True

    async def _wait_or_interrupt(self, child: subprocess.Popen[bytes]) -> int:
        """The child's exit code; passes each of the two interruptions on."""
        ended = asyncio.ensure_future(wait_exit(child))
        try:
            for event in (self.stop, self.abandon):
                interrupted = asyncio.ensure_future(event.wait())
                try:
                    await asyncio.wait({interrupted, ended}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    interrupted.cancel()
                if ended.done():
                    return ended.result()
                child.send_signal(signal.SIGINT)
        finally:
            ended.cancel()
        return await _killed_after(child, ABANDON_GRACE_S)


def _end_with_parent(parent: int) -> None:
    """In the child, before it becomes the run: a campaign that is killed cannot tell it to end, the kernel can
    (prctl(2)). A signal that would have come before the call is caught up on.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGINT)


async def end_child(child: subprocess.Popen[bytes]) -> int:
    """Interrupts a stuck run, and kills it if that does not help; its watchdog then cleans up."""
    child.send_signal(signal.SIGINT)
    return await _killed_after(child, INTERRUPT_GRACE_S)


async def _killed_after(child: subprocess.Popen[bytes], grace_s: float) -> int:
    if child.poll() is not None:
        return child.returncode
    try:
        return await asyncio.wait_for(wait_exit(child), grace_s)
    except TimeoutError:
        child.kill()
        return child.wait()


def new_folder(parent: Path, name: str) -> Path:
    """A folder that nobody else has: campaigns side by side may begin the same scenario and seed in the same second."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for attempt in range(FOLDER_TRIES):
        folder = parent / (f"{stamp}-{name}" + (f"-{attempt}" if attempt else ""))
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise HarnessError(f"no free folder name like {parent / f'{stamp}-{name}'}")


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
    """What a run left behind, whatever became of it. It has a verdict only if it ended by itself, and if its exit code
    and ``verdict.json`` say the same.
    """
    verdict = _read_json(RunFolder(folder).verdict)
    error = _why_no_verdict(code, verdict.get("validity"), stuck)
    validity = None if error is not None else VERDICTS[code]
    return RunResult(
        scenario=planned.scenario,
        seed=planned.seed,
        folder=os.path.relpath(folder, runs_root) if folder.is_dir() else None,
        validity=validity,
        exit_code=code,
        seconds=round(seconds, 3),
        sentence=str(verdict.get("sentence", "")),
        error=error,
        kinds=_kinds(verdict, accusing=validity == Validity.INVALID),
        ledger=next(
            (result["statistics"] for result in verdict.get("results", ()) if result["checker"] == "ledger"), {}
        ),
    )


def _kinds(verdict: Mapping[str, Any], *, accusing: bool) -> Sequence[str]:
    """Kinds of findings; of an invalid run only those that make it so."""
    findings = [finding for result in verdict.get("results", ()) for finding in result["findings"]]
    wanted = [each for each in findings if not accusing or each.get("blame") == Blame.SYSTEM.value]
    return sorted({finding["kind"] for finding in wanted})


def _why_no_verdict(code: int, written: object, stuck: bool) -> str | None:
    if stuck:
        return f"stuck: the run did not end within its time limit and had to be ended (exit code {code})"
    if code not in VERDICTS:
        return f"the run ended with exit code {code} and no verdict; see runs.log"
    if written != VERDICTS[code]:
        return (
            f"the run ended with exit code {code} ({VERDICTS[code]}), but its verdict.json says "
            f"{written or 'nothing'}; see runs.log"
        )
    return None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return data if isinstance(data, dict) else {}
