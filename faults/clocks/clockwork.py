"""Keeps other times in one node's processes: a helper beside the node (:mod:`faults.programs`).

A line of its input is a command, and it answers with a line; both are JSON objects. ``begin`` (``token``, ``clock``,
``jump_ns``, ``drift`` or ``strobe``, ``pids``) changes the time of these processes; ``look`` (``pids``: also these)
tells what their clocks show; ``end`` (``token``, ``pids``) gives the right time back, and tells. Between commands it
swings the clocks that swing, and gives the node's time to children that appear and to processes that executed another
program.

When its input ends, whoever started it is dead or has lost the host: it gives the right time back and ends. It also
gives up when somebody else took the token out of a process (:mod:`faults.clocks.vdso`), as the watchdog does at the
dead man's limit.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from faults.clocks.vdso import ClockError, GoneError, ProcessClock, Shift, asks_vdso, restore_everywhere
from faults.clocks.vdso_image import RATE_ONE, Offset, Offsets

TURN_S = 0.05
"""How often processes are looked after."""
CHILDREN_EVERY = 2
"""In so many turns children are looked for once."""
CLOCKS = {"realtime": time.CLOCK_REALTIME, "monotonic": time.CLOCK_MONOTONIC}


@dataclass(frozen=True, kw_only=True, slots=True)
class Motion:
    """How a clock departs from the right time, since an instant."""

    clock: str
    jump_ns: int = 0
    drift: float = 0.0
    by_ns: int = 0
    every_ns: int = 0
    began_ns: int = 0

    def shift_ns(self, raw_ns: int) -> int:
        """How far it is from the right time when that is ``raw_ns``."""
        passed_ns = raw_ns - self.began_ns
        swings = bool(self.every_ns) and (passed_ns // self.every_ns) % 2 == 0
        return self.jump_ns + round(passed_ns * self.drift) + (self.by_ns if swings else 0)

    def offset(self, base: Offset, raw_ns: int) -> Offset:
        """What is written into a process whose clock had been ``base`` from the right time before."""
        if self.drift:
            return Offset(ns=base.ns, epoch_ns=self.began_ns, rate=round(self.drift * RATE_ONE))
        return Offset(ns=base.ns + self.shift_ns(raw_ns))

    def turn_s(self, raw_ns: int) -> float:
        """Until the next swing, or until processes are looked after again."""
        if not self.every_ns:
            return TURN_S
        return min(TURN_S, (self.every_ns - (raw_ns - self.began_ns) % self.every_ns) / 1e9)


class Clock(Protocol):
    """One process's clocks, as :class:`faults.clocks.vdso.ProcessClock` has them."""

    def found(self) -> Shift | None:
        """What is in it now."""

    def offsets(self) -> Offsets | None:
        """What is added now."""

    def shift(self, offsets: Offsets, token: int) -> None:
        """Adds from now on."""

    def turn(self, offsets_at: Callable[[int], Offsets]) -> None:
        """Exchanges the numbers while the process stands still."""

    def restore(self) -> None:
        """Gives the right time back."""

    def close(self) -> None:
        """Lets go of it."""


@dataclass(slots=True)
class Kept:
    """A process whose time is kept."""

    clock: Clock
    base: Offset
    asks: bool | None
    motion: Motion
    """Of this process: it began when the process stood still for it."""
    low_ns: int | None = None
    """The least and the greatest shift that was read back since somebody looked last."""
    high_ns: int | None = None


def now_of(clock: str) -> int:
    """The right time, ns."""
    return time.clock_gettime_ns(CLOCKS[clock])


