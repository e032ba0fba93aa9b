"""A follower over its real storage, killed at any point: it starts again, and it has what it acknowledged."""

from __future__ import annotations

import os
import random
import shutil
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from node.durable.snapshots import encode_snapshot
from node.durable.storage import Change, Storage, UnrecoverableError
from node.raft.core import Raft, Timing
from node.raft.messages import AppendEntries, AppendReply, Entry, EntryKind, InstallSnapshot, Message, Ready, Snapshot
from node.raft.timing import MS
from tests.node.test_storage import as_it_is

VOTERS = ("n1", "n2", "n3")
TIMING = Timing(log_tail_entries=2)
HISTORIES = 200
LIVES = 6


class Follower:
    """One life of n3. The disk's work waits until it is done one by one; what is not done when it dies never is."""

    def __init__(self, directory: Path, *, segment_bytes: int = 1 << 20, now_ns: int = 0) -> None:
        self.storage = Storage(directory, segment_bytes=segment_bytes)
        self.now_ns = now_ns
        self.core = Raft(
            name="n3",
            voters=VOTERS,
            recovered=self.storage.recovered,
            timing=TIMING,
            random=random.Random(1),
            now_ns=now_ns,
        )
        self.disk: deque[Callable[[], object]] = deque()
        self.said: list[Message] = []

    def hear(self, message: Message) -> None:
        self.now_ns += MS
        self.core.receive(message, self.now_ns)
        self.obey()

    def obey(self) -> None:
        while self.core.has_ready():
            ready = self.core.ready()
            self.disk.append(partial(self._persist, ready))
            if ready.install is not None:
                self.disk.append(partial(self.storage.installed, ready.install))

    def _persist(self, ready: Ready) -> None:
        change = Change.of(ready)
        if change != Change():
            self.storage.persist([change])
        if ready.entries:
            self.core.persisted(ready.entries[-1].index, ready.entries[-1].term)
        self.said += ready.messages_after_persist

    def settle(self, orders: int) -> None:
        """The disk gets this far."""
        for _ in range(min(orders, len(self.disk))):
            self.disk.popleft()()

    def receive(self, snapshot: Snapshot, term: int) -> None:
        """All of a snapshot arrived, and is durable; the core is told by :meth:`installed`, if it lives to be told."""
        self.hear(
            InstallSnapshot(source="n1", target="n3", term=term, snapshot=snapshot, offset=0, data=b"", done=True)
        )
        self.storage.receive_snapshot(snapshot, encode_snapshot(snapshot, b"state"), as_it_is)

    def installed(self, snapshot: Snapshot) -> None:
        self.core.installed(snapshot)
        self.obey()

    def compact(self, snapshot: Snapshot) -> None:
        """The disk's work behind a snapshot that was taken."""
        self.storage.compact(snapshot)
        if self.core.snapshot.index < snapshot.index:
            self.core.compacted(snapshot)

    def die(self) -> None:
        self.storage.close()


def append(entries: tuple[Entry, ...], *, prev: Entry, commit: int, term: int = 1) -> AppendEntries:
    return AppendEntries(
        source="n1",
        target="n3",
        term=term,
        prev_index=prev.index,
        prev_term=prev.term,
        entries=entries,
        commit=commit,
    )


def command(index: int, term: int = 1, size: int = 1) -> Entry:
    return Entry(index, term, EntryKind.COMMAND, b"x" * size)


def test_a_log_without_entries_begins_behind_a_snapshot_that_it_never_heard_of(tmp_path: Path) -> None:
    """A new node is killed when the snapshot that it was sent has its name and the log does not know; it goes on behind
    it, acknowledges, and can start ever after.
    """
    snapshot = Snapshot(index=100, term=1, voters=VOTERS)
    first = Follower(tmp_path)
    first.hear(append((), prev=command(100), commit=100))
    first.receive(snapshot, 1)
    first.settle(1)
    first.die()
    second = Follower(tmp_path)
    second.hear(append((command(101), command(102)), prev=command(100), commit=102))
    second.settle(10)
    assert [(reply.success, reply.match) for reply in second.said if isinstance(reply, AppendReply)] == [(True, 102)]
    second.die()
    for _ in range(2):
        third = Follower(tmp_path)
        assert third.storage.recovered.snapshot == snapshot
        assert [entry.index for entry in third.storage.recovered.entries] == [101, 102]
        third.die()


