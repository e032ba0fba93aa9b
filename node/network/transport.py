"""Messages between nodes: framed protobuf over plain TCP on uvloop, one long-lived connection for each direction of
each pair.

Why not gRPC streams between nodes: ``benchmarks/node_transport.py`` compares both on the same messages; the figures are
in docs/node.md. Nothing of gRPC would be used here but its framing, and its reconnect back-off and keepalive are what
has to be fought after a partition.

Raft tolerates loss, repetition and reordering, so this layer promises little and never blocks the loop: what can't be
sent is dropped, oldest first. What it has to be good at is *coming back*. A cut link loses packets silently, and TCP
would wait up to minutes before it tries again; so

- the kernel is told to end a connection that gets nothing across (:func:`node.network.frames.tune`);
- a connection attempt is given up before the kernel would repeat its SYN, and tried again after a short pause.

So a healed link carries traffic within about a second, however long it was cut. Cut in one direction only, TCP gets
nothing across in either direction once buffers are full of unacknowledged data; the pair is then as good as cut, and
comes back in the same way.

The first frame (:mod:`node.network.frames`) of a connection is a Hello.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

from google.protobuf.message import DecodeError

from node import peer_pb2
from node.identity import host_of
from node.network.frames import CONNECT_TIMEOUT_S, FrameReader, WireError, encode_frame, tune
from node.network.interference import Interference
from node.network.wire import decode_message, encode_message
from node.raft.messages import Message

PROTOCOL_VERSION = 1
RECONNECT_PAUSE_S_MIN = 0.02
RECONNECT_PAUSE_S_MAX = 0.2
QUEUE_MESSAGES_MAX = 4096
"""Messages that wait for a peer whose connection is slow."""
QUEUE_BYTES_MAX = 32 << 20
"""The same in bytes. A leader's window (``Timing.inflight_bytes_max``) is far below it, or it would lose its own."""
QUEUE_MESSAGES_OFFLINE_MAX = 64
"""The same while there is no connection: they would be stale by the time there is one."""

_log = logging.getLogger("node.transport")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a node listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _Speaker(asyncio.Protocol):
    """Our end of a connection that we opened: it only writes."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._paused = False
        self._transport: asyncio.Transport | None = None

    @property
    def writable(self) -> bool:
        """Whether it takes data now. One that broke a moment ago is closing before it says that it is lost."""
        return not self._paused and self._transport is not None and not self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1 << 20)
        tune(transport.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if not self.lost.done():
            self.lost.set_result(None)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False

    def write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():  # uvloop raises if it is
            self._transport.write(data)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class Link:
    """The way to one peer: a bounded queue, and a task that keeps a connection up."""

    def __init__(self, source: str, target: str, address: Address) -> None:
        self._hello = _hello(source, target)
        self._target = target
        self._address = address
        self._queue: deque[bytes] = deque()
        self._queued_bytes = 0
        self._speaker: _Speaker | None = None
        self.dropped = 0
        """Messages that were never written."""

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as the kernel has noticed."""
        return self._speaker is not None

    def put(self, frame: bytes) -> None:
        """Queues a frame, at the cost of the oldest ones when the queue is full."""
        self._queue.append(frame)
        self._queued_bytes += len(frame)
        limit = QUEUE_MESSAGES_MAX if self._speaker else QUEUE_MESSAGES_OFFLINE_MAX
        while len(self._queue) > limit or (self._queued_bytes > QUEUE_BYTES_MAX and len(self._queue) > 1):
            self._queued_bytes -= len(self._queue.popleft())
            self.dropped += 1

    def flush(self) -> None:
        """Hands what is queued to the connection, if it takes any."""
        if self._queue and self._speaker is not None and self._speaker.writable:
            self._speaker.write(b"".join(self._queue))
            self._queue.clear()
            self._queued_bytes = 0

    async def keep_up(self) -> None:
        """Connects, again and again; runs until it is cancelled."""
        pause_s = RECONNECT_PAUSE_S_MIN
        told = ""
        while True:
            try:
                speaker = await self._connect()
            except OSError as error:
                if told != (told := str(error) or "timed out"):
                    _log.info("no connection to %s at %s: %s", self._target, self._address, told)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, RECONNECT_PAUSE_S_MAX)
                continue
            pause_s, told = RECONNECT_PAUSE_S_MIN, ""
            await self._serve(speaker)
            await asyncio.sleep(pause_s)

    async def _connect(self) -> _Speaker:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):  # its TimeoutError is an OSError
            _, speaker = await loop.create_connection(_Speaker, self._address.host, self._address.port)
        return speaker

    async def _serve(self, speaker: _Speaker) -> None:
        _log.info("connected to %s at %s", self._target, self._address)
        try:
            speaker.write(self._hello)
            self._speaker = speaker
            self.flush()
            await speaker.lost
        finally:
            self._speaker = None
            speaker.abort()
        _log.info("lost the connection to %s", self._target)


