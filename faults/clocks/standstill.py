"""Holds every thread of another process still for a moment, so that its code can be exchanged.

By ptrace(2), seized and interrupted (PTRACE_SEIZE, PTRACE_INTERRUPT), and not by SIGSTOP and SIGCONT, for three
reasons. A process that somebody else has stopped (the fault ``pause``, a freeze for inspection) stays stopped when it
is let go, and one that is stopped or continued just while it is held does what it was told afterwards: the two kinds
of stopping do not know each other. If whoever holds it dies, the kernel lets it go. And it is told where every thread
stands.

A thread that cannot be interrupted (its control group is frozen, it waits for a disk) is left alone when its place can
be read; it comes back there and nowhere else. All of it is done by a thread of its own that ends at once, because the
kernel lets go of what a thread held when that ends, even of threads that had not stopped yet. It must not be done in
the process that started the other one: its waitpid(2) would take a held child for an ended one.

As with any signal, epoll_wait and a few other calls that wait return EINTR once (signal(7)). x86-64 only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

PTRACE_GETREGS, PTRACE_DETACH, PTRACE_SEIZE, PTRACE_INTERRUPT = 12, 17, 0x4206, 0x4207
EVENT_STOP = 128
WALL = 0x40000000
REGISTERS = 27
RIP = 16
"""The place of the instruction pointer among them (sys/user.h)."""
PATIENCE_S = 0.25
POLL_S = 0.0002
ROUNDS_MAX = 50
"""A process that starts threads while it is being held is gone through again, at most so often."""

_T = TypeVar("_T")


class StandstillError(Exception):
    """The process cannot be held, with the reason."""


def while_still(pid: int, deed: Callable[[Mapping[int, int]], _T]) -> _T:
    """What ``deed`` returns, called while the process stands still with the address at which each thread will go on
    (in user space), by thread id.

    Raises:
        StandstillError: the process is gone, is not ours to hold, or somebody else traces it.
    """
    results: list[_T] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            with _held(pid) as places:
                results.append(deed(places))
        except Exception as error:  # noqa: BLE001 - carried to the caller's thread, whatever it is
            errors.append(error)

    thread = threading.Thread(target=work, name=f"holds {pid}")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def why_not(pid: int) -> str | None:
    """Why this process could not be held; None if it could. It is held from then on, and is to be killed: for tries."""
    number = _request(PTRACE_SEIZE, pid, 0, 0)
    return os.strerror(number) if number else None


@contextlib.contextmanager
def _held(pid: int) -> Iterator[Mapping[int, int]]:
    stops: dict[int, int | None] = {}
    try:
        for _ in range(ROUNDS_MAX):
            new = [thread for thread in _threads(pid) if thread not in stops]
            if not new:
                break
            stops |= _stop(new)
        else:
            raise StandstillError(f"process {pid} starts threads faster than they can be held")
        yield {thread: _place(thread, status) for thread, status in stops.items() if _exists(pid, thread)}
    finally:
        for thread, status in stops.items():
            if status is not None:
                _request(PTRACE_DETACH, thread, 0, _undelivered(status))


def _threads(pid: int) -> list[int]:
    """Those that can run. A process whose first thread has ended before the others keeps it as a zombie."""
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        raise StandstillError(f"process {pid} is gone") from None
    alive = [thread for thread in threads if _state(pid, thread) not in "ZX"]
    if not alive:
        raise StandstillError(f"process {pid} is gone")
    return alive


def _state(pid: int, thread: int) -> str:
    try:
        return Path(f"/proc/{pid}/task/{thread}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"


def _exists(pid: int, thread: int) -> bool:
    return _state(pid, thread) not in "ZX"


def _stop(threads: list[int]) -> dict[int, int | None]:
    """Seizes all, then waits for all: the status of each that stopped; None for those that cannot be interrupted."""
    seized = [thread for thread in threads if _seize(thread)]
    for thread in seized:
        _request(PTRACE_INTERRUPT, thread, 0, 0)
    deadline = time.monotonic() + PATIENCE_S
    return {thread: status for thread in seized if (status := _wait(thread, deadline)) != 0}


def _seize(thread: int) -> bool:
    """False if it has ended meanwhile."""
    number = _request(PTRACE_SEIZE, thread, 0, 0)
    if number == 0:
        return True
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{thread}/status").read_text(errors="replace").splitlines()
        state = next(line.split()[1] for line in lines if line.startswith("State:"))
        tracer = next(line.split()[1] for line in lines if line.startswith("TracerPid:"))
        if state not in "ZX":
            reason = f"process {tracer} traces it" if tracer != "0" else os.strerror(number)
            raise StandstillError(f"thread {thread} cannot be held: {reason}")
    return False


def _wait(thread: int, deadline: float) -> int | None:
    """How it stopped; 0 if it ended; None if it does not stop."""
    while True:
        try:
            seen, status = os.waitpid(thread, os.WNOHANG | WALL)
        except ChildProcessError:
            return 0
        if seen:
            return status if os.WIFSTOPPED(status) else 0
        if time.monotonic() > deadline:
            return None
        time.sleep(POLL_S)


def _place(thread: int, status: int | None) -> int:
    """Where it goes on. One that did not stop must be waiting in the kernel."""
    if status is not None:
        registers = (ctypes.c_ulonglong * REGISTERS)()
        if _request(PTRACE_GETREGS, thread, 0, ctypes.addressof(registers)) == 0:
            return int(registers[RIP])
    try:
        words = Path(f"/proc/{thread}/syscall").read_text().split()
    except OSError as error:
        raise StandstillError(f"thread {thread} does not stop, and where it is is not told: {error.strerror}") from None
    if words[0] == "running":
        raise StandstillError(f"thread {thread} does not stop")
    return int(words[-1], 16)


def _undelivered(status: int) -> int:
    """The signal that was on its way to a thread when it stopped for that and not for us: it goes on its way."""
    return 0 if status >> 16 == EVENT_STOP else os.WSTOPSIG(status)


def _request(request: int, thread: int, address: int, data: int) -> int:
    """0, or the error's number."""
    ctypes.set_errno(0)
    done = _LIBC.ptrace(ctypes.c_long(request), ctypes.c_long(thread), ctypes.c_void_p(address), ctypes.c_void_p(data))
    return ctypes.get_errno() if done == -1 else 0


_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.restype = ctypes.c_long
