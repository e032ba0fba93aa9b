"""The replicas' states are asked until all stand at one index, and never for ever."""

from __future__ import annotations

from typing import Any, cast

from harness.fakes import VirtualLoop, run_virtual
from harness.settling import PATIENCE_S, settled_states
from harness.systems.protocol import Session, StateHash

NODES = ("n1", "n2", "n3")


class Replicas:
    """Nodes that apply one entry a question, up to their last one; n3 is dead."""

    def __init__(self, **last: int) -> None:
        self.last = last
        self.asked = dict.fromkeys(NODES, 0)

    async def state(self, node: str, *, timeout_s: float) -> StateHash | None:  # noqa: ARG002
        """What the node has applied."""
        self.asked[node] += 1
        applied = min(self.last.get(node, 0), self.asked[node])
        return StateHash(applied=applied, hash=f"h{applied}") if node in self.last else None


def settled(replicas: Replicas, *wanted: str) -> tuple[dict[str, Any], float]:
    """What they told, and after how many seconds."""

    async def main(loop: VirtualLoop) -> tuple[dict[str, Any], float]:
        begin = loop.time()
        states = await settled_states(cast(Session, replicas), NODES, wanted=wanted)
        return dict(states), loop.time() - begin

    return run_virtual(main)


def test_who_is_late_is_waited_for() -> None:
    """Both end at index 4; the dead one is left out."""
    replicas = Replicas(n1=4, n2=4)
    replicas.asked["n1"] = 3
    states, took_s = settled(replicas)
    assert states == {node: {"applied": 4, "hash": "h4"} for node in ("n1", "n2")}
    assert took_s < PATIENCE_S


def test_who_has_not_answered_yet_is_waited_for() -> None:
    """One state is no comparison; but who never answers is waited for no longer than the patience lasts."""

    class Late(Replicas):
        async def state(self, node: str, *, timeout_s: float) -> StateHash | None:
            told = await super().state(node, timeout_s=timeout_s)
            return None if node == "n2" and self.asked[node] < 5 else told

    states, took_s = settled(Late(n1=1, n2=1), "n1", "n2")
    assert set(states) == {"n1", "n2"}
    assert took_s < PATIENCE_S
    states, took_s = settled(Late(n1=1), "n1", "n2")
    assert set(states) == {"n1"}
    assert took_s >= PATIENCE_S


def test_the_patience_ends() -> None:
    """One that never comes to the others' index is told as it stands."""
    replicas = Replicas(n1=4, n2=2)
    replicas.asked["n1"] = 3
    states, took_s = settled(replicas)
    assert {node: state["applied"] for node, state in states.items()} == {"n1": 4, "n2": 2}
    assert took_s >= PATIENCE_S
