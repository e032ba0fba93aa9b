"""Snapshot files: written atomically, checked as a whole before a byte of them is believed.

A snapshot is written to a temporary file, synced, renamed to ``<index>-<term>.snapshot`` (sixteen hex digits each), and
the directory is synced: a file under its final name is complete, or the disk lied, which the digest at its end tells. A
leader sends the file as it is, in chunks; the follower verifies the same digest over what arrived, and decodes the
state, before it gives its copy a name.

Layout, little endian: magic (8 bytes), length of the metadata (u32), length of the state (u64), metadata (``log.proto``
SnapshotMeta), state (opaque), BLAKE2b-256 of all that came before.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from node import log_pb2
from node.durable.wal import sync_directory, write_fully
from node.raft.messages import Snapshot

MAGIC = b"CAPSNAP1"
_HEADER = struct.Struct("<8sIQ")
_DIGEST_BYTES = 32

CHUNK_BYTES = 256 << 10
"""What one InstallSnapshot carries."""

_T = TypeVar("_T")


class BadSnapshotError(Exception):
    """A snapshot that is torn, damaged or none at all, or one from a peer that this program can't read: names it and
    the reason. It is never loaded.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A snapshot that was verified."""

    snapshot: Snapshot
    state: bytes


def snapshot_to_proto(snapshot: Snapshot) -> log_pb2.SnapshotMeta:
    """The metadata as it is stored and sent."""
    return log_pb2.SnapshotMeta(
        index=snapshot.index,
        term=snapshot.term,
        voters=snapshot.voters,
        outgoing=snapshot.outgoing,
        learners=snapshot.learners,
    )


def snapshot_from_proto(meta: log_pb2.SnapshotMeta) -> Snapshot:
    """The inverse of :func:`snapshot_to_proto`."""
    return Snapshot(
        index=meta.index,
        term=meta.term,
        voters=tuple(meta.voters),
        outgoing=tuple(meta.outgoing),
        learners=tuple(meta.learners),
    )


def encode_snapshot(snapshot: Snapshot, state: bytes) -> bytes:
    """The whole file."""
    meta = snapshot_to_proto(snapshot).SerializeToString(deterministic=True)
    parts = (_HEADER.pack(MAGIC, len(meta), len(state)), meta, state)
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return b"".join((*parts, digest.digest()))  # one copy: it holds up the event loop for as long as it takes


def decode_snapshot(data: bytes, name: str) -> Loaded:
    """Raises :class:`BadSnapshotError` unless every byte is as it was written."""
    if len(data) < _HEADER.size + _DIGEST_BYTES:
        raise BadSnapshotError(f"{name}: only {len(data)} bytes")
    magic, meta_length, state_length = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise BadSnapshotError(f"{name}: not a snapshot (it begins with {magic!r})")
    if len(data) != _HEADER.size + meta_length + state_length + _DIGEST_BYTES:
        raise BadSnapshotError(f"{name}: {len(data)} bytes, but its header speaks of {meta_length + state_length}")
    if hashlib.blake2b(memoryview(data)[:-_DIGEST_BYTES], digest_size=_DIGEST_BYTES).digest() != data[-_DIGEST_BYTES:]:
        raise BadSnapshotError(f"{name}: its digest does not match its content")
    start = _HEADER.size + meta_length
    meta = log_pb2.SnapshotMeta.FromString(data[_HEADER.size : start])
    return Loaded(snapshot=snapshot_from_proto(meta), state=data[start : start + state_length])


class SnapshotStore:
    """The snapshots of one node. All methods block and may raise OSError."""

    def __init__(self, directory: Path) -> None:
        """Creates the directory if need be and removes what an earlier incarnation left half-written. The names that
        it finds are made durable, before a log is reset on the strength of them: that incarnation may have been killed
        between a rename and its sync.
        """
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        for leftover in directory.glob("*.tmp"):
            leftover.unlink()
        sync_directory(directory)

    def path(self, snapshot: Snapshot) -> Path:
        """Where a snapshot lies under its final name."""
        return self._directory / f"{snapshot.index:016x}-{snapshot.term:016x}.snapshot"

    def save(self, snapshot: Snapshot, state: bytes) -> None:
        """Durable when it returns."""
        self.publish(snapshot, encode_snapshot(snapshot, state), suffix=".taken.tmp")

    def paths(self) -> Sequence[Path]:
        """All files under final names, newest first."""
        return sorted(self._directory.glob("*.snapshot"), reverse=True)

    def load(self, path: Path) -> Loaded:
        """Raises :class:`BadSnapshotError`."""
        return decode_snapshot(path.read_bytes(), str(path))

    def chunk(self, snapshot: Snapshot, offset: int) -> tuple[bytes, bool]:
        """Bytes of the file from ``offset`` on, and whether they are its last. Raises FileNotFoundError if it was
        pruned meanwhile.
        """
        with self.path(snapshot).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return os.pread(file.fileno(), CHUNK_BYTES, offset), offset + CHUNK_BYTES >= size

    def receive(self, snapshot: Snapshot, data: bytes, understand: Callable[[Loaded], _T]) -> _T:
        """Verifies a file that came from a peer and makes it durable under its final name, but only if ``understand``
        makes something of it, which is returned: under a final name it would be what the next start loads. Raises
        :class:`BadSnapshotError`, as ``understand`` may.
        """
        loaded = decode_snapshot(data, f"snapshot {snapshot.index} from a peer")
        if (loaded.snapshot.index, loaded.snapshot.term) != (snapshot.index, snapshot.term):
            raise BadSnapshotError(f"announced as {snapshot}, but it is {loaded.snapshot}")
        understood = understand(loaded)
        self.publish(snapshot, data, suffix=".received.tmp")
        return understood

    def check(self, snapshot: Snapshot) -> None:
        """Reads a file as it is sent. Raises :class:`BadSnapshotError`, FileNotFoundError."""
        path = self.path(snapshot)
        digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        with path.open("rb") as file:
            left = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
            while left > 0 and (piece := file.read(min(left, CHUNK_BYTES))):
                digest.update(piece)
                left -= len(piece)
            if left or file.read() != digest.digest():
                raise BadSnapshotError(f"{path}: its digest does not match its content")

    def put_aside(self, path: Path) -> None:
        """What lies there is never looked at again."""
        path.rename(path.with_name(path.name + ".bad"))

    def prune(self, keep: int, spare: Iterable[Snapshot] = ()) -> None:
        """Deletes all but the ``keep`` newest and those to spare."""
        spared = {self.path(snapshot) for snapshot in spare}
        for path in self.paths()[keep:]:
            if path not in spared:
                path.unlink(missing_ok=True)

    def publish(self, snapshot: Snapshot, data: bytes, *, suffix: str) -> None:
        """A file under its final name is complete and durable: written beside it, synced, renamed. Raises OSError."""
        final = self.path(snapshot)
        temporary = final.with_suffix(suffix)
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_fully(fd, data, 0)
            os.fsync(fd)
        finally:
            os.close(fd)
        temporary.rename(final)
        sync_directory(self._directory)


@dataclass(slots=True)
class Arrival:
    """A snapshot that is being received: chunks are taken in order, others ignored. Kept in memory: it is loaded from
    there right after.
    """

    snapshot: Snapshot
    data: bytearray
    complete: bool = False

    def accept(self, offset: int, data: bytes, *, done: bool) -> int:
        """Takes a chunk if it is the next one; returns the offset of the next byte wanted."""
        if offset == len(self.data) and not self.complete:
            self.data += data
            self.complete = done
        return len(self.data)
