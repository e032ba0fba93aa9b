"""The gRPC service for clients (``kv.proto``): requests are checked here, handed to the shell, and its replies carried
back.

Why there is a stream: a unary call costs grpc.aio about 300 us of processor, whatever is in it. On a ``Converse``
stream all calls that a client has ready share one message, and so do all replies of a turn; with several workers
sharing a :class:`node.client.KvClient` most of gRPC's cost is shared too. The unary methods do the same for those who
want them (other languages, a command line). docs/node.md has the figures.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

import grpc
import grpc.aio

from node import kv_pb2
from node.callers import Answer
from node.interference import Interference
from node.machine import VALUE_BYTES_MAX
from node.rules import interfere
from node.transport import Address

SERVICE = "capsize.node.Kv"
KEY_BYTES_MAX = 1024

SERVER_OPTIONS = (
    ("grpc.so_reuseport", 0),  # two nodes on one port must fail, not share it
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.http2.min_ping_interval_without_data_ms", 200),  # clients ping to notice cut links
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 200),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 5000),  # streams of clients that are cut off must end some day
    ("grpc.keepalive_timeout_ms", 5000),
)

_log = logging.getLogger("node.service")


class Operations(Protocol):
    """What the service needs of a node; :class:`node.shell.Shell` is one."""

    def open_session(self, answer: Answer) -> None:
        """Opens a session through the log."""

    def execute(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        """Does an operation."""

    def status(self, *, state_hash: bool) -> kv_pb2.StatusReply:
        """How the node sees itself."""


def fault_of(request: kv_pb2.ExecuteRequest) -> str | None:
    """What is wrong with a request; None if it is fine."""
    operation = request.WhichOneof("operation")
    if operation is None:
        return "the request names no operation"
    if not request.key or len(request.key.encode()) > KEY_BYTES_MAX:
        return f"a key has 1 to {KEY_BYTES_MAX} bytes, not {len(request.key.encode())}"
    if operation != "get" and not (request.session and request.sequence):
        return (
            f"{operation} needs a session and a sequence number from 1 on, not {request.session} and {request.sequence}"
        )
    if operation in ("put", "cas", "append") and len(getattr(request, operation).value) > VALUE_BYTES_MAX:
        return f"a value has at most {VALUE_BYTES_MAX} bytes, not {len(getattr(request, operation).value)}"
    return None


class KvService:
    """The four methods, and a fifth for testers."""

    def __init__(self, operations: Operations, interference: Interference | None = None) -> None:
        self._operations = operations
        self._interference = interference

    async def open_session(self, _request: kv_pb2.OpenSessionRequest, _context: Any) -> kv_pb2.Reply:
        """Unary."""
        return await self._wait(self._operations.open_session)

    async def execute(self, request: kv_pb2.ExecuteRequest, _context: Any) -> kv_pb2.Reply:
        """Unary."""
        return await self._wait(lambda answer: self._execute(request, answer))

    async def status(self, request: kv_pb2.StatusRequest, _context: Any) -> kv_pb2.StatusReply:
        """Unary; never waits for anybody."""
        return self._operations.status(state_hash=request.state_hash)

    async def interfere(self, request: kv_pb2.InterfereRequest, _context: Any) -> kv_pb2.InterfereReply:
        """Unary."""
        assert self._interference is not None, "there is no such method without the hook"
        return interfere(request, self._interference)

    async def converse(self, _requests: Any, context: grpc.aio.ServicerContext[kv_pb2.Calls, kv_pb2.Replies]) -> None:
        """The stream. gRPC cancels it when the client is gone."""
        await context.write(kv_pb2.Replies())
        outbox = _Outbox()
        writer = asyncio.create_task(outbox.write_to(context))
        try:
            while (calls := await context.read()) is not grpc.aio.EOF:  # type: ignore[attr-defined]  # missing in the stubs
                for call in calls.calls:
                    self._call(call, outbox)
            await outbox.drained()
        finally:
            writer.cancel()

    def _call(self, call: kv_pb2.Call, outbox: _Outbox) -> None:
        call_id = call.id
        outbox.expected += 1

        def answer(reply: kv_pb2.Reply) -> None:
            reply.id = call_id
            outbox.put(reply)

        which = call.WhichOneof("request")
        if which == "execute":
            self._execute(call.execute, answer)
        elif which == "open_session":
            self._operations.open_session(answer)
        else:
            answer(kv_pb2.Reply(outcome=kv_pb2.INVALID, detail="the call holds no request"))

    def _execute(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        fault = fault_of(request)
        if fault is None:
            self._operations.execute(request, answer)
        else:
            answer(kv_pb2.Reply(outcome=kv_pb2.INVALID, detail=fault))

    async def _wait(self, ask: Callable[[Answer], None]) -> kv_pb2.Reply:
        future: asyncio.Future[kv_pb2.Reply] = asyncio.get_running_loop().create_future()
        ask(lambda reply: None if future.done() else future.set_result(reply))
        return await future


class _Outbox:
    """Replies on their way back on one stream: all that gathered while one message was written go with the next."""

    def __init__(self) -> None:
        self.expected = 0
        """Calls whose replies were not written yet."""
        self._replies: list[kv_pb2.Reply] = []
        self._news = asyncio.Event()
        self._empty = asyncio.Event()

    def put(self, reply: kv_pb2.Reply) -> None:
        """Queues a reply. Bounded by what may be pending at the node."""
        self._replies.append(reply)
        self._news.set()

    async def write_to(self, context: grpc.aio.ServicerContext[kv_pb2.Calls, kv_pb2.Replies]) -> None:
        """Runs until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            replies, self._replies = self._replies, []
            await context.write(kv_pb2.Replies(replies=replies))
            self.expected -= len(replies)
            self._empty.set()

    async def drained(self) -> None:
        """Waits until every call has its reply."""
        while self.expected:
            self._empty.clear()
            await self._empty.wait()


async def serve(operations: Operations, address: Address, interference: Interference | None = None) -> grpc.aio.Server:
    """Starts serving clients; and testers, if there is a hook. Raises OSError if the address can't be used."""
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((_handlers(KvService(operations, interference), hooked=interference is not None),))
    try:
        server.add_insecure_port(str(address))
    except RuntimeError as error:
        raise OSError(f"can't serve clients at {address}: {error}") from None
    await server.start()
    return server


def _handlers(service: KvService, *, hooked: bool) -> grpc.GenericRpcHandler[Any, Any]:
    def unary(method: Any, request: Any, reply: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            method, request_deserializer=request.FromString, response_serializer=reply.SerializeToString
        )

    methods = {
        "OpenSession": unary(service.open_session, kv_pb2.OpenSessionRequest, kv_pb2.Reply),
        "Execute": unary(service.execute, kv_pb2.ExecuteRequest, kv_pb2.Reply),
        "Status": unary(service.status, kv_pb2.StatusRequest, kv_pb2.StatusReply),
        "Converse": grpc.stream_stream_rpc_method_handler(
            service.converse,
            request_deserializer=kv_pb2.Calls.FromString,
            response_serializer=kv_pb2.Replies.SerializeToString,
        ),
    }
    if hooked:
        methods["Interfere"] = unary(service.interfere, kv_pb2.InterfereRequest, kv_pb2.InterfereReply)
    return grpc.method_handlers_generic_handler(SERVICE, methods)
