"""The clock of a run: CLOCK_MONOTONIC in nanoseconds, with zero where the load begins. The only place of the harness
that reads it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class RunClock:
    """Nanoseconds since the load began; negative before."""

    origin_ns: int = field(default_factory=time.monotonic_ns)
    origin_wall_ns: int = field(default_factory=time.time_ns)

    def __call__(self) -> int:
        """Now."""
        return time.monotonic_ns() - self.origin_ns

    def restart(self) -> int:
        """Puts zero here; returns by how much it moved."""
        moved = self()
        self.origin_ns += moved
        self.origin_wall_ns = time.time_ns()
        return moved
