"""Real processes: every operation through the client library, retried over a leader's death, and equal everywhere."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from node.client import CompactedError
from node.network.failures import WrongTypeError
from node.operations import (
    Acquire,
    Get,
    Increment,
    ListAppend,
    Operation,
    Put,
    Read,
    ReadMode,
    Release,
    SetAdd,
    SetRemove,
    Transaction,
)
from tests.node.processes import STEADY, Processes, processes

pytestmark = pytest.mark.integration


async def test_every_operation_on_a_cluster_whose_leader_dies(tmp_path: Path) -> None:
    """Each is done as documented; a lease runs out and the next token is higher; after a kill of the leader and a
    snapshot all that was done is there, at every node, and the states are equal.
    """
    async with processes(tmp_path, options=[*STEADY, "--snapshot-entries", "10"]) as cluster:
        session, sequence = await cluster.session(), 0

        async def write(operation: Operation) -> object:
            nonlocal sequence
            sequence += 1
            done = await cluster.do(operation, session=session, sequence=sequence)
            return (done.applied, done.value, *done.reads)

        assert await write(SetAdd("set", b"a")) == (True, None)
        assert await write(SetAdd("set", b"b")) == (True, None)
        assert await write(SetRemove("set", b"a")) == (True, None)
        assert await write(Increment("counter", -3)) == (True, -3)
        steps = (ListAppend("list", b"1"), Read("list"), Read("none"), Put("register", b"x"))
        assert await write(Transaction(steps)) == (True, None, (b"1",), None)
        taken = await write(Acquire("lock", "me", lease_ms=1500))
        assert isinstance(taken, tuple)
        token = taken[1]
        refused = await write(Acquire("lock", "you"))
        assert refused == (False, token)
        cluster.end(await cluster.wait_leader())
        done = refused
        async with asyncio.timeout(20):
            while done == refused:
                done = await write(Acquire("lock", "you"))
        assert isinstance(done, tuple)
        assert done[0]
        assert done[1] > token
        assert await write(Put("register", b"y", fence=done[1])) == (True, None)
        assert await write(Put("register", b"z", fence=token)) == (False, done[1])
        assert await write(Release("lock", "me")) == (False, done[1])
        with pytest.raises(WrongTypeError, match="holds a set, not a counter"):
            await cluster.client.execute(
                await cluster.wait_leader(), Increment("set"), 2, session=session, sequence=sequence + 1
            )
        await _same_everywhere(cluster, done[1])


async def _same_everywhere(cluster: Processes, token: int) -> None:
    for name in set(cluster.names) - set(cluster.running):
        cluster.start(name)
    leader = await cluster.wait_followed()
    last = await cluster.client.status(leader, 1)
    hashes = set()
    for name in cluster.names:
        await cluster.wait_applied(name, last.commit)
        reads = (Read("set"), Read("counter"), Read("list"), Read("register"), Read("lock"))
        done = await cluster.client.execute(name, Transaction(reads, ReadMode.LOCAL), 2)
        assert done.reads == (frozenset({b"b"}), -3, (b"1",), b"y", token)
        through = await cluster.client.execute(name, Get("set", ReadMode.LINEARIZABLE), 2)
        assert through.value == {b"b"}
        hashes.add((await cluster.client.status(name, 2, state_hash=True)).state_hash)
    assert len(hashes) == 1


async def test_a_watch_goes_on_over_the_death_of_its_node(tmp_path: Path) -> None:
    """Followed at one node, which is killed, then at another from the revision behind the last notice: every write is
    told once, in the order of the log. A revision that no node knows any more is said to be compacted.
    """
    async with processes(tmp_path, options=["--snapshot-entries", "30", "--election-timeout-ms", "300-600"]) as cluster:
        session = await cluster.session()
        written: list[tuple[int, object]] = []

        async def write(first: int, last: int) -> None:
            for sequence in range(first, last + 1):
                done = await cluster.do(Put("w/k", b"%d" % sequence), session=session, sequence=sequence)
                written.append((done.index, b"%d" % sequence))

        seen: list[tuple[int, object]] = []
        await write(1, 10)
        seen += await _follow(cluster, "n1", start=written[0][0], until=written[-1][0])
        cluster.end("n1")
        await write(11, 20)
        seen += await _follow(cluster, "n2", start=seen[-1][0] + 1, until=written[-1][0])
        assert sorted(set(seen)) == sorted(set(written))
        assert [revision for revision, _ in seen] == sorted({revision for revision, _ in seen})
        await write(21, 80)
        await _wait_snapshot(cluster, "n3")
        cluster.end("n3")
        cluster.start("n3")
        with pytest.raises(CompactedError) as caught:
            await _follow(cluster, "n3", start=1, until=1)
        assert caught.value.first > 30


async def _wait_snapshot(cluster: Processes, name: str) -> None:
    async with asyncio.timeout(20):
        while True:
            status = await cluster.status(name)
            if status is not None and status.snapshot_index > 30:
                return
            await asyncio.sleep(0.02)


async def _follow(cluster: Processes, name: str, *, start: int, until: int) -> list[tuple[int, object]]:
    """What one watch of ``w/...`` is told up to a revision."""
    seen: list[tuple[int, object]] = []
    async with asyncio.timeout(20):
        await cluster.wait_applied(name, 0)
        async with contextlib.aclosing(cluster.client.watch(name, "w/", 2, prefix=True, start=start)) as notices:
            async for notice in notices:
                seen += [(event.revision, event.value) for event in notice.events]
                if notice.revision >= until:
                    break
    return seen
