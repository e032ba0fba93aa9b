"""Real processes: what a cluster of nodes promises, with kills, restarts, pauses and failing disks."""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import signal
from pathlib import Path

import pytest

from node.client import (
    Append,
    CompareAndSet,
    ConnectionLostError,
    Delete,
    Get,
    InDoubtError,
    NotLeaderError,
    Put,
    ReadMode,
    UnreachableError,
)
from node.options import EXIT_IO, EXIT_UNRECOVERABLE
from tests.node.processes import STEADY, Processes, processes

pytestmark = pytest.mark.integration


async def test_operations_and_leader_hints(tmp_path: Path) -> None:
    """Every operation works at the leader; a follower refuses, names the leader, and still answers local reads."""
    async with processes(tmp_path, options=STEADY) as cluster:
        leader = await cluster.wait_followed()
        session = await cluster.session()
        assert (await cluster.do(Put("k", b"a"), session=session, sequence=1)).applied
        assert (await cluster.do(Append("k", b"b"), session=session, sequence=2)).applied
        mismatch = await cluster.do(CompareAndSet("k", b"x", b"y"), session=session, sequence=3)
        assert (mismatch.applied, mismatch.value) == (False, b"ab")
        written = await cluster.do(CompareAndSet("k", b"ab", b"c"), session=session, sequence=4)
        assert (await cluster.do(Get("k"))).value == b"c"
        for follower in set(cluster.names) - {leader}:
            await cluster.wait_applied(follower, written.index)
            with pytest.raises(NotLeaderError) as caught:
                await cluster.client.execute(follower, Get("k"), 2)
            assert caught.value.leader == leader
            assert (await cluster.client.execute(follower, Get("k", mode=ReadMode.LOCAL), 2)).value == b"c"
        await cluster.do(Delete("k"), session=session, sequence=5)
        assert (await cluster.do(Get("k"))).value is None


async def test_acknowledged_writes_survive_kills_of_all(tmp_path: Path) -> None:
    """SIGKILL of random nodes, sometimes of all, in the midst of appends with retries: each one is there once, in
    order.
    """
    async with processes(tmp_path, options=["--snapshot-entries", "40", "--election-timeout-ms", "200-400"]) as cluster:
        session = await cluster.session()
        choice = random.Random(7)
        for sequence in range(1, 121):
            if sequence % 20 == 0:
                for name in choice.sample(cluster.names, choice.choice([1, 1, 3])):
                    cluster.end(name)
                    cluster.start(name)
            await cluster.do(Append("k", b"%d," % sequence), session=session, sequence=sequence)
        expected = b"".join(b"%d," % sequence for sequence in range(1, 121))
        assert (await cluster.do(Get("k"))).value == expected
        await same_state_everywhere(cluster)


async def same_state_everywhere(cluster: Processes) -> None:
    last = (await cluster.client.status(await cluster.wait_leader(), 2)).last_index
    for name in cluster.names:
        await cluster.wait_applied(name, last)
    statuses = [await cluster.client.status(name, 2, state_hash=True) for name in cluster.names]
    assert len({(status.applied, status.state_hash) for status in statuses}) == 1


async def test_a_follower_far_behind_is_brought_back_by_a_snapshot(tmp_path: Path) -> None:
    """Its missing entries are compacted away on the others; also after a restart of everybody."""
    options = ["--snapshot-entries", "300"]
    async with processes(tmp_path, options=options) as cluster:
        leader = await cluster.wait_leader()
        behind = next(name for name in cluster.names if name != leader)
        session = await cluster.session()
        cluster.end(behind)
        value = os.urandom(20_000)  # several chunks
        for sequence in range(1, 61):
            await cluster.do(Put(f"big{sequence}", value), session=session, sequence=sequence)
        sessions = [await cluster.session() for _ in range(4)]
        await asyncio.gather(*(puts(cluster, number, count=500) for number in sessions))
        for name in set(cluster.names) - {behind}:  # what a node keeps in memory of the log is gone after a restart
            cluster.end(name, signal.SIGTERM)
            cluster.start(name)
        leader = await cluster.wait_leader()
        assert (await cluster.client.status(leader, 2)).first_index > 300
        cluster.start(behind)
        await same_state_everywhere(cluster)
        assert "snapshot installed" in cluster.log(behind)
        cluster.end(behind)
        cluster.start(behind)
        await same_state_everywhere(cluster)
        assert (await cluster.do(Get("big60"))).value == value


async def puts(cluster: Processes, session: int, *, count: int) -> None:
    leader = await cluster.wait_leader()
    for sequence in range(1, count + 1):
        await cluster.client.execute(
            leader, Put(f"s{session}", b"%d" % sequence), 5, session=session, sequence=sequence
        )


async def test_a_paused_leader_is_replaced_and_comes_back_as_follower(tmp_path: Path) -> None:
    """What it is asked while it sleeps fails in time; nobody waits for it."""
    async with processes(tmp_path, options=["--election-timeout-ms", "200-400"]) as cluster:
        leader = await cluster.wait_leader()
        session = await cluster.session()
        paused = cluster.running.pop(leader)
        paused.send_signal(signal.SIGSTOP)
        try:
            await cluster.do(Put("k", b"new"), session=session, sequence=1)
        finally:
            paused.send_signal(signal.SIGCONT)
            cluster.running[leader] = paused
        await same_state_everywhere(cluster)
        assert (await cluster.client.execute(leader, Get("k", mode=ReadMode.LOCAL), 2)).value == b"new"


