"""Processes in memory whose clocks can be changed: for tests of what keeps a node's time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from faults.clocks.clockwork import Clockwork
from faults.clocks.vdso import ClockError, GoneError, Shift
from faults.clocks.vdso_image import Offset, Offsets

STEPS = 20


@dataclass(slots=True)
class FakeTime:
    """The machine's clocks: they stand still until somebody moves them."""

    now_ns: int = 10**18

    def now(self, clock: str) -> int:
        """All alike."""
        del clock
        return self.now_ns


@dataclass(slots=True)
class FakeProcess:
    """A process: what is in its vDSO. Ways to go wrong are switches."""

    shift: Shift | None = None
    gone: bool = False
    refuses: str = ""
    """Why it cannot be written."""
    stubborn: bool = False
    """Whether what is written has no effect."""
    asks: bool | None = True

    def execute(self) -> None:
        """Another program, with the kernel's own functions."""
        self.shift = None


@dataclass(slots=True)
class FakeClock:
    """Implements :class:`faults.clocks.clockwork.Clock` for one process."""

    process: FakeProcess
    time: FakeTime

    def found(self) -> Shift | None:
        """What is in it."""
        if self.process.gone:
            raise GoneError("process is gone")
        return self.process.shift

    def offsets(self) -> Offsets | None:
        """The same, if it has any effect."""
        found = self.found()
        return found.offsets if found is not None and found.jumps else None

    def shift(self, offsets: Offsets, token: int) -> None:
        """Puts it there."""
        self.found()
        if self.process.refuses:
            raise ClockError(self.process.refuses)
        if not self.process.stubborn:
            self.process.shift = Shift(offsets=offsets, token=token, jumps=True)

    def turn(self, offsets_at: Callable[[int], Offsets]) -> None:
        """At the machine's time."""
        found = self.found()
        if found is not None and not self.process.stubborn:
            self.process.shift = replace(found, offsets=offsets_at(self.time.now_ns))

    def restore(self) -> None:
        """As the real one: the monotonic clock keeps what it has, standing."""
        found = self.process.shift
        if found is None or self.process.stubborn:
            return
        kept = Offset(ns=found.offsets.monotonic.at(self.time.now_ns))
        self.process.shift = replace(found, offsets=Offsets(monotonic=kept), token=0, jumps=kept != Offset())

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass(slots=True)
class FakeMachine:
    """Processes by id, and their time."""

    time: FakeTime = field(default_factory=FakeTime)
    processes: dict[int, FakeProcess] = field(default_factory=dict)
    clockworks: list[Clockwork] = field(default_factory=list)
    busy: int = 0
    """So many sleeps pass in which no clockwork has a turn."""

    async def sleep(self, seconds: float) -> None:
        """Time goes by in small steps, and every clockwork has its turns."""
        for _ in range(STEPS):
            self.time.now_ns += round(seconds * 1e9 / STEPS)
            for clockwork in self.clockworks if self.busy == 0 else ():
                clockwork.turn()
        self.busy = max(0, self.busy - 1)
        await asyncio.sleep(0)

    def clockwork(self) -> Clockwork:
        """A clockwork that works on these processes."""
        made = Clockwork(
            clock_of=lambda pid: FakeClock(self.processes.setdefault(pid, FakeProcess()), self.time),
            asks=lambda pid: self.processes[pid].asks,
            now=self.time.now,
            sweep=self.sweep,
        )
        self.clockworks.append(made)
        return made

    def helper(self) -> Callable[[str], str]:
        """What answers the lines of a new helper."""
        clockwork = self.clockwork()
        return lambda line: json.dumps(clockwork.do(json.loads(line)))

    def sweep(self, token: int) -> list[int]:
        """Restores whatever carries the token."""
        found = [pid for pid, each in self.processes.items() if each.shift is not None and each.shift.token == token]
        for pid in found:
            FakeClock(self.processes[pid], self.time).restore()
        return found
