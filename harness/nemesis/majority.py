"""A healed majority: is it whole, does it recover, and is anybody served by it while the others stay behind?

Only what the living run can know is collected here; :mod:`checkers.runs.liveness` judges it, together with the history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkers.runs.liveness import DEAD
from faults.needs import ProcessState
from harness.readiness import Recovery, wait_recovered
from harness.substrates.protocol import Cluster
from harness.systems.protocol import Session

PROBE_TIMEOUT_S = 1.0


@dataclass(slots=True)
class Served:
    """Notices operations that were invoked after a moment and acknowledged by certain nodes: a subscriber of the
    recorder.
    """

    nodes: frozenset[str]
    since_ns: int
    counts: Callable[[str, Any], bool]
    """Whether an operation, by function and argument, shows progress."""
    seen: asyncio.Event = field(default_factory=asyncio.Event)
    _invoked: dict[Any, int] = field(default_factory=dict)

    def note(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Takes note of what was recorded."""
        for event in events:
            process = event["process"]
            if event["type"] == "invoke":
                self._invoked[process] = event["time"] if self.counts(event["f"], event["value"]) else -1
            elif event["type"] == "ok" and event.get("node") in self.nodes and self._later(process):
                self.seen.set()

    def _later(self, process: Any) -> bool:
        return self._invoked.get(process, -1) >= self.since_ns


async def verify_links(cluster: Cluster, nodes: Sequence[str]) -> Mapping[str, bool]:
    """Whether a datagram passes between every pair of these nodes, in each direction."""
    pairs = [(source, target) for source in nodes for target in nodes if source != target]
    seen = await cluster.links.probe(pairs, timeout_s=PROBE_TIMEOUT_S) if pairs else {}
    return {f"{source}->{target}": through for (source, target), through in seen.items()}


async def recovered(
    cluster: Cluster, session: Session, nodes: Sequence[str], *, bound_ns: int, clock: Callable[[], int]
) -> Recovery:
    """Waits until every one of these nodes that should run has caught up, at most so long. One that died by itself
    should not, unless a fault has started it again since. Of one whose end is excused (it was dismissed) nobody tells,
    so it is looked at when it did not answer.
    """
    exits = await cluster.exits()
    running = [
        name for name in nodes if name not in exits or await cluster.nodes[name].state() is not ProcessState.DEAD
    ]
    recovery = await wait_recovered(session, running, bound_ns=bound_ns, clock=clock)
    for name in running:
        if recovery.last[name] is None and await cluster.nodes[name].state() is ProcessState.DEAD:
            recovery.last[name] = dict(DEAD)
    return recovery


async def wait_served(served: Served, *, timeout_s: float, stop: asyncio.Event) -> None:
    """Waits for the first acknowledged operation, until the time is over or the run is to end."""
    waits = [asyncio.ensure_future(event.wait()) for event in (served.seen, stop)]
    await asyncio.wait(waits, timeout=max(0.0, timeout_s), return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
