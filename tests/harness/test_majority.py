"""Who is asked whether it has caught up: whoever should run."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from checkers.runs.liveness import DEAD
from faults.fakes.cluster import FakeCluster
from harness.nemesis.majority import recovered
from harness.systems.protocol import NodeStatus


class Exited(FakeCluster):
    """A cluster in which some died by themselves."""

    def __init__(self, *names: str, died: Mapping[str, int]) -> None:
        super().__init__(names)
        self.died = died

    async def exits(self) -> Mapping[str, int]:
        """With their statuses, also of those that run again."""
        return self.died


class Telling:
    """A session in which n2 leads, and everybody has applied everything."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    async def status(self, node: str, *, timeout_s: float) -> NodeStatus:
        """At once."""
        del timeout_s
        self.asked.add(node)
        return NodeStatus(leader="n2", leads=node == "n2", term=1, commit=1, applied=1)


async def test_who_died_by_itself_and_runs_again_is_asked() -> None:
    """n2 crashed, was started again by a fault's healing, and leads: without asking it nobody would. n3 is dead, and is
    not waited for.
    """
    cluster = Exited("n1", "n2", "n3", died={"n2": 1, "n3": 1})
    await cluster.nodes["n3"].signal(9)
    session = Telling()
    found = await recovered(cluster, session, ("n1", "n2", "n3"), bound_ns=10**9, clock=lambda: 0)  # type: ignore[arg-type]
    assert session.asked == {"n1", "n2"}
    assert found.complete


class Silent(Telling):
    """n1 hangs, and n3 has no process."""

    async def status(self, node: str, *, timeout_s: float) -> NodeStatus | None:  # type: ignore[override]
        """At once, or nothing."""
        return None if node in ("n1", "n3") else await super().status(node, timeout_s=timeout_s)


async def test_a_death_that_nobody_told_of_is_told_from_silence() -> None:
    """n3's end was excused, so no exit is known; it is waited for like everybody, and then found to be dead."""
    cluster = Exited("n1", "n2", "n3", died={})
    await cluster.nodes["n3"].signal(9)
    times = itertools.count(step=100)
    found = await recovered(
        cluster,  # type: ignore[arg-type]
        Silent(),  # type: ignore[arg-type]
        ("n1", "n2", "n3"),
        bound_ns=150,
        clock=lambda: next(times),
    )
    assert (found.last["n1"], found.last["n3"]) == (None, DEAD)
