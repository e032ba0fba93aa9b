"""Durable state as a whole: replay, compaction, snapshots, what is refused, and the planted bug of persistence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.durable.snapshots import BadSnapshotError, SnapshotStore, encode_snapshot
from node.durable.storage import Change, Storage, UnrecoverableError
from node.raft.messages import Entry, EntryKind, HardState, Recovered, Snapshot
from node.zoo.persistence import AckBeforeFsync, VoteNotDurable

FILES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def entries(first: int, last: int, term: int = 1) -> tuple[Entry, ...]:
    return tuple(Entry(index, term, EntryKind.COMMAND, b"%d/%d" % (index, term)) for index in range(first, last + 1))


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
        storage.receive_snapshot(snapshot, encode_snapshot(snapshot, b"state at %d" % index))
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
    path.write_bytes(data)
    assert store.load(path).state == b"some state"


def test_a_received_snapshot_must_be_the_announced_one(tmp_path: Path) -> None:
    """What arrives is verified before it gets a final name."""
    store = SnapshotStore(tmp_path)
    data = encode_snapshot(Snapshot(index=7, term=2), b"state")
    with pytest.raises(BadSnapshotError, match="announced"):
        store.receive(Snapshot(index=8, term=2), data)
    with pytest.raises(BadSnapshotError):
        store.receive(Snapshot(index=7, term=2), data[:-3])
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
