"""The write-ahead log on disk: segments of frames. It knows nothing of Raft; :mod:`node.durable.storage` says what the
frames hold.

**One frame is one group commit**, or a part of a very large one: written at once, synced at once, checked as a whole.
Frame *n + 1* is written only after the sync of frame *n* returned, which is what makes the two kinds of damage
distinguishable:

- a bad frame *with no valid frame behind it* at the end of the last segment was being written when the process or the
  machine died. Nobody was told that it is durable, so it is cut off ("torn tail").
- a bad frame *with a valid frame behind it* had been synced: the disk lost what it had promised. That is
  :class:`WalCorruptError`, never repaired here.

So the last frame is the only one whose rot looks like a torn write. To narrow that, an idle node puts a *seal* (an
empty frame, not synced, overwritten by the next real frame) behind the last frame after its sync: with the seal in
place, rot of the last frame is recognised as well. Before a new segment is begun, the old one's seal is synced: it
marks the end, without which a segment that lost its last frames would look whole.

A frame's checksum covers its segment's number and its offset, so a frame is never taken for valid anywhere but where it
was written (a recycled block, a copied file, an old tail that shines through). Layout, little endian: magic (4 bytes),
payload length (u32), CRC-32 (u32) of segment number, offset, length and payload; then the payload. Files are named
``<number>.wal`` in sixteen hex digits and start directly with a frame.

Reading writes what it found once more, and syncs it, before it is trusted: after SIGKILL a frame may be readable from
the page cache that no sync has ever covered; and after a sync that failed the kernel may show pages that it will never
write, whatever is synced later, because it takes them for clean (Rebello et al., "Can Applications Recover from fsync
Failures?", 2020). Only the last segment can hold such pages: nothing is written after a failed sync.
"""

from __future__ import annotations

import itertools
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

MAGIC = b"\xacWL\x01"
_HEADER = struct.Struct("<4sII")
_PLACE = struct.Struct("<QQI")

SEGMENT_BYTES = 4 << 20
"""A segment that has grown past this is followed by a new one."""

FRAME_BYTES_MAX = 256 << 20
"""No frame is longer; a length beyond it is damage."""


class WalCorruptError(Exception):
    """Synced records are damaged: names file and offset. The node must not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame as it was read back."""

    segment: int
    offset: int
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A torn tail that recovery removed: what a log line about it should say."""

    path: Path
    offset: int
    length: int


def sync_directory(path: Path) -> None:
    """Makes names in a directory durable. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_fully(fd: int, data: bytes, offset: int) -> None:
    """``pwrite`` until all of it is written (a full disk may take a part). Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def _checksum(segment: int, offset: int, payload: bytes | memoryview) -> int:
    return zlib.crc32(payload, zlib.crc32(_PLACE.pack(segment, offset, len(payload))))


def encode_frame(segment: int, offset: int, payload: bytes) -> bytes:
    """The bytes of a frame for exactly this place."""
    return _HEADER.pack(MAGIC, len(payload), _checksum(segment, offset, payload)) + payload


Verify = Callable[[int, int, int, bytes], bool]
"""Whether a checksum fits a segment's number, an offset and a payload."""


def checksum_matches(checksum: int, segment: int, offset: int, payload: bytes) -> bool:
    """Whether the frame is as it was written, and where it was written."""
    return _checksum(segment, offset, payload) == checksum


def decode_frame(data: bytes, segment: int, offset: int, verify: Verify = checksum_matches) -> bytes | None:
    """The payload of the frame at this place of a segment's bytes, or None if there is no valid one."""
    if offset + _HEADER.size > len(data):
        return None
    magic, length, checksum = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size
    if magic != MAGIC or length > FRAME_BYTES_MAX or start + length > len(data):
        return None
    payload = data[start : start + length]
    return payload if verify(checksum, segment, offset, payload) else None


def _end(frames: list[Frame]) -> int:
    return frames[-1].offset + _HEADER.size + len(frames[-1].payload) if frames else 0


