"""The client library: single attempts at named nodes, with failures that say whether something may have happened.

No retries, no routing, no hidden waiting: what to try again, where and when is the caller's decision, because only the
caller can keep an honest account of its attempts. Every failure is either :class:`DefiniteError` (nothing happened and
nothing will) or :class:`IndefiniteError` (it may have happened, or may yet).

How that is known: :mod:`node.network.conversation`. One :class:`KvClient` may be shared by any number of tasks of one
event loop, and should be: calls of all of them travel together.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from node import kv_pb2
from node.network.conversation import Conversation
from node.network.failures import BusyError as BusyError
from node.network.failures import CompactedError as CompactedError
from node.network.failures import ConnectionLostError as ConnectionLostError
from node.network.failures import DefiniteError as DefiniteError
from node.network.failures import FullError as FullError
from node.network.failures import IndefiniteError as IndefiniteError
from node.network.failures import InDoubtError as InDoubtError
from node.network.failures import InvalidRequestError as InvalidRequestError
from node.network.failures import KvError as KvError
from node.network.failures import NotLeaderError as NotLeaderError
from node.network.failures import SessionExpiredError as SessionExpiredError
from node.network.failures import StoppingError as StoppingError
from node.network.failures import TimedOutError as TimedOutError
from node.network.failures import UnreachableError as UnreachableError
from node.network.failures import WrongTypeError as WrongTypeError
from node.network.interference import Action as Action
from node.network.interference import Direction as Direction
from node.network.interference import Rule as Rule
from node.network.interference import Tally
from node.network.rules import rule_to_proto, tally_from_proto
from node.operation_codec import event_from_proto, put_operation, reads_of, value_of
from node.operations import Append as Append
from node.operations import CompareAndSet as CompareAndSet
from node.operations import Delete as Delete
from node.operations import Get as Get
from node.operations import Operation as Operation
from node.operations import Put as Put
from node.operations import ReadMode as ReadMode
from node.operations import Value
from node.serving.events import Event


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """The operation's answer. A struct of msgspec, because each operation makes one: an eighth of a dataclass's time.

    ``applied`` is False for an operation that was answered and changed nothing: a compare-and-set that found another
    value, a lock that somebody else holds, a fence too low. ``value`` is what a get read, what such an operation
    observed (:mod:`node.operations`), a counter's new number or a lock's fencing token (None: nothing). ``reads`` is
    what the reads of a transaction found. ``index`` is the log's: of the write, or of the state that was read.
    """

    applied: bool
    value: Value
    index: int
    reads: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a node sees itself."""

    name: str
    role: str
    term: int
    leader: str | None
    commit: int
    applied: int
    last_index: int
    voters: tuple[str, ...]
    durable_index: int
    snapshot_index: int
    first_index: int
    state_hash: str | None
    wall_ns: int
    """The time of day, as its process has it."""
    identity: str
    """Who the node is in its cluster (:mod:`node.identity`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One member of the cluster. ``leaving``: it votes until a joint configuration is left."""

    node: str
    identity: str
    voter: bool
    leaving: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What a watch received: events in the order of the log, all those of a revision together. Everything that was
    asked for, up to ``revision``, has been told now.
    """

    revision: int
    events: tuple[Event, ...]


class KvClient:
    """Connections to named nodes, opened when they are first used. Belongs to one event loop."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        """``addresses``: ``HOST:PORT`` of each node's client port."""
        self._nodes = {name: Conversation(name, address) for name, address in addresses.items()}

    async def open_session(self, node: str, timeout_s: float) -> int:
        """A new session's id. Raises :class:`KvError`; a session that was opened in doubt is no use and does no
        harm.
        """
        call = kv_pb2.Call(open_session=kv_pb2.OpenSessionRequest())
        return (await self._nodes[node].call(call, timeout_s)).session

    async def execute(
        self, node: str, operation: Operation, timeout_s: float, *, session: int = 0, sequence: int = 0
    ) -> Done:
        """One attempt at one operation. Writes need a session and a sequence number that rises with every new write of
        that session, from 1 on; the same number again is the same write again. Raises :class:`KvError`.
        """
        call = kv_pb2.Call()
        request = call.execute
        put_operation(operation, request)
        request.session, request.sequence = session, sequence
        reply = await self._nodes[node].call(call, timeout_s)
        applied = reply.outcome == kv_pb2.OK
        return Done(applied=applied, value=value_of(reply), index=reply.index, reads=reads_of(reply))

    async def watch(
        self, node: str, key: str, timeout_s: float, *, prefix: bool = False, start: int = 0
    ) -> AsyncGenerator[Notice, None]:
        """Follows what happens to a key, or to all keys that begin with it, from revision ``start`` on (0: from now
        on), as that node applies it; the first notice, which says that the watch is there, within ``timeout_s``. Must
        be closed (``aclose``) by whoever leaves it early. Raises :class:`KvError`, :class:`CompactedError` if the node
        no longer knows the changes; then, and when a connection breaks, the watch goes on at any node with the
        ``start`` behind the last notice's revision.
        """
        request = kv_pb2.WatchRequest(key=key, prefix=prefix, start=start)
        replies = self._nodes[node].listen(kv_pb2.Call(watch=request), timeout_s)
        async with contextlib.aclosing(replies):
            async for reply in replies:
                yield Notice(revision=reply.index, events=tuple(map(event_from_proto, reply.events)))

    async def status(self, node: str, timeout_s: float, *, state_hash: bool = False) -> Status:
        """Raises :class:`KvError`. ``state_hash`` costs the node time in proportion to its state."""
        call = kv_pb2.Call(status=kv_pb2.StatusRequest(state_hash=state_hash))
        return _status((await self._nodes[node].call(call, timeout_s)).status)

    async def members(self, node: str, timeout_s: float) -> Sequence[Member]:
        """The membership as this node has it applied. Raises :class:`KvError`: :class:`BusyError` while a node that
        started again does not know yet what is committed.
        """
        return await self._administer(node, kv_pb2.AdminRequest(members=kv_pb2.MembersRequest()), timeout_s)

    async def add_learner(self, leader: str, node: str, timeout_s: float) -> str:
        """Enters a node without a vote; the identity as which it must be started (``--join``). For this and the
        following calls: the leader is to be asked, and the answer comes when the change is committed; members are
        named by their nodes or identities. Raises :class:`KvError`: :class:`BusyError` if the same may be granted
        later, :class:`InvalidRequestError` if it never will be.
        """
        members = await self._administer(leader, kv_pb2.AdminRequest(add_learner=node), timeout_s)
        return next(member.identity for member in members if member.node == node)

    async def promote(self, leader: str, member: str, timeout_s: float) -> None:
        """Gives a learner that has caught up its vote."""
        await self._administer(leader, kv_pb2.AdminRequest(promote=member), timeout_s)

    async def remove(self, leader: str, member: str, timeout_s: float) -> None:
        """Takes a member out; the leader, too, which then steps down."""
        await self._administer(leader, kv_pb2.AdminRequest(remove=member), timeout_s)

    async def change_voters(self, leader: str, voters: Iterable[str], timeout_s: float) -> None:
        """These vote from now on, and nobody else: any change at once, by joint consensus."""
        request = kv_pb2.AdminRequest(change_voters=kv_pb2.ChangeVoters(voters=voters))
        await self._administer(leader, request, timeout_s)

    async def transfer(self, leader: str, member: str, timeout_s: float) -> None:
        """Hands the leadership over; the answer comes when that member leads. :class:`InDoubtError`: it was given
        up.
        """
        await self._administer(leader, kv_pb2.AdminRequest(transfer=member), timeout_s)

    async def _administer(self, node: str, request: kv_pb2.AdminRequest, timeout_s: float) -> Sequence[Member]:
        reply = await self._nodes[node].call(kv_pb2.Call(admin=request), timeout_s)
        return [
            Member(node=one.node, identity=one.identity, voter=one.voter, leaving=one.leaving)
            for one in reply.members.members
        ]

    async def interfere(
        self, node: str, timeout_s: float, *, rule: Rule | None = None, lasts_s: float = 0.0, clear: Iterable[str] = ()
    ) -> Sequence[Tally]:
        """For testers: clears rules, sets one, and tells all that are in force (:mod:`node.network.interference`).
        Raises :class:`UnreachableError`, :class:`TimedOutError`, or :class:`InvalidRequestError` if the node has no
        hook or refuses the rule.
        """
        request = kv_pb2.InterfereRequest(clear=clear)
        if rule is not None:
            request.set.CopyFrom(rule_to_proto(rule, lasts_s))
        reply = (await self._nodes[node].call(kv_pb2.Call(interfere=request), timeout_s)).interfere
        if reply.fault:
            raise InvalidRequestError(f"{node} refused: {reply.fault}")
        return [tally_from_proto(each) for each in reply.rules]

    async def close(self) -> None:
        """Ends all connections at once, without waiting for any node; what is under way fails."""
        for node in self._nodes.values():
            await node.close()


def _status(reply: kv_pb2.StatusReply) -> Status:
    return Status(
        name=reply.name,
        role=reply.role,
        term=reply.term,
        leader=reply.leader or None,
        commit=reply.commit,
        applied=reply.applied,
        last_index=reply.last_index,
        voters=tuple(reply.voters),
        durable_index=reply.durable_index,
        snapshot_index=reply.snapshot_index,
        first_index=reply.first_index,
        state_hash=reply.state_hash or None,
        wall_ns=reply.wall_ns,
        identity=reply.identity,
    )
