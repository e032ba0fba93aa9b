"""A client's end of the way to one node: calls go out together, replies find their callers, and what fails is told as
definite or not.

How that is known: a node greets before it reads, and until the greeting nothing is sent, so what fails then is
definite; so is a call that was still queued here when its time ran out. Once a call was handed to the connection, only
a reply is certain.

There is no back-off: a call finds a connection, joins an attempt that is under way, or begins one, which ends within
:data:`node.network.frames.CONNECT_TIMEOUT_S`. So a healed link carries the next call. A link that is cut under a
connection ends it (:func:`node.network.frames.tune`) within about two seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import cast

from google.protobuf.message import DecodeError

from node import kv_pb2
from node.network.deadlines import Deadline, Deadlines
from node.network.failures import (
    BusyError,
    ConnectionLostError,
    KvError,
    TimedOutError,
    UnreachableError,
    outcome_error,
)
from node.network.frames import CALLS_BYTES_MAX, CONNECT_TIMEOUT_S, FrameReader, WireError, batch_frames, tune

PROTOCOL_VERSION = 1
"""What a node's greeting says."""
CALLS_MAX = 8192
"""Calls under way at one node; more are refused."""
CALLS_PER_FRAME = 32
"""So many leave at once, though more are to come in this turn of the loop: the node begins with them meanwhile. Else a
hundred callers that got their replies together would ask together again, and for ever client, leader and followers
would take turns to wait for each other.
"""
REPLIES_WAITING_MAX = 4096
"""Replies of a call with many that nobody has taken yet; beyond it, the call fails."""

Answer = kv_pb2.Reply | KvError


@dataclass(slots=True, eq=False)
class _Waiting:
    """A call whose last reply has not come."""

    call: kv_pb2.Call
    future: asyncio.Future[kv_pb2.Reply]
    id: int = 0
    sent: bool = False
    deadline: Deadline[_Waiting] | None = None

    @property
    def over(self) -> bool:
        """Whether nobody waits any more."""
        return self.future.done()

    def settle(self, answer: Answer) -> None:
        """What came of it."""
        if self.future.done():
            return
        if isinstance(answer, KvError):
            self.future.set_exception(answer)
        else:
            self.future.set_result(answer)


@dataclass(slots=True, eq=False)
class _Listening(_Waiting):
    """A call with many replies."""

    answers: asyncio.Queue[Answer] = field(default_factory=lambda: asyncio.Queue(REPLIES_WAITING_MAX + 1))
    ended: bool = False

    @property
    def over(self) -> bool:
        return self.ended

    def settle(self, answer: Answer) -> None:
        """One more; one place is kept for the error that says that there were too many."""
        if self.ended:
            return
        if self.deadline is not None:
            self.deadline.leave(self)
        if self.answers.qsize() >= REPLIES_WAITING_MAX:
            answer = ConnectionLostError(f"{REPLIES_WAITING_MAX} replies wait to be taken")
        self.ended = isinstance(answer, KvError) or not answer.more
        self.answers.put_nowait(answer)


