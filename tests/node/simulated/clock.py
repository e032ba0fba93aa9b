"""Clocks that are not quite right: each server has its own, a little fast or slow; and a wall clock that is set."""

from __future__ import annotations

from dataclasses import dataclass

PPM = 1_000_000


@dataclass
class Clock:
    """One machine's clocks, in integers, so that going there and back loses nothing."""

    ahead_ppm: int = 0
    """How much faster than true time it runs, in millionths."""
    offset_ns: int = 0
    """What it showed at the beginning: monotonic clocks of two machines have nothing in common."""
    wall: bool = False
    """Whether the server measures time by the wall clock, which is set now and then. No correct one does."""
    stepped_ns: int = 0
    """How far the wall clock has been set ahead (or back) in all."""

    def shows(self, now_ns: int) -> int:
        """What the server reads at a moment of true time."""
        skew_ns = now_ns * self.ahead_ppm // PPM + self.offset_ns
        return now_ns + skew_ns + (self.stepped_ns if self.wall else 0)

    def when(self, shown_ns: int) -> int:
        """The first moment of true time at which it shows that."""
        since_ns = shown_ns - self.offset_ns - (self.stepped_ns if self.wall else 0)
        return since_ns * PPM // (PPM + self.ahead_ppm) + 1
