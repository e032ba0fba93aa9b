"""Peer streams: what is sent arrives in order, what can't be sent is dropped oldest first, and a broken link comes
back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from node.network import transport
from node.network.frames import FrameReader, encode_frame
from node.network.transport import Address, Link, Transport
from node.network.wire import decode_message, encode_message
from node.raft.core import Timing
from node.raft.messages import AppendReply, Message
from tests.node.addresses import free_ports
from tests.node.by_hand import ByHand


def message(number: int, source: str = "n1", target: str = "n2") -> AppendReply:
    return AppendReply(source=source, target=target, term=1, success=True, match=number)


class Received:
    """Collects messages and lets a test wait for a number of them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._news = asyncio.Event()

    def __call__(self, message: Message) -> None:
        self.messages.append(message)
        self._news.set()

    async def wait(self, count: int) -> list[Message]:
        async with asyncio.timeout(10):
            while len(self.messages) < count:
                self._news.clear()
                await self._news.wait()
        return self.messages


@asynccontextmanager
async def started(name: str, addresses: dict[str, Address], received: Received) -> AsyncIterator[Transport]:
    one = Transport(name, addresses, received)
    await one.start()
    try:
        yield one
    finally:
        await one.close()


def two_addresses() -> dict[str, Address]:
    return {name: Address("127.0.0.1", port) for name, port in zip(("n1", "n2"), free_ports(2), strict=True)}


async def connected(one: Transport, peer: str, *, wanted: bool = True) -> None:
    async with asyncio.timeout(10):
        while one.links[peer].connected is not wanted:  # noqa: ASYNC110  # the link tells nobody but its queue
            await asyncio.sleep(0.005)


async def test_messages_arrive_in_order_in_both_directions() -> None:
    """One connection for each direction; a batch is one write, a message of several megabytes is fine."""
    addresses = two_addresses()
    at_1, at_2 = Received(), Received()
    async with started("n1", addresses, at_1) as n1, started("n2", addresses, at_2) as n2:
        await connected(n1, "n2")
        await connected(n2, "n1")
        for number in range(100):
            n1.send(message(number))
        n2.send(message(7, "n2", "n1"))
        n1.flush()
        n2.flush()
        assert await at_2.wait(100) == [message(number) for number in range(100)]
        assert await at_1.wait(1) == [message(7, "n2", "n1")]


async def test_a_peer_that_restarts_is_reached_again() -> None:
    """Its port refuses for a while; nothing has to be told to try again."""
    addresses = two_addresses()
    async with started("n1", addresses, Received()) as n1:
        for number in range(2):
            at_2 = Received()
            async with started("n2", addresses, at_2):
                await connected(n1, "n2")
                n1.send(message(number))
                n1.flush()
                assert (await at_2.wait(1))[-1] == message(number)
            await connected(n1, "n2", wanted=False)


async def test_a_stranger_is_not_listened_to() -> None:
    """A connection that does not introduce itself properly is closed before it can say anything."""
    addresses = two_addresses()
    received = Received()
    introductions = [
        b"GET / HTTP/1.1\r\n\r\n" + bytes(100),
        encode_frame(encode_message(message(1))),
        transport._hello("n9", "n2"),
        transport._hello("n1", "n3"),
    ]
    async with started("n2", addresses, received):
        for introduction in introductions:
            reader, writer = await asyncio.open_connection("127.0.0.1", addresses["n2"].port)
            writer.write(introduction + encode_frame(encode_message(message(1))))
            with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(reader.readexactly(1), 10)
            writer.close()
    assert received.messages == []


async def test_nobody_speaks_for_somebody_else() -> None:
    """Messages must come from the peer that introduced itself."""
    addresses = two_addresses()
    received = Received()
    async with started("n2", addresses, received):
        reader, writer = await asyncio.open_connection("127.0.0.1", addresses["n2"].port)
        writer.write(transport._hello("n1", "n2") + encode_frame(encode_message(message(1, source="n3"))))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        writer.close()
    assert received.messages == []


class Wire:
    """In place of a connection: takes everything, and remembers it until it is delivered."""

    writable = True

    def __init__(self) -> None:
        self.data = b""
        self.bytes = 0

    def write(self, data: bytes) -> None:
        self.data += data
        self.bytes += len(data)

    def deliver(self) -> list[Message]:
        data, self.data = self.data, b""
        return [decode_message(payload) for payload in FrameReader().feed(data)]


SCALE = 256
VALUE = bytes((1 << 20) // SCALE)


def test_a_backlog_reaches_a_follower_without_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leader sends no more at once than the queue of a link holds, however far behind the follower is: nothing is
    dropped, so nothing is sent twice. (Both limits are scaled down, and what is written at once with them.)
    """
    normal = Timing()
    monkeypatch.setattr(transport, "QUEUE_BYTES_MAX", transport.QUEUE_BYTES_MAX // SCALE)
    timing = Timing(
        bytes_per_append_max=normal.bytes_per_append_max // SCALE, inflight_bytes_max=normal.inflight_bytes_max // SCALE
    )
    leader, follower = ByHand("a", timing=timing), ByHand("b", timing=timing)
    leader.lead()
    leader.propose(*[VALUE] * 200)
    link, wire = Link("a", "b", Address("127.0.0.1", 1)), Wire()
    link._speaker = cast(transport._Speaker, wire)
    for message in leader.time_out():
        link.put(encode_frame(encode_message(message)))
    trips = 0
    while follower.core.last_index < leader.core.last_index and trips < 1000:
        trips += 1
        link.flush()
        for message in leader.hear(*follower.hear(*wire.deliver())):
            if message.target == "b":
                link.put(encode_frame(encode_message(message)))
    assert trips < 100
    assert link.dropped == 0
    assert wire.bytes < 2 * 200 * len(VALUE)


async def test_without_a_connection_the_oldest_messages_are_dropped() -> None:
    """A queue of stale messages helps nobody; it is bounded in number."""
    link = Link("n1", "n2", Address("127.0.0.1", 1))
    for number in range(transport.QUEUE_MESSAGES_OFFLINE_MAX + 10):
        link.put(b"%d" % number)
    assert link.dropped == 10
    link.flush()
    assert not link.connected
