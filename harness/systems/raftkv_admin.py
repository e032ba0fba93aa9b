"""raftkv's membership and leadership, by the calls of its client port (``node.client``)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from faults.needs import AdminError, Member
from node import client as kv

ASK_TIMEOUT_S = 1.0
CHANGE_TIMEOUT_S = 3.0
REDIRECTIONS_MAX = 4
JOIN = "--join"
FOUNDER = (0, 0)
"""Whom no entry added."""

_T = TypeVar("_T")


@dataclass(slots=True, kw_only=True)
class RaftkvAdmin:
    """Implements :class:`faults.needs.Admin`."""

    library: kv.KvClient
    nodes: Sequence[str]
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def members(self, node: str) -> Sequence[Member] | None:
        """See the protocol. Who has a vote has joined; a learner is asked whether it is the one that was entered."""
        try:
            listed = await self.library.members(node, ASK_TIMEOUT_S)
        except kv.KvError:
            return None
        started = await asyncio.gather(*map(self._has_started, listed))
        return [
            Member(node=member.node, id=member.identity, voter=member.voter or member.leaving, started=joined)
            for member, joined in zip(listed, started, strict=True)
        ]

    async def leader(self, node: str) -> str | None:
        """See the protocol."""
        status = await self._status(node)
        return None if status is None else status.leader

    async def applied(self, node: str) -> int | None:
        """See the protocol."""
        status = await self._status(node)
        return None if status is None else status.applied

    async def remove(self, member: Member) -> None:
        """See the protocol. By its identity: nobody else who runs there meanwhile is meant."""
        await self._at_leader(lambda leader: self.library.remove(leader, member.id, CHANGE_TIMEOUT_S))

    async def add(self, node: str) -> Member:
        """See the protocol. As a learner."""
        identity = await self._at_leader(lambda leader: self.library.add_learner(leader, node, CHANGE_TIMEOUT_S))
        return Member(node=node, id=identity, voter=False, started=False)

    async def joining(self, node: str, argv: Sequence[str]) -> Sequence[str]:
        """See the protocol. Who joins must say as whom: the newest of all answers, for nodes that lag tell of members
        that have left.
        """
        answers = await asyncio.gather(*(self.members(other) for other in self.nodes if other != node))
        identities = [member.id for listed in answers for member in listed or () if member.node == node]
        identity = max(identities, key=_added_by, default="")
        if _added_by(identity) == FOUNDER:
            raise AdminError(f"no node tells that {node} was added, so it cannot join", refused=True)
        return [*_without_join(argv), JOIN, identity]

    async def promote(self, member: Member) -> None:
        """See the protocol."""
        try:
            await self._at_leader(lambda leader: self.library.promote(leader, member.id, CHANGE_TIMEOUT_S))
        except AdminError:
            if not await self._votes(member):
                raise

    async def transfer(self, node: str) -> None:
        """See the protocol."""
        await self._at_leader(lambda leader: self.library.transfer(leader, node, CHANGE_TIMEOUT_S))

    async def change_voters(self, nodes: Sequence[str]) -> None:
        """These nodes vote, and nobody else: at once, by joint consensus.

        Raises:
            AdminError: refused (somebody lags behind too far yet, or is no member), or no answer.
        """
        await self._at_leader(lambda leader: self.library.change_voters(leader, nodes, CHANGE_TIMEOUT_S))

    async def _votes(self, member: Member) -> bool:
        for node in self.nodes:
            listed = await self.members(node)
            if listed is not None and any(one.id == member.id and one.voter for one in listed):
                return True
        return False

    async def _has_started(self, member: kv.Member) -> bool:
        if member.voter or member.leaving:
            return True
        status = await self._status(member.node)
        return status is not None and status.identity == member.identity

    async def _status(self, node: str) -> kv.Status | None:
        try:
            return await self.library.status(node, ASK_TIMEOUT_S)
        except kv.KvError:
            return None

    async def _at_leader(self, call: Callable[[str], Awaitable[_T]]) -> _T:
        """The leader's answer: whoever answers says who that is. Where a change was refused for another reason or is in
        doubt, nobody else is asked.
        """
        trouble = "there is nobody to ask"
        for node in self.nodes:
            asked: str | None = node
            for _ in range(REDIRECTIONS_MAX):
                if asked is None:
                    break
                try:
                    return await call(asked)
                except kv.NotLeaderError as error:
                    trouble, asked = f"{asked}: {error}", error.leader
                except (kv.UnreachableError, kv.StoppingError) as error:
                    trouble, asked = f"{asked}: {error}", None
                except kv.KvError as error:
                    refused = isinstance(error, kv.DefiniteError)
                    raise AdminError(f"{asked}: {error}", refused=refused) from None
        raise AdminError(trouble, refused=True)


def _added_by(identity: str) -> tuple[int, int]:
    """Term and index of the entry that added it: no two have the same, and later ones are greater."""
    term, _, index = identity.partition("~")[2].partition(".")
    return (int(term), int(index)) if index else FOUNDER


def _without_join(argv: Sequence[str]) -> list[str]:
    """The command without the identity under which the node joined before."""
    kept = list(argv)
    while JOIN in kept:
        place = kept.index(JOIN)
        del kept[place : place + 2]
    return kept
