"""Durable state as a whole: replay, compaction, snapshots, what is refused, and the planted bug of persistence."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.durable.snapshots import BadSnapshotError, Loaded, SnapshotStore, encode_snapshot
from node.durable.storage import Change, Storage, UnrecoverableError
from node.durable.wal import Wal
from node.raft.messages import Entry, EntryKind, HardState, Recovered, Snapshot
from node.zoo.persistence import AckBeforeFsync, VoteNotDurable

FILES = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(Entry(index, term, EntryKind.COMMAND, b"%d/%d" % (index, term)) for index in range(first, last + 1))


def as_it_is(loaded: Loaded) -> Loaded:
    """What a storage makes of a received snapshot that no machine is to have."""
    return loaded


def reopened(directory: Path) -> Recovered:
    storage = Storage(directory)
    storage.close()
    return storage.recovered


@dataclass
class Model:
    """What a perfect disk would remember."""

    term: int = 1
    vote: str | None = None
    base: int = 0
    """The log begins after it."""
    previous: int = 0
    snapshot: int = 0
    log: list[Entry] = field(default_factory=list)

    @property
    def last(self) -> int:
        return self.log[-1].index if self.log else self.base


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5)),
        st.tuples(st.just("truncate"), st.integers(1, 4)),
        st.tuples(st.just("vote"), st.sampled_from(["n1", "n2"])),
        st.tuples(st.just("snapshot"), st.just(0)),
        st.tuples(st.just("install"), st.integers(1, 9)),
        st.tuples(st.just("reopen"), st.just(0)),
    ),
    max_size=40,
)


def take(storage: Storage, model: Model, step: str, argument: int | str) -> None:
    """One step on the real storage and on the model."""
    if step == "append" and isinstance(argument, int):
        new = entries(model.last + 1, model.last + argument, model.term)
        storage.persist([Change(entries=new)])
        model.log += new
    elif step == "truncate" and isinstance(argument, int):
        start = max(model.snapshot, model.last - argument) + 1
        model.term += 1
        new = entries(start, start + 1, model.term)
        storage.persist([Change(truncate_from=start, entries=new, hard_state=HardState(term=model.term))])
        model.log = [entry for entry in model.log if entry.index < start] + list(new)
        model.vote = None
    elif step == "vote" and isinstance(argument, str):
        model.term, model.vote = model.term + 1, argument
        storage.persist([Change(hard_state=HardState(term=model.term, vote=argument))])
    elif step == "snapshot" and model.last > model.snapshot:
        model.previous, model.snapshot = model.snapshot, model.last
        model.base = max(model.base, model.previous)
        snapshot = Snapshot(index=model.snapshot, term=model.term, voters=("n1",))
        storage.save_snapshot(snapshot, b"state at %d" % snapshot.index)
        storage.compact(snapshot)
        model.log = [entry for entry in model.log if entry.index > model.base]
    elif step == "install" and isinstance(argument, int):
        index = model.last + argument
        snapshot = Snapshot(index=index, term=model.term, voters=("n1",))
        storage.receive_snapshot(snapshot, encode_snapshot(snapshot, b"state at %d" % index), as_it_is)
        storage.persist([Change(install=snapshot, truncate_from=index + 1)])
        storage.installed(snapshot)
        model.base = model.snapshot = model.previous = index
        model.log = []


@FILES
@given(steps=STEPS)
def test_a_restart_remembers_what_was_persisted(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int | str]]
) -> None:
    """Any sequence of appends, cuts, votes, compactions and installs is recovered exactly, over tiny segments."""
    directory = tmp_path_factory.mktemp("data")
    storage, model = Storage(directory, segment_bytes=150), Model()
    storage.persist([Change(hard_state=HardState(term=1))])
    for step, argument in [*steps, ("reopen", 0)]:
        if step != "reopen":
            take(storage, model, step, argument)
            continue
        storage.close()
        storage = Storage(directory, segment_bytes=150)
        recovered = storage.recovered
        assert recovered.hard_state == HardState(term=model.term, vote=model.vote)
        assert recovered.snapshot.index == model.snapshot
        assert storage.state == (b"state at %d" % model.snapshot if model.snapshot else None)
        assert list(recovered.entries) == model.log
    storage.close()


def test_compaction_removes_segments_and_old_snapshots(tmp_path: Path) -> None:
    """The disk does not grow for ever: two snapshots, and the log back to the older one."""
    storage = Storage(tmp_path, segment_bytes=500)
    for last in range(10, 201, 10):
        storage.persist([Change(entries=entries(last - 9, last))])
        snapshot = Snapshot(index=last, term=1)
        storage.save_snapshot(snapshot, b"x")
        storage.compact(snapshot)
    storage.close()
    assert len(list((tmp_path / "snapshots").iterdir())) == 2
    assert len(list((tmp_path / "wal").iterdir())) <= 2
    assert [entry.index for entry in reopened(tmp_path).entries] == list(range(191, 201))


SMALL_FRAME = 700
LARGE = Change(
    truncate_from=2,
    entries=tuple(Entry(index, 2, EntryKind.COMMAND, bytes(300)) for index in range(2, 12)),
    hard_state=HardState(term=2, vote="n2"),
)
"""Five frames of two entries."""


@pytest.fixture
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("node.durable.storage.FRAME_BYTES", SMALL_FRAME)
    monkeypatch.setattr("node.durable.wal.FRAME_BYTES_MAX", 2 * SMALL_FRAME)


@pytest.mark.usefixtures("small_frames")
@pytest.mark.parametrize("segment_bytes", [500, 100_000])
def test_a_change_beyond_the_limit_of_a_frame_takes_several(tmp_path: Path, segment_bytes: int) -> None:
    """One turn of a leader may bring any number of bytes. All is there after a restart, whatever came with it; and a
    single entry above the limit goes alone.
    """
    storage = Storage(tmp_path, segment_bytes=segment_bytes)
    storage.persist([Change(entries=entries(1, 5), hard_state=HardState(term=1))])
    last = Entry(12, 2, EntryKind.COMMAND, bytes(SMALL_FRAME + 100))
    storage.persist([LARGE, Change(entries=(last,)), Change(hard_state=HardState(term=3))])
    storage.close()
    recovered = reopened(tmp_path)
    assert recovered.entries == (*entries(1, 1), *LARGE.entries, last)
    assert recovered.hard_state == HardState(term=3)


class TornWal(Wal):
    """A log whose disk fails at one of the syncs."""

    syncs_left = 1000

    def sync(self) -> None:
        if not self.syncs_left:
            os.ftruncate(self._fd, self.offset + 10)
            raise OSError("the power failed")
        self.syncs_left -= 1
        super().sync()


class TornStorage(Storage):
    wal = TornWal


@pytest.mark.usefixtures("small_frames")
@pytest.mark.parametrize("frames", range(6))
@pytest.mark.parametrize("install", [False, True])
@pytest.mark.parametrize("segment_bytes", [500, 100_000])
def test_a_crash_between_the_frames_of_a_change_leaves_a_prefix(
    tmp_path: Path, frames: int, *, install: bool, segment_bytes: int
) -> None:
    """Term, vote, cut and a received snapshot come with the first entries, so no entry is without them."""
    before = Change(entries=entries(1, 5), hard_state=HardState(term=1))
    storage = TornStorage(tmp_path, segment_bytes=segment_bytes)
    storage.persist([before])
    large, snapshot = LARGE, Snapshot(index=1, term=1)
    if install:
        storage.save_snapshot(snapshot, b"state")
        large = replace(LARGE, install=snapshot)
    assert isinstance(storage._wal, TornWal)
    storage._wal.syncs_left = frames
    if frames == 5:
        storage.persist([large])
    else:
        with pytest.raises(OSError, match="the power failed"):
            storage.persist([large])
    storage.close()
    recovered = reopened(tmp_path)
    if frames == 0:
        assert recovered.entries == before.entries
        assert recovered.hard_state == before.hard_state
    else:
        kept = () if install else entries(1, 1)
        assert recovered.entries == (*kept, *LARGE.entries[: 2 * frames])
        assert recovered.hard_state == LARGE.hard_state
    assert recovered.snapshot.index == (1 if install else 0)


def test_compaction_spares_a_snapshot_that_is_being_sent(tmp_path: Path) -> None:
    """Else a transfer that takes longer than two snapshots would begin anew, again and again."""
    storage = Storage(tmp_path)
    taken = [Snapshot(index=index, term=1) for index in range(1, 6)]
    for snapshot in taken:
        storage.persist([Change(entries=entries(snapshot.index, snapshot.index))])
        storage.save_snapshot(snapshot, b"x")
        storage.compact(snapshot, [taken[0]] if snapshot.index < 5 else [])
        kept = [snapshot for snapshot in taken if storage._store.path(snapshot).exists()]
        assert taken[0] in kept or snapshot.index == 5
        assert len(kept) <= 3
    assert kept == taken[3:]
    storage.close()


def test_a_snapshot_that_was_put_aside_is_not_relied_on(tmp_path: Path) -> None:
    """The log goes on reaching back to the one before it, until another takes its place."""
    storage = Storage(tmp_path)
    storage.persist([Change(entries=entries(1, 40))])
    for index in (10, 20):
        storage.save_snapshot(Snapshot(index=index, term=1), b"state %d" % index)
        storage.compact(Snapshot(index=index, term=1))
    assert storage.check_snapshot(Snapshot(index=20, term=1)) is None
    storage._store.path(Snapshot(index=20, term=1)).write_bytes(b"rot")
    assert "digest" in (storage.check_snapshot(Snapshot(index=20, term=1)) or "")
    storage.save_snapshot(Snapshot(index=30, term=1), b"state 30")
    storage.compact(Snapshot(index=30, term=1))
    storage._store.path(Snapshot(index=30, term=1)).write_bytes(b"rot")
    storage.close()
    recovered = reopened(tmp_path)
    assert recovered.snapshot.index == 10
    assert [entry.index for entry in recovered.entries] == list(range(11, 41))


def with_two_snapshots(directory: Path) -> SnapshotStore:
    storage = Storage(directory)
    storage.persist([Change(entries=entries(1, 30), hard_state=HardState(term=1, vote="n1"))])
    for index in (10, 20):
        snapshot = Snapshot(index=index, term=1)
        storage.save_snapshot(snapshot, b"state %d" % index)
        storage.compact(snapshot)
    storage.close()
    return SnapshotStore(directory / "snapshots")


@pytest.mark.parametrize("damage", ["flip", "torn", "empty"])
def test_a_bad_snapshot_is_never_loaded_and_the_one_before_takes_its_place(tmp_path: Path, damage: str) -> None:
    """The log covers the older snapshot, so nothing is lost; the bad file is put aside, and that is said."""
    newest = with_two_snapshots(tmp_path).paths()[0]
    data = newest.read_bytes()
    newest.write_bytes({"flip": data[:40] + b"?" + data[41:], "torn": data[:-1], "empty": b""}[damage])
    storage = Storage(tmp_path)
    assert storage.state == b"state 10"
    assert storage.recovered.snapshot.index == 10
    assert [entry.index for entry in storage.recovered.entries] == list(range(11, 31))
    assert "bad snapshot" in storage.notes[0]
    assert newest.with_name(newest.name + ".bad").exists()
    storage.close()


def test_without_any_good_snapshot_the_node_refuses(tmp_path: Path) -> None:
    """The log begins after index 10; what came before can't be made up."""
    for path in with_two_snapshots(tmp_path).paths():
        path.write_bytes(b"rot")
    with pytest.raises(UnrecoverableError, match=r"begins after index 10.*Refusing to start"):
        Storage(tmp_path)


