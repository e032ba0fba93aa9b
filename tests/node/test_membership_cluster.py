"""Real processes whose membership and leadership change under writes; their traces judged by the Raft invariants."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from checkers.raft.invariants import check_traces
from checkers.raft.traces import read_trace
from node.client import Append, BusyError, Get, InvalidRequestError, KvError
from node.options import EXIT_UNRECOVERABLE
from tests.node.processes import STEADY, Processes, processes

pytestmark = pytest.mark.integration

OPTIONS = [*STEADY, "--voters", "n1,n2,n3", "--snapshot-entries", "30", "--log-tail-entries", "5"]


async def changed(cluster: Processes, change: Callable[[str], Awaitable[object]]) -> None:
    """Asked of whoever leads, until it is granted."""
    async with asyncio.timeout(20):
        while True:
            try:
                await change(await cluster.wait_leader())
                return
            except InvalidRequestError:
                raise
            except KvError:
                await asyncio.sleep(0.02)


async def voters(cluster: Processes, node: str) -> set[str]:
    """The nodes that vote, as one says."""
    return {member.node for member in await cluster.client.members(node, 2) if member.voter}


async def join(cluster: Processes, name: str) -> str:
    """Enters a node without data as a learner and starts it."""
    if name in cluster.running:
        cluster.end(name)
    shutil.rmtree(cluster.data(name), ignore_errors=True)
    identity = await cluster.client.add_learner(await cluster.wait_leader(), name, 2)
    cluster.start(name, "--join", identity)
    return identity


async def test_members_come_and_go(tmp_path: Path) -> None:
    """A learner catches up by a snapshot and is promoted; the leader is removed and comes back as somebody else; two
    are exchanged by one joint change; the leadership goes where it is asked to. Every write is there once.
    """
    async with processes(tmp_path, 4, OPTIONS) as cluster:
        session, done = await cluster.session(), 0

        async def write(count: int) -> None:
            nonlocal done
            for _ in range(count):
                done += 1
                await cluster.do(Append("k", b"%d," % done), session=session, sequence=done)

        await write(45)
        fourth = await join(cluster, "n4")
        with pytest.raises(BusyError, match="n4 has not caught up"):
            await cluster.client.promote(await cluster.wait_leader(), "n4", 2)
        await changed(cluster, lambda leader: cluster.client.promote(leader, "n4", 2))
        assert await voters(cluster, await cluster.wait_leader()) == {"n1", "n2", "n3", "n4"}

        gone = await cluster.wait_leader()
        await changed(cluster, lambda leader: cluster.client.remove(leader, gone, 2))
        await write(5)
        assert await cluster.wait_leader() != gone
        identity = await join(cluster, gone)
        assert identity != gone
        target = next(name for name in cluster.names if name not in (gone, "n4"))
        wanted = {gone, "n4", target}
        await changed(cluster, lambda leader: cluster.client.change_voters(leader, wanted, 2))
        await write(5)
        assert await voters(cluster, await cluster.wait_leader()) == wanted

        await changed(cluster, lambda leader: cluster.client.transfer(leader, gone, 2) if leader != gone else write(0))
        cluster.end("n4")
        cluster.start("n4")
        await write(5)
        status = await cluster.wait_applied("n4", (await cluster.do(Get("k"))).index)
        assert status.identity == fourth, "its data directory remembers as whom it joined"
        assert (await cluster.do(Get("k"))).value == b"".join(b"%d," % number for number in range(1, done + 1))
        cluster.end("n4")
        cluster.start("n4", "--join", "n4~99.99")
        assert cluster.running.pop("n4").wait(10) == EXIT_UNRECOVERABLE
        assert f"holds the data of {fourth}" in cluster.log("n4")
        traces = {name: read_trace(tmp_path / name / "trace.jsonl") for name in cluster.names}
    assert [finding.message for finding in check_traces(traces, one_clock=True).findings] == []
