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
from node.client import (
    BusyError,
    ConnectionLostError,
    Get,
    InvalidRequestError,
    KvClient,
    Put,
    UnreachableError,
)
from node.network import conversation, frames
from node.network.conversation import Conversation
from node.network.frames import CALLS_BYTES_MAX, FrameReader, encode_frame
from node.network.transport import Address
from node.serving import service
from node.serving.callers import Answer
from node.serving.requests import CALL_BYTES_MAX
from node.serving.service import ClientServer, serve
from node.serving.watch import History, Listener, Watches
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


def get_as(number: int) -> kv_pb2.Call:
    call = get()
    call.id = number
    return call


NONSENSE = {
    "no frame": b"GET / HTTP/1.1\r\n\r\n",
    "a wrong checksum": encode_frame(kv_pb2.Calls(calls=[get()]).SerializeToString())[:-1] + b"\xff",
    "no calls": encode_frame(b"\xff\xff\xff"),
    "a frame that is too long": (CALLS_BYTES_MAX + 1).to_bytes(4, "little") + bytes(4),
    "a flood of calls": encode_frame(b"\x0a\x00" * (conversation.CALLS_MAX + 1)),
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
        waiting = [asyncio.create_task(client.execute("n1", Get("k"), 10)) for _ in range(2)]
        await node.wait_asked()
        with pytest.raises(BusyError, match="on one connection"):
            await client.execute("n1", Get("k"), 10)
        monkeypatch.setattr(conversation, "CALLS_MAX", 2)
        with pytest.raises(BusyError, match="2 calls to n1"):
            await client.execute("n1", Get("k"), 10)
        for answer in node.answers:
            answer(kv_pb2.Reply(outcome=kv_pb2.OK))
        await asyncio.wait_for(asyncio.gather(*waiting), 10)
        await client.close()


@pytest.mark.parametrize("size", [CALL_BYTES_MAX, CALLS_BYTES_MAX], ids=["by the node", "by the client"])
async def test_a_call_that_is_too_large_is_refused_and_costs_no_other(size: int) -> None:
    """By the node, and by the client itself if the node would close the connection for it: definite, either way."""
    node = Holding()
    async with serving(node) as (_, address):
        client = KvClient({"n1": address})
        other = asyncio.create_task(client.execute("n1", Get("k"), 10))
        await node.wait_asked()
        with pytest.raises(InvalidRequestError, match=r"a (call|frame of calls) has at most"):
            await client.execute("n1", Put("k", bytes(size)), 10)
        node.answers[0](kv_pb2.Reply(outcome=kv_pb2.OK))
        assert (await other).applied
        await client.close()


async def test_replies_may_be_larger_than_calls() -> None:
    """What a client asks for in a few bytes may be many."""
    large = kv_pb2.Reply(outcome=kv_pb2.OK, value=bytes(2 * CALLS_BYTES_MAX))
    async with serving(ScriptedNode(lambda _: large)) as (_, address):
        client = KvClient({"n1": address})
        assert (await client.execute("n1", Get("k"), 10)).value == large.value
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


async def test_who_gives_up_has_the_node_stop_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its own error, too many replies, the node must learn. And what was given up before it was sent is never sent,
    for nobody would ever end it.
    """
    monkeypatch.setattr(conversation, "REPLIES_WAITING_MAX", 1)
    node = Holding()
    async with serving(node) as (_, address):
        line = Conversation("n1", address)
        unsent = line.listen(get("unsent"), 10)
        waiting = asyncio.ensure_future(anext(unsent))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        listening = asyncio.ensure_future(_collect(line))
        await node.wait_asked()
        (asked,) = node.answers
        for _ in range(3):
            asked(kv_pb2.Reply(outcome=kv_pb2.OK, more=True))
        with pytest.raises(ConnectionLostError, match="wait to be taken"):
            await asyncio.wait_for(listening, 10)
        async with asyncio.timeout(10):
            while asked.wanted:  # type: ignore[attr-defined]  # noqa: ASYNC110  # another end of a socket
                await asyncio.sleep(0.001)
        assert [request.key for request in node.requests] == ["k"]
        await line.close()


class Watching(ScriptedNode):
    """Serves watches."""

    def __init__(self) -> None:
        super().__init__()
        self.watches = Watches(History(1))

    def watch(self, request: kv_pb2.WatchRequest, listener: Listener) -> None:
        self.watches.watch(request, listener, 0, 0)


async def test_an_id_that_is_taken_ends_the_connection_and_its_watches() -> None:
    """Two watches with one id can't be told apart, and the first could never be ended: its place would be lost."""
    node = Watching()
    watch, other = (kv_pb2.Call(id=number, watch=kv_pb2.WatchRequest(key="k")) for number in (7, 8))
    async with serving(node) as (_, address):
        reader, writer = await raw(address)
        writer.write(encode_frame(kv_pb2.Calls(calls=[other, watch, watch]).SerializeToString()))
        with contextlib.suppress(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 10)
        node.watches.flush(1, 1 << 40)
        assert len(node.watches) == 0
        writer.close()


async def test_a_watch_keeps_its_place_when_an_operation_of_the_same_id_is_answered() -> None:
    """The operation was there first; what is cancelled later is the watch."""
    node = Holding()
    async with serving(node) as (server, address):
        _, writer = await raw(address)
        for number in range(2):
            writer.write(encode_frame(kv_pb2.Calls(calls=[get_as(7)]).SerializeToString()))
            await node.wait_asked()
            assert len(node.answers) == number + 1
        operation, watch = node.answers
        watch(kv_pb2.Reply(outcome=kv_pb2.OK, more=True))
        operation(kv_pb2.Reply(outcome=kv_pb2.OK))
        cancel = encode_frame(kv_pb2.Calls(calls=[kv_pb2.Call(cancel=7)]).SerializeToString())
        writer.write(cancel)
        async with asyncio.timeout(10):
            while watch.wanted:  # type: ignore[attr-defined]  # noqa: ASYNC110  # another end of a socket
                await asyncio.sleep(0.001)
        assert len(server.conversations) == 1
        writer.close()


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