@dataclass(slots=True)
class Clockwork:
    """One node's processes and their time."""

    clock_of: Callable[[int], Clock] = ProcessClock
    asks: Callable[[int], bool | None] = asks_vdso
    now: Callable[[str], int] = now_of
    sweep: Callable[[int], object] = restore_everywhere
    motion: Motion | None = None
    token: int = 0
    revoked: bool = False
    _kept: dict[int, Kept] = field(default_factory=dict)
    _refused: dict[int, str] = field(default_factory=dict)
    _turns: int = 0

    def do(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Carries out one command; the answer."""
        match command["do"]:
            case "begin":
                self._begin(command)
            case "look":
                self._cover(command["pids"])
            case "end":
                self.end()
                self.sweep(command["token"])
                return {"processes": self._final(command["pids"]), "revoked": self.revoked}
        return {"processes": self._told(), "refused": self._refused, "revoked": self.revoked}

    def turn(self) -> None:
        """Looks after every process."""
        if self.motion is None or self.revoked:
            return
        self._turns += 1
        if self._turns % CHILDREN_EVERY == 0:
            self._cover(child for pid in list(self._kept) for child in children_of(pid))
        for pid in list(self._kept):
            self._keep(pid)

    def turn_s(self) -> float | None:
        """Until the next turn; None if nothing is to be done."""
        return None if self.motion is None or self.revoked else self.motion.turn_s(self.now(self.motion.clock))

    def end(self) -> None:
        """Gives the right time back to all. What cannot be reached is told by the next look."""
        self.motion = None
        for kept in self._kept.values():
            with contextlib.suppress(ClockError):
                kept.clock.restore()

    def _begin(self, command: Mapping[str, Any]) -> None:
        for pid in list(self._kept):
            self._forget(pid)
        self.revoked, self._refused = False, {}
        strobe = command.get("strobe") or {"by_ns": 0, "every_ns": 0}
        clock, drift = command["clock"], command.get("drift") or 0.0
        self.token = command["token"]
        self.motion = Motion(clock=clock)  # the code is put in place first, with nothing to add yet
        self._cover(command["pids"])
        self.motion = Motion(
            clock=clock,
            jump_ns=command.get("jump_ns") or 0,
            drift=drift,
            by_ns=strobe["by_ns"],
            every_ns=strobe["every_ns"],
            began_ns=self.now(clock),
        )
        for pid in list(self._kept):
            self._keep(pid, begin=True)

    def _cover(self, pids: Iterable[int]) -> None:
        for pid in pids:
            if pid not in self._kept and self.motion is not None and not self.revoked:
                self._take(pid)

    def _take(self, pid: int) -> None:
        """A process that is new to us. What its monotonic clock had gained in an earlier fault stays with it."""
        assert self.motion is not None
        clock = self.clock_of(pid)
        try:
            found = clock.found()
            sibling = next(iter(self._kept.values()), None)
            ours = found is not None and found.jumps and found.token == self.token and sibling is not None
            theirs = found.offsets.monotonic if found is not None and found.jumps else Offset()
            kept = Kept(clock=clock, base=theirs, asks=self.asks(pid), motion=self.motion)
            if ours and sibling is not None:  # a child: it has its parent's numbers
                kept.base, kept.motion = sibling.base, sibling.motion
            self._kept[pid] = kept
            if not ours:
                self._write(kept)
            self._refused.pop(pid, None)
        except GoneError:
            self._forget(pid)
        except ClockError as error:
            self._refused[pid] = str(error)
            self._forget(pid)

    def _forget(self, pid: int) -> None:
        kept = self._kept.pop(pid, None)
        if kept is not None:
            kept.clock.close()

    def _keep(self, pid: int, *, begin: bool = False) -> None:
        """Writes what has to be written, and reads it back."""
        kept = self._kept[pid]
        try:
            found = kept.clock.found()
            if found is not None and found.token != self.token:
                self.revoked = True
            elif begin:
                self._turn(kept)
            elif found is None or kept.motion.every_ns:
                self._write(kept)
            self._note(kept)
        except GoneError:
            self._forget(pid)
        except ClockError as error:
            self._refused[pid] = str(error)

    def _turn(self, kept: Kept) -> None:
        """The motion begins in a process whose functions are ours already. A monotonic clock must not go back even if
        it is to be slow: the process stands still for that.
        """
        assert self.motion is not None
        kept.low_ns = kept.high_ns = None
        kept.motion = motion = self.motion
        if motion.clock == "realtime" or not motion.drift:
            self._write(kept)
            return

        def offsets_at(now_ns: int) -> Offsets:
            kept.motion = replace(motion, began_ns=now_ns)
            return Offsets(monotonic=kept.motion.offset(kept.base, now_ns))

        kept.clock.turn(offsets_at)

    def _write(self, kept: Kept) -> None:
        """The numbers for now; the functions, too, where they are not there yet."""
        realtime = kept.motion.clock == "realtime"
        moved = kept.motion.offset(Offset() if realtime else kept.base, self.now(kept.motion.clock))
        offsets = Offsets(realtime=moved, monotonic=kept.base) if realtime else Offsets(monotonic=moved)
        kept.clock.shift(offsets, self.token)
        self._note(kept)

    def _note(self, kept: Kept) -> int | None:
        """How far the clock is from where it had been, as read back from the process."""
        found = kept.clock.found()
        if found is None or not found.jumps:
            return None
        raw_ns = self.now(kept.motion.clock)
        if kept.motion.clock == "realtime":
            shift_ns = found.offsets.realtime.at(raw_ns)
        else:
            shift_ns = found.offsets.monotonic.at(raw_ns) - kept.base.ns
        kept.low_ns = shift_ns if kept.low_ns is None else min(kept.low_ns, shift_ns)
        kept.high_ns = shift_ns if kept.high_ns is None else max(kept.high_ns, shift_ns)
        return shift_ns

    def _told(self) -> dict[int, dict[str, Any]]:
        return {pid: told for pid in list(self._kept) if (told := self._tell(pid)) is not None}

    def _tell(self, pid: int) -> dict[str, Any] | None:
        kept = self._kept[pid]
        try:
            shift_ns = self._note(kept)
        except ClockError:
            self._forget(pid)
            return None
        raw_ns = self.now(kept.motion.clock)
        told = {"shift_ns": shift_ns, "asked_ns": kept.motion.shift_ns(raw_ns), "asks_vdso": kept.asks}
        told |= {"low_ns": kept.low_ns, "high_ns": kept.high_ns, "after_ns": raw_ns - kept.motion.began_ns}
        kept.low_ns = kept.high_ns = None
        return told

    def _final(self, pids: Iterable[int]) -> dict[int, dict[str, Any]]:
        """What the processes have after the end: the time of day must be right, a monotonic clock must run evenly."""
        told: dict[int, dict[str, Any]] = {}
        for pid in {*pids, *self._kept}:
            clock = self._kept[pid].clock if pid in self._kept else self.clock_of(pid)
            with contextlib.suppress(GoneError):
                told[pid] = _rest(clock)
            if pid not in self._kept:
                clock.close()
        return told


def _rest(clock: Clock) -> dict[str, Any]:
    """What is left in a process."""
    try:
        offsets = clock.offsets() or Offsets()
    except GoneError:
        raise
    except ClockError as error:
        return {"error": str(error)}
    even = not (offsets.realtime.rate or offsets.monotonic.rate)
    return {"realtime_ns": offsets.realtime.ns, "monotonic_ns": offsets.monotonic.ns, "even": even}


def children_of(pid: int) -> list[int]:
    """Children of any thread of the process, as far as the kernel tells (CONFIG_PROC_CHILDREN)."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb", buffering=0) as children:
                found += map(int, children.read().split())
    return found


def serve(clockwork: Clockwork) -> None:
    """Until the input's end."""
    buffer = b""
    try:
        while True:
            ready, _, _ = select.select([0], [], [], clockwork.turn_s())
            if ready:
                data = os.read(0, 1 << 16)
                if not data:
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    print(json.dumps(clockwork.do(json.loads(line))), flush=True)
            clockwork.turn()
    finally:
        clockwork.end()


def main() -> int:
    """Serves whoever started it. Ctrl-C at the terminal is that one's to react to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        serve(Clockwork())
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