def test_every_flipped_byte_of_a_snapshot_is_noticed(tmp_path: Path) -> None:
    """The digest covers the whole file."""
    store = SnapshotStore(tmp_path)
    data = encode_snapshot(Snapshot(index=7, term=2, voters=("n1", "n2")), b"some state")
    path = store.path(Snapshot(index=7, term=2))
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with pytest.raises(BadSnapshotError):
            store.load(path)
        with pytest.raises(BadSnapshotError):
            store.check(Snapshot(index=7, term=2))
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(BadSnapshotError):
            store.check(Snapshot(index=7, term=2))
    path.write_bytes(data)
    assert store.load(path).state == b"some state"
    store.check(Snapshot(index=7, term=2))


def test_a_received_snapshot_must_be_the_announced_one(tmp_path: Path) -> None:
    """What arrives is verified before it gets a final name."""
    store = SnapshotStore(tmp_path)
    data = encode_snapshot(Snapshot(index=7, term=2), b"state")
    with pytest.raises(BadSnapshotError, match="announced"):
        store.receive(Snapshot(index=8, term=2), data, as_it_is)
    with pytest.raises(BadSnapshotError):
        store.receive(Snapshot(index=7, term=2), data[:-3], as_it_is)
    assert list(store.paths()) == []


def test_half_written_snapshots_are_removed_at_start(tmp_path: Path) -> None:
    """A temporary file belongs to nobody after a crash."""
    (tmp_path / "0001-0001.taken.tmp").write_bytes(b"half")
    SnapshotStore(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_damage_in_the_log_is_refused_with_a_next_step(tmp_path: Path) -> None:
    """The error names the file, the offset and what to do; nobody gets a traceback."""
    storage = Storage(tmp_path)
    for index in range(1, 4):
        storage.persist([Change(entries=entries(index, index))])
    storage.close()
    segment = next((tmp_path / "wal").iterdir())
    data = bytearray(segment.read_bytes())
    data[20] ^= 1
    segment.write_bytes(data)
    with pytest.raises(UnrecoverableError, match=r"offset 0.*Put the damaged file back"):
        Storage(tmp_path)


def test_a_log_that_contradicts_itself_is_refused(tmp_path: Path) -> None:
    """Checksums can be right and the content still impossible (a defect, or a mixed-up file)."""
    storage = Storage(tmp_path)
    storage.persist([Change(entries=entries(1, 2))])
    storage.persist([Change(entries=entries(5, 6))])
    storage.close()
    with pytest.raises(UnrecoverableError, match="entry 5 follows entry 2"):
        Storage(tmp_path)


@pytest.mark.parametrize("killed_before", [False, True], ids=["first-start", "killed-before-it-was-synced"])
def test_the_names_of_a_new_data_directory_are_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_before: bool
) -> None:
    """A power failure must not take any name on the way to a synced file: the directory's in its parent (and that
    one's, if it was made too), the log's and the snapshots' in it.
    """
    data = tmp_path / "nodes" / "n1"
    if killed_before:
        for name in ("wal", "snapshots"):
            (data / name).mkdir(parents=True)
    synced: set[Path] = set()
    monkeypatch.setattr("os.fsync", lambda fd: synced.add(Path(os.readlink(f"/proc/self/fd/{fd}"))))
    storage = Storage(data)
    assert synced >= {data.parent, data, *([] if killed_before else [tmp_path])}
    storage.persist([Change(hard_state=HardState(term=1, vote="n1"))])
    storage.close()
    assert data / "wal" in synced


