"""Everything durable of one node: what a Ready asks to be persisted, in; what a restart remembers, out.

On disk, below the data directory: ``lock`` (one process at a time), ``wal/`` (:mod:`node.durable.wal`; each frame is a
``log.proto`` Batch) and ``snapshots/`` (:mod:`node.durable.snapshots`). The two newest snapshots are kept, and the log
back to the *older* of them: a newest snapshot that turns out bad costs nothing but a longer replay, and a follower that
is a little behind needs no snapshot. A third may be there for as long as it is sent.

The rule of replay (:class:`LogReplay`): batches in order; in a batch, ``begins_after`` forgets older entries, then each
change resets the log to a received snapshot, cuts, appends. Every segment begins with hard state and ``begins_after``,
so that segments whose entries are all compacted can go. Only frames say where the log begins: if it has no entries, and
a snapshot reaches beyond that place, a start begins with a frame that says so.

All methods block. Any OSError means: never write again (after a failed fsync the kernel may have dropped the dirty
pages and call the next sync a success; "fsyncgate", 2018). The caller exits.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from google.protobuf.message import DecodeError

from node import log_pb2
from node.durable.entries import decode_entries, encode_entries, runs_of, size_of
from node.durable.snapshots import BadSnapshotError, Loaded, SnapshotStore, snapshot_to_proto
from node.durable.wal import SEGMENT_BYTES, Frame, Wal, WalCorruptError, sync_directory
from node.network.frames import WireError
from node.raft.messages import Entry, HardState, Ready, Recovered, Snapshot

SNAPSHOTS_KEPT = 2

FRAME_BYTES = 16 << 20
"""More than this goes to the disk in several frames. Far below what a frame may hold, because making one holds up the
event loop.
"""

_T = TypeVar("_T")

NEXT_STEP = (
    "Refusing to start. Put the damaged file back from a copy, or give this node up and let a new one take its place "
    "under a new name; starting it with an empty directory would break promises that it gave its peers"
)
"""What to do about a data directory that can't be trusted."""


class UnrecoverableError(Exception):
    """What is on disk can't be trusted or does not fit together: names the file and the next step. The node must not
    start.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One Ready's work on the disk (:class:`node.raft.messages.Ready`, duty 2)."""

    install: Snapshot | None = None
    truncate_from: int | None = None
    entries: Sequence[Entry] = ()
    hard_state: HardState | None = None

    @classmethod
    def of(cls, ready: Ready) -> Change:
        """What a Ready asks for; equal to ``Change()`` if that is nothing."""
        return cls(
            install=ready.install,
            truncate_from=ready.truncate_from,
            entries=ready.entries,
            hard_state=ready.hard_state,
        )


@dataclass(slots=True)
class LogReplay:
    """The log as the frames tell it. Raises ValueError when they can't be one log."""

    base_index: int = 0
    entries: list[Entry] = field(default_factory=list)
    hard_state: HardState = field(default_factory=HardState)

    def batch(self, batch: log_pb2.Batch) -> None:
        """Replays one frame."""
        if batch.HasField("begins_after"):
            self._begin_after(batch.begins_after.index)
        for change in batch.changes:
            self.change(change)
        if batch.HasField("hard_state"):
            state = batch.hard_state
            self.hard_state = HardState(term=state.term, vote=state.vote if state.HasField("vote") else None)

    def check(self) -> None:
        """To be called at the end."""
        if self.entries and self.entries[0].index > self.base_index + 1:
            raise ValueError(f"the log begins after {self.base_index}, but its first entry is {self.entries[0].index}")

    def _begin_after(self, index: int) -> None:
        if index >= self.base_index:
            self.base_index = index
            self.entries = [entry for entry in self.entries if entry.index > index]

    def change(self, change: log_pb2.Change) -> None:
        """Replays the work of one Ready: reset, cut, append."""
        if change.HasField("install"):
            self._begin_after(change.install.index)
        if change.HasField("truncate_from"):
            self.entries = [entry for entry in self.entries if entry.index < change.truncate_from]
        for entry in decode_entries(change.entries):
            if self.entries and entry.index != self.entries[-1].index + 1:
                raise ValueError(f"entry {entry.index} follows entry {self.entries[-1].index}")
            self.entries.append(entry)