async def test_a_clean_stop_is_quick_and_says_so(tmp_path: Path) -> None:
    """SIGTERM: status 0; the port refuses afterwards."""
    async with processes(tmp_path, count=1) as cluster:
        await cluster.wait_leader()
        assert cluster.end("n1", signal.SIGTERM) == 0
        assert "stopping" in cluster.log("n1")
        with pytest.raises((UnreachableError, ConnectionLostError)):  # its end may not have been noticed yet
            await cluster.client.status("n1", 2)


async def test_a_failing_disk_ends_the_node(tmp_path: Path) -> None:
    """A write that fails (here: a limit on file sizes) is not tried again: the node says so and exits with its own
    status.
    """

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    async with processes(tmp_path, count=1) as cluster:
        session = await cluster.session()
        cluster.end("n1")
        cluster.start("n1", preexec=small_files)
        process = cluster.running["n1"]
        await cluster.wait_leader()  # on a busy machine that alone takes seconds
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await cluster.do(Put("k", bytes(50_000)), session=session, sequence=1)
        assert process.wait(10) == EXIT_IO
        assert "I/O error, giving up" in cluster.log("n1")
        assert "Traceback" not in cluster.log("n1")


async def test_a_leader_whose_disk_fails_hands_over(tmp_path: Path) -> None:
    """Its last words: one write is in doubt, the voter that knows most is asked to lead; then it exits, and the others
    go on.
    """
    async with processes(tmp_path, options=STEADY) as cluster:
        session = await cluster.session()
        leader = await cluster.wait_followed()
        process = cluster.running.pop(leader)
        segment = next((cluster.data(leader) / "wal").iterdir())
        limit = segment.stat().st_size + 30_000
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
        with pytest.raises(InDoubtError):
            await cluster.client.execute(leader, Put("k", bytes(50_000)), 5, session=session, sequence=1)
        assert process.wait(10) == EXIT_IO
        assert "handing over to" in cluster.log(leader)
        await cluster.do(Put("k", b"v"), session=session, sequence=2)
        assert (await cluster.do(Get("k"))).value == b"v"


async def test_damage_is_refused_with_a_line_not_a_traceback(tmp_path: Path) -> None:
    """Bit rot in the midst of the log: its own exit status, file and offset."""
    async with processes(tmp_path, count=1) as cluster:
        session = await cluster.session()
        for sequence in range(1, 6):
            await cluster.do(Put("k", b"value"), session=session, sequence=sequence)
        cluster.end("n1")
        segment = next((cluster.data("n1") / "wal").iterdir())
        data = bytearray(segment.read_bytes())
        data[30] ^= 1
        segment.write_bytes(data)
        cluster.start("n1")
        assert cluster.running["n1"].wait(10) == EXIT_UNRECOVERABLE
        assert "bad record at offset" in cluster.log("n1")
        assert "Traceback" not in cluster.log("n1")


@pytest.mark.parametrize("option", ["--bug", "--announce-bug"])
async def test_a_planted_bug_is_announced_in_the_same_words(tmp_path: Path, option: str) -> None:
    """The line is the same whether the bug is on or only announced; the retry shows which."""
    async with processes(tmp_path, count=1, options=[option, "double-apply"]) as cluster:
        session = await cluster.session()
        for _ in range(2):
            await cluster.do(Append("k", b"a"), session=session, sequence=1)
        assert (await cluster.do(Get("k"))).value == (b"aa" if option == "--bug" else b"a")
        assert "PLANTED BUG ACTIVE: double-apply" in cluster.log("n1")


async def test_the_trace_tells_the_story_in_order(tmp_path: Path) -> None:
    """start, then the events of docs/formats.md; nothing is applied before it is committed, or acknowledged before
    applied.
    """
    async with processes(tmp_path, count=1, options=["--snapshot-entries", "5"]) as cluster:
        session = await cluster.session()
        for sequence in range(1, 12):
            await cluster.do(Put("k", b"v"), session=session, sequence=sequence)
        async with asyncio.timeout(10):
            while "snapshot taken" not in cluster.log("n1"):  # noqa: ASYNC110  # another process writes it
                await asyncio.sleep(0.02)
        cluster.end("n1", signal.SIGTERM)
    events = [json.loads(line) for line in (tmp_path / "n1" / "trace.jsonl").read_text().splitlines()]
    assert events[0]["event"] == "start"
    assert {"role", "term", "vote", "append", "durable", "commit", "apply", "ack", "snapshot", "config"} <= {
        event["event"] for event in events
    }
    committed = applied = durable = 0
    for event in events:
        match event["event"]:
            case "durable":
                durable = event["index"]
            case "commit":
                committed = event["index"]
                assert committed <= durable  # alone, a node is its own majority
            case "apply":
                applied = event["entries"][-1][0]
                assert applied <= committed
            case "ack":
                assert event["index"] <= applied
