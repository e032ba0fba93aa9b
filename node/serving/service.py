"""Clients of a node: frames of calls come in (``kv.proto``), are checked here and handed to the shell, and its replies
go back.

All calls that a client has ready share one frame, and so do all replies of a turn of the loop; nothing here makes a
task for an operation. docs/node.md has the figures against gRPC, which this once was.

What is bounded: calls under way on a connection (:data:`CALLS_MAX`; what comes beyond is answered "busy", as the shell
does for the whole node), the bytes of a frame and of a call, and what waits for a client that reads slowly: no call is
taken from it while it does not take its replies, and one that lets :data:`UNREAD_BYTES_MAX` gather is cut off. A frame
that is not of the protocol, or has more calls than may be under way, ends its connection and no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Protocol, cast

from google.protobuf.message import DecodeError

from node import kv_pb2
from node.network.conversation import CALLS_MAX, PROTOCOL_VERSION
from node.network.frames import CALLS_BYTES_MAX, FrameReader, WireError, batch_frames, encode_frame, tune
from node.network.interference import Interference
from node.network.rules import interfere
from node.network.transport import Address
from node.serving.callers import Answer
from node.serving.requests import CALL_BYTES_MAX, call_fault_of, fault_of, watch_fault_of
from node.serving.watch import Listener

CONNECTIONS_MAX = 512
"""Clients at a time; further ones are turned away."""
UNREAD_BYTES_MAX = 64 << 20

_GREETING = encode_frame(kv_pb2.Replies(greeting=kv_pb2.Greeting(version=PROTOCOL_VERSION)).SerializeToString())
_log = logging.getLogger("node.service")


class Operations(Protocol):
    """What the service needs of a node; :class:`node.shell.Shell` is one."""

    def open_session(self, answer: Answer) -> None:
        """Opens a session through the log."""

    def execute(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        """Does an operation."""

    def watch(self, request: kv_pb2.WatchRequest, listener: Listener) -> None:
        """Follows keys; has many replies."""

    def status(self, *, state_hash: bool) -> kv_pb2.StatusReply:
        """How the node sees itself."""

    def administer(self, request: kv_pb2.AdminRequest, answer: Answer) -> None:
        """Does what an operator asks."""


class Asked:
    """Takes the reply to one call; or its replies, if all but the last say that there are more."""

    __slots__ = ("_conversation", "_id", "wanted")

    def __init__(self, conversation: Conversation, number: int) -> None:
        self._conversation = conversation
        self._id = number
        self.wanted = True
        """Whether replies reach anybody. For those that have many: no more need be made once it is False."""

    @property
    def writable(self) -> bool:
        """Whether the client takes its replies: those that have many wait while it does not."""
        return self._conversation.writable

    def __call__(self, reply: kv_pb2.Reply) -> None:
        """The reply must be nobody else's."""
        if self.wanted:
            reply.id = self._id
            self._conversation.answer(self, reply)


class Conversation(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, server: ClientServer) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(CALLS_BYTES_MAX)
        self._transport: asyncio.Transport | None = None
        self._under_way = 0
        """Calls whose last reply was not made yet."""
        self._continued: dict[int, Asked] = {}
        """Calls that had replies, and will have more."""
        self._replies: list[kv_pb2.Reply] = []
        self.writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self._transport = cast(asyncio.Transport, transport)
        tune(transport.get_extra_info("socket"))
        if len(self._server.conversations) >= CONNECTIONS_MAX:
            _log.warning("turned a client away: there are %d", CONNECTIONS_MAX)
            self.abort()
            return
        self._server.conversations.add(self)
        self._transport.write(_GREETING)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        """Nobody waits for replies any more."""
        self._server.left(self)
        for asked in self._continued.values():
            asked.wanted = False
        self._continued.clear()

    def pause_writing(self) -> None:
        """It reads more slowly than it asks."""
        self.writable = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It has read."""
        self.writable = True
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Calls, or pieces of them."""
        try:
            for payload in self._reader.feed(data):
                self._take_all(payload)
        except (WireError, DecodeError) as error:
            _log.warning("closed a client's connection: %s", error)
            self.abort()

    def answer(self, asked: Asked, reply: kv_pb2.Reply) -> None:
        """Queues a reply; all of this turn of the loop go together."""
        if reply.more:
            self._continued[reply.id] = asked
        else:
            if self._continued.get(reply.id) is asked:
                del self._continued[reply.id]
            self._under_way -= 1
        self._replies.append(reply)
        if len(self._replies) == 1:
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Writes what has gathered."""
        replies, self._replies = self._replies, []
        if not replies or self._transport is None or self._transport.is_closing():  # uvloop raises if it is
            return
        for frame in batch_frames(replies):
            self._transport.write(frame)
        if self._transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
            _log.warning("cut a client off that leaves more than %d bytes unread", UNREAD_BYTES_MAX)
            self.abort()

    def finish(self) -> None:
        """Closes after what was answered is written."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        if self._transport is not None:
            self._transport.abort()

    def _take_all(self, payload: bytes) -> None:
        """The calls of one frame. Nearly every frame is smaller than the largest call, so that none needs to be
        measured. Raises WireError, DecodeError.
        """
        calls = kv_pb2.Calls.FromString(payload).calls
        if len(calls) > CALLS_MAX:  # even to say "busy" to each of millions would take minutes
            raise WireError(f"a frame of {len(calls)} calls is beyond the limit of {CALLS_MAX}")
        take = self._take if len(payload) <= CALL_BYTES_MAX else self._take_measured
        for call in calls:
            take(call)

    def _take_measured(self, call: kv_pb2.Call) -> None:
        fault = call_fault_of(call)
        if fault is None:
            self._take(call)
        else:
            self._under_way += 1
            Asked(self, call.id)(kv_pb2.Reply(outcome=kv_pb2.INVALID, detail=fault))

    def _take(self, call: kv_pb2.Call) -> None:
        which = call.WhichOneof("request")
        if which == "cancel":
            self._cancel(call.cancel)
            return
        if call.id in self._continued:  # it would take the other's place, which nobody could then cancel
            raise WireError(f"a call has the id {call.id} of one that has replies to come")
        self._under_way += 1
        answer = Asked(self, call.id)
        handler = _CASES.get(which or "")
        if self._under_way > CALLS_MAX:
            answer(kv_pb2.Reply(outcome=kv_pb2.BUSY, detail=f"{CALLS_MAX} calls are under way on one connection"))
        elif handler is None:
            answer(kv_pb2.Reply(outcome=kv_pb2.INVALID, detail="the call holds no request that this version knows"))
        else:
            handler(self._server, call, answer)

    def _cancel(self, number: int) -> None:
        asked = self._continued.pop(number, None)
        if asked is not None:
            asked.wanted = False
            self._under_way -= 1


