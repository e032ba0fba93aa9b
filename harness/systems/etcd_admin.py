"""etcd's membership and leadership, by the calls that ``etcdctl member`` and ``etcdctl move-leader`` make."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from google.protobuf.message import Message

from faults.needs import AdminError, Member
from harness.systems import etcd_pb2 as pb
from harness.systems.etcd_connection import EtcdConnection, EtcdError

PEER_PORT = 2380
ASK_TIMEOUT_S = 1.0
CHANGE_TIMEOUT_S = 3.0
CHANGES = frozenset({"MemberAdd", "MemberRemove", "MemberPromote"})
"""What a node that knows no leader shall refuse at once."""
HAS_ITS_VOTE = "can only promote a learner member"

_Reply = TypeVar("_Reply", bound=Message)


def peer_url(address: str) -> str:
    """Where other members reach the node at this address."""
    return f"http://{address}:{PEER_PORT}"


@dataclass(slots=True, kw_only=True)
class EtcdAdmin:
    """Implements :class:`faults.needs.Admin`. Identities are written in hexadecimal, as etcd's log does."""

    connections: Mapping[str, EtcdConnection]
    addresses: Mapping[str, str]
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def members(self, node: str) -> Sequence[Member] | None:
        """See the protocol. Answered by the node alone, from what it has applied."""
        try:
            listed = await self._ask(node, "MemberList", pb.MemberListRequest(), pb.MemberListResponse)
        except EtcdError:
            return None
        return [self._member(member) for member in listed.members]

    async def leader(self, node: str) -> str | None:
        """See the protocol."""
        members = {member.id: member.node for member in await self.members(node) or ()}
        status = await self._status(node)
        return None if status is None else members.get(f"{status.leader:x}")

    async def applied(self, node: str) -> int | None:
        """See the protocol."""
        status = await self._status(node)
        return None if status is None else status.raft_applied_index

    async def remove(self, member: Member) -> None:
        """See the protocol. Others are asked before the member itself: it may be gone before it has answered."""
        order = sorted(self.connections, key=lambda node: node == member.node)
        await self._anybody(order, "MemberRemove", pb.MemberRemoveRequest(id=int(member.id, 16)), pb.MembersResponse)

    async def add(self, node: str) -> Member:
        """See the protocol. As a learner, which has no vote before it has caught up: it cannot cost a quorum."""
        request = pb.MemberAddRequest(peer_urls=[peer_url(self.addresses[node])], is_learner=True)
        order = [other for other in self.connections if other != node]
        return self._member((await self._anybody(order, "MemberAdd", request, pb.MemberAddResponse)).member)

    async def joining(self, node: str, argv: Sequence[str]) -> Sequence[str]:
        """See the protocol. Who joins must name exactly the members that there are."""
        for other in self.connections:
            listed = await self.members(other) if other != node else None
            if listed is not None and any(member.node == node for member in listed):
                cluster = ",".join(f"{member.node}={peer_url(self.addresses[member.node])}" for member in listed)
                kept = [word for word in argv if not word.startswith("--initial-cluster")]
                return [*kept, f"--initial-cluster={cluster}", "--initial-cluster-state=existing"]
        raise AdminError(f"no node tells that {node} is a member, so it cannot join", refused=True)

    async def promote(self, member: Member) -> None:
        """See the protocol."""
        order = [node for node in self.connections if node != member.node]
        request = pb.MemberPromoteRequest(id=int(member.id, 16))
        try:
            await self._anybody(order, "MemberPromote", request, pb.MembersResponse)
        except AdminError as error:
            if not str(error).endswith(HAS_ITS_VOTE):
                raise

    async def transfer(self, node: str) -> None:
        """See the protocol."""
        for other in self.connections:
            leader = await self.leader(other)
            if leader is not None:
                target = next((member.id for member in await self.members(leader) or () if member.node == node), None)
                if target is None:
                    raise AdminError(f"{node} is no member that {leader}, which leads, knows of", refused=True)
                request = pb.MoveLeaderRequest(target_id=int(target, 16))
                await self._anybody([leader], "MoveLeader", request, pb.MoveLeaderResponse)
                return
        raise AdminError("no node knows a leader", refused=True)

    async def _status(self, node: str) -> pb.StatusResponse | None:
        try:
            return await self._ask(node, "Status", pb.StatusRequest(), pb.StatusResponse)
        except EtcdError:
            return None

    async def _ask(
        self, node: str, method: str, request: Message, reply: type[_Reply], timeout_s: float = ASK_TIMEOUT_S
    ) -> _Reply:
        leads = method in CHANGES
        return await self.connections[node].call(method, request, reply, timeout_s=timeout_s, needs_leader=leads)

    async def _anybody(self, order: Sequence[str], method: str, request: Message, reply: type[_Reply]) -> _Reply:
        """The answer of the first node that has one. Where a change was refused or is in doubt, nobody else is
        asked.
        """
        trouble = "there is nobody to ask"
        for node in order:
            try:
                return await self._ask(node, method, request, reply, CHANGE_TIMEOUT_S)
            except EtcdError as error:
                trouble = f"{node}: {error}"
                if not error.definite:
                    raise AdminError(trouble) from None
        raise AdminError(trouble, refused=True)

    def _member(self, member: pb.Member) -> Member:
        hosts = {address: name for name, address in self.addresses.items()}
        host = urlsplit(member.peer_urls[0]).hostname if member.peer_urls else None
        return Member(
            node=hosts.get(host or "", member.name or f"somebody at {host}"),
            id=f"{member.id:x}",
            voter=not member.is_learner,
            started=bool(member.name),
        )
