"""Another time for one process, while it runs: its vDSO is rewritten from outside.

Programs ask for the time without entering the kernel: the kernel maps a small shared object, the *vDSO*, into every
process, and C libraries, Go and Java all call the functions in it. New functions (:mod:`faults.clocks.vdso_image`)
are put into the room behind that object's last section, in one process's (private) copy, through ``/proc/PID/mem``; a
jump at the beginning of each old function leads there. Nothing is preloaded, nothing recompiled, and static programs
are reached as well. Changing the offsets later is one small write without stopping anybody.

Only the five bytes of each jump are written while the process is held still (:mod:`faults.clocks.standstill`), and
while no thread is between the first and the last of them: one that is further in the old function ends it in peace.

A *token* behind the offsets says whose doing it is. ``python -m faults.clocks.vdso restore TOKEN`` looks for it in
every process: it can hit no recycled pid, and it finds children, and processes in containers. It takes the token away
and leaves the dead code, by which whoever follows the process knows that it was told to stop.

Not shifted: system calls made directly and the processor's own counter (:func:`asks_vdso` finds programs that never
ask the vDSO), timers and sleeps in the kernel (they run on the kernel's clocks), file times. A process that executes
another program loses the rewriting; one that forks hands it on. x86-64 only. Sources: vdso(7), proc(5).
"""

from __future__ import annotations

import contextlib
import os
import platform
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from faults.clocks.standstill import StandstillError, while_still
from faults.clocks.vdso_image import (
    DATA,
    HEAD_SIZE,
    JUMP,
    MAGIC,
    MARK,
    SLOT_SIZE,
    TOKEN,
    Image,
    ImageError,
    Offset,
    Offsets,
    image_of,
)

TRIES = 20
"""A process one of whose threads stands within a jump's five bytes, or that just executes a program, is let go on for
a moment; so often it is tried again.
"""
RETRY_S = 0.0005


class ClockError(Exception):
    """A process whose time cannot be changed, with the reason."""


class GoneError(ClockError):
    """The process has ended."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shift:
    """What was found in a process: the offsets, and whose they are."""

    offsets: Offsets
    token: int
    """0: they were given up."""
    jumps: bool
    """Whether the functions lead to ours; if not, the process has the kernel's time (and has had another)."""


@cache
def image() -> Image:
    """The vDSO of this kernel, read from the calling process.

    Raises:
        ClockError: the processor is another, or this kernel's vDSO cannot be rewritten.
    """
    if platform.machine() != "x86_64":
        raise ClockError(f"clocks of running processes are changed on x86-64 only, and this is {platform.machine()}")
    begin, end = _mapping(os.getpid())
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        content = os.pread(memory.fileno(), end - begin, begin)
    try:
        return image_of(content)
    except ImageError as error:
        raise ClockError(str(error)) from None


def _mapping(pid: int) -> tuple[int, int]:
    """Where the vDSO lies in a process; one that is just executing a program has none for a moment."""
    for _ in range(TRIES):
        lines = _maps(pid)
        for line in lines:
            if line.endswith("[vdso]"):
                begin, end = line.split()[0].split("-")
                return int(begin, 16), int(end, 16)
        if not lines:
            raise GoneError(f"process {pid} has no memory: it has ended, or is the kernel's")
        time.sleep(RETRY_S)
    raise ClockError(f"process {pid} has no vDSO")


def _maps(pid: int) -> list[str]:
    with _explained(pid):
        return Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines()


@contextlib.contextmanager
def _explained(pid: int) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        raise GoneError(f"process {pid} is gone") from None
    except OSError as error:
        raise ClockError(f"the memory of process {pid} cannot be written: {error.strerror}") from None


