"""The client library: single attempts at named nodes, with failures that say whether something may have happened.

No retries, no routing, no hidden waiting: what to try again, where and when is the caller's decision, because only the
caller can keep an honest account of its attempts. Every failure is either :class:`DefiniteError` (nothing happened and
nothing will) or :class:`IndefiniteError` (it may have happened, or may yet).

How that is known: all calls to one node share one stream (``Converse``), and the node greets before it reads. Until the
greeting nothing was sent, so what fails then is definite; so is a call that was still queued here when its time ran
out. Once a call was handed to the stream, only a reply is certain.

One :class:`KvClient` may be shared by any number of tasks of one event loop, and should be: calls of all of them travel
together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from node import kv_pb2
from node.interference import Action as Action
from node.interference import Direction as Direction
from node.interference import Rule as Rule
from node.interference import Tally
from node.rules import rule_to_proto, tally_from_proto

SERVICE = "capsize.node.Kv"
CALLS_MAX = 8192
"""Calls under way at one node; more are refused."""

CHANNEL_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 600),  # also how long a connection attempt may take
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.keepalive_time_ms", 1000),  # a cut link must not be left to TCP, which would wait longer and longer
    ("grpc.keepalive_timeout_ms", 1500),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", 64 << 20),
)


@dataclass(frozen=True, slots=True)
class Get:
    """Reads a key: linearizable, or ``local`` (whatever the node has applied; may be stale)."""

    key: str
    local: bool = False


@dataclass(frozen=True, slots=True)
class Put:
    """Sets a key."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class CompareAndSet:
    """Sets a key if its value is ``expected`` (None: if it does not exist)."""

    key: str
    expected: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """Appends to a key's value, which is empty if the key does not exist."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes a key."""

    key: str


Operation = Get | Put | CompareAndSet | Append | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The operation's answer.

    ``applied`` is False for a compare-and-set that found another value. ``value`` is what a get read, or what such a
    compare-and-set observed (None: the key does not exist). ``index`` is the log's: of the write, or of the state that
    was read.
    """

    applied: bool
    value: bytes | None
    index: int


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


class KvError(Exception):
    """An attempt that did not succeed."""


class DefiniteError(KvError):
    """Nothing happened, and nothing will."""


class UnreachableError(DefiniteError):
    """There was no connection, so nothing was sent."""


class NotLeaderError(DefiniteError):
    """Another node leads; ``leader`` names it, if the node knows."""

    def __init__(self, leader: str | None) -> None:
        super().__init__(f"not the leader; {leader} is" if leader else "not the leader, and it knows none")
        self.leader = leader


class BusyError(DefiniteError):
    """Too many operations are under way, at the node or here."""


class SessionExpiredError(DefiniteError):
    """The node knows no such session (any more). An *earlier* attempt of the same write may have happened before it
    expired.
    """


class InvalidRequestError(DefiniteError):
    """The request is malformed."""


class StoppingError(DefiniteError):
    """The node is going down."""


class IndefiniteError(KvError):
    """It may have happened, or may yet happen, or never."""


class TimedOutError(IndefiniteError):
    """It was sent, and no reply came in time."""


class ConnectionLostError(IndefiniteError):
    """It was sent, and the connection broke."""


class InDoubtError(IndefiniteError):
    """The node lost its leadership while the operation was under way, or no longer remembers the outcome of an older
    write.
    """


def _outcome_error(reply: kv_pb2.Reply) -> KvError | None:
    """The one place that decides what a reply means; an outcome that this version does not know is indefinite."""
    outcome = reply.outcome
    if outcome in (kv_pb2.OK, kv_pb2.MISMATCH):
        return None
    if outcome == kv_pb2.NOT_LEADER:
        return NotLeaderError(reply.leader or None)
    make, message = _ERRORS.get(outcome, (InDoubtError, f"the node answered {outcome}"))
    return make(f"{message}: {reply.detail}" if reply.detail else message)


_ERRORS: Mapping[int, tuple[Callable[[str], KvError], str]] = {
    kv_pb2.SESSION_EXPIRED: (SessionExpiredError, "the node knows no such session"),
    kv_pb2.FORGOTTEN: (InDoubtError, "the session has gone on to later writes"),
    kv_pb2.BUSY: (BusyError, "the node has too many operations under way"),
    kv_pb2.INVALID: (InvalidRequestError, "the node refused the request"),
    kv_pb2.STOPPING: (StoppingError, "the node is going down"),
    kv_pb2.UNKNOWN: (InDoubtError, "leadership was lost while the operation was under way"),
}


class KvClient:
    """Connections to named nodes, opened when they are first used. Belongs to one event loop."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        """``addresses``: ``HOST:PORT`` of each node's client port."""
        self._nodes = {name: _Node(name, address) for name, address in addresses.items()}

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
        request = _request(operation)
        request.session, request.sequence = session, sequence
        reply = await self._nodes[node].call(kv_pb2.Call(execute=request), timeout_s)
        value = reply.value if reply.HasField("value") else None
        return Done(applied=reply.outcome == kv_pb2.OK, value=value, index=reply.index)

    async def status(self, node: str, timeout_s: float, *, state_hash: bool = False) -> Status:
        """Raises :class:`UnreachableError` or :class:`TimedOutError`. ``state_hash`` costs the node time in proportion
        to its state.
        """
        return await self._nodes[node].status(timeout_s, state_hash=state_hash)

    async def interfere(
        self, node: str, timeout_s: float, *, rule: Rule | None = None, lasts_s: float = 0.0, clear: Iterable[str] = ()
    ) -> Sequence[Tally]:
        """For testers: clears rules, sets one, and tells all that are in force (:mod:`node.interference`). Raises
        :class:`UnreachableError`, :class:`TimedOutError`, or :class:`InvalidRequestError` if the node has no hook or
        refuses the rule.
        """
        request = kv_pb2.InterfereRequest(clear=clear)
        if rule is not None:
            request.set.CopyFrom(rule_to_proto(rule, lasts_s))
        reply = await self._nodes[node].interfere(request, timeout_s)
        if reply.fault:
            raise InvalidRequestError(f"{node} refused: {reply.fault}")
        return [tally_from_proto(each) for each in reply.rules]

    async def close(self) -> None:
        """Ends all connections at once, without waiting for any node; what is under way fails."""
        await asyncio.gather(*(node.close() for node in self._nodes.values()))


