"""A snapshot's way to a follower: chunk by chunk, over losses, without beginning anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.durable.disk import Disk
from node.durable.snapshots import CHUNK_BYTES, Arrival
from node.durable.snapshotting import Snapshotting
from node.durable.storage import Storage
from node.machine import Machine
from node.observing.trace import Trace
from node.raft.messages import InstallSnapshot, Message, Snapshot, SnapshotReply
from tests.node.by_hand import ByHand
from tests.node.test_core_snapshots import compacted_leader, snapshot

CHUNKS = 5
STATE = bytes(range(256)) * (CHUNK_BYTES // 256 * (CHUNKS - 1))


class Sending:
    """A leader that sends its snapshot to c, and a follower that keeps what arrives."""

    def __init__(self, folder: Path) -> None:
        self.leader = compacted_leader()
        self.leader.refused("c", 0, index=1, term=0)
        self.storage = Storage(folder / "data")
        self.save(self.leader.core.snapshot)
        self.trace = Trace(folder / "trace.jsonl", "a")
        self.failures: list[BaseException] = []
        self.disk = Disk(self.storage, asyncio.get_running_loop(), self.failures.append)
        self.sent: list[Message] = []
        self.promised: list[Message] = []
        self.snapshotting = Snapshotting(
            core=self.leader.core,
            machine=Machine(),
            storage=self.storage,
            disk=self.disk,
            trace=self.trace,
            entries=1000,
            send=self.sent.append,
            promise=self.promised.append,
            turn=lambda: None,
            failed=self.failures.append,
        )
        self.arrival = Arrival(self.leader.core.snapshot, bytearray())
        self.arrived = 0

    def save(self, taken: Snapshot) -> None:
        self.storage.save_snapshot(taken, STATE)

    def chunk(self) -> InstallSnapshot:
        """The one that is under way: never more than one is."""
        (message,) = self.sent
        self.sent.clear()
        assert isinstance(message, InstallSnapshot)
        return message

    def answer(self, chunk: InstallSnapshot) -> SnapshotReply:
        """The follower takes it."""
        self.arrived += 1
        if chunk.snapshot != self.arrival.snapshot:
            self.arrival = Arrival(chunk.snapshot, bytearray())
        wanted = self.arrival.accept(chunk.offset, chunk.data, done=chunk.done)
        return SnapshotReply(source="c", target="a", term=1, index=chunk.snapshot.index, next_offset=wanted, done=False)

    async def close(self) -> None:
        await self.disk.close()
        await self.snapshotting.close()
        self.storage.close()
        self.trace.close()
        assert not self.failures


@pytest.fixture
async def sending(tmp_path: Path) -> AsyncIterator[Sending]:
    one = Sending(tmp_path)
    one.snapshotting.send_to("c")
    yield one
    await one.close()


async def test_chunks_are_asked_for_one_by_one(sending: Sending) -> None:
    """Until the whole file is there."""
    while sending.sent:
        sending.snapshotting.replied(sending.answer(sending.chunk()))
    assert sending.arrival.complete
    assert sending.arrived == CHUNKS
    assert bytes(sending.arrival.data) == sending.storage._store.path(sending.arrival.snapshot).read_bytes()


@pytest.mark.parametrize("lost", ["chunk", "reply"])
async def test_a_transfer_that_was_cut_goes_on_where_it_was(sending: Sending, lost: str) -> None:
    """It costs one chunk more, whichever was lost; a snapshot taken meanwhile does not begin it anew."""
    for _ in range(2):
        sending.snapshotting.replied(sending.answer(sending.chunk()))
    if lost == "reply":
        sending.answer(sending.chunk())
    sending.sent.clear()
    newer = snapshot(6)
    sending.save(newer)
    sending.leader.core.snapshot = newer
    sending.snapshotting.send_to("c")
    while sending.sent:
        sending.snapshotting.replied(sending.answer(sending.chunk()))
    assert sending.arrival.complete
    assert sending.arrival.snapshot == snapshot(5)
    assert sending.arrived == CHUNKS + 1


async def test_a_follower_that_forgot_all_gets_all(sending: Sending) -> None:
    """It restarted in the midst of it: what it held in memory is gone."""
    for _ in range(3):
        sending.snapshotting.replied(sending.answer(sending.chunk()))
    sending.arrival = Arrival(snapshot(5), bytearray())
    while sending.sent:
        sending.snapshotting.replied(sending.answer(sending.chunk()))
    assert sending.arrival.complete


async def test_a_doubled_reply_does_not_double_the_transfer(sending: Sending) -> None:
    """One chunk is under way, however often the network repeats a reply."""
    while sending.sent:
        reply = sending.answer(sending.chunk())
        sending.snapshotting.replied(reply)
        sending.snapshotting.replied(reply)
    assert sending.arrival.complete
    assert sending.arrived == CHUNKS


async def test_a_snapshot_that_is_gone_makes_room_for_the_current_one(sending: Sending) -> None:
    """Two newer ones were taken: the one under way was deleted."""
    sending.snapshotting.replied(sending.answer(sending.chunk()))
    newer = snapshot(6)
    sending.save(newer)
    sending.leader.core.snapshot = newer
    sending.storage._store.path(snapshot(5)).unlink()
    while sending.sent:
        sending.snapshotting.replied(sending.answer(sending.chunk()))
    assert sending.arrival.complete
    assert sending.arrival.snapshot == newer


async def test_a_late_snapshot_does_not_take_the_place_of_one_that_waits(tmp_path: Path) -> None:
    """Two leaders' snapshots are verified one after the other, and both are told in between two turns, the older last:
    what the next turn installs is the newer one, as the core says.
    """
    follower = ByHand("b")
    storage, trace = Storage(tmp_path / "data"), Trace(tmp_path / "trace.jsonl", "b")
    failures: list[BaseException] = []
    verified = asyncio.Semaphore(0)
    disk = Disk(storage, asyncio.get_running_loop(), failures.append)
    snapshotting = Snapshotting(
        core=follower.core,
        machine=Machine(),
        storage=storage,
        disk=disk,
        trace=trace,
        entries=1000,
        send=follower.sent.append,
        promise=follower.sent.append,
        turn=verified.release,
        failed=failures.append,
    )
    leader = Storage(tmp_path / "leader")
    state = Machine().copy().encode()
    for one in (snapshot(5), snapshot(4)):
        leader.save_snapshot(one, state)
        data, done = leader.snapshot_chunk(one, 0)
        snapshotting.arrived(
            InstallSnapshot(source="a", target="b", term=1, snapshot=one, offset=0, data=data, done=done)
        )
    for _ in range(2):
        await asyncio.wait_for(verified.acquire(), 10)
    installed = follower.core.ready().install
    assert installed == snapshot(5)
    snapshotting.install(installed)
    await disk.close()
    await snapshotting.close()
    for each in (storage, leader, trace):
        each.close()
    assert not failures
