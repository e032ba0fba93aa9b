"""A snapshot's way to a follower: chunk by chunk, over losses, without beginning anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.durable.disk import Disk
from node.durable.snapshots import CHUNK_BYTES, Arrival, BadSnapshotError, decode_snapshot, encode_snapshot
from node.durable.snapshotting import Snapshotting
from node.durable.storage import Change, Storage
from node.machine import Machine
from node.machine.state_format import VERSION
from node.observing.trace import Trace
from node.raft.messages import InstallSnapshot, Message, Snapshot, SnapshotReply
from tests.node.by_hand import ByHand, log_of
from tests.node.test_core_snapshots import compacted_leader, snapshot

CHUNKS = 5
VERSION_AT = 5
"""Where the state's version stands: behind the length of the first frame and the mark of a list."""
STATE = bytes(range(256)) * (CHUNK_BYTES // 256 * (CHUNKS - 1))


class OnDisk:
    """What both ends have besides the core."""

    storage: Storage
    disk: Disk
    trace: Trace
    snapshotting: Snapshotting
    failures: list[BaseException]

    async def close(self) -> None:
        await self.disk.close()
        await self.snapshotting.close()
        self.storage.close()
        self.trace.close()
        assert not self.failures


class Sending(OnDisk):
    """A leader that sends its snapshot to c, and a follower that keeps what arrives."""

    def __init__(self, folder: Path) -> None:
        self.leader = compacted_leader()
        self.leader.refused("c", 0, index=1, term=0)
        self.storage = Storage(folder / "data")
        self.save(self.leader.core.snapshot)
        self.trace = Trace(folder / "trace.jsonl", "a")
        self.failures = []
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

    def rot(self, taken: Snapshot) -> None:
        """Flips one bit of the file."""
        path = self.storage._store.path(taken)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)

    def refuse(self) -> None:
        """What c does with a bad snapshot: it forgets it, and says nothing."""
        with pytest.raises(BadSnapshotError):
            decode_snapshot(bytes(self.arrival.data), "c")
        self.arrival = Arrival(snapshot(1), bytearray())

    def exchange(self) -> None:
        """Until nothing is sent any more."""
        while self.sent:
            self.snapshotting.replied(self.answer(self.chunk()))

    async def wait_for_thread(self) -> None:
        """What was begun in the background is done, and the loop has heard of it."""
        await asyncio.get_running_loop().run_in_executor(self.snapshotting._thread, lambda: None)

    async def wait_for_disk(self) -> None:
        """It has done what it was asked for, and the loop has heard of it."""
        done = asyncio.Event()
        self.disk.run(lambda: None, done.set)
        self.disk.flush()
        await asyncio.wait_for(done.wait(), 10)

    async def apply(self, count: int, size: int) -> None:
        """Writes that are committed and applied, one by one; then what they began is done."""
        for _ in range(count):
            self.leader.propose(b"x")
            last = self.leader.core.last_index
            self.leader.acknowledged("b", last)
            self.snapshotting.take_if_due(Snapshot(index=last, term=1), size)
        await self.wait_for_thread()
        await self.wait_for_disk()

    async def take(self, index: int, *, c_answers: bool) -> None:
        """Writes up to this index and takes a snapshot, as the shell does; then the storage has done its work."""
        self.leader.propose(b"x")
        self.leader.acknowledged("b", index)
        for _ in range(120):
            self.leader.time_out()
            self.leader.acknowledged("b", index)
            if c_answers:
                self.leader.acknowledged("c", 0)
        self.storage.persist([Change(entries=log_of([1], first=index))])
        self.save(snapshot(index))
        self.snapshotting._saved(snapshot(index), "hash", len(STATE))
        await self.wait_for_disk()
        assert self.leader.core.snapshot == snapshot(index)

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


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Sending]:
    """Before anything is sent."""
    one = Sending(tmp_path)
    yield one
    await one.close()


@pytest.fixture
def sending(idle: Sending) -> Sending:
    idle.snapshotting.send_to("c")
    return idle


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


async def test_a_follower_that_refused_what_it_got_is_sent_the_newest(sending: Sending) -> None:
    """The file went bad after it was looked at: who begins anew after all of it is not sent the same for ever."""
    await sending.wait_for_thread()
    sending.rot(snapshot(5))
    sending.exchange()
    sending.refuse()
    sending.save(snapshot(6))
    sending.leader.core.snapshot = snapshot(6)
    sending.snapshotting.send_to("c")
    sending.exchange()
    assert decode_snapshot(bytes(sending.arrival.data), "c").snapshot == snapshot(6)


async def test_a_small_snapshot_that_was_refused_is_not_sent_for_ever(idle: Sending) -> None:
    """One chunk is all of it, so no reply tells that the follower begins anew."""
    small, newer = snapshot(6), snapshot(7)
    idle.storage.save_snapshot(small, b"small")
    idle.leader.core.snapshot = small
    idle.snapshotting.send_to("c")
    await idle.wait_for_thread()
    idle.rot(small)
    idle.sent.clear()
    idle.snapshotting.send_to("c")
    idle.exchange()
    idle.refuse()
    idle.save(newer)
    idle.leader.core.snapshot = newer
    idle.snapshotting.send_to("c")
    idle.exchange()
    assert decode_snapshot(bytes(idle.arrival.data), "c").snapshot == newer


