"""The kernel's protocol for file systems in user space: numbers and layouts of linux/fuse.h, version 7.31.

Everything has the machine's own byte order. A request is a header and what belongs to its opcode; a reply is a header
and a body, or a negative error number.
"""

from __future__ import annotations

import enum
import os
import struct
from dataclasses import dataclass

ROOT = 1
"""Number of the root's inode."""
MAJOR, MINOR = 7, 31
WRITE_BYTES_MAX = 1 << 20
"""One write(2) of up to so much is one request."""
BUFFER_BYTES = WRITE_BYTES_MAX + 4096
PAGES_MAX = WRITE_BYTES_MAX // 4096
RENAME_NOREPLACE = 1


class Opcode(enum.IntEnum):
    """What is asked."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    RENAME2 = 45
    LSEEK = 46


class Valid(enum.IntFlag):
    """Which attributes a SETATTR sets."""

    MODE = 1
    UID = 2
    GID = 4
    SIZE = 8
    ATIME = 16
    MTIME = 32
    ATIME_NOW = 128
    MTIME_NOW = 256


class InitFlag(enum.IntFlag):
    """Abilities that both sides agree on."""

    ASYNC_READ = 1
    BIG_WRITES = 1 << 5
    ASYNC_DIO = 1 << 15
    PARALLEL_DIROPS = 1 << 18
    MAX_PAGES = 1 << 22


IN_HEADER = struct.Struct("=IIQQIIIHH")
OUT_HEADER = struct.Struct("=IiQ")
INIT_IN = struct.Struct("=IIII")
INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
ATTR = struct.Struct("=6Q10I")
ENTRY_OUT = struct.Struct("=QQQQII")
ATTR_OUT = struct.Struct("=QII")
OPEN_OUT = struct.Struct("=QII")
STATFS_OUT = struct.Struct("=5Q4I24x")
DIRENT = struct.Struct("=QQII")
SETATTR_IN = struct.Struct("=IIQQQQQQIIIIIIII")
READ_IN = struct.Struct("=QQIIQII")
WRITE_IN = READ_IN
FSYNC_IN = struct.Struct("=QII")
OPEN_IN = struct.Struct("=II")
CREATE_IN = struct.Struct("=IIII")
MKDIR_IN = struct.Struct("=II")
MKNOD_IN = struct.Struct("=IIII")
RENAME_IN = struct.Struct("=Q")
RENAME2_IN = struct.Struct("=QII")
FALLOCATE_IN = struct.Struct("=QQQII")
LSEEK_IN = struct.Struct("=QQII")
FORGET_IN = struct.Struct("=Q")
BATCH_FORGET_IN = struct.Struct("=II")
FORGET_ONE = struct.Struct("=QQ")
WRITE_OUT = struct.Struct("=II")
LSEEK_OUT = struct.Struct("=Q")
INTERRUPT_IN = FORGET_IN
FH = struct.Struct("=Q")

DATASYNC = 1
"""Flag of FSYNC: fdatasync(2)."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request. ``pid`` is the calling thread; 0 if the kernel itself asks."""

    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int
    body: memoryview

    @classmethod
    def parse(cls, data: memoryview) -> Request:
        """From what was read from the device."""
        _, opcode, unique, node, uid, gid, pid, _, _ = IN_HEADER.unpack_from(data)
        return cls(opcode, unique, node, uid, gid, pid, data[IN_HEADER.size :])

    def kept(self) -> Request:
        """The same with a body of its own: the device's buffer is used again."""
        body = memoryview(bytes(self.body))
        return Request(self.opcode, self.unique, self.node, self.uid, self.gid, self.pid, body)


def names(body: memoryview, start: int = 0) -> list[str]:
    """The zero-terminated names at the end of a request."""
    return [os.fsdecode(name) for name in bytes(body[start:]).split(b"\0")[:-1]]


def attributes(number: int, stat: os.stat_result) -> bytes:
    """``struct fuse_attr``."""
    times = (stat.st_atime_ns, stat.st_mtime_ns, stat.st_ctime_ns)
    return ATTR.pack(
        number,
        stat.st_size,
        stat.st_blocks,
        *(time // 1_000_000_000 for time in times),
        *(time % 1_000_000_000 for time in times),
        stat.st_mode,
        stat.st_nlink,
        stat.st_uid,
        stat.st_gid,
        stat.st_rdev,
        4096,
        0,
    )


def attribute_reply(number: int, stat: os.stat_result) -> bytes:
    """The reply to GETATTR and SETATTR, valid for no time: after a power failure a file has another size."""
    return ATTR_OUT.pack(0, 0, 0) + attributes(number, stat)


def entry_reply(number: int, stat: os.stat_result) -> bytes:
    """The reply to LOOKUP and to whatever makes a name."""
    return ENTRY_OUT.pack(number, 0, 0, 0, 0, 0) + attributes(number, stat)


def open_reply(handle: int) -> bytes:
    """The reply to OPEN: no flags, so the kernel drops what it has cached of the file."""
    return OPEN_OUT.pack(handle, 0, 0)


def directory_entry(number: int, offset: int, name: str, kind: int) -> bytes:
    """One entry of READDIR; ``offset`` is where the next one begins."""
    raw = os.fsencode(name)
    entry = DIRENT.pack(number, offset, len(raw), kind) + raw
    return entry + bytes(-len(entry) % 8)


def init_reply(body: memoryview) -> bytes:
    """Agrees on a version and on abilities."""
    _, minor, readahead, offered = INIT_IN.unpack_from(body)
    wanted = (
        InitFlag.ASYNC_READ | InitFlag.BIG_WRITES | InitFlag.ASYNC_DIO | InitFlag.PARALLEL_DIROPS | InitFlag.MAX_PAGES
    )
    return INIT_OUT.pack(
        MAJOR, min(minor, MINOR), readahead, offered & wanted, 64, 48, WRITE_BYTES_MAX, 1, PAGES_MAX, 0, 0
    )
