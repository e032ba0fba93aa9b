"""The harness's own operations on a mount: real system calls by a process that is nobody's node.

The process is forked from the server before it mounts, so it costs no second start, and it may wait as long as a rule
makes it without holding up the server. Each operation has a file or folder of its own at the root, and a thread.
"""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from faults.filesystem.rules import OPERATIONS, PROBE

BYTES = 4096
"""What a probe writes and reads: some sectors, so that a part of it can be told from all of it."""


def prepare(store: str) -> None:
    """Makes what the probes need, beneath."""
    for operation in OPERATIONS:
        path = os.path.join(store, PROBE + operation)
        if operation == "list":
            os.makedirs(path, exist_ok=True)
        elif operation not in ("create", "mkdir"):
            with open(path, "wb") as file:
                file.write(bytes(BYTES))


def attempt(mount: str, operation: str) -> dict[str, Any]:
    """One operation: its error's name (None if there was none), how long it took, and how many bytes it did."""
    path = os.path.join(mount, PROBE + operation)
    began = time.monotonic()
    error, done = None, None
    try:
        done = _ATTEMPTS[operation](path)
    except OSError as failure:
        error = errno.errorcode.get(failure.errno or 0, str(failure))
    return {"error": error, "took_ms": round((time.monotonic() - began) * 1000, 3), "bytes": done}


def serve(mount: str, commands: int, replies: int) -> None:
    """Answers each line (a list of operations) with a line (what became of each), until its input ends."""
    with os.fdopen(commands, "rb") as lines:
        for line in lines:
            os.write(replies, json.dumps(_attempts(mount, json.loads(line))).encode() + b"\n")


def _attempts(mount: str, operations: Sequence[str]) -> dict[str, Any]:
    """All at once: each may have to wait. (concurrent.futures would double the time that the server takes to start.)"""
    found: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda each=operation: found.__setitem__(each, attempt(mount, each)))
        for operation in operations
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def _with(flags: int, use: Callable[[int], int | None]) -> Callable[[str], int | None]:
    """Uses a file that is opened for it."""

    def attempted(path: str) -> int | None:
        fd = os.open(path, flags | os.O_CLOEXEC)
        try:
            return use(fd)
        finally:
            os.close(fd)

    return attempted


def _read(fd: int) -> int:
    return len(os.pread(fd, BYTES, 0))


def _write(fd: int) -> int:
    """At its end: what needs no room succeeds on a full disk."""
    return os.pwrite(fd, bytes(BYTES), os.fstat(fd).st_size)


def _create(path: str) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    os.unlink(path)


def _unlink(path: str) -> None:
    os.unlink(path)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def _rename(path: str) -> None:
    there = path + "d"
    os.rename(*((path, there) if os.path.exists(path) else (there, path)))


def _link(path: str) -> None:
    os.link(path, path + "ed")
    os.unlink(path + "ed")


def _mkdir(path: str) -> None:
    os.mkdir(path)
    os.rmdir(path)


def _rmdir(path: str) -> None:
    if not os.path.isdir(path):
        os.unlink(path)
        os.mkdir(path)
    os.rmdir(path)
    os.mkdir(path)


def _list(path: str) -> None:
    os.listdir(path)


def _stat(path: str) -> None:
    os.stat(path)


_ATTEMPTS: Mapping[str, Callable[[str], int | None]] = {
    "read": _with(os.O_RDONLY, _read),
    "open": _with(os.O_RDONLY, lambda _: None),
    "list": _list,
    "stat": _stat,
    "write": _with(os.O_WRONLY, _write),
    "fsync": _with(os.O_WRONLY, os.fsync),
    "truncate": _with(os.O_WRONLY, lambda fd: os.ftruncate(fd, BYTES)),
    "allocate": _with(os.O_WRONLY, lambda fd: os.posix_fallocate(fd, 0, BYTES)),
    "create": _create,
    "unlink": _unlink,
    "rename": _rename,
    "link": _link,
    "mkdir": _mkdir,
    "rmdir": _rmdir,
    "attributes": lambda path: os.chmod(path, 0o600),
}
