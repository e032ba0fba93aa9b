"""Who belongs to the system's cluster and who leads it, as a majority of the nodes says: what one node believes may be
old.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faults.needs import Admin, Member


@dataclass(frozen=True, slots=True)
class Agreed:
    """A membership, and the nodes that say so."""

    members: tuple[Member, ...]
    witnesses: tuple[str, ...]

    def of(self, node: str) -> Member | None:
        """The node's member; None if it has none."""
        return next((member for member in self.members if member.node == node), None)

    @property
    def voters(self) -> tuple[str, ...]:
        """Nodes whose member has a vote."""
        return tuple(member.node for member in self.members if member.voter)

    def to_json(self) -> dict[str, object]:
        """For evidence."""
        said = {member.node: f"{member.id} ({_standing(member)})" for member in self.members}
        return {"members": said, "seen_by": list(self.witnesses)}


def _standing(member: Member) -> str:
    return ("voter" if member.voter else "learner") + ("" if member.started else ", not started")


def quorum(voters: int) -> int:
    """The smallest majority."""
    return voters // 2 + 1


def agreed(views: Mapping[str, Sequence[Member]]) -> Agreed | None:
    """The membership that a majority of its own voters describes in the same way; None if there is none."""
    groups: dict[frozenset[Member], list[str]] = {}
    for node, view in views.items():
        groups.setdefault(frozenset(view), []).append(node)
    for members, nodes in groups.items():
        voters = {member.node for member in members if member.voter}
        if len(voters & set(nodes)) >= quorum(len(voters)):
            ordered = sorted(members, key=lambda member: (member.node, member.id))
            return Agreed(members=tuple(ordered), witnesses=tuple(sorted(nodes)))
    return None


@dataclass(slots=True)
class Electorate:
    """Asks all nodes at once."""

    admin: Admin
    nodes: tuple[str, ...]

    async def membership(self) -> Agreed | None:
        """What a majority says; None if no majority answers, or answers differ (a change is on its way)."""
        answers = await asyncio.gather(*map(self.admin.members, self.nodes))
        return agreed({node: view for node, view in zip(self.nodes, answers, strict=True) if view is not None})

    async def leader(self) -> str | None:
        """The node that a majority of the voters names as their leader."""
        membership = await self.membership()
        if membership is None:
            return None
        named = Counter(await asyncio.gather(*map(self.admin.leader, membership.voters)))
        del named[None]
        best = named.most_common(1)
        return best[0][0] if best and best[0][1] >= quorum(len(membership.voters)) else None