class _Listener(asyncio.Protocol):
    """Our end of a connection that a peer opened: it only reads."""

    def __init__(self, owner: Transport) -> None:
        self._owner = owner
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self.peer: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        tune(transport.get_extra_info("socket"))
        self._owner.listeners.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._owner.listeners.discard(self)

    def data_received(self, data: bytes) -> None:
        try:
            for payload in self._reader.feed(data):
                self._take(payload)
        except WireError as error:
            _log.warning("closed the connection from %s: %s", self.peer or "an unknown peer", error)
            self.abort()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _take(self, payload: bytes) -> None:
        if self.peer is None:
            self.peer = _check_hello(payload, self._owner.name, self._owner.peers)
            self._owner.greeted(self)
            return
        message = decode_message(payload)
        if (host_of(message.source), host_of(message.target)) != (self.peer, self._owner.name):
            raise WireError(
                f"a message from {message.source!r} to {message.target!r} on a connection from {self.peer!r}"
            )
        self._owner.received(message)


class Transport:
    """All links of one node."""

    def __init__(
        self,
        name: str,
        addresses: Mapping[str, Address],
        received: Callable[[Message], None],
        interference: Interference | None = None,
    ) -> None:
        """``addresses`` of all nodes, this one among them. ``received`` is called in the loop for every message that
        ``interference`` lets through.
        """
        self.name = name
        self.received = received if interference is None else self._receive
        self._received = received
        self._interference = interference
        if interference is not None:
            interference.attach(send=self._send_late, receive=received)
        self.listeners: set[_Listener] = set()
        self.links = {peer: Link(name, peer, address) for peer, address in addresses.items() if peer != name}
        self.peers = frozenset(self.links)
        self._address = addresses[name]
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listens and begins to connect. Raises OSError if the address can't be used."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Listener(self), self._address.host, self._address.port, reuse_address=True
        )
        self._tasks = [loop.create_task(link.keep_up(), name=f"link to {peer}") for peer, link in self.links.items()]

    def send(self, message: Message) -> None:
        """Queues a message for its target; unknown targets are ignored. Nothing leaves before :meth:`flush`."""
        link = self.links.get(host_of(message.target))
        if link is not None and (self._interference is None or self._interference.passes("out", message)):
            link.put(encode_frame(encode_message(message)))

    def flush(self) -> None:
        """Lets go what was queued. To be called once at the end of a turn: one write per peer."""
        for link in self.links.values():
            link.flush()

    def greeted(self, listener: _Listener) -> None:
        """A peer has one connection to us: what still comes on an older one is stale."""
        for other in list(self.listeners):
            if other is not listener and other.peer == listener.peer:
                other.abort()

    async def close(self) -> None:
        """Ends everything at once."""
        if self._interference is not None:
            self._interference.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        for listener in list(self.listeners):
            listener.abort()

    def _receive(self, message: Message) -> None:
        """In place of ``received`` where there is a hook."""
        if self._interference is None or self._interference.passes("in", message):
            self._received(message)

    def _send_late(self, message: Message) -> None:
        """A message that was held: between two turns."""
        link = self.links[host_of(message.target)]
        link.put(encode_frame(encode_message(message)))
        link.flush()


def _hello(source: str, target: str) -> bytes:
    hello = peer_pb2.Hello(version=PROTOCOL_VERSION)
    return encode_frame(peer_pb2.PeerMessage(source=source, target=target, hello=hello).SerializeToString())


def _check_hello(payload: bytes, name: str, peers: frozenset[str]) -> str:
    """The peer's name. Raises :class:`WireError` if it is not one of ours, or takes us for somebody else."""
    try:
        message = peer_pb2.PeerMessage.FromString(payload)
    except DecodeError as error:
        raise WireError(f"not a message: {error}") from None
    if message.WhichOneof("body") != "hello" or message.hello.version != PROTOCOL_VERSION:
        raise WireError(f"it does not begin with a Hello of version {PROTOCOL_VERSION}")
    if message.target != name or message.source not in peers:
        raise WireError(
            f"{message.source!r} wants to speak to {message.target!r}; this is {name!r} with peers {sorted(peers)}"
        )
    return message.source
