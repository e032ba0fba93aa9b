"""A helper that burdens a node's group of processes with a process of the harness's own: ``python3 -m
faults.resources.burden``.

It answers lines with lines of JSON (:class:`faults.needs.Helper`). What it does is done by children that enter the
group by its ``door`` (a file that they write themselves into), so that the helper itself is held to nothing:

``burn DOOR SECONDS``
    wants the whole processor for so long; says how much it got
``grab DOOR BYTES``
    takes memory until it has so much or is killed; says which
``press DOOR BYTES``
    takes memory up to so much and touches it again and again; starts over when it is killed, until the input ends
``told``
    how often the presser was killed

Children make themselves the kernel's first choice when memory runs out (``oom_score_adj``), so that a node is killed
only for what it wants itself. When the input ends they are killed.
"""

from __future__ import annotations

import contextlib
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
STEP_BYTES = 1 << 20
PAGE = 4096


def _child(door: str, work: Callable[[], Any]) -> tuple[int, int]:
    """A child in the group that does this work and prints what came of it; its pid and its output."""
    source, sink = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_child(door, work, sink)
    os.close(sink)
    return pid, source


def _be_child(door: str, work: Callable[[], Any], sink: int) -> NoReturn:
    try:
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
    with mmap.mmap(-1, size) as memory:
        touch(memory, size)
    return {"bytes": size}


def touch(memory: mmap.mmap, size: int) -> None:
    """Makes the kernel give what was promised."""
    for offset in range(0, size, PAGE):
        memory[offset] = 1


def keep(size: int) -> NoReturn:
    """Takes memory, and touches it for ever."""
    with mmap.mmap(-1, size) as memory:
        while True:
            touch(memory, size)
            time.sleep(PRESS_POLL_S)


class Presser:
    """A child that keeps memory; a new one when it was killed."""

    def __init__(self) -> None:
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


def answer(line: str, presser: Presser) -> dict[str, Any]:
    """What came of a line."""
    match line.split():
        case ["burn", door, seconds]:
            return _outcome(*_child(door, lambda: burn(float(seconds))))
        case ["grab", door, size]:
            return _outcome(*_child(door, lambda: grab(int(size))))
        case ["press", door, size]:
            presser.order = (door, int(size))
            presser.watch()
            return {"pid": presser.pid}
        case ["told"]:
            return {"kills": presser.kills, "error": presser.error}
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
