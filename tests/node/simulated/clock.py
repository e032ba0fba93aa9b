"""Clocks that are not quite right: each server has its own, a little fast or slow; and a wall clock that is set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

PPM = 1_000_000


@dataclass
class Clock:
    """One machine's clocks, in integers, so that going there and back loses nothing."""

    ahead_ppm: int = 0
    """How much faster than true time it runs, in millionths."""
    offset_ns: int = 0
    """What it showed at the beginning: monotonic clocks of two machines have nothing in common."""
    stepped_ns: int = 0
    """How far the wall clock has been set ahead (or back) in all."""

    def shows(self, now_ns: int) -> int:
        """What the monotonic clock reads at a moment of true time."""
        return now_ns + now_ns * self.ahead_ppm // PPM + self.offset_ns

    def when(self, shown_ns: int) -> int:
        """The first moment of true time at which it shows that."""
        return (shown_ns - self.offset_ns) * PPM // (PPM + self.ahead_ppm) + 1

    def wall(self, now_ns: int) -> int:
        """The time of day."""
        return self.shows(now_ns) + self.stepped_ns


@contextmanager
def time_of_day(read_ns: Callable[[], int]) -> Iterator[None]:
    """Whoever asks the operating system for the time of day gets this instead; no correct core ever asks."""
    with mock.patch.object(time, "time_ns", read_ns):
        yield
