"""The connection between clients and a node: what is bounded, what a bad or slow client costs the others, calls with
many replies, and coming back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from node import kv_pb2
from node.client import BusyError, ConnectionLostError, Get, KvClient, UnreachableError
from node.network import conversation, frames
from node.network.conversation import Conversation
from node.network.frames import FrameReader, encode_frame
from node.network.transport import Address
from node.serving import service
from node.serving.callers import Answer
from node.serving.service import ClientServer, serve
from tests.node.addresses import free_ports
from tests.node.test_service import ScriptedNode


class Holding(ScriptedNode):
    """Keeps what is to be answered."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[Answer] = []

    def execute(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        self.requests.append(request)
        self.answers.append(answer)
        self.asked.set()

    async def wait_asked(self) -> None:
        await asyncio.wait_for(self.asked.wait(), 10)
        self.asked.clear()


@asynccontextmanager
async def serving(node: ScriptedNode) -> AsyncIterator[tuple[ClientServer, str]]:
    (port,) = free_ports(1)
    server = await serve(node, Address("127.0.0.1", port))
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def raw(address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client of its own kind, greeted."""
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    greeting = await asyncio.wait_for(reader.read(100), 10)
    (payload,) = FrameReader().feed(greeting)
    assert kv_pb2.Replies.FromString(payload).greeting.version == conversation.PROTOCOL_VERSION
    return reader, writer


def get(key: str = "k") -> kv_pb2.Call:
    return kv_pb2.Call(execute=kv_pb2.ExecuteRequest(key=key, get=kv_pb2.Get()))


NONSENSE = {
    "no frame": b"GET / HTTP/1.1\r\n\r\n",
    "a wrong checksum": encode_frame(kv_pb2.Calls(calls=[get()]).SerializeToString())[:-1] + b"\xff",
    "no calls": encode_frame(b"\xff\xff\xff"),
}


@pytest.mark.parametrize("nonsense", NONSENSE.values(), ids=NONSENSE)
async def test_nonsense_ends_its_connection_and_no_other(nonsense: bytes) -> None:
    """A client that is broken, or none at all, is cut off; the others do not notice."""
    async with serving(ScriptedNode()) as (_, address):
        client = KvClient({"n1": address})
        await client.execute("n1", Get("k"), 10)
        reader, writer = await raw(address)
        writer.write(nonsense)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(1), 10) == b""
        await client.execute("n1", Get("k"), 10)
        writer.close()
        await client.close()


async def test_a_node_that_speaks_nonsense_is_not_believed() -> None:
    """Nothing was sent before a greeting of our own protocol, so the failure is definite."""

    async def impostor(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(impostor, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = KvClient({"n1": f"127.0.0.1:{port}"})
        with pytest.raises(UnreachableError, match="nonsense"):
            await client.execute("n1", Get("k"), 10)
        await client.close()


async def test_a_node_that_comes_back_is_found_by_the_next_call() -> None:
    """There is no back-off: a call begins a connection attempt, whatever became of earlier ones."""
    (port,) = free_ports(1)
    client = KvClient({"n1": f"127.0.0.1:{port}"})
    for _ in range(3):
        for _ in range(3):
            with pytest.raises(UnreachableError):
                await client.execute("n1", Get("k"), 10)
        server = await serve(ScriptedNode(), Address("127.0.0.1", port))
        await client.execute("n1", Get("k"), 10)
        await server.stop(0)
        with contextlib.suppress(ConnectionLostError, UnreachableError):  # its end may not have been noticed yet
            await client.execute("n1", Get("k"), 10)
    await client.close()


async def test_calls_beyond_the_limit_are_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the node, and by the client before anything is sent."""
    monkeypatch.setattr(service, "CALLS_MAX", 2)
    node = Holding()
    async with serving(node) as (_, address):
        client = KvClient({"n1": address})
        calls = [asyncio.create_task(client.execute("n1", Get("k"), 10)) for _ in range(3)]
        done, waiting = await asyncio.wait(calls, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(BusyError, match="on one connection"):
            await done.pop()
        monkeypatch.setattr(conversation, "CALLS_MAX", 2)
        with pytest.raises(BusyError, match="2 calls to n1"):
            await client.execute("n1", Get("k"), 10)
        for answer in node.answers:
            answer(kv_pb2.Reply(outcome=kv_pb2.OK))
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        await client.close()


async def test_clients_beyond_the_limit_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Definitely: they are not greeted. When one goes, there is room."""
    monkeypatch.setattr(service, "CONNECTIONS_MAX", 1)
    async with serving(ScriptedNode()) as (server, address):
        first, second = KvClient({"n1": address}), KvClient({"n1": address})
        await first.execute("n1", Get("k"), 10)
        with pytest.raises(UnreachableError):
            await second.execute("n1", Get("k"), 10)
        await first.close()
        async with asyncio.timeout(10):
            while server.conversations:  # noqa: ASYNC110  # another end of a socket
                await asyncio.sleep(0.001)
        await second.execute("n1", Get("k"), 10)
        await second.close()


async def test_a_client_that_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded, and its calls are not taken while it does not read; others go on."""
    monkeypatch.setattr(service, "UNREAD_BYTES_MAX", 4 << 20)
    large = kv_pb2.Reply(outcome=kv_pb2.OK, value=bytes(1 << 20))

    def reply(request: kv_pb2.ExecuteRequest) -> kv_pb2.Reply:
        return large if request.key == "large" else kv_pb2.Reply(outcome=kv_pb2.OK)

    async with serving(ScriptedNode(reply)) as (server, address):
        _, writer = await raw(address)
        client = KvClient({"n1": address})
        await client.execute("n1", Get("k"), 10)
        writer.write(encode_frame(kv_pb2.Calls(calls=[get("large") for _ in range(64)]).SerializeToString()))
        async with asyncio.timeout(10):
            while len(server.conversations) > 1:  # noqa: ASYNC110  # another end of a socket
                await asyncio.sleep(0.001)
        await client.execute("n1", Get("k"), 10)
        await client.close()
        writer.transport.abort()


async def test_a_batch_larger_than_a_frame_arrives_in_several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls and replies of any number and size share frames only up to a limit."""
    monkeypatch.setattr(frames, "BATCH_BYTES_MAX", 100)
    async with serving(ScriptedNode()) as (_, address):
        client = KvClient({"n1": address})
        done = await asyncio.gather(*(client.execute("n1", Get(f"{number:050}"), 10) for number in range(40)))
        assert [one.value for one in done] == [b"%050d" % number for number in range(40)]
        await client.close()


# Calls with many replies


async def test_a_call_may_have_many_replies() -> None:
    """In their order, until one says that it is the last."""
    node = Holding()
    async with serving(node) as (_, address):
        line = Conversation("n1", address)
        listening = asyncio.create_task(_collect(line))
        await node.wait_asked()
        for number in range(5):
            node.answers[0](kv_pb2.Reply(outcome=kv_pb2.OK, index=number, more=number < 4))
        assert await asyncio.wait_for(listening, 10) == [0, 1, 2, 3, 4]
        await line.close()


async def test_who_stops_listening_says_so() -> None:
    """The node learns that nobody wants further replies, and so does it when the connection ends."""
    node = Holding()
    async with serving(node) as (_, address):
        line = Conversation("n1", address)
        for leave in (False, True):
            replies = line.listen(get(), 10)
            first = asyncio.ensure_future(anext(replies))
            await node.wait_asked()
            asked = node.answers.pop()
            asked(kv_pb2.Reply(outcome=kv_pb2.OK, index=7, more=True))
            assert (await asyncio.wait_for(first, 10)).index == 7
            if leave:
                await line.close()
            await replies.aclose()  # type: ignore[attr-defined]  # it is a generator
            async with asyncio.timeout(10):
                while asked.wanted:  # type: ignore[attr-defined]  # noqa: ASYNC110  # another end of a socket
                    await asyncio.sleep(0.001)
            asked(kv_pb2.Reply(outcome=kv_pb2.OK, index=8, more=True))  # goes nowhere


async def test_a_listener_learns_of_a_lost_connection() -> None:
    """It may have missed something."""
    node = Holding()
    async with serving(node) as (server, address):
        line = Conversation("n1", address)
        listening = asyncio.create_task(_collect(line))
        await node.wait_asked()
        node.answers[0](kv_pb2.Reply(outcome=kv_pb2.OK, more=True))
        await server.stop(1)
        with pytest.raises(ConnectionLostError):
            await asyncio.wait_for(listening, 10)
        await line.close()


async def test_a_listener_that_falls_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it is bounded; it gets what was kept, and then the error."""
    monkeypatch.setattr(conversation, "REPLIES_WAITING_MAX", 10)
    node = Holding()
    async with serving(node) as (_, address):
        line = Conversation("n1", address)
        replies = line.listen(get(), 10)
        first = asyncio.ensure_future(anext(replies))
        await node.wait_asked()
        for number in range(30):
            node.answers[0](kv_pb2.Reply(outcome=kv_pb2.OK, index=number, more=True))
        seen = [(await asyncio.wait_for(first, 10)).index]
        while len(seen) < 10:
            seen.append((await asyncio.wait_for(anext(replies), 10)).index)
        with pytest.raises(ConnectionLostError, match="wait to be taken"):
            await asyncio.wait_for(anext(replies), 10)
        assert seen == list(range(10))
        await line.close()


async def _collect(line: Conversation) -> list[int]:
    return [reply.index async for reply in line.listen(get(), 10)]


async def test_calls_leave_in_frames_of_a_moderate_size() -> None:
    """However many are made in one turn of the loop, the node can begin with the first of them."""
    sizes, gone = list[int](), asyncio.Event()
    greeting = kv_pb2.Replies(greeting=kv_pb2.Greeting(version=conversation.PROTOCOL_VERSION))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(encode_frame(greeting.SerializeToString()))
        frames = FrameReader()
        while data := await reader.read(1 << 16):
            for calls in map(kv_pb2.Calls.FromString, frames.feed(data)):
                sizes.append(len(calls.calls))
                replies = [kv_pb2.Reply(id=call.id, outcome=kv_pb2.OK) for call in calls.calls]
                writer.write(encode_frame(kv_pb2.Replies(replies=replies).SerializeToString()))
        writer.close()
        gone.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        client = KvClient({"n1": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"})
        await client.execute("n1", Get("k"), 10)  # now there is a connection
        most = conversation.CALLS_PER_FRAME
        await asyncio.gather(*(client.execute("n1", Get("k"), 10) for _ in range(2 * most + 3)))
        assert sizes == [1, most, most, 3]
        await client.close()
        await asyncio.wait_for(gone.wait(), 10)