class ProcessClock:
    """The clocks of one running process. Its memory is kept open: to be closed. Not to be used by the process that
    started it (:mod:`faults.clocks.standstill`).

    Raises (all methods):
        GoneError: the process has ended.
        ClockError: it is not ours to write, or runs another kind of program (32 bits).
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._image = image()
        self._memory = -1
        self._base = 0

    def found(self) -> Shift | None:
        """What is in it now; None if it has had no other time than the kernel's since it executed its program."""
        data = self._read(self._image.room + MARK, HEAD_SIZE - MARK)
        if data[: len(MAGIC)] != MAGIC:
            return None
        slot = DATA - MARK + 8 + SLOT_SIZE * (data[DATA - MARK] & 1)
        (token,) = struct.unpack_from("<Q", data, TOKEN - MARK)
        place, jump = next(iter(self._image.jumps().items()))
        offsets = Offsets.unpack(data[slot : slot + SLOT_SIZE])
        return Shift(offsets=offsets, token=token, jumps=self._read(place, JUMP) == jump)

    def offsets(self) -> Offsets | None:
        """What is added now; None if the process has the kernel's own functions."""
        found = self.found()
        return found.offsets if found is not None and found.jumps else None

    def shift(self, offsets: Offsets, token: int) -> None:
        """Adds from now on: puts the functions in place if need be (the process stands still for some ms), else
        changes the numbers.
        """
        found = self.found()
        if found is None or not found.jumps:
            self._write(self._image.room, self._image.block(offsets, token))
            self._replace(self._image.jumps())
            return
        self._change(offsets)
        if found.token != token:
            self._give(token)

    def turn(self, offsets_at: Callable[[int], Offsets]) -> None:
        """Exchanges the numbers of a process that is shifted while it stands still: nobody sees a time between the
        instant for which they are made (of the monotonic clock, ns) and the one at which they are in place.
        """

        def change(_: Mapping[int, int]) -> bool:
            self._change(offsets_at(time.clock_gettime_ns(time.CLOCK_MONOTONIC)))
            return True

        self._still(change)

    def restore(self) -> None:
        """Gives the time of day back, and the kernel's own functions unless the monotonic clock was shifted: that one
        never goes back and keeps its offset. The token is taken away. No error if nothing is shifted, or the process
        is gone.
        """
        with contextlib.suppress(GoneError):
            found = self.found()
            if found is None:
                return
            self._give(0)
            if not found.jumps:
                return
            if found.offsets.monotonic.rate:
                self.turn(lambda now_ns: Offsets(monotonic=Offset(ns=found.offsets.monotonic.at(now_ns))))
            else:
                self._change(Offsets(monotonic=found.offsets.monotonic))
            if found.offsets.monotonic == Offset():
                self._replace(self._image.original())

    def close(self) -> None:
        """Lets go of its memory. Safe to call twice."""
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def _change(self, offsets: Offsets) -> None:
        place = self._image.room + DATA
        (count,) = struct.unpack("<Q", self._read(place, 8))
        self._write(place + 8 + SLOT_SIZE * (count + 1 & 1), offsets.pack())
        self._write(place, struct.pack("<Q", count + 1))

    def _give(self, token: int) -> None:
        self._write(self._image.room + TOKEN, struct.pack("<Q", token))

    def _replace(self, parts: Mapping[int, bytes]) -> None:
        """Writes code while nobody executes it."""
        self._still(lambda places: self._replaced(parts, places))

    def _still(self, deed: Callable[[Mapping[int, int]], bool]) -> None:
        """Does something while the process stands still; again, if that was in a bad place."""
        for _ in range(TRIES):
            try:
                if while_still(self.pid, deed):
                    return
            except StandstillError as error:
                raise (ClockError if Path(f"/proc/{self.pid}").exists() else GoneError)(str(error)) from None
            time.sleep(RETRY_S)
        raise ClockError(f"process {self.pid}: one of its threads is always beginning to read the clock")

    def _replaced(self, parts: Mapping[int, bytes], places: Mapping[int, int]) -> bool:
        inside = {self._base + place + byte for place in parts for byte in range(1, JUMP)}
        if inside & set(places.values()):
            return False
        for place, code in parts.items():
            self._write(place, code)
        return True

    def _read(self, place: int, size: int) -> bytes:
        """From the vDSO. The memory of a process that executed another program since it was opened is empty."""
        with _explained(self.pid):
            content = os.pread(self._memory, size, self._base + place) if self._memory >= 0 else b""
            if not content:
                self._open()
                content = os.pread(self._memory, size, self._base + place)
        if not content:
            raise GoneError(f"process {self.pid} is gone")
        return content

    def _write(self, place: int, content: bytes) -> None:
        with _explained(self.pid):
            if os.pwrite(self._memory, content, self._base + place) != len(content):
                raise GoneError(f"process {self.pid} is gone")

    def _open(self) -> None:
        self.close()
        self._base, _ = _mapping(self.pid)
        self._memory = os.open(f"/proc/{self.pid}/mem", os.O_RDWR | os.O_CLOEXEC)
        if os.pread(self._memory, 5, self._base) != b"\x7fELF\x02":
            raise ClockError(f"process {self.pid} is no 64-bit program")


_ASKS = b"__vdso_clock_gettime"


def asks_vdso(pid: int) -> bool | None:
    """Whether any program text in the process looks for the vDSO's clock, as C libraries, Go and Java do: if none does,
    it asks the kernel directly, and its time cannot be changed. None if that cannot be seen.

    Raises:
        GoneError: the process has ended.
    """
    mapped = {line.split(maxsplit=5)[5] for line in _maps(pid) if " r-xp " in line and "/" in line}
    paths = [f"/proc/{pid}/root{path}" for path in sorted(mapped, key=lambda path: "/ld" not in path)]
    seen = []
    for path in [*paths, f"/proc/{pid}/exe"]:  # the loader comes first, where there is one
        seen.append(_mentions(path))
        if seen[-1]:
            return True
    return None if None in seen else False


def _mentions(path: str) -> bool | None:
    try:
        facts = os.stat(path)
        return _mentioned(path, (facts.st_dev, facts.st_ino, facts.st_mtime_ns))
    except OSError:
        return None


_SEEN: dict[tuple[int, int, int], bool] = {}
"""By device, inode and time of change: programs are large, and many processes run the same."""


def _mentioned(path: str, identity: tuple[int, int, int]) -> bool:
    if identity not in _SEEN:
        _SEEN[identity] = _ASKS in Path(path).read_bytes()
    return _SEEN[identity]


def restore_everywhere(token: int) -> list[int]:
    """Ends what was begun under this token, in every process that this one may write; returns their ids.

    Raises:
        ClockError: with those that could not be given their time back.
    """
    restored, trouble = [], []
    for clock in [ProcessClock(int(name)) for name in os.listdir("/proc") if name.isdigit()]:
        with contextlib.closing(clock):
            if not _carries(clock, token):
                continue
            try:
                clock.restore()
                restored.append(clock.pid)
            except ClockError as error:
                trouble.append(str(error))
    if trouble:
        raise ClockError("; ".join(trouble))
    return restored


def _carries(clock: ProcessClock, token: int) -> bool:
    """Processes that are not ours to see were not ours to write."""
    try:
        found = clock.found()
    except ClockError:
        return False
    return found is not None and found.token == token


def main() -> int:
    """``... restore TOKEN...``: what the watchdog runs when the controller is dead. Status 1: not all was undone."""
    words = sys.argv[sys.argv.index("restore") + 1 :] if "restore" in sys.argv else []
    try:
        for token in words:
            restore_everywhere(int(token))
    except ClockError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