class Wal:
    """An open log, positioned at its end. All methods block; any OSError leaves it unusable (never write on after a
    failed sync).
    """

    def __init__(self, directory: Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Creates the directory if need be. :meth:`recover` must be called before anything is appended."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._fd = -1
        self.segment = 0
        """Number of the segment that is written."""
        self.offset = 0
        """Where the next frame goes."""
        self.cuts: list[Cut] = []
        """Torn tails that recovery cut."""
        directory.mkdir(parents=True, exist_ok=True)

    def recover(self) -> list[Frame]:
        """All frames in order, synced; cuts a torn tail. Raises :class:`WalCorruptError`, OSError."""
        numbers = self.segments()
        self._check_contiguous(numbers)
        frames: list[Frame] = []
        for number in numbers:
            frames += self._recover_segment(number, last=number == numbers[-1])
        if numbers:
            self._resume(
                numbers[-1], _end([frame for frame in frames if frame.segment == numbers[-1] and frame.payload])
            )
        return [frame for frame in frames if frame.payload]

    @property
    def full(self) -> bool:
        """Whether the next frame belongs into a new segment (:meth:`rotate`)."""
        return self._fd < 0 or self.offset >= self._segment_bytes

    def rotate(self) -> None:
        """Begins a new segment; its first frame should repeat all that must outlive the older ones."""
        if self._fd >= 0:
            end = encode_frame(self.segment, self.offset, b"")
            write_fully(self._fd, end, self.offset)
            os.ftruncate(self._fd, self.offset + len(end))
            os.fsync(self._fd)
            self.close()
        self._resume(self.segment + 1, 0)

    def append(self, payload: bytes) -> None:
        """Writes one frame and syncs it; it is durable when this returns. Raises OSError."""
        if not payload or len(payload) > FRAME_BYTES_MAX:
            raise ValueError(f"a frame holds 1 to {FRAME_BYTES_MAX} bytes, not {len(payload)}")
        frame = encode_frame(self.segment, self.offset, payload)
        write_fully(self._fd, frame, self.offset)
        self.sync()
        if self.offset == 0:
            sync_directory(self._directory)
        self.offset += len(frame)

    def sync(self) -> None:
        """Makes what was written to the segment durable. Raises OSError."""
        os.fdatasync(self._fd)

    def seal(self) -> None:
        """Marks the last frame as synced, for recovery's sake: an empty frame, not synced, that the next frame
        overwrites. Raises OSError.
        """
        if self.offset > 0:
            write_fully(self._fd, encode_frame(self.segment, self.offset, b""), self.offset)

    def remove_before(self, segment: int) -> None:
        """Deletes all segments with smaller numbers, oldest first, so that what is left never has a hole. Raises
        OSError.
        """
        doomed = [number for number in self.segments() if number < segment]
        for number in doomed:
            self._path(number).unlink()
        if doomed:
            sync_directory(self._directory)

    def segments(self) -> list[int]:
        """Numbers of the segments on disk, ascending."""
        return sorted(int(path.stem, 16) for path in self._directory.glob("*.wal"))

    def close(self) -> None:
        """Lets the file go (all that was appended is already durable)."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:016x}.wal"

    def _resume(self, number: int, offset: int) -> None:
        self._fd = os.open(self._path(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self.segment, self.offset = number, offset

    def _check_contiguous(self, numbers: list[int]) -> None:
        for before, after in itertools.pairwise(numbers):
            if after != before + 1:
                raise WalCorruptError(f"{self._path(before + 1)} is missing, but {self._path(after).name} is there")

    def verify(self, checksum: int, segment: int, offset: int, payload: bytes) -> bool:
        """Whether what was read back is what was written there."""
        return checksum_matches(checksum, segment, offset, payload)

    def _frames(self, data: bytes, segment: int) -> Iterator[Frame]:
        """The valid frames from the start of a segment, up to the first place that holds none."""
        offset = 0
        while (payload := decode_frame(data, segment, offset, self.verify)) is not None:
            yield Frame(segment=segment, offset=offset, payload=payload)
            offset += _HEADER.size + len(payload)

    def _next_valid(self, data: bytes, segment: int, start: int) -> int | None:
        """Offset of the first valid frame at or after ``start``, wherever it begins: tells damage from a torn tail."""
        offset = data.find(MAGIC, start)
        while offset >= 0:
            if decode_frame(data, segment, offset, self.verify) is not None:
                return offset
            offset = data.find(MAGIC, offset + 1)
        return None

    def _recover_segment(self, number: int, *, last: bool) -> list[Frame]:
        path = self._path(number)
        data = path.read_bytes()
        frames = list(self._frames(data, number))
        end = _end(frames)
        if end < len(data) or not (frames or last):
            self.judge_tail(path, number, data, end, last=last)
        elif not last and frames[-1].payload:
            raise WalCorruptError(
                f"{path}: ends at offset {end} without the mark of its end, but later segments exist: it was cut short"
            )
        if last:
            self.save_recovered(path, data[:end])
        return frames

    def judge_tail(self, path: Path, number: int, data: bytes, end: int, *, last: bool) -> None:
        """Raises unless the bytes from ``end`` on can be a frame that was being written when the node died."""
        beyond = self._next_valid(data, number, end + 1)
        if beyond is not None:
            raise WalCorruptError(
                f"{path}: bad record at offset {end}, but a valid one at offset {beyond}: synced data is damaged"
            )
        if not last:
            raise WalCorruptError(
                f"{path}: bad record at offset {end}, but later segments exist: synced data is damaged"
            )
        self.cuts.append(Cut(path=path, offset=end, length=len(data) - end))

    def save_recovered(self, path: Path, data: bytes) -> None:
        """Makes durable what was read back, and cuts off what is behind it. Raises OSError."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            os.ftruncate(fd, len(data))
            write_fully(fd, data, 0)  # the same bytes: torn or not, nothing is changed
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_directory(self._directory)
