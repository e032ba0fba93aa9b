"""A system's administration that exists only in memory, over a :class:`faults.fakes.cluster.FakeCluster`.

It behaves like a careful Raft: a change needs a majority of voters that answer, who is entered has no vote until it was
started and promoted, who starts under an identity with the data of another one is refused. Ways to go wrong are
switches.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from faults.electorate import quorum
from faults.fakes.cluster import FakeCluster, FakeNode
from faults.needs import AdminError, Member, ProcessState


@dataclass(slots=True)
class FakeAdmin:
    """Implements :class:`faults.needs.Admin`."""

    cluster: FakeCluster
    refusals: list[str] = field(default_factory=list)
    """Errors with which the next changes are refused."""
    unanswered: int = 0
    """So many changes after those are not made, and not answered either."""
    lost_replies: int = 0
    """So many changes are made, but told as errors."""
    unready: int = 0
    """So many promotions are refused first."""
    frozen: bool = False
    """Transfers are accepted, and nothing happens."""
    overtaken_by: str | None = None
    """Who comes to lead while a transfer to somebody else is under way."""
    blind: set[str] = field(default_factory=set)
    """Nodes whose view of the membership is that of the start."""
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    changes: list[str] = field(default_factory=list)
    """What was done."""
    entries: dict[str, Member] = field(init=False)
    """By identity."""
    lead: str | None = field(init=False)
    _first: tuple[Member, ...] = field(init=False)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(100))

    def __post_init__(self) -> None:
        """Every node is a voter that has started; the first one leads."""
        names = list(self.cluster.nodes)
        first = [Member(node=name, id=f"{number:x}", voter=True, started=True) for number, name in enumerate(names, 1)]
        self.entries = {member.id: member for member in first}
        self._first = tuple(first)
        self.lead = names[0]
        self.cluster.admin = self

    async def members(self, node: str) -> Sequence[Member] | None:
        """Nobody answers who is dead, stopped, or no voter."""
        if not await self._answers(node) or not any(each.node == node and each.voter for each in self.entries.values()):
            return None
        await self._notice()
        return self._first if node in self.blind else tuple(self.entries.values())

    async def leader(self, node: str) -> str | None:
        """The same for everybody; the next one that lives, if the leader does not."""
        await self._notice()
        if self.lead is None or not await self._answers(self.lead):
            able = [member.node for member in self.entries.values() if member.voter]
            living = [name for name in able if await self._answers(name)]
            self.lead = living[0] if len(living) >= quorum(len(able)) else None
        return self.lead if await self._answers(node) else None

    async def applied(self, node: str) -> int | None:
        """Everybody who answers is up to date."""
        return len(self.changes) if await self._answers(node) else None

    async def remove(self, member: Member) -> None:
        """Its process is not ended by that."""
        await self._begin(f"remove {member.node}")
        self.entries.pop(member.id, None)
        if self.lead == member.node:
            self.lead = None
        self._end()

    async def add(self, node: str) -> Member:
        """Without a vote."""
        await self._begin(f"add {node}")
        if any(member.node == node for member in self.entries.values()):
            raise AdminError(f"{node} is a member already")
        member = Member(node=node, id=f"{next(self._ids):x}", voter=False, started=False)
        self.entries[member.id] = member
        self._end()
        return member

    async def joining(self, node: str, argv: Sequence[str]) -> Sequence[str]:
        """The identity is told on the command line."""
        identity = next(member.id for member in self.entries.values() if member.node == node)
        return [argv[0], f"--join={identity}"]

    async def promote(self, member: Member) -> None:
        """Once it has started, and was refused as often as it should be."""
        if self.unready:
            self.unready -= 1
            raise AdminError("it is not in sync with the leader", refused=True)
        await self._begin(f"promote {member.node}")
        self.entries[member.id] = replace(self.entries[member.id], voter=True)
        self._end()

    async def change_voters(self, nodes: Sequence[str]) -> None:
        """All at once."""
        await self._begin(f"voters {' '.join(nodes)}")
        kept = {one.id: one for one in self.entries.values() if not one.voter or one.node in nodes}
        self.entries = {identity: replace(one, voter=one.node in nodes) for identity, one in kept.items()}
        if self.lead not in nodes:
            self.lead = None
        self._end()

    async def transfer(self, node: str) -> None:
        """To a voter that answers."""
        await self._begin(f"transfer to {node}")
        if self.overtaken_by is not None:
            self.lead = self.overtaken_by
            raise AdminError("leadership was lost")
        if not self.frozen:
            self.lead = node
        self._end()

    async def _begin(self, change: str) -> None:
        if self.refusals:
            raise AdminError(self.refusals.pop(0), refused=True)
        if self.unanswered:
            self.unanswered -= 1
            raise AdminError("no answer in time")
        voters = [member.node for member in self.entries.values() if member.voter]
        living = [name for name in voters if await self._answers(name)]
        if len(living) < quorum(len(voters)):
            raise AdminError("there is no majority")
        self.changes.append(change)

    def _end(self) -> None:
        if self.lost_replies:
            self.lost_replies -= 1
            raise AdminError("no reply in time")

    async def _answers(self, node: str) -> bool:
        return await self.cluster.nodes[node].state() is ProcessState.RUNNING

    async def _notice(self) -> None:
        """Who runs under an identity that was entered, with data of that one only, has started."""
        for identity, member in self.entries.items():
            node = self.cluster.fake_nodes[member.node]
            if not member.started and await self._joins(node, identity):
                self.entries[identity] = replace(member, started=True)

    async def _joins(self, node: FakeNode, identity: str) -> bool:
        own = f"--join={identity}" in node.argv and node.stored == ["log"]
        return own and await self._answers(node.name)
