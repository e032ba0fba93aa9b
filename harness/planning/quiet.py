"""Quiet phases: times of a load in which no fault is in force, so that progress can be seen.

``quiet: {every: 12s, for: 3s}``: from 12 s on for 3 s, from 24 s on for 3 s, ... What is in force when one begins is
healed then; nothing begins in it, and what would fire a trigger passes unheard. Pure.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from harness.durations import Duration

LEFT_NS_MIN = 500_000_000
"""Less than this before a quiet phase, or less than was asked for, and a fault is not begun: it would hardly be one."""


class Quiet(BaseModel):
    """When it is quiet: from each multiple of ``every`` on."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    every: Duration = Field(gt=0)
    length: Duration = Field(gt=0, alias="for")

    def end_ns(self, at_ns: int) -> int | None:
        """When the phase ends that this moment is in; None if it is in none."""
        begin = at_ns // self.every * self.every
        return begin + self.length if begin > 0 and at_ns < begin + self.length else None

    def left_ns(self, at_ns: int) -> int:
        """How long a fault may last that begins now; 0 in a quiet phase."""
        return 0 if self.end_ns(at_ns) is not None else self.every - at_ns % self.every

    def allowed_ns(self, at_ns: int, for_ns: int) -> int:
        """How long a fault of this length lasts that begins then; 0 if it is better not begun."""
        left = self.left_ns(at_ns)
        return min(left, for_ns) if left >= min(LEFT_NS_MIN, for_ns) else 0
