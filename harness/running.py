"""A run while it goes on: what was asked for, and the parts that are alive. Handed to whoever has a part in it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from harness.cleanup.watchdog import Watchdog
from harness.clock import RunClock
from harness.planning.scenario import Scenario
from harness.progress import Progress
from harness.record import RunRecord
from harness.substrates.protocol import Substrate
from reports.folder import RunFolder


@dataclass(kw_only=True, slots=True)
class Run:
    """One execution: what was asked for, and the parts that are alive while it goes on."""

    scenario: Scenario
    seed: int
    run_id: str
    folder: RunFolder
    record: RunRecord
    clock: RunClock
    substrate: Substrate
    watchdog: Watchdog
    progress: Progress
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first Ctrl-C: the load ends, everything is healed, and what happened is judged."""
