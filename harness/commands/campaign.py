"""``capsize campaign``."""

from __future__ import annotations

import asyncio
import signal
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from harness.campaign import Campaign
from harness.durations import parse_duration
from harness.errors import UsageError
from harness.planning.suite import load_suite
from harness.progress import output


def campaign_command(suite_name: str, budget: str | None, junit_file: Path | None, runs_root: Path) -> int:
    """Runs a suite; returns the exit code of its worst run."""
    suite = load_suite(suite_name)
    budget_ns = suite.budget_ns
    if budget is not None:
        try:
            budget_ns = parse_duration(budget)
        except ValueError as error:
            raise UsageError(f"--budget {error}") from None
    if junit_file is not None:
        junit_file = writable(junit_file)
    folder = runs_root.resolve() / "campaigns" / suite.name / datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    console = output()

    def report(line: str) -> None:
        with console.unheard():
            console.print(line, markup=False, highlight=False)

    campaign = Campaign(
        suite=suite,
        runs_root=runs_root.resolve(),
        folder=folder,
        budget_s=budget_ns / 1e9,
        report=report,
        junit_file=junit_file,
    )
    return asyncio.run(_interruptible(campaign))


def writable(junit_file: Path) -> Path:
    """The file's absolute path, with its folder made: after hours of runs is too late to find that it cannot be.

    Raises:
        UsageError: no file can be written there.
    """
    path = junit_file.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise UsageError(f"--junit {str(junit_file)!r} is a folder: name a file in it, like junit.xml")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise UsageError(f"--junit {str(junit_file)!r} cannot be written: {error.strerror}; name another") from None
    return path


async def _interruptible(campaign: Campaign) -> int:
    """Runs with Ctrl-C mapped: the first ends the run under way early, the second leaves it to its watchdog."""

    def interrupt() -> None:
        if campaign.stop.is_set():
            campaign.abandon.set()
        campaign.stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    return await campaign.run()
