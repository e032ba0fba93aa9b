"""``capsize campaign``."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from harness.campaign import Campaign
from harness.durations import parse_duration
from harness.errors import UsageError
from harness.suite import load_suite


def campaign_command(suite_name: str, budget: str | None, junit_file: Path | None, runs_root: Path) -> int:
    """Runs a suite; returns the exit code of its worst run."""
    suite = load_suite(suite_name)
    budget_ns = suite.budget_ns
    if budget is not None:
        try:
            budget_ns = parse_duration(budget)
        except ValueError as error:
            raise UsageError(f"--budget {error}") from None
    folder = runs_root.resolve() / "campaigns" / suite.name / datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
    console = Console(soft_wrap=True)

    def report(line: str) -> None:
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


async def _interruptible(campaign: Campaign) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, campaign.stop.set)
    return await campaign.run()
