"""Another time for one process, while it runs: its vDSO is rewritten from outside.

Programs ask for the time without entering the kernel: the kernel maps a small shared object, the *vDSO*, into every
process, and C libraries, Go and Java all call the functions in it. This module overwrites those functions in one
process's (private) copy, through ``/proc/PID/mem``: the new ones make the real system call and add an offset that lies
behind the code, one for clocks of the day (REALTIME, its coarse form, TAI) and one for clocks that count (MONOTONIC,
its raw and coarse forms, BOOTTIME). Nothing is preloaded, nothing recompiled, and static programs are reached as well.

Changing the offsets later is one small write without stopping anybody: they lie in two slots, the one that is not in
use is written, and then one byte says that it is, so no thread ever reads half of an offset.

Not shifted: system calls made directly, timers and sleeps in the kernel (they run on the kernel's clocks), file times.
A process that executes another program loses the rewriting; one that forks hands it on. x86-64 only.
"""

from __future__ import annotations

import os
import platform
import signal
import struct
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MAGIC = b"CAPSIZE1"

# mov eax,228; syscall; test eax,eax; jnz out; edi in (0,5,11): ecx=0, in (1,4,6,7): ecx=8, else ret;
# lea rdx,[rip+data]; ecx += 16*byte[rdx]; rax = [rsi+8] + [rdx+rcx+8]; rax, rdx = divmod(rax, 10**9) (floored);
# [rsi] += rax; [rsi+8] = rdx; xor eax,eax; out: ret; then the mark, and the data: which slot, two slots of two offsets
_CLOCK_GETTIME = bytes.fromhex(
    "b8e40000000f0585c0756285ff741f83ff05741a83ff0b741583ff01741483ff04740f83ff06740a83ff077405c3"
    "31c9eb05b908000000488d153a0000000fb602c1e00401c1488b46084803440a084899b900ca9a3b48f7f94885d279064801ca48ffc8"
    "4801064889560831c0c3cccc"
)
_DATA = len(_CLOCK_GETTIME) + len(MAGIC)
_DATA_SIZE = 40

# r8=rdi; r9=rsi; clock_gettime(0, rsp); if r8: [r8] = seconds, [r8+8] = ns / 1000; if r9: [r9] = 0; return 0
_GETTIMEOFDAY = bytes.fromhex(
    "4989f84989f14883ec1831ff4889e6e8111111114d85c0741a488b0424498900488b44240831d2b9e803000048f7f149894008"
    "4d85c9740749c701000000004883c41831c0c3"
)
_GETTIMEOFDAY_CALL = 16

# r8=rdi; clock_gettime(0, rsp); rax = seconds; if r8: [r8] = rax; ret
_TIME = bytes.fromhex("4989f84883ec1831ff4889e6e811111111488b04244883c4184d85c07403498900c3")
_TIME_CALL = 13

STOP_PATIENCE_S = 0.5
STOP_POLL_S = 0.0005
TRIES = 20
"""A thread that stands inside the vDSO is let go on; so often it is tried again."""


class ClockError(Exception):
    """A process whose time cannot be changed, with the reason."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Offsets:
    """What is added to a process's clocks, in ns."""

    realtime_ns: int = 0
    monotonic_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """The vDSO of the running kernel: its bytes, and where the functions lie in it. The same for all processes."""

    content: bytes
    clock_gettime: int
    gettimeofday: int
    time: int

    def rewritten(self, offsets: Offsets) -> dict[int, bytes]:
        """What is written where."""
        head = _CLOCK_GETTIME + MAGIC + _data(0, offsets)
        return {
            self.clock_gettime: head,
            self.gettimeofday: self._calling(_GETTIMEOFDAY, _GETTIMEOFDAY_CALL, self.gettimeofday),
            self.time: self._calling(_TIME, _TIME_CALL, self.time),
        }

    def original(self) -> dict[int, bytes]:
        """What undoes it."""
        return {place: self.content[place : place + len(code)] for place, code in self.rewritten(Offsets()).items()}

    def _calling(self, code: bytes, call: int, place: int) -> bytes:
        distance = self.clock_gettime - (place + call + 4)
        return code[:call] + struct.pack("<i", distance) + code[call + 4 :]


def _data(slot: int, offsets: Offsets) -> bytes:
    """Both slots alike, and which is in use."""
    return struct.pack("<Bxxxxxxx4q", slot, *[offsets.realtime_ns, offsets.monotonic_ns] * 2)


@cache
def image() -> Image:
    """The vDSO of this kernel, read from the calling process.

    Raises:
        ClockError: the processor is another, or the functions are not there or too small.
    """
    if platform.machine() != "x86_64":
        raise ClockError(f"clocks of running processes are changed on x86-64 only, and this is {platform.machine()}")
    begin, end = _mapping(os.getpid())
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        content = os.pread(memory.fileno(), end - begin, begin)
    if content[:5] != b"\x7fELF\x02":
        raise ClockError("the kernel's vDSO is not a 64-bit object")
    found = _functions(content)
    places = {}
    room = {"clock_gettime": _DATA + _DATA_SIZE, "gettimeofday": len(_GETTIMEOFDAY), "time": len(_TIME)}
    for name, size in room.items():
        place, available = found.get(f"__vdso_{name}", (0, 0))
        if available < size or (name == "clock_gettime" and place % 8):
            raise ClockError(f"the kernel's vDSO has no __vdso_{name} with room for {size} bytes")
        places[name] = place
    return Image(content=content, **places)


