"""The connection to the kernel: /dev/fuse, mounted somewhere by the process that serves it.

Needs no helper program: whoever is root, or root of a user namespace with a mount namespace of its own, may mount.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Sequence

from faults.filesystem.wire import BUFFER_BYTES, OUT_HEADER, Request

PATH = "/dev/fuse"
_MS_NOSUID, _MS_NODEV = 2, 4
_MNT_DETACH = 2


class MountError(Exception):
    """The machine does not let us mount; the text says why and what mends it."""


class Device:
    """An open connection. Reading never blocks."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)

    @classmethod
    def mount(cls, folder: str) -> Device:
        """Opens a connection and mounts it over the folder.

        Raises:
            MountError: see there.
        """
        try:
            fd = os.open(PATH, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise MountError(
                f"{PATH} cannot be opened ({error.strerror}): sudo modprobe fuse, or run as root"
            ) from None
        # allow_other: a node in a container may be of another user; default_permissions: the kernel checks modes.
        options = f"fd={fd},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()},default_permissions,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"capsize", os.fsencode(folder), b"fuse.capsize", _MS_NOSUID | _MS_NODEV, options.encode()) != 0:
            reason = os.strerror(ctypes.get_errno())
            os.close(fd)
            raise MountError(f"{folder}: a file system of ours cannot be mounted there ({reason}): run as root")
        return cls(fd)

    def receive(self) -> Request | None:
        """The next request, or None if there is none just now. Its body is valid until the next call.

        Raises:
            EOFError: it was unmounted.
        """
        while True:
            try:
                size = os.readv(self.fd, [self._buffer])
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno == errno.ENODEV:
                    raise EOFError("unmounted") from None
                if error.errno in (errno.ENOENT, errno.EINTR):  # interrupted before we had it
                    continue
                raise
            return Request.parse(self._view[:size])

    def reply(self, unique: int, *parts: bytes | memoryview) -> None:
        """Answers a request. One that was given up meanwhile is no error."""
        self._send([OUT_HEADER.pack(OUT_HEADER.size + sum(map(len, parts)), 0, unique), *parts])

    def refuse(self, unique: int, number: int) -> None:
        """Answers a request with an error number."""
        self._send([OUT_HEADER.pack(OUT_HEADER.size, -number, unique)])

    def _send(self, parts: Sequence[bytes | memoryview]) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.writev(self.fd, parts)


def unmount(folder: str) -> None:
    """Takes the file system out of the tree at once; it ends when nobody has a file open. No error if it is gone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(folder), _MNT_DETACH) != 0:
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOENT):
            raise OSError(number, os.strerror(number), folder)
