"""How healthy a node is, by what it can see of itself: 100 is well, 0 is of no use (``--health``).

Three readings, each with a mark of its own; the worst of them counts, smoothed over some seconds so that a short
trouble is none. The event loop's lag stands for latency of all kinds: a processor that is taken away, swapping, a
garbage collection. What the marks are good for: :mod:`node.raft.preference`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

WEIGHT = 1 / 4
"""Of a new reading, once a second."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Readings from ``good`` (100) to ``bad`` (0), linear between."""

    good: float
    bad: float

    def mark(self, reading: float) -> float:
        """0 to 100."""
        return 100 * min(max((self.bad - reading) / (self.bad - self.good), 0.0), 1.0)


LAG_MS = Scale(good=50, bad=1000)
"""The loop's worst lag of a second."""
RUNNABLE = Scale(good=1.5, bad=6)
"""Processes that want to run, for each processor (the load average of a minute)."""
MEMORY_FREE = Scale(good=0.15, bad=0.02)
"""Share of the memory that can be had without swapping."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What a node sees of its machine."""

    runnable: float
    memory_free: float


def read() -> Readings:
    """From the kernel; what it does not tell counts as good."""
    return Readings(runnable=os.getloadavg()[0] / (os.cpu_count() or 1), memory_free=_memory_free())


def _memory_free() -> float:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith("kB")}
        return kib["MemAvailable"] / kib["MemTotal"]
    except (OSError, ValueError, KeyError):
        return 1.0


class Health:
    """The smoothed mark."""

    def __init__(self, readings: Callable[[], Readings] = read) -> None:
        self._readings = readings
        self._mark = 100.0

    def mark(self, lag_ms: float) -> int:
        """To be called once a second, with the loop's worst lag of that second."""
        now = self._readings()
        marks = (LAG_MS.mark(lag_ms), RUNNABLE.mark(now.runnable), MEMORY_FREE.mark(now.memory_free))
        self._mark += WEIGHT * (min(marks) - self._mark)
        return round(self._mark)
