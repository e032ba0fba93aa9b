"""The client library against the client port: every reply and every failure is told as definite or indefinite,
rightly.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from node import kv_pb2
from node.client import (
    Append,
    BusyError,
    CompactedError,
    CompareAndSet,
    ConnectionLostError,
    DefiniteError,
    Delete,
    Done,
    FullError,
    Get,
    IndefiniteError,
    InDoubtError,
    InvalidRequestError,
    KvClient,
    KvError,
    NotLeaderError,
    Operation,
    Put,
    ReadMode,
    SessionExpiredError,
    StoppingError,
    TimedOutError,
    UnreachableError,
    WrongTypeError,
)
from node.machine import KEY_BYTES_MAX
from node.network.frames import encode_frame
from node.network.transport import Address
from node.serving.callers import Answer
from node.serving.requests import fault_of
from node.serving.service import serve
from node.serving.watch import Listener
from tests.node.addresses import free_ports


class ScriptedNode:
    """Answers every operation with what the test says, or not at all."""

    def __init__(self, reply: Callable[[kv_pb2.ExecuteRequest], kv_pb2.Reply | None] | None = None) -> None:
        self.reply = reply or (lambda request: kv_pb2.Reply(outcome=kv_pb2.OK, value=request.key.encode(), index=7))
        self.requests: list[kv_pb2.ExecuteRequest] = []
        self.listener: Listener | None = None
        self.asked = asyncio.Event()

    def open_session(self, answer: Answer) -> None:
        answer(kv_pb2.Reply(outcome=kv_pb2.OK, session=41))

    def execute(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        self.requests.append(request)
        self.asked.set()
        reply = self.reply(request)
        if reply is not None:
            answer(reply)

    def status(self, *, state_hash: bool) -> kv_pb2.StatusReply:
        return kv_pb2.StatusReply(
            name="n1", role="leader", term=3, voters=["n1"], state_hash="abc" if state_hash else ""
        )

    def watch(self, request: kv_pb2.WatchRequest, listener: Listener) -> None:
        del request
        self.listener = listener
        self.asked.set()

    def administer(self, request: kv_pb2.AdminRequest, answer: Answer) -> None:
        del request
        answer(kv_pb2.Reply(outcome=kv_pb2.NOT_LEADER, leader="n2"))


@asynccontextmanager
async def serving(node: ScriptedNode) -> AsyncIterator[KvClient]:
    (port,) = free_ports(1)
    server = await serve(node, Address("127.0.0.1", port))
    client = KvClient({"n1": f"127.0.0.1:{port}"})
    try:
        yield client
    finally:
        await client.close()
        await server.stop(0)


OPERATIONS: list[Operation] = [
    Get("k"),
    Get("k", mode=ReadMode.LOCAL),
    Put("k", b"v"),
    CompareAndSet("k", None, b"v"),
    CompareAndSet("k", b"", b"v"),
    Append("k", b"v"),
    Delete("k"),
]


async def test_every_operation_arrives_as_it_was_meant() -> None:
    """Key, value, session and sequence; an absent expectation is not an empty one."""
    node = ScriptedNode()
    async with serving(node) as client:
        assert await client.open_session("n1", 10) == 41
        for number, operation in enumerate(OPERATIONS, start=1):
            done = await client.execute("n1", operation, 10, session=41, sequence=number)
            assert done == Done(applied=True, value=b"k", index=7)
        kinds = [request.WhichOneof("operation") for request in node.requests]
        assert kinds == ["get", "get", "put", "cas", "cas", "append", "delete"]
        assert [request.get.mode for request in node.requests[:2]] == [kv_pb2.LEADER, kv_pb2.LOCAL]
        assert [request.cas.HasField("expected") for request in node.requests[3:5]] == [False, True]
        assert [request.sequence for request in node.requests] == list(range(1, 8))


async def test_many_calls_share_the_stream_and_keep_their_replies() -> None:
    """Replies are told apart by id, whoever asked."""
    async with serving(ScriptedNode()) as client:
        replies = await asyncio.gather(*(client.execute("n1", Get(f"k{number}"), 10) for number in range(300)))
        assert [reply.value for reply in replies] == [b"k%d" % number for number in range(300)]


OUTCOMES: list[tuple[int, type[KvError], bool]] = [
    (kv_pb2.NOT_LEADER, NotLeaderError, True),
    (kv_pb2.BUSY, BusyError, True),
    (kv_pb2.SESSION_EXPIRED, SessionExpiredError, True),
    (kv_pb2.INVALID, InvalidRequestError, True),
    (kv_pb2.WRONG_TYPE, WrongTypeError, True),
    (kv_pb2.FULL, FullError, True),
    (kv_pb2.COMPACTED, CompactedError, True),
    (kv_pb2.STOPPING, StoppingError, True),
    (kv_pb2.FORGOTTEN, InDoubtError, False),
    (kv_pb2.UNKNOWN, InDoubtError, False),
    (99, InDoubtError, False),
]


@pytest.mark.parametrize(("outcome", "error", "definite"), OUTCOMES)
async def test_every_outcome_has_its_error(outcome: int, error: type[KvError], definite: bool) -> None:
    """An outcome that this version does not know is indefinite."""
    node = ScriptedNode(lambda _: kv_pb2.Reply(outcome=kv_pb2.Outcome.ValueType(outcome), leader="n2"))
    async with serving(node) as client:
        with pytest.raises(error) as caught:
            await client.execute("n1", Get("k"), 10)
        assert isinstance(caught.value, DefiniteError if definite else IndefiniteError)
        if isinstance(caught.value, NotLeaderError):
            assert caught.value.leader == "n2"


def test_every_outcome_of_the_protocol_is_covered() -> None:
    """A new outcome must be given a meaning."""
    named = {kv_pb2.OUTCOME_UNSPECIFIED, kv_pb2.OK, kv_pb2.MISMATCH, *(outcome for outcome, _, _ in OUTCOMES)}
    assert {int(value) for value in kv_pb2.Outcome.values()} <= {int(value) for value in named}


async def test_a_mismatch_is_an_answer_not_an_error() -> None:
    """It says what was observed."""
    node = ScriptedNode(lambda _: kv_pb2.Reply(outcome=kv_pb2.MISMATCH, value=b"other", index=9))
    async with serving(node) as client:
        done = await client.execute("n1", CompareAndSet("k", b"a", b"b"), 10, session=1, sequence=1)
        assert done == Done(applied=False, value=b"other", index=9)


async def test_a_refused_connection_is_definite() -> None:
    """Nothing was sent, so nothing happened."""
    (port,) = free_ports(1)
    client = KvClient({"n1": f"127.0.0.1:{port}"})
    with pytest.raises(UnreachableError):
        await client.execute("n1", Put("k", b"v"), 10, session=1, sequence=1)
    with pytest.raises(UnreachableError):
        await client.status("n1", 10)
    await client.close()


async def test_a_node_that_accepts_but_never_greets_gets_nothing() -> None:
    """A paused node's kernel still accepts connections: time running out there is definite, and closing does not
    block.
    """
    with socket.create_server(("127.0.0.1", 0)) as paused:
        client = KvClient({"n1": f"127.0.0.1:{paused.getsockname()[1]}"})
        with pytest.raises(UnreachableError):
            await client.execute("n1", Put("k", b"v"), 0.2, session=1, sequence=1)
        async with asyncio.timeout(5):
            await client.close()


async def test_no_reply_in_time_is_indefinite() -> None:
    """It was sent; the node may do it yet. The stream goes on for other calls."""
    silent = ScriptedNode(lambda request: None if request.key == "lost" else kv_pb2.Reply(outcome=kv_pb2.OK))
    async with serving(silent) as client:
        await client.execute("n1", Get("k"), 10)
        with pytest.raises(TimedOutError):
            await client.execute("n1", Put("lost", b"v"), 0.05, session=1, sequence=1)
        await client.execute("n1", Get("k"), 10)


async def test_a_connection_that_breaks_leaves_calls_in_doubt() -> None:
    """The node got the request and went down before it answered."""
    node = ScriptedNode(lambda _: None)
    (port,) = free_ports(1)
    server = await serve(node, Address("127.0.0.1", port))
    client = KvClient({"n1": f"127.0.0.1:{port}"})
    call = asyncio.create_task(client.execute("n1", Put("k", b"v"), 10, session=1, sequence=1))
    await asyncio.wait_for(node.asked.wait(), 10)
    await server.stop(0)
    with pytest.raises(ConnectionLostError):
        await call
    await client.close()


async def test_closing_the_client_fails_what_is_under_way() -> None:
    """Nothing waits for ever, and nothing is left behind."""
    node = ScriptedNode(lambda _: None)
    async with serving(node) as client:
        call = asyncio.create_task(client.execute("n1", Get("k"), 10))
        await asyncio.wait_for(node.asked.wait(), 10)
        await client.close()
        with pytest.raises(ConnectionLostError):
            await call


async def test_status() -> None:
    """Goes beside the stream; the hash only on request."""
    async with serving(ScriptedNode()) as client:
        status = await client.status("n1", 10)
        assert (status.name, status.role, status.term, status.leader, status.voters) == (
            "n1",
            "leader",
            3,
            None,
            ("n1",),
        )
        assert status.state_hash is None
        assert (await client.status("n1", 10, state_hash=True)).state_hash == "abc"


async def test_a_port_that_is_taken_is_an_error() -> None:
    """Two nodes never share a port silently."""
    (port,) = free_ports(1)
    server = await serve(ScriptedNode(), Address("127.0.0.1", port))
    with pytest.raises(OSError, match=str(port)):
        await serve(ScriptedNode(), Address("127.0.0.1", port))
    await server.stop(0)


@pytest.mark.parametrize(
    ("request_", "fault"),
    [
        (kv_pb2.ExecuteRequest(key="k"), "names no operation"),
        (kv_pb2.ExecuteRequest(get=kv_pb2.Get()), "a key has 1 to"),
        (kv_pb2.ExecuteRequest(key="é" * KEY_BYTES_MAX, get=kv_pb2.Get()), "a key has 1 to"),
        (kv_pb2.ExecuteRequest(key="k", put=kv_pb2.Put()), "needs a session"),
        (kv_pb2.ExecuteRequest(key="k", session=1, put=kv_pb2.Put()), "needs a session"),
        (kv_pb2.ExecuteRequest(key="k", session=1, sequence=1, put=kv_pb2.Put(value=bytes(2 << 20))), "at most"),
        (kv_pb2.ExecuteRequest(key="k", get=kv_pb2.Get()), None),
        (kv_pb2.ExecuteRequest(key="k", session=1, sequence=1, delete=kv_pb2.Delete()), None),
    ],
)
def test_requests_are_checked_at_the_edge(request_: kv_pb2.ExecuteRequest, fault: str | None) -> None:
    """What reaches the log can be applied."""
    found = fault_of(request_)
    assert found is None if fault is None else found is not None and fault in found


async def test_a_watch_whose_client_does_not_read_is_told_to_wait() -> None:
    """Its listener says so after a bounded number of replies, and no more once the client has read them; when the
    client leaves, nobody wants more.
    """
    node, reply = ScriptedNode(), kv_pb2.Reply(outcome=kv_pb2.OK, more=True, value=bytes(64 << 10))
    (port,) = free_ports(1)
    server = await serve(node, Address("127.0.0.1", port))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        call = kv_pb2.Calls(calls=[kv_pb2.Call(id=1, watch=kv_pb2.WatchRequest(key="k"))])
        writer.write(encode_frame(call.SerializeToString()))
        await node.asked.wait()
        listener = node.listener
        assert listener is not None
        told = 0
        while listener.writable and told < 2000:
            listener(reply)
            told += 1
            await asyncio.sleep(0)
        assert told < 2000
        async with asyncio.timeout(10):
            while not listener.writable:
                await reader.read(1 << 20)
            writer.close()
            while listener.wanted:
                listener(reply)
                await asyncio.sleep(0)
    finally:
        await server.stop(0)
