"""Peer streams: what is sent arrives in order, what can't be sent is dropped oldest first, and a broken link comes
back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from node.network import transport
from node.network.frames import encode_frame
from node.network.transport import Address, Link, Transport
from node.network.wire import encode_message
from node.raft.messages import AppendReply, Message
from tests.node.addresses import free_ports


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


async def test_without_a_connection_the_oldest_messages_are_dropped() -> None:
    """A queue of stale messages helps nobody; it is bounded in number."""
    link = Link("n1", "n2", Address("127.0.0.1", 1))
    for number in range(transport.QUEUE_MESSAGES_OFFLINE_MAX + 10):
        link.put(b"%d" % number)
    assert link.dropped == 10
    link.flush()
    assert not link.connected
