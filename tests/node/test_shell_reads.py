"""Read modes in a running node: what is answered at once, what is asked, and by which time a lease is judged."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from node import kv_pb2
from tests.node.test_shell import Running, put, running


class Jumping:
    """A monotonic clock that can be made to have jumped, as after a pause."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def __call__(self) -> int:
        return time.monotonic_ns() + self.ahead_ns


def get(mode: kv_pb2.ReadMode.ValueType) -> kv_pb2.ExecuteRequest:
    """Reads the one key."""
    return kv_pb2.ExecuteRequest(key="k", get=kv_pb2.Get(mode=mode))


async def written(node: Running) -> None:
    """The key holds "x", and the leader has a lease."""
    await node.wait_leader()
    session = await node.session()
    assert (await node.do(put(session, 1, b"x"))).outcome == kv_pb2.OK
    while not at_once(node, get(kv_pb2.LEASE)):
        await node.do(get(kv_pb2.LEADER))


def at_once(node: Running, request: kv_pb2.ExecuteRequest) -> list[kv_pb2.Reply]:
    """The reply, if it comes before the next turn."""
    replies: list[kv_pb2.Reply] = []
    node.shell.execute(request, replies.append)
    return replies[:1]


@pytest.mark.parametrize("mode", [kv_pb2.LEADER, kv_pb2.LINEARIZABLE, kv_pb2.LEASE, kv_pb2.LOCAL])
async def test_every_mode_reads(tmp_path: Path, mode: kv_pb2.ReadMode.ValueType) -> None:
    """At a leader all see the last write."""
    async with running(tmp_path) as node:
        await written(node)
        assert (await node.do(get(mode))).value == b"x"


async def test_a_lease_is_judged_by_the_time_of_the_read(tmp_path: Path) -> None:
    """With a lease the answer is there before the next turn. After a pause the first requests come before the first
    turn: they find the lease at an end, although nothing has told the core.
    """
    clock = Jumping()
    async with running(tmp_path, clock) as node:
        await written(node)
        (reply,) = at_once(node, get(kv_pb2.LEASE))
        assert (reply.outcome, reply.value) == (kv_pb2.OK, b"x")
        clock.ahead_ns += 10**9
        assert at_once(node, get(kv_pb2.LEASE)) == []
        assert (await node.do(get(kv_pb2.LEASE))).value == b"x"


async def test_who_knows_no_leader_refuses_reads_through_it(tmp_path: Path) -> None:
    """Definite, at once; a local read is still served."""
    async with running(tmp_path, clock=lambda: 0) as node:
        for mode in (kv_pb2.LINEARIZABLE, kv_pb2.LEASE):
            (reply,) = at_once(node, get(mode))
            assert reply.outcome == kv_pb2.NOT_LEADER
        (reply,) = at_once(node, get(kv_pb2.LOCAL))
        assert (reply.outcome, reply.HasField("value")) == (kv_pb2.OK, False)