def test_a_parent_that_may_not_be_read_stops_no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever made the data directory for the node there has seen to its name."""
    data = tmp_path / "n1"
    data.mkdir()

    def sync(path: Path) -> None:
        if path == tmp_path:
            raise PermissionError(errno.EACCES, "not yours", str(path))

    monkeypatch.setattr("node.durable.storage.sync_directory", sync)
    Storage(data).close()


def test_two_processes_cannot_share_a_directory(tmp_path: Path) -> None:
    """The lock is held as long as the storage is open."""
    storage = Storage(tmp_path)
    with pytest.raises(UnrecoverableError, match="another node is running"):
        Storage(tmp_path)
    storage.close()
    Storage(tmp_path).close()


def test_vote_not_durable_forgets_the_vote_and_nothing_else(tmp_path: Path) -> None:
    """The planted bug P1: the correct storage remembers the vote, this one only its term."""
    for kind, vote in ((Storage, "n2"), (VoteNotDurable, None)):
        directory = tmp_path / kind.__name__
        storage = kind(directory)
        storage.persist([Change(entries=entries(1, 3), hard_state=HardState(term=4, vote="n2"))])
        storage.close()
        recovered = reopened(directory)
        assert recovered.hard_state == HardState(term=4, vote=vote)
        assert recovered.entries == entries(1, 3)


class Later:
    """A timer that fires when the test says so."""

    waiting: ClassVar[list[Callable[[], object]]] = []

    def __init__(self, interval: float, function: Callable[..., object], args: list[object]) -> None:
        assert 0 < interval <= 0.1
        self.fire = lambda: function(*args)

    def start(self) -> None:
        self.waiting.append(self.fire)

    def is_alive(self) -> bool:
        return bool(self.waiting)


def test_ack_before_fsync_syncs_a_little_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted bug P3: the correct storage syncs every change before it returns, this one once for all that was
    written meanwhile, up to 100 ms later.
    """
    synced: list[int] = []
    monkeypatch.setattr("os.fdatasync", synced.append)
    monkeypatch.setattr("node.zoo.persistence.Timer", Later)
    for kind, in_time in ((Storage, 3), (AckBeforeFsync, 0)):
        synced.clear()
        storage = kind(tmp_path / kind.__name__)
        for number in (1, 2, 3):
            storage.persist([Change(entries=entries(number, number))])
        assert len(synced) == in_time
        assert len(Later.waiting) == (kind is AckBeforeFsync)
        while Later.waiting:
            Later.waiting.pop()()
        assert synced
        storage.close()