class ClientServer:
    """The client port of one node."""

    def __init__(self, operations: Operations, interference: Interference | None = None) -> None:
        self.operations = operations
        self.interference = interference
        self.conversations: set[Conversation] = set()
        self._server: asyncio.Server | None = None
        self._emptied: asyncio.Event | None = None

    def left(self, conversation: Conversation) -> None:
        """A client has gone."""
        self.conversations.discard(conversation)
        if self._emptied is not None and not self.conversations:
            self._emptied.set()

    async def start(self, address: Address) -> None:
        """Listens. Raises OSError if the address can't be used."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Conversation(self), address.host, address.port, reuse_address=True, backlog=CONNECTIONS_MAX
        )

    async def stop(self, grace_s: float) -> None:
        """Ends all conversations; what was answered may still go out for so long."""
        if self._server is not None:
            self._server.close()
        for conversation in list(self.conversations):
            conversation.finish()
        if self.conversations:
            self._emptied = asyncio.Event()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), grace_s)
        for conversation in list(self.conversations):
            conversation.abort()


async def serve(operations: Operations, address: Address, interference: Interference | None = None) -> ClientServer:
    """Starts serving clients; and testers, if there is a hook. Raises OSError if the address can't be used."""
    server = ClientServer(operations, interference)
    await server.start(address)
    return server


def _execute(server: ClientServer, call: kv_pb2.Call, answer: Answer) -> None:
    request = call.execute
    fault = fault_of(request)
    if fault is None:
        server.operations.execute(request, answer)
    else:
        answer(kv_pb2.Reply(outcome=kv_pb2.INVALID, detail=fault))


def _watch(server: ClientServer, call: kv_pb2.Call, answer: Asked) -> None:
    fault = watch_fault_of(call.watch)
    if fault is None:
        server.operations.watch(call.watch, answer)
    else:
        answer(kv_pb2.Reply(outcome=kv_pb2.INVALID, detail=fault))


def _open_session(server: ClientServer, _call: kv_pb2.Call, answer: Answer) -> None:
    server.operations.open_session(answer)


def _tell_status(server: ClientServer, call: kv_pb2.Call, answer: Answer) -> None:
    """Never waits for anybody."""
    status = server.operations.status(state_hash=call.status.state_hash)
    answer(kv_pb2.Reply(outcome=kv_pb2.OK, status=status))


def _administer(server: ClientServer, call: kv_pb2.Call, answer: Answer) -> None:
    if call.admin.WhichOneof("request") is None:
        answer(kv_pb2.Reply(outcome=kv_pb2.INVALID, detail="the call holds no request that this version knows"))
    else:
        server.operations.administer(call.admin, answer)


def _interfere(server: ClientServer, call: kv_pb2.Call, answer: Answer) -> None:
    if server.interference is None:
        answer(kv_pb2.Reply(outcome=kv_pb2.INVALID, detail="no hook: the node was started without --hook messages"))
        return
    reply = interfere(call.interfere, server.interference)
    answer(kv_pb2.Reply(outcome=kv_pb2.OK, interfere=reply))


_CASES: Mapping[str, Callable[[ClientServer, kv_pb2.Call, Asked], None]] = {
    "execute": _execute,
    "open_session": _open_session,
    "status": _tell_status,
    "interfere": _interfere,
    "watch": _watch,
    "admin": _administer,
}
"""What a call can ask for, by the names of ``kv.proto`` Call's fields (``cancel`` is of the conversation itself)."""