def _request(operation: Operation) -> kv_pb2.ExecuteRequest:
    match operation:
        case Get(key, local):
            return kv_pb2.ExecuteRequest(key=key, get=kv_pb2.Get(local=local))
        case Put(key, value):
            return kv_pb2.ExecuteRequest(key=key, put=kv_pb2.Put(value=value))
        case CompareAndSet(key, expected, value):
            return kv_pb2.ExecuteRequest(key=key, cas=kv_pb2.CompareAndSet(expected=expected, value=value))
        case Append(key, value):
            return kv_pb2.ExecuteRequest(key=key, append=kv_pb2.Append(value=value))
        case Delete(key):
            return kv_pb2.ExecuteRequest(key=key, delete=kv_pb2.Delete())


@dataclass(slots=True, eq=False)
class _Waiting:
    """A call without a reply."""

    call: kv_pb2.Call
    future: asyncio.Future[kv_pb2.Reply]
    sent: bool = False
    timer: asyncio.TimerHandle | None = None


class _Node:
    """The way to one node: a channel, and the stream on it while it lasts."""

    def __init__(self, name: str, address: str) -> None:
        self._name = name
        self._address = address
        self._channel: grpc.aio.Channel | None = None
        self._stream: asyncio.Task[None] | None = None
        self._next_id = 1
        self._waiting: dict[int, _Waiting] = {}
        self._unsent: list[int] = []
        self._news = asyncio.Event()

    async def call(self, call: kv_pb2.Call, timeout_s: float) -> kv_pb2.Reply:
        """One call. Raises :class:`KvError`."""
        if len(self._waiting) >= CALLS_MAX:
            raise BusyError(f"{CALLS_MAX} calls to {self._name} are under way")
        loop = asyncio.get_running_loop()
        call.id, self._next_id = self._next_id, self._next_id + 1
        waiting = self._waiting[call.id] = _Waiting(call, loop.create_future())
        waiting.timer = loop.call_later(timeout_s, self._time_out, call.id)
        self._unsent.append(call.id)
        self._news.set()
        if self._stream is None:
            self._stream = loop.create_task(self._converse(), name=f"stream to {self._name}")
        try:
            reply = await waiting.future
        finally:
            self._waiting.pop(call.id, None)
            waiting.timer.cancel()
        error = _outcome_error(reply)
        if error is not None:
            raise error
        return reply

    async def status(self, timeout_s: float, *, state_hash: bool) -> Status:
        request = kv_pb2.StatusRequest(state_hash=state_hash)
        reply: kv_pb2.StatusReply = await self._ask("Status", request, kv_pb2.StatusReply, timeout_s)
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
        )

    async def interfere(self, request: kv_pb2.InterfereRequest, timeout_s: float) -> kv_pb2.InterfereReply:
        reply: kv_pb2.InterfereReply = await self._ask("Interfere", request, kv_pb2.InterfereReply, timeout_s)
        return reply

    async def _ask(self, name: str, request: Any, reply: Any, timeout_s: float) -> Any:
        """A unary call."""
        method: Any = self._open_channel().unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=reply.FromString,
        )
        try:
            return await method(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise TimedOutError(f"{self._name} told no {name.lower()} within {timeout_s} s") from None
            if error.code() == grpc.StatusCode.UNIMPLEMENTED:
                raise InvalidRequestError(f"{self._name} has no {name}: it was started without --hook") from None
            raise UnreachableError(f"{self._name} at {self._address}: {error.details()}") from None

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stream
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    def _open_channel(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS)
        return self._channel

    def _time_out(self, call_id: int) -> None:
        waiting = self._waiting.get(call_id)
        if waiting is None or waiting.future.done():
            return
        unsent = UnreachableError(f"no connection to {self._name} in time")
        waiting.future.set_exception(TimedOutError("no reply in time") if waiting.sent else unsent)

    async def _converse(self) -> None:
        """One stream, from its opening to its end; every call that it leaves unanswered fails."""
        reason = "the connection was closed"
        method: Any = self._open_channel().stream_stream(
            f"/{SERVICE}/Converse",
            request_serializer=kv_pb2.Calls.SerializeToString,
            response_deserializer=kv_pb2.Replies.FromString,
        )
        stream = method()
        writer: asyncio.Task[None] | None = None
        try:
            while (replies := await stream.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]  # missing in the stubs
                if writer is None:  # the greeting: the node is there
                    writer = asyncio.create_task(self._write_to(stream))
                self._take(replies)
        except grpc.aio.AioRpcError as error:
            reason = error.details() or str(error.code())
        finally:
            stream.cancel()
            if writer is not None:
                writer.cancel()
            if self._stream is asyncio.current_task():
                self._stream = None
            self._fail_all(reason)

    def _take(self, replies: kv_pb2.Replies) -> None:
        for reply in replies.replies:
            waiting = self._waiting.get(reply.id)
            if waiting is not None and not waiting.future.done():
                waiting.future.set_result(reply)

    async def _write_to(self, stream: Any) -> None:
        """Sends whatever has gathered, one message at a time. The reader learns of a broken stream; here it only ends
        the writing.
        """
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while True:
                await self._news.wait()
                self._news.clear()
                calls = self._take_unsent()
                if calls:
                    await stream.write(kv_pb2.Calls(calls=calls))

    def _take_unsent(self) -> list[kv_pb2.Call]:
        """The calls that go out now. One whose time ran out a moment ago has been called definite, so it must never be
        sent.
        """
        waiting = [self._waiting[call_id] for call_id in self._unsent if call_id in self._waiting]
        self._unsent.clear()
        alive = [one for one in waiting if not one.future.done()]
        for one in alive:
            one.sent = True
        return [one.call for one in alive]

    def _fail_all(self, reason: str) -> None:
        self._unsent.clear()
        for waiting in self._waiting.values():
            if not waiting.future.done():
                error = ConnectionLostError(reason) if waiting.sent else UnreachableError(f"{self._name}: {reason}")
                waiting.future.set_exception(error)
