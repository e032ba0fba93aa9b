"""When operations begin: at a total rate over all workers, or with pauses between them.

A rate is kept as a schedule, not as a pause after each operation: an operation that comes late because every worker was
busy, or because the event loop's timers are coarse, is followed sooner by the next. What was missed longer ago than
``CATCH_UP_NS`` is forgiven, else a healed partition would be greeted by a burst that nobody asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Struct

from harness.generators.protocol import Completed, Context, Generator, Pending, Planned, Step
from harness.generators.stream import Stream

CATCH_UP_NS = 100_000_000

Gap = Callable[[float], float]
"""Maps a draw from [0, 1) to a gap in units of the mean gap."""


def _exponential(draw: float) -> float:
    return -math.log1p(-draw)


def _uniform(draw: float) -> float:
    return 2.0 * draw


def _fixed(draw: float) -> float:  # noqa: ARG001
    return 1.0


_GAPS: dict[str, Gap] = {"exponential": _exponential, "uniform": _uniform, "fixed": _fixed}


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How the gaps between operations are drawn."""

    mean_gap_ns: float
    gap: Gap
    stream: Stream
    catch_up_ns: int


class Rate(Struct, frozen=True, gc=False):
    """Operations of another, begun at times that a seeded stream lays out."""

    inner: Generator
    pace: Pace
    made: int = 0
    due_ns: int | None = None

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The inner one's step when the next is due. The first is due at once."""
        pace, made, due_ns, now_ns = self.pace, self.made, self.due_ns, context.time_ns
        if due_ns is None:
            due_ns = now_ns
        elif now_ns < due_ns:
            return Pending(due_ns), self
        step, inner = self.inner.next(context)
        if type(step) is not Planned:
            return step, Rate(inner, pace, made, due_ns)
        due_ns = max(due_ns, now_ns - pace.catch_up_ns) + int(pace.mean_gap_ns * pace.gap(pace.stream.draw(made)))
        return step, Rate(inner, pace, made + 1, due_ns)

    def update(self, event: Completed) -> Generator:
        """Passes on."""
        inner = self.inner.update(event)
        return self if inner is self.inner else Rate(inner, self.pace, self.made, self.due_ns)


def rate(per_s: float, inner: Generator, *, seed: int = 0, law: str = "exponential") -> Generator:
    """So many operations a second in all, whatever the number of workers.

    ``law`` of the gaps: ``exponential`` (as independent clients would), ``uniform`` (from nothing to twice the mean:
    Jepsen's stagger) or ``fixed``.

    Raises:
        ValueError: the rate is not above 0, or the law is unknown.
    """
    if per_s <= 0:
        raise ValueError(f"rate {per_s!r}: operations a second must be above 0")
    if law not in _GAPS:
        raise ValueError(f"law {law!r}: known are {', '.join(_GAPS)}")
    stream = Stream(seed, "rate")
    return Rate(inner, Pace(mean_gap_ns=1e9 / per_s, gap=_GAPS[law], stream=stream, catch_up_ns=CATCH_UP_NS))


def stagger(mean_gap_ns: int, inner: Generator, *, seed: int = 0) -> Generator:
    """Operations with gaps from nothing to twice the mean, over all workers."""
    return rate(1e9 / mean_gap_ns, inner, seed=seed, law="uniform")


def delay(gap_ns: int, inner: Generator) -> Generator:
    """At least so long between the beginnings of two operations; what is late stays late."""
    return Rate(inner, Pace(mean_gap_ns=gap_ns, gap=_fixed, stream=Stream(0, "delay"), catch_up_ns=0))