async def test_a_bad_file_is_put_aside_and_a_newer_one_sent(idle: Sending) -> None:
    """The leader reads what it sends: nobody has to refuse it."""
    idle.rot(snapshot(5))
    idle.snapshotting.send_to("c")
    assert idle.chunk().snapshot == snapshot(5)
    idle.save(snapshot(6))
    idle.leader.core.snapshot = snapshot(6)
    await idle.wait_for_thread()
    assert idle.chunk().snapshot == snapshot(6)
    path = idle.storage._store.path(snapshot(5))
    assert not path.exists()
    assert path.with_name(path.name + ".bad").exists()


async def test_a_bad_file_without_a_newer_one_is_replaced_by_the_state_as_it_is(idle: Sending) -> None:
    """Nothing may ever be written that would make the next snapshot due."""
    idle.rot(snapshot(5))
    idle.snapshotting.send_to("c")
    idle.sent.clear()
    for _ in ("read", "written again"):
        await idle.wait_for_thread()
    idle.snapshotting.send_to("c")
    idle.exchange()
    loaded = decode_snapshot(bytes(idle.arrival.data), "c")
    assert loaded.snapshot == snapshot(5)
    assert loaded.state == Machine().copy().encode()


@pytest.mark.parametrize("answers", [True, False])
async def test_a_snapshot_that_is_sent_outlives_newer_ones(sending: Sending, *, answers: bool) -> None:
    """Two were taken meanwhile: its file stays for as long as the follower answers."""
    sending.snapshotting.replied(sending.answer(sending.chunk()))
    for index in (6, 7):
        await sending.take(index, c_answers=answers)
    while sending.sent:
        sending.snapshotting.replied(sending.answer(sending.chunk()))
    assert sending.arrival.complete
    assert sending.arrival.snapshot == snapshot(5 if answers else 7)


async def test_a_snapshot_is_due_by_bytes_too(idle: Sending) -> None:
    """A few large writes fill the log as many small ones do: a snapshot for each 64 MiB, whatever became of them in
    the state, and what is applied while one is taken counts for the next.
    """
    await idle.apply(63, 1 << 20)
    assert idle.leader.core.snapshot.index == 5
    await idle.apply(37, 1 << 20)
    assert idle.leader.core.snapshot.index == 5 + 64
    await idle.apply(28, 1 << 20)
    assert idle.leader.core.snapshot.index == 5 + 128


async def test_a_large_state_is_not_written_for_less_than_its_size(idle: Sending) -> None:
    """Else the disk would write it twelve times over for what clients write once."""
    idle.snapshotting._state_bytes = 100 << 20
    await idle.apply(99, 1 << 20)
    assert idle.leader.core.snapshot.index == 5
    await idle.apply(1, 1 << 20)
    assert idle.leader.core.snapshot.index == 5 + 100


class Receiving(OnDisk):
    """A follower that is sent snapshots in one chunk each. ``verified`` counts those that the core was told of."""

    def __init__(self, folder: Path) -> None:
        self.follower = ByHand("b")
        self.storage = Storage(folder / "data")
        self.trace = Trace(folder / "trace.jsonl", "b")
        self.failures = []
        self.verified = asyncio.Semaphore(0)
        self.disk = Disk(self.storage, asyncio.get_running_loop(), self.failures.append)
        self.snapshotting = Snapshotting(
            core=self.follower.core,
            machine=Machine(),
            storage=self.storage,
            disk=self.disk,
            trace=self.trace,
            entries=1000,
            send=self.follower.sent.append,
            promise=self.follower.sent.append,
            turn=self.verified.release,
            failed=self.failures.append,
        )

    def arrive(self, one: Snapshot, state: bytes) -> None:
        self.snapshotting.arrived(
            InstallSnapshot(
                source="a", target="b", term=1, snapshot=one, offset=0, data=encode_snapshot(one, state), done=True
            )
        )

    async def wait_verified(self) -> None:
        await asyncio.wait_for(self.verified.acquire(), 10)


@pytest.fixture
async def receiving(tmp_path: Path) -> AsyncIterator[Receiving]:
    one = Receiving(tmp_path)
    yield one
    await one.close()


async def test_a_late_snapshot_does_not_take_the_place_of_one_that_waits(receiving: Receiving) -> None:
    """Two leaders' snapshots are verified one after the other, and both are told in between two turns, the older last:
    what the next turn installs is the newer one, as the core says.
    """
    for one in (snapshot(5), snapshot(4)):
        receiving.arrive(one, Machine().copy().encode())
    for _ in range(2):
        await receiving.wait_verified()
    installed = receiving.follower.core.ready().install
    assert installed == snapshot(5)
    receiving.snapshotting.install(installed)


async def test_a_snapshot_that_this_program_cannot_read_is_refused(
    receiving: Receiving, caplog: pytest.LogCaptureFixture
) -> None:
    """A leader of a newer version sent it: whole, and yet unreadable. The node goes on as it was and takes the next
    one; nothing lies under a name that its next start would load.
    """
    state = Machine().copy().encode()
    newer = state[:VERSION_AT] + bytes([VERSION + 1]) + state[VERSION_AT + 1 :]
    receiving.arrive(snapshot(5), newer)
    receiving.arrive(snapshot(6), state)
    await receiving.wait_verified()
    assert f"refused a snapshot: snapshot 5 from a peer: the snapshot's state has version {VERSION + 1}" in caplog.text
    assert receiving.follower.core.ready().install == snapshot(6)
    store = receiving.storage._store
    assert list(store.paths()) == [store.path(snapshot(6))]
