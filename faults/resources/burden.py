"""A helper that burdens a node's group of processes with a process of the harness's own: ``python3 -m
faults.resources.burden``.

It answers lines with lines of JSON (:class:`faults.needs.Helper`). What it does is done by children that enter the
group by its ``door`` (a file that they write themselves into), so that the helper itself is held to nothing:

``burn DOOR SECONDS``
    wants the whole processor for so long; says how much it got
``grab DOOR BYTES``
    takes memory until it has so much or is killed; says which, and how many of the harness's own were killed
``press DOOR BYTES``
    takes memory up to so much and touches it again and again; starts over when it is killed, until the input ends
``told``
    how many of the harness's own were killed while it pressed

Children make themselves the kernel's first choice when memory runs out (``oom_score_adj``), so that a node is killed
only for what it wants itself. What they take is private to them (:func:`taken`), so that it goes with them, and for the
moment in which it goes others stand by (:class:`Guards`). When the input ends they are killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import mmap
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from typing import Any, NoReturn

FIRST_CHOICE = "1000"
PRESS_POLL_S = 0.05
PAGE = 4096
GUARDS = 3
"""The first is killed in the moment that is meant; the others, if that lasts longer than its death."""
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def _child(door: str, work: Callable[[], Any]) -> tuple[int, int]:
    """A child in the group that does this work and prints what came of it; its pid and its output."""
    source, sink = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _be_child(parent, door, work, sink)
    os.close(sink)
    return pid, source


def _be_child(parent: int, door: str, work: Callable[[], Any], sink: int) -> NoReturn:
    try:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # whoever is killed cannot end its children
        if os.getppid() != parent:
            os._exit(1)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _set("/proc/self/oom_score_adj", FIRST_CHOICE)
        _set(door, "0")
        os.write(sink, json.dumps(work()).encode())
        os._exit(0)
    except BaseException as error:  # noqa: BLE001 - a fork must never come back
        os.write(sink, json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        os._exit(1)


def _set(path: str, value: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(value)


def _outcome(pid: int, source: int) -> dict[str, Any]:
    with open(source, "rb") as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    facts: dict[str, Any] = json.loads(said) if said else {}
    return {**facts, "killed": os.WIFSIGNALED(status)}


def burn(seconds: float) -> dict[str, float]:
    """Wants the processor."""
    begin, used = time.monotonic(), time.process_time()
    while time.monotonic() - begin < seconds:
        pass
    return {"wall_s": time.monotonic() - begin, "cpu_s": time.process_time() - used}


def grab(size: int) -> dict[str, int]:
    """Takes memory, page by page."""
    with taken(size) as memory:
        touch(memory, size)
    return {"bytes": size}


def taken(size: int) -> mmap.mmap:
    """Memory that is freed while its owner is being killed.

    By default it would be shared, which is a file to the kernel: freed, and no longer counted in the group, only some
    time after the owner has left the group. Whoever of the node wants a page in between finds the group full and
    nobody in it but the node, which is then killed for memory that was never its own.
    """
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def touch(memory: mmap.mmap, size: int) -> None:
    """Makes the kernel give what was promised."""
    for offset in range(0, size, PAGE):
        memory[offset] = 1


def keep(size: int) -> NoReturn:
    """Takes memory, and touches it for ever."""
    with taken(size) as memory:
        while True:
            touch(memory, size)
            time.sleep(PRESS_POLL_S)


class Guards:
    """Children that are in the group and want nothing: while one that took memory dies, they are killed in the node's
    place.

    The kernel no longer counts who is dying among those whom it may kill once he has let go of his memory, and gives
    the memory back to the group only after that. A node that wants a page within these milliseconds finds the group
    full and nobody else in it.
    """

    def __init__(self) -> None:
        self.kills = 0
        self._pids: list[int] = []

    def stand(self, door: str) -> None:
        """Sees to it that all of them are there, those anew that were killed."""
        alive = [pid for pid in self._pids if not self._buried(pid, os.WNOHANG)]
        self._pids = [*alive, *(_guard(door) for _ in range(GUARDS - len(alive)))]

    def end(self) -> None:
        """Ends them."""
        for pid in self._pids:
            os.kill(pid, signal.SIGTERM)
            self._buried(pid, 0)
        self._pids = []

    def _buried(self, pid: int, options: int) -> bool:
        """Whether it is dead; counted, if it was the kernel that killed it."""
        gone, status = os.waitpid(pid, options)
        self.kills += gone != 0 and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        return gone != 0


def _guard(door: str) -> int:
    """A child that waits in the group, once it is there (or cannot be, which whom it guards will say)."""
    there, sink = os.pipe()
    pid, source = _child(door, lambda: _wait(sink))
    os.close(sink)
    os.read(there, 1)
    os.close(there)
    os.close(source)
    return pid


def _wait(sink: int) -> NoReturn:
    os.write(sink, b".")
    while True:
        signal.pause()


def guarded(door: str, size: int) -> dict[str, Any]:
    """What came of one that takes so much memory, and how many of the harness's own were killed over it."""
    guards = Guards()
    guards.stand(door)
    try:
        facts = _outcome(*_child(door, lambda: grab(size)))
    finally:
        guards.end()
    return {**facts, "kills": guards.kills + facts["killed"]}


class Presser:
    """A child that keeps memory; a new one when it was killed."""

    def __init__(self) -> None:
        self.guards = Guards()
        self.order: tuple[str, int] | None = None
        self.pid = 0
        self.source = -1
        self.kills = 0
        self.error: str | None = None

    def watch(self) -> None:
        """Starts over if it was killed; ends if it could not begin."""
        if self.order is None or self.error is not None:
            return
        if self.pid and os.waitpid(self.pid, os.WNOHANG)[0]:
            self._bury()
        if self.error is None:
            self.guards.stand(self.order[0])
        if not self.pid and self.error is None:
            door, size = self.order
            self.pid, self.source = _child(door, lambda: keep(size))

    def _bury(self) -> None:
        with open(self.source, "rb") as pipe:
            said = pipe.read()
        self.pid, self.kills = 0, self.kills + 1
        if said:
            self.error = json.loads(said)["error"]

    def end(self) -> None:
        """Ends it."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self.guards.end()


def answer(line: str, presser: Presser) -> dict[str, Any]:
    """What came of a line."""
    match line.split():
        case ["burn", door, seconds]:
            return _outcome(*_child(door, lambda: burn(float(seconds))))
        case ["grab", door, size]:
            return guarded(door, int(size))
        case ["press", door, size]:
            presser.order = (door, int(size))
            presser.watch()
            return {"pid": presser.pid}
        case ["told"]:
            return {"kills": presser.kills + presser.guards.kills, "error": presser.error}
    return {"error": f"not understood: {line}"}


def main() -> None:
    """Answers until the input ends."""
    presser = Presser()
    try:
        buffer = b""
        while True:
            if not select.select([0], [], [], PRESS_POLL_S)[0]:
                presser.watch()
                continue
            chunk = os.read(0, 1 << 16)
            if not chunk:
                return
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                sys.stdout.write(json.dumps(answer(line.decode(), presser)) + "\n")
                sys.stdout.flush()
    finally:
        with contextlib.suppress(OSError):
            presser.end()


if __name__ == "__main__":
    main()
