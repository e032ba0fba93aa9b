"""The time of running processes, changed from outside: seen by the processes themselves."""

from __future__ import annotations

import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from faults.vdso import ClockError, Offsets, ProcessClock

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the vDSO is rewritten on x86-64 only"),
]

SECOND = 1_000_000_000

CLOCKS = """
import datetime, sys, time
for _ in sys.stdin:
    print(time.time(), datetime.datetime.now().timestamp(), time.monotonic(), flush=True)
"""

BUSY = """
import threading, time
for _ in range(3):
    threading.Thread(target=lambda: [time.time() for _ in iter(int, 1)], daemon=True).start()
"""


@contextmanager
def process(*argv: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


def told(started: subprocess.Popen[str]) -> list[float]:
    """What the process says that its clocks show, less what ours show."""
    assert started.stdin is not None
    assert started.stdout is not None
    started.stdin.write("\n")
    started.stdin.flush()
    shown = [float(word) for word in started.stdout.readline().split()]
    return [shown[0] - time.time(), shown[1] - time.time(), shown[2] - time.monotonic()]


def about(*seconds: float) -> object:
    return pytest.approx(seconds, abs=0.5)


def test_a_running_process_sees_other_times_and_the_right_ones_again() -> None:
    """Jumps forward and back on both ways of asking, the monotonic clock apart, and a clean restoration."""
    with process(sys.executable, "-c", CLOCKS) as started:
        assert told(started) == about(0, 0, 0)
        clock = ProcessClock(started.pid)
        assert clock.offsets() is None
        clock.shift(Offsets(realtime_ns=30 * SECOND))
        assert told(started) == about(30, 30, 0)
        shifted = Offsets(realtime_ns=-45_250_000_000, monotonic_ns=5 * SECOND)
        clock.shift(shifted)
        assert told(started) == about(-45.25, -45.25, 5)
        assert clock.offsets() == shifted
        clock.restore()
        assert clock.offsets() is None
        assert told(started) == about(0, 0, 0)


def test_many_threads_that_read_the_clock_survive() -> None:
    """Code is only exchanged while no thread is in it; numbers are exchanged while all threads go on."""
    busy = "import sys, threading, time\n"
    busy += (
        "for _ in range(3): threading.Thread(target=lambda: [time.time() for _ in iter(int, 1)], daemon=True).start()\n"
    )
    with process(sys.executable, "-c", busy + CLOCKS) as started:
        told(started)
        clock = ProcessClock(started.pid)
        for number in range(200):
            clock.shift(Offsets(realtime_ns=number * SECOND))
        assert told(started) == about(199, 199, 0)
        clock.restore()
        assert told(started) == about(0, 0, 0)


def test_a_program_that_was_replaced_has_the_right_time() -> None:
    """What a process executes is not covered, and that can be seen: it has to be shifted anew."""
    with process("sh", "-c", f"read _; exec {sys.executable} -c '{CLOCKS}'") as started:
        clock = ProcessClock(started.pid)
        clock.shift(Offsets(realtime_ns=30 * SECOND))
        assert started.stdin is not None
        started.stdin.write("\n")
        started.stdin.flush()
        assert told(started) == about(0, 0, 0)
        assert clock.offsets() is None


def test_a_process_that_is_gone() -> None:
    """Said so; restoring it is no error."""
    with process("cat") as started:
        pass
    with pytest.raises(ClockError, match="is gone"):
        ProcessClock(started.pid).shift(Offsets(realtime_ns=1))
    ProcessClock(started.pid).restore()
