"""What this machine says about processes: the few facts of /proc that the harness acts on.

Own code instead of psutil, because the watchdog needs it too and must start in some tens of milliseconds. A process
is told by its pid *and* its start time, so that a recycled pid is never mistaken for it. Every function answers for a
process that is gone, too: nothing raises.
"""

from __future__ import annotations

import contextlib
import os
import signal as signals
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

_STATE, _SESSION, _START = 0, 3, 19
"""Places in /proc/PID/stat after the command's closing bracket (proc(5): fields 3, 6 and 22)."""


def start_ticks(pid: int) -> int | None:
    """When the process began, in clock ticks since the machine did; None if it is gone (a zombie is gone)."""
    fields = _stat(f"/proc/{pid}/stat")
    return int(fields[_START]) if fields and fields[_STATE] not in "ZX" else None


def session_of(pid: int) -> int | None:
    """The session that the process belongs to; None if it is gone."""
    fields = _stat(f"/proc/{pid}/stat")
    return int(fields[_SESSION]) if fields else None


def is_process(pid: int, start: int | None) -> bool:
    """Whether this very process is alive."""
    return start is not None and start_ticks(pid) == start


def is_stopped(pid: int) -> bool:
    """Whether every thread of the process is stopped by a signal."""
    states = [
        fields[_STATE] for task in _listdir(f"/proc/{pid}/task") if (fields := _stat(f"/proc/{pid}/task/{task}/stat"))
    ]
    return bool(states) and all(state in "Tt" for state in states)


def all_pids() -> Iterator[int]:
    """Every process of this pid namespace."""
    return (int(name) for name in _listdir("/proc") if name.isdigit())


def namespace(pid: int | str, kind: str) -> int | None:
    """The number of the process's namespace (``net``, ``mnt``, ``pid``); None if it is gone or not ours to see."""
    return namespace_of_path(f"/proc/{pid}/ns/{kind}")


def namespace_of_path(path: str) -> int | None:
    """The number of the namespace behind a path like /run/netns/NAME or /proc/PID/ns/net."""
    try:
        return os.stat(path).st_ino
    except OSError:
        return None


def in_namespace(kind: str, number: int) -> Iterator[int]:
    """Every process in the namespace."""
    return (pid for pid in all_pids() if namespace(pid, kind) == number)


def in_session(session: int) -> Iterator[int]:
    """Every process of the session."""
    return (pid for pid in all_pids() if session_of(pid) == session)


def environment(pid: int) -> Mapping[str, str]:
    """The environment that the process was started with; empty if it is gone or not ours to see."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.decode(errors="replace").partition("=") for entry in raw.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def send(pids: Iterable[int], number: int) -> None:
    """Signals each; one that is gone is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(pid: int) -> None:
    """SIGKILL to the process and to the session it leads."""
    send({pid, *in_session(pid)}, signals.SIGKILL)


def _stat(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
