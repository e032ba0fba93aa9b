"""Killing a node's whole tree of processes, known by one thread of it: that which made the request being held.

In a container the tree is everything in the caller's pid namespace; elsewhere everything in its network namespace but
for the harness's own session; where it shares both with us, its session.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

_SIGKILL_PENDING = 1 << (signal.SIGKILL - 1)


def kill_tree(thread: int) -> list[int]:
    """SIGKILL to the thread's process first, then to the rest of its tree; returns who was hit."""
    same = _belongs(thread)
    killed = [pid for pid in (thread,) if _kill(pid)]
    return killed + [pid for pid in _pids() if pid != thread and same(pid) and _kill(pid)]


def is_dying(thread: int) -> bool:
    """Whether SIGKILL waits for the thread to come back from the kernel, or it is gone."""
    try:
        status = Path(f"/proc/{thread}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return bool(int(fields.get("SigPnd", "0"), 16) & _SIGKILL_PENDING) or fields.get("State", "").strip()[:1] in "ZX"


class _Tree:
    """Tells who belongs to the caller's tree. Everything about the caller is looked up before it dies."""

    def __init__(self, thread: int) -> None:
        self._kind = next(
            (kind for kind in ("pid", "net") if _namespace(thread, kind) != _namespace("self", kind)), None
        )
        self._number = _namespace(thread, self._kind) if self._kind else None
        self._session = _session(thread)

    def __call__(self, pid: int) -> bool:
        if self._kind is None:
            return _session(pid) == self._session != os.getsid(0)
        if _namespace(pid, self._kind) != self._number:
            return False
        return self._kind == "pid" or _session(pid) != os.getsid(0)


def _belongs(thread: int) -> _Tree:
    return _Tree(thread)


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _kill(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _namespace(pid: int | str, kind: str) -> int | None:
    try:
        return os.stat(f"/proc/{pid}/ns/{kind}").st_ino
    except OSError:
        return None


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None
