"""Calls to etcd nodes over gRPC, and the one place that decides what a failed call means.

A write that failed is *definite* only where etcd 3.4 and 3.5 are known to refuse it before it reaches the log:

* It was never sent: the channel had no connection, or lost it before the call was handed to it.
* ``no leader``: asked with the metadata ``hasleader``, a node that knows no leader refuses before it looks at the
  request. So the minority side of a partition answers at once, where it would otherwise keep the client for 7 s.
* ``too many requests`` and ``request is too large`` are found before the proposal, ``not supported for learner`` and
  ``not capable`` before the request is looked at.
* ``raft proposal dropped``: the node's own Raft has not taken the entry (it just lost its leader, or hands over).
* ``unhealthy cluster`` and ``not enough started members``: changes of the membership, checked before the proposal.

Everything else is in doubt, also what sounds definite: ``database space exceeded`` is answered *after* the write was
applied by the node that was the first to see the quota exceeded; ``request timed out``, ``leader changed`` and
``server stopped`` speak of an entry that may be in the log already.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message

from harness.systems import etcd_pb2 as pb

CHANNEL_OPTIONS = (
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 600),  # also how long a connection attempt may take
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.keepalive_time_ms", 1000),  # nodes are started so that they allow it
    ("grpc.keepalive_timeout_ms", 1500),
    ("grpc.max_receive_message_length", 64 << 20),
)
NEEDS_LEADER = (("hasleader", "true"),)
"""Metadata of calls that a node without a leader shall refuse at once."""

METHODS: Mapping[str, tuple[str, type[Message]]] = {
    "Range": ("KV", pb.RangeResponse),
    "Put": ("KV", pb.PutResponse),
    "Txn": ("KV", pb.TxnResponse),
    "Status": ("Maintenance", pb.StatusResponse),
    "MoveLeader": ("Maintenance", pb.MoveLeaderResponse),
    "MemberList": ("Cluster", pb.MemberListResponse),
    "MemberAdd": ("Cluster", pb.MemberAddResponse),
    "MemberRemove": ("Cluster", pb.MembersResponse),
    "MemberPromote": ("Cluster", pb.MembersResponse),
}
"""Method to service and reply."""

DEFINITE = frozenset(
    {
        "etcdserver: no leader",
        "etcdserver: too many requests",
        "etcdserver: request is too large",
        "etcdserver: rpc not supported for learner",
        "etcdserver: not capable",
        "raft proposal dropped",
        "etcdserver: unhealthy cluster",
        "etcdserver: re-configuration failed due to not enough started members",
    }
)
"""See the module."""
SETTLED = frozenset({grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE})
UNSENT = "failed to connect to all addresses"
"""How gRPC's core begins the details of a call for which it had no connection to put it on."""

_Reply = TypeVar("_Reply", bound=Message)


class EtcdError(Exception):
    """A call that failed. ``definite``: it had no effect and will have none."""

    def __init__(self, text: str, *, definite: bool) -> None:
        super().__init__(text)
        self.definite = definite


def understood(error: grpc.RpcError) -> EtcdError:
    """What a failed call means: in doubt it is in doubt."""
    code: grpc.StatusCode = error.code()
    details = str(error.details() or "")
    unsent = code is grpc.StatusCode.UNAVAILABLE and details.startswith(UNSENT)
    text = details if details.startswith(("etcdserver:", "raft ")) else f"{code.name}: {details}"
    return EtcdError(text, definite=unsent or details in DEFINITE)


class EtcdConnection:
    """The way to one node. Belongs to one event loop; may be shared by any number of its tasks."""

    def __init__(self, name: str, address: str) -> None:
        """``address``: ``HOST:PORT`` of the client interface."""
        self.name = name
        self._address = address
        self._channel: grpc.aio.Channel | None = None
        self._methods: dict[str, Any] = {}
        self._connecting: asyncio.Task[None] | None = None

    async def call(
        self, method: str, request: Message, reply: type[_Reply], *, timeout_s: float, needs_leader: bool = False
    ) -> _Reply:
        """One call.

        Raises:
            EtcdError: no reply in time, or a failure.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        await self._wait_connected(timeout_s)
        metadata = NEEDS_LEADER if needs_leader else None
        try:
            answer = await self._method(method)(request, timeout=max(deadline - loop.time(), 0.001), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise understood(error) from None
        assert isinstance(answer, reply)
        return answer

    async def close(self) -> None:
        """Ends the connection at once; what is under way fails."""
        if self._connecting is not None:
            self._connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._connecting
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = grpc.aio.insecure_channel(self._address, options=CHANNEL_OPTIONS)
        return self._channel

    def _method(self, method: str) -> Any:
        if method not in self._methods:
            service, reply = METHODS[method]
            self._methods[method] = self._open().unary_unary(
                f"/etcdserverpb.{service}/{method}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=reply.FromString,
            )
        return self._methods[method]

    async def _wait_connected(self, timeout_s: float) -> None:
        """A call that waits in the channel for a connection could not be told from one that was sent. So nothing is
        handed to a channel that is not connected.
        """
        channel = self._open()
        if channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY:
            return
        if self._connecting is None or self._connecting.done():
            self._connecting = asyncio.create_task(_settled(channel), name=f"connecting to {self.name}")
        await asyncio.wait({self._connecting}, timeout=timeout_s)
        if channel.get_state() is not grpc.ChannelConnectivity.READY:
            raise EtcdError(f"no connection to {self.name}: nothing was sent", definite=True)


async def _settled(channel: grpc.aio.Channel) -> None:
    """Returns when the channel is connected, or its attempt to connect has failed."""
    while (state := channel.get_state(try_to_connect=True)) not in SETTLED:
        await channel.wait_for_state_change(state)