class Storage:
    """An open data directory. Planted bugs of persistence override single methods of it, or of its log."""

    wal: type[Wal] = Wal
    """The log to write."""
    snapshots: type[SnapshotStore] = SnapshotStore
    """Where snapshots lie."""

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Opens and recovers. Raises :class:`UnrecoverableError`, OSError."""
        _make(directory)
        self._lock = _locked(directory / "lock")
        self.notes: list[str] = []
        """What recovery did that a person should know, one sentence each."""
        self._wal = self.wal(directory / "wal", segment_bytes=segment_bytes)
        self._marks: dict[int, int] = {}
        """Segment -> highest index of the entries in it."""
        self._store = self.snapshots(directory / "snapshots")
        sync_directory(directory)
        replay = self._replay()
        self._hard_state = replay.hard_state
        self._base = Snapshot(index=replay.base_index)
        loaded = self._newest_covered(replay.base_index)
        self.state: bytes | None = loaded.state if loaded else None
        """The state machine's state in the snapshot; None if there is no snapshot."""
        self._snapshot = loaded.snapshot if loaded else Snapshot()
        self.recovered = Recovered(hard_state=replay.hard_state, snapshot=self._snapshot, entries=tuple(replay.entries))
        if not replay.entries and self._snapshot.index > self._base.index:
            self._begin_behind_snapshot()

    def persist(self, changes: Sequence[Change]) -> None:
        """Makes the changes of several Readies durable, in their order: at once, unless they are more than a frame
        should hold. Raises OSError.
        """
        for frame in _frames(changes):
            self._persist_frame(frame)

    def _persist_frame(self, changes: Sequence[Change]) -> None:
        batch = log_pb2.Batch(changes=[_change_to_proto(change) for change in changes])
        states = [change.hard_state for change in changes if change.hard_state is not None]
        if states:
            self._hard_state = states[-1]
            batch.hard_state.CopyFrom(self._hard_state_to_proto(states[-1]))
        for change in changes:
            if change.install is not None:
                self._base = change.install
        self._write(batch, max((change.entries[-1].index for change in changes if change.entries), default=0))

    def compact(self, snapshot: Snapshot, sending: Sequence[Snapshot] = ()) -> None:
        """A snapshot of applied state was saved: drops what neither it nor the one before needs, but for the files that
        are being sent. Raises OSError.

        To be called only after all entries up to the snapshot were persisted, so that the log never depends on one file
        alone.
        """
        previous, self._snapshot = self._snapshot, snapshot
        if previous.index > self._base.index and self._store.path(previous).exists():  # else it was put aside
            self._base = previous
            self._write(log_pb2.Batch(begins_after=snapshot_to_proto(previous)), 0)
        self._remove_segments()
        self._store.prune(SNAPSHOTS_KEPT, sending)

    def installed(self, snapshot: Snapshot) -> None:
        """A received snapshot was installed and the log reset behind it (:class:`Change`): older files may go. Raises
        OSError.
        """
        self._snapshot = snapshot
        self._remove_segments()
        self._store.prune(SNAPSHOTS_KEPT)

    def seal(self) -> None:
        """To be called when nothing is to be written for a while (:meth:`node.durable.wal.Wal.seal`). Raises
        OSError.
        """
        self._wal.seal()

    def save_snapshot(self, snapshot: Snapshot, state: bytes) -> None:
        """Durable when it returns; :meth:`compact` makes use of it. May run beside the other methods. Raises
        OSError.
        """
        self._store.save(snapshot, state)

    def receive_snapshot(self, snapshot: Snapshot, data: bytes, understand: Callable[[Loaded], _T]) -> _T:
        """Verifies what a leader sent and stores it if ``understand`` makes something of it, which is returned. May run
        beside the other methods. Raises BadSnapshotError, OSError.
        """
        return self._store.receive(snapshot, data, understand)

    def snapshot_chunk(self, snapshot: Snapshot, offset: int) -> tuple[bytes, bool]:
        """A chunk to send, and whether it is the last. Raises FileNotFoundError if that snapshot was pruned,
        OSError.
        """
        return self._store.chunk(snapshot, offset)

    def check_snapshot(self, snapshot: Snapshot) -> str | None:
        """Whether its file is what was written: if not, puts it aside and says what is wrong. May run beside the other
        methods. Raises OSError.
        """
        try:
            self._store.check(snapshot)
        except FileNotFoundError:
            return None
        except BadSnapshotError as error:
            with suppress(FileNotFoundError):  # deleted meanwhile
                self._store.put_aside(self._store.path(snapshot))
            return str(error)
        return None

    def close(self) -> None:
        """Lets the directory go."""
        self._wal.close()
        os.close(self._lock)

    def _hard_state_to_proto(self, state: HardState) -> log_pb2.HardState:
        """Term and vote as they go to the disk."""
        return log_pb2.HardState(term=state.term, vote=state.vote)

    def _begin_behind_snapshot(self) -> None:
        """A crash fell between a snapshot and the frame that tells of it (a received one's ``install``; the entries of
        one that was taken, which may be applied before they are durable). With entries in the log the core asks for the
        reset again; without any it has nothing to reset, and goes on behind the snapshot: so must the log.
        """
        self._base = self._snapshot
        self._write(log_pb2.Batch(begins_after=snapshot_to_proto(self._snapshot)), 0)

    def _write(self, batch: log_pb2.Batch, highest_index: int) -> None:
        if self._wal.full:
            self._wal.rotate()
        if self._wal.offset == 0:
            if not batch.HasField("hard_state"):
                batch.hard_state.CopyFrom(self._hard_state_to_proto(self._hard_state))
            if not batch.HasField("begins_after"):
                batch.begins_after.CopyFrom(snapshot_to_proto(self._base_before(batch)))
        self._wal.append(batch.SerializeToString())
        self._marks[self._wal.segment] = max(self._marks.get(self._wal.segment, 0), highest_index)

    def _base_before(self, batch: log_pb2.Batch) -> Snapshot:
        """The base for a segment's first frame: an install within the same frame speaks for itself."""
        installs = any(change.HasField("install") for change in batch.changes)
        return Snapshot() if installs else self._base

    def _remove_segments(self) -> None:
        """Drops the oldest segments, as long as all their entries are below the log's beginning."""
        for segment in self._wal.segments():
            if segment == self._wal.segment or self._marks.get(segment, 0) > self._base.index:
                self._wal.remove_before(segment)
                self._marks = {number: mark for number, mark in self._marks.items() if number >= segment}
                return

    def log_replay(self) -> LogReplay:
        """What the frames of the log are replayed into."""
        return LogReplay()

    def _replay(self) -> LogReplay:
        replay = self.log_replay()
        try:
            frames = self._wal.recover()
            for frame in frames:
                self._replay_frame(replay, frame)
            replay.check()
        except WalCorruptError as error:
            raise UnrecoverableError(f"{error}. {NEXT_STEP}") from None
        except ValueError as error:
            raise UnrecoverableError(f"the log contradicts itself: {error}. {NEXT_STEP}") from None
        self.notes += [
            f"cut a torn tail: {cut.length} bytes at offset {cut.offset} of {cut.path}" for cut in self._wal.cuts
        ]
        return replay

    def _replay_frame(self, replay: LogReplay, frame: Frame) -> None:
        try:
            batch = log_pb2.Batch.FromString(frame.payload)
            replay.batch(batch)
        except (DecodeError, WireError, ValueError) as error:
            raise ValueError(f"segment {frame.segment}, offset {frame.offset}: {error}") from None
        if replay.entries and any(change.entries for change in batch.changes):
            self._marks[frame.segment] = max(self._marks.get(frame.segment, 0), replay.entries[-1].index)

    def _newest_covered(self, base_index: int) -> Loaded | None:
        """The newest good snapshot that the log reaches back to; None if the log needs none. Raises
        :class:`UnrecoverableError`.
        """
        for path in self._store.paths():
            try:
                loaded = self._store.load(path)
            except BadSnapshotError as error:
                self.notes.append(f"put a bad snapshot aside as {path.name}.bad: {error}")
                self._store.put_aside(path)
                continue
            if loaded.snapshot.index >= base_index:
                return loaded
        if base_index > 0:
            bad = "; ".join(self.notes) or "none was found"
            raise UnrecoverableError(
                f"the log begins after index {base_index}, and no good snapshot reaches there ({bad}). {NEXT_STEP}"
            )
        return None