class Conversation:
    """The way to one node: a connection, once there is a call, and while it lasts."""

    def __init__(self, name: str, address: str) -> None:
        self._name = name
        self._address = address
        host, _, port = address.rpartition(":")
        self._host, self._port = host.strip("[]"), int(port)
        self._line: _Line | None = None
        self._opening: asyncio.Task[None] | None = None
        self._flush_scheduled = False
        self._last_id = 0
        self._waiting: dict[int, _Waiting] = {}
        self._unsent: list[_Waiting] = []
        self._deadlines = Deadlines(self._time_out)

    async def call(self, call: kv_pb2.Call, timeout_s: float) -> kv_pb2.Reply:
        """A call with one reply. Raises :class:`KvError`."""
        waiting = _Waiting(call, asyncio.get_running_loop().create_future())
        self._ask(waiting, timeout_s)
        try:
            reply = await waiting.future
        finally:
            self._forget(waiting)
        error = outcome_error(reply)
        if error is not None:
            raise error
        return reply

    async def listen(self, call: kv_pb2.Call, timeout_s: float) -> AsyncGenerator[kv_pb2.Reply, None]:
        """A call with many replies, the first of them in time; ends with the last one. Raises :class:`KvError`. Must be
        closed (``aclose``) by whoever leaves it early.
        """
        listening = _Listening(call, asyncio.get_running_loop().create_future())
        self._ask(listening, timeout_s)
        more = True
        try:
            while more:
                answer = await listening.answers.get()
                more = isinstance(answer, KvError) or answer.more
                error = answer if isinstance(answer, KvError) else outcome_error(answer)
                if error is not None:
                    raise error
                yield cast(kv_pb2.Reply, answer)
        finally:
            self._forget(listening)
            listening.ended = True  # one that still waits for the connection must not be sent: nobody would cancel it
            if listening.sent and more and self._line is not None:
                self._line.cancel(call.id)

    async def close(self) -> None:
        """At once; what is under way fails."""
        line, self._line = self._line, None
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if line is not None:
            line.abort()
        self._fail_all("the connection was closed")

    # For the line

    def greeted(self) -> None:
        """The node is there."""
        self.flush()

    def take(self, replies: Iterable[kv_pb2.Reply]) -> None:
        """Replies to whoever waits for them."""
        for reply in replies:
            waiting = self._waiting.get(reply.id)
            if waiting is not None:
                waiting.settle(reply)

    def flush(self) -> None:
        """Sends what has gathered, if the connection takes it. A call whose time ran out a moment ago has been called
        definite, so it must never be sent.
        """
        if self._line is None or not self._line.writable:
            return
        unsent, self._unsent = self._unsent, []
        alive = [waiting for waiting in unsent if not waiting.over]
        for waiting in alive:
            waiting.sent = True
        if alive:
            self._line.write([waiting.call for waiting in alive])

    def _flush_rest(self) -> None:
        """At the end of a turn of the loop."""
        self._flush_scheduled = False
        self.flush()

    def lost(self, line: _Line, reason: str) -> None:
        """That connection is no more; every call that it leaves unanswered fails."""
        if self._line is line:
            self._line = None
            self._fail_all(reason)

    def _ask(self, waiting: _Waiting, timeout_s: float) -> None:
        if len(self._waiting) >= CALLS_MAX:
            raise BusyError(f"{CALLS_MAX} calls to {self._name} are under way")
        loop = asyncio.get_running_loop()
        self._last_id += 1
        waiting.id = waiting.call.id = self._last_id
        self._waiting[self._last_id] = waiting
        waiting.deadline = self._deadlines.join(waiting, loop, timeout_s)
        self._unsent.append(waiting)
        if self._line is None:
            self._line = _Line(self)
            self._opening = loop.create_task(self._open(self._line), name=f"connecting to {self._name}")
        elif len(self._unsent) >= CALLS_PER_FRAME:
            self.flush()
        elif not self._flush_scheduled:
            self._flush_scheduled = True
            loop.call_soon(self._flush_rest)

    def _forget(self, waiting: _Waiting) -> None:
        self._waiting.pop(waiting.id, None)
        if waiting.deadline is not None:
            waiting.deadline.leave(waiting)

    def _time_out(self, waiting: _Waiting) -> None:
        unsent = UnreachableError(f"no connection to {self._name} in time")
        waiting.settle(TimedOutError(f"no reply from {self._name} in time") if waiting.sent else unsent)

    def _fail_all(self, reason: str) -> None:
        self._unsent.clear()
        for waiting in self._waiting.values():
            waiting.settle(ConnectionLostError(reason) if waiting.sent else UnreachableError(f"{self._name}: {reason}"))

    async def _open(self, line: _Line) -> None:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):  # its TimeoutError is an OSError
                await asyncio.get_running_loop().create_connection(lambda: line, self._host, self._port)
        except OSError as error:
            self.lost(line, f"no connection to {self._address}: {error or 'timed out'}")


class _Line(asyncio.Protocol):
    """One connection, from the attempt to its end."""

    def __init__(self, owner: Conversation) -> None:
        self._owner = owner
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._greeted = False
        self._paused = False
        self._reason = "the node closed the connection"

    @property
    def writable(self) -> bool:
        """Whether calls may be sent now."""
        transport = self._transport
        return self._greeted and not self._paused and transport is not None and not transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        tune(transport.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.lost(self, str(exc or self._reason))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._owner.flush()

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self._take(payload)
        except (WireError, DecodeError) as error:
            self._reason = f"the node sent nonsense: {error}"
            self.abort()

    def write(self, calls: list[kv_pb2.Call]) -> None:
        if self._transport is not None and not self._transport.is_closing():  # uvloop raises if it is
            for frame in batch_frames(calls):
                if len(frame) <= CALLS_BYTES_MAX:
                    self._transport.write(frame)
                else:
                    self._owner.take(_refusals(frame))

    def cancel(self, number: int) -> None:
        """Says that nobody wants further replies to a call; of a connection before this one, the node knows nothing."""
        if self._greeted:
            self.write([kv_pb2.Call(cancel=number)])

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _take(self, payload: bytes) -> None:
        replies = kv_pb2.Replies.FromString(payload)
        if not self._greeted:
            if replies.greeting.version != PROTOCOL_VERSION:
                raise WireError(f"no greeting of version {PROTOCOL_VERSION}: is it a node's client port?")
            self._greeted = True
            self._owner.greeted()
        self._owner.take(replies.replies)


def _refusals(frame: bytes) -> Iterator[kv_pb2.Reply]:
    """To what is in a frame (one call) for which the node would close the connection, so all others would fail, too."""
    detail = f"a frame of calls has at most {CALLS_BYTES_MAX} bytes, not {len(frame)}: nothing was sent"
    for payload in FrameReader(len(frame)).feed(frame):
        for call in kv_pb2.Calls.FromString(payload).calls:
            yield kv_pb2.Reply(id=call.id, outcome=kv_pb2.INVALID, detail=detail)