def _mapping(pid: int) -> tuple[int, int]:
    """Where the vDSO lies in a process; one that is just executing a program has none for a moment."""
    for _ in range(TRIES):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if line.endswith("[vdso]"):
                begin, end = line.split()[0].split("-")
                return int(begin, 16), int(end, 16)
        time.sleep(STOP_POLL_S)
    raise ClockError(f"process {pid} has no vDSO")


def _functions(content: bytes) -> dict[str, tuple[int, int]]:
    """Place and size of every dynamic symbol (System V ABI: program headers, dynamic section, symbol table)."""
    (headers,), (count,) = struct.unpack_from("<Q", content, 32), struct.unpack_from("<H", content, 56)
    dynamic: dict[int, int] = {}
    for number in range(count):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", content, headers + 56 * number)
        if kind == 2:
            dynamic = dict(struct.iter_unpack("<QQ", content[offset : offset + size]))
    names, symbols = dynamic[5], dynamic[6]
    found = {}
    for at in range(symbols, min(names, len(content) - 24) if names > symbols else len(content) - 24, 24):
        name, info, _, section, value, size = struct.unpack_from("<IBBHQQ", content, at)
        if section == 0 and name:
            continue
        if info & 15 == 2 and value + size <= len(content):
            start = names + name
            found[content[start : content.index(b"\0", start)].decode()] = (value, size)
    return found


class ProcessClock:
    """The clocks of one running process.

    Raises (all methods):
        ClockError: the process is gone, is not ours to write, or runs another kind of program (32 bits).
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._image = image()

    def offsets(self) -> Offsets | None:
        """What is added now; None if the process has the kernel's own functions."""
        with self._memory(os.O_RDONLY) as (memory, base):
            place = base + self._image.clock_gettime + len(_CLOCK_GETTIME)
            content = os.pread(memory, len(MAGIC) + _DATA_SIZE, place)
        if content[: len(MAGIC)] != MAGIC:
            return None
        slot, *numbers = struct.unpack("<Bxxxxxxx4q", content[len(MAGIC) :])
        return Offsets(realtime_ns=numbers[2 * slot], monotonic_ns=numbers[2 * slot + 1])

    def shift(self, offsets: Offsets) -> None:
        """Adds from now on: rewrites the functions if need be (the process stands still for a few ms), else just the
        numbers.
        """
        if self.offsets() is None:
            self._replace(self._image.rewritten(offsets))
            return
        with self._memory(os.O_RDWR) as (memory, base):
            place = base + self._image.clock_gettime + _DATA
            slot = 1 - os.pread(memory, 1, place)[0]
            os.pwrite(memory, struct.pack("<2q", offsets.realtime_ns, offsets.monotonic_ns), place + 8 + 16 * slot)
            os.pwrite(memory, bytes([slot]), place)

    def restore(self) -> None:
        """Gives the kernel's own functions back. No error if they are there, or if the process is gone."""
        try:
            if self.offsets() is not None:
                self._replace(self._image.original())
        except ClockError:
            if Path(f"/proc/{self.pid}").exists():
                raise

    def _replace(self, parts: dict[int, bytes]) -> None:
        """Writes code while nobody executes it: all threads stopped, none of them in the vDSO."""
        was_stopped = self._is_stopped()
        for _ in range(TRIES):
            try:
                if not was_stopped:
                    self._stop()
                with self._memory(os.O_RDWR) as (memory, base):
                    if not self._inside(base):
                        for place, code in parts.items():
                            os.pwrite(memory, code, base + place)
                        return
            finally:
                if not was_stopped:
                    self._signal(signal.SIGCONT)
            time.sleep(STOP_POLL_S)
        raise ClockError(f"process {self.pid}: one of its threads is always reading the clock; its time was left alone")

    def _stop(self) -> None:
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + STOP_PATIENCE_S
        while not self._is_stopped():
            if time.monotonic() > deadline:
                raise ClockError(f"process {self.pid} does not stop")
            time.sleep(STOP_POLL_S)

    def _signal(self, number: int) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            raise ClockError(f"process {self.pid} is gone") from None

    def _is_stopped(self) -> bool:
        states = []
        for stat in Path(f"/proc/{self.pid}/task").glob("*/stat"):
            try:
                states.append(stat.read_text().rpartition(")")[2].split()[0])
            except (OSError, IndexError):
                continue
        return bool(states) and all(state in "Tt" for state in states)

    def _inside(self, base: int) -> bool:
        """Does a thread stand in the vDSO?"""
        end = base + len(self._image.content)
        for call in Path(f"/proc/{self.pid}/task").glob("*/syscall"):
            words = call.read_text().split()
            if words[0] == "running" or base <= int(words[-1], 16) < end:
                return True
        return False

    def _memory(self, flags: int) -> _Memory:
        return _Memory(self.pid, flags)


class _Memory:
    """An open ``/proc/PID/mem`` and the base of its vDSO."""

    def __init__(self, pid: int, flags: int) -> None:
        self.pid, self.flags = pid, flags
        self.fd = -1

    def __enter__(self) -> tuple[int, int]:
        try:
            base, _ = _mapping(self.pid)
            self.fd = os.open(f"/proc/{self.pid}/mem", self.flags)
            if os.pread(self.fd, 5, base) != b"\x7fELF\x02":
                raise ClockError(f"process {self.pid} is no 64-bit program")
        except FileNotFoundError:
            raise ClockError(f"process {self.pid} is gone") from None
        except OSError as error:
            raise ClockError(f"the memory of process {self.pid} cannot be written: {error.strerror}") from None
        return self.fd, base

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def main(arguments: list[str]) -> None:
    """``python -m faults.vdso restore PID...``: what the watchdog runs when the controller is dead."""
    if arguments[:1] == ["restore"]:
        for pid in arguments[1:]:
            ProcessClock(int(pid)).restore()


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
