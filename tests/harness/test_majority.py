"""Who is asked whether it has caught up: whoever should run."""

from __future__ import annotations

from collections.abc import Mapping

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