def test_the_log_relies_on_no_name_that_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed between a snapshot's rename and the sync of the directory leaves a name that the next
    power failure may take: it is synced before the log is told to begin behind it.
    """
    synced: list[str] = []
    for call in ("fsync", "fdatasync"):
        monkeypatch.setattr(f"os.{call}", lambda fd: synced.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name))
    snapshot = Snapshot(index=100, term=1, voters=VOTERS)
    killed = Storage(tmp_path)
    killed.receive_snapshot(snapshot, encode_snapshot(snapshot, b"state"), as_it_is)
    killed.close()
    synced.clear()
    Storage(tmp_path).close()
    assert "snapshots" in synced
    assert synced.index("snapshots") < synced.index("0000000000000001.wal")


class History:
    """A follower's lives, drawn from a seed: what its leaders have, what it acknowledged to them, and what it does."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory = directory
        self.random = random.Random(seed)
        self.log = [Entry(0, 0, EntryKind.NOOP)]
        self.term = 1
        self.commit = 0
        self.acknowledged = 0
        self.now_ns = 1000 * MS

    def live(self) -> None:
        """Raises UnrecoverableError or ValueError if it can't start, AssertionError if it lost something."""
        for _ in range(LIVES):
            follower = Follower(self.directory, segment_bytes=self.random.choice((300, 100_000)), now_ns=self.now_ns)
            try:
                self._judge(follower.core)
                self._one_life(follower)
            finally:
                follower.die()
                self.now_ns = follower.now_ns

    def _judge(self, core: Raft) -> None:
        assert core.last_index >= self.acknowledged, f"acknowledged {self.acknowledged}, has {core.last_index}"
        for index in range(max(1, core.first_index), self.acknowledged + 1):
            assert core.term_at(index) == self.log[index].term, f"another entry at {index}"

    def _one_life(self, follower: Follower) -> None:
        for _ in range(self.random.randrange(25)):
            self._others_go_on()
            if self._killed_in_a_step(follower):
                break
            self._settle(follower, self.random.randrange(4))
        if self.random.random() < 0.5:
            self._settle(follower, len(follower.disk))

    def _others_go_on(self) -> None:
        """Perhaps another leader, which cuts what is not committed; perhaps more entries; perhaps more is committed."""
        chance = self.random.random()
        if chance < 0.15:
            self.term += 1
            del self.log[self.random.randint(max(self.commit, self.acknowledged), len(self.log) - 1) + 1 :]
            self.log.append(Entry(len(self.log), self.term, EntryKind.NOOP))
        elif chance < 0.5:
            for _ in range(self.random.randrange(4)):
                self.log.append(command(len(self.log), self.term, self.random.randrange(1, 40)))
        if self.random.random() < 0.3:
            self.commit = self.random.randint(self.commit, len(self.log) - 1)

    def _killed_in_a_step(self, follower: Follower) -> bool:
        chance = self.random.random()
        if chance < 0.6:
            follower.hear(self._append(follower.core))
        elif chance < 0.8 and self.commit > follower.core.commit:
            snapshot = self._snapshot(self.random.randint(follower.core.commit + 1, self.commit))
            follower.receive(snapshot, self.term)
            if self.random.random() < 0.5:
                return True
            follower.installed(snapshot)
        elif follower.core.applied > follower.core.snapshot.index:
            snapshot = self._snapshot(follower.core.applied)
            follower.storage.save_snapshot(snapshot, b"state")
            if self.random.random() < 0.2:
                return True
            follower.disk.append(partial(follower.compact, snapshot))
        return False

    def _append(self, core: Raft) -> AppendEntries:
        """From a place that the follower has, mostly."""
        place = min(self.random.randrange(len(self.log)), core.last_index)
        if self.random.random() < 0.9:
            place = min(max(place, core.first_index - 1), len(self.log) - 1)
        entries = tuple(self.log[place + 1 : place + 1 + self.random.randrange(6)])
        return append(entries, prev=self.log[place], commit=self.commit, term=self.term)

    def _snapshot(self, index: int) -> Snapshot:
        return Snapshot(index=index, term=self.log[index].term, voters=VOTERS)

    def _settle(self, follower: Follower, orders: int) -> None:
        follower.settle(orders)
        for reply in follower.said:
            if isinstance(reply, AppendReply) and reply.success and reply.term == self.term:
                self.acknowledged = max(self.acknowledged, reply.match)
        follower.said.clear()


def test_whenever_it_is_killed_it_starts_again_with_what_it_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Appends, cuts, snapshots taken and received, six lives in a row; killed with any of the disk's work undone, and
    between a snapshot's file and the log.
    """
    for call in ("fsync", "fdatasync"):
        monkeypatch.setattr(f"os.{call}", lambda _: None)
    failures = []
    for seed in range(HISTORIES):
        try:
            History(tmp_path / "data", seed).live()
        except (UnrecoverableError, ValueError, AssertionError) as error:
            failures.append(f"seed {seed}: {error}")
        shutil.rmtree(tmp_path / "data")
    assert failures == []