def _frames(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """What goes into one frame each. A crash between two of them leaves a prefix, as it may of any change
    (:class:`node.raft.messages.Ready`, duty 2).
    """
    if sum([size_of(change.entries) for change in changes]) <= FRAME_BYTES:
        yield changes
        return
    frame: list[Change] = []
    size = 0
    for part in (part for change in changes for part in _parts(change)):
        more = size_of(part.entries)
        if frame and size + more > FRAME_BYTES:
            yield frame
            frame, size = [], 0
        frame.append(part)
        size += more
    yield frame


def _parts(change: Change) -> Iterator[Change]:
    """A change in pieces that fit a frame each: what takes effect before the entries goes with the first of them."""
    first, *others = runs_of(change.entries, FRAME_BYTES)
    yield replace(change, entries=first)
    for run in others:
        yield Change(entries=run)


def _change_to_proto(change: Change) -> log_pb2.Change:
    return log_pb2.Change(
        install=snapshot_to_proto(change.install) if change.install else None,
        truncate_from=change.truncate_from,
        entries=encode_entries(change.entries),
    )


def _make(directory: Path) -> None:
    """The directory, under a durable name: what is synced below a name that a power failure takes is gone with it. Once
    more at every start, because the one that made it may have been killed before it came to that.
    """
    made = [one for one in (directory, *directory.parents) if not one.exists()]
    directory.mkdir(parents=True, exist_ok=True)
    for one in made or [directory]:
        with suppress(PermissionError):  # of a parent that may not be read: not ours, and nothing was made in it
            sync_directory(one.absolute().parent)


def _locked(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise UnrecoverableError(f"{path} is locked: another node is running on this data directory") from None
    return fd
