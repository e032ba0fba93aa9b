"""One etcd node on a loopback port, as far as our client speaks to it: answers as a function says."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from harness.systems import etcd_pb2 as pb
from harness.systems.etcd_connection import METHODS

REQUESTS: dict[str, type[Message]] = {
    "Range": pb.RangeRequest,
    "Put": pb.PutRequest,
    "Txn": pb.TxnRequest,
    "Status": pb.StatusRequest,
    "MoveLeader": pb.MoveLeaderRequest,
    "MemberList": pb.MemberListRequest,
    "MemberAdd": pb.MemberAddRequest,
    "MemberRemove": pb.MemberRemoveRequest,
    "MemberPromote": pb.MemberPromoteRequest,
}

Answer = Callable[[str, Any, Any], Awaitable[Message]]
"""Method, request, context (to abort, to read metadata) to reply."""


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    """A server while the context lasts; its ``HOST:PORT``."""

    def handler(method: str) -> grpc.RpcMethodHandler:
        async def behave(request: Message, context: Any) -> Message:
            return await answer(method, request, context)

        return grpc.unary_unary_rpc_method_handler(
            behave,
            request_deserializer=REQUESTS[method].FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    server = grpc.aio.server()
    for service in sorted({service for service, _ in METHODS.values()}):
        handlers = {method: handler(method) for method, (own, _) in METHODS.items() if own == service}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"etcdserverpb.{service}", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
