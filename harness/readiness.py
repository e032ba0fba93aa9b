"""Waiting for a cluster: until it serves, and after healing until every node has caught up. Decided by asking nodes,
never by sleeping long enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.systems.protocol import NodeStatus, Session

POLL_S = 0.02
STATUS_TIMEOUT_S = 0.5


async def statuses(session: Session, nodes: Sequence[str]) -> Mapping[str, NodeStatus | None]:
    """What every node says now, asked at once."""
    answers = await asyncio.gather(*(session.status(node, timeout_s=STATUS_TIMEOUT_S) for node in nodes))
    return dict(zip(nodes, answers, strict=True))


def leader_of(answers: Mapping[str, NodeStatus | None]) -> str | None:
    """The node that leads in the highest term: an old leader that is cut off may still think that it leads."""
    leading = [(answer.term, node) for node, answer in answers.items() if answer is not None and answer.leads]
    return max(leading)[1] if leading else None


async def ask_leader(session: Session, nodes: Sequence[str]) -> str | None:
    """Who leads now; None during an election."""
    return leader_of(await statuses(session, nodes))


async def wait_leader(
    session: Session, nodes: Sequence[str], *, timeout_s: float, alive: Callable[[], object]
) -> str | None:
    """Waits until some node leads. ``alive`` is called each round and raises if waiting is useless."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while loop.time() < deadline:
        alive()
        leader = await ask_leader(session, nodes)
        if leader is not None:
            return leader
        await asyncio.sleep(POLL_S)
    return None


@dataclass(slots=True, kw_only=True)
class Recovery:
    """How the cluster recovered after healing: facts for the liveness checker."""

    healed_ns: int
    bound_ns: int
    target_commit: int | None = None
    caught_up_ns: dict[str, int] = field(default_factory=dict)
    last: dict[str, Any] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every node that was asked has caught up."""
        return bool(self.last) and set(self.caught_up_ns) == set(self.last)

    def to_json(self) -> dict[str, Any]:
        """As docs/formats.md says."""
        return {
            "healed_ns": self.healed_ns,
            "bound_ns": self.bound_ns,
            "target_commit": self.target_commit,
            "caught_up_ns": self.caught_up_ns,
            "last": self.last,
        }


async def wait_recovered(
    session: Session, nodes: Sequence[str], *, bound_ns: int, clock: Callable[[], int]
) -> Recovery:
    """Waits until each node has applied what was committed when the first leader after healing was seen."""
    recovery = Recovery(healed_ns=clock(), bound_ns=bound_ns, last=dict.fromkeys(nodes))
    while clock() - recovery.healed_ns < bound_ns and not recovery.complete:
        answers = await statuses(session, nodes)
        _note(recovery, answers, clock())
        if not recovery.complete:
            await asyncio.sleep(POLL_S)
    return recovery


def _note(recovery: Recovery, answers: Mapping[str, NodeStatus | None], now_ns: int) -> None:
    leader = leader_of(answers)
    if recovery.target_commit is None and leader is not None:
        recovery.target_commit = max(
            (answer.commit or 0 for answer in answers.values() if answer is not None), default=0
        )
    for node, answer in answers.items():
        recovery.last[node] = (
            None
            if answer is None
            else {"term": answer.term, "commit": answer.commit, "applied": answer.applied, "leader": answer.leader}
        )
        reached = (
            answer is not None
            and recovery.target_commit is not None
            and (answer.applied is None or answer.applied >= recovery.target_commit)
        )
        if reached and answer is not None and answer.leader is not None:
            recovery.caught_up_ns.setdefault(node, now_ns)
