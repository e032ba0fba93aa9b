"""What is known of the clocks of hosts, from messages between them: by how much each CLOCK_MONOTONIC is ahead of each
other, and how well that is known.

No message arrives before it left. So whatever took *m* nanoseconds from A to B, by A's clock at its leaving and by B's
at its arrival, shows that B's clock is ahead of A's by at most *m*, however long it really took: a delay makes the
bound loose, never wrong. Bounds add up along a path, so the best one between two hosts is a shortest path (difference
constraints), and the two directions together enclose the truth; the middle is taken, and half the width is how wrong
it may be. Quartz clocks drift: a bound is loosened by :data:`DRIFT` for its age.

(F. Cristian, *Probabilistic clock synchronization*, 1989; Marzullo and Owicki, 1983; CLRS, difference constraints.)
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from faults.cuts import Pair

DRIFT = 100e-6
"""Two clocks go apart by at most so much: crystals differ by 50 ppm or less."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One clock was ahead of another by at most so much, then."""

    most_ns: int
    at_ns: int

    def now(self, at_ns: int) -> float:
        """What it is worth by now."""
        return self.most_ns + DRIFT * max(0, at_ns - self.at_ns)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ahead:
    """By how much one clock is ahead of another, and by how much that may be wrong."""

    ns: int
    uncertain_ns: float


class Clocks:
    """Of one cluster. Times ``at_ns`` are the controller's."""

    def __init__(self) -> None:
        self._best: dict[Pair, Bound] = {}
        self._last: dict[Pair, Bound] = {}

    def note(self, source: str, target: str, took_ns: int, at_ns: int) -> None:
        """A message took so long by the two clocks."""
        new, best = Bound(took_ns, at_ns), self._best.get((source, target))
        self._last[source, target] = new
        if best is None or took_ns <= best.now(at_ns):
            self._best[source, target] = new

    def ahead(self, source: str, target: str, at_ns: int) -> Ahead:
        """By how much target's clock is ahead of source's. Infinitely uncertain if nothing is known.

        Where old bounds contradict new ones (a clock was slewed by more than :data:`DRIFT`), only the last count.
        """
        most = _shortest({pair: bound.now(at_ns) for pair, bound in self._best.items()})
        if any(length < 0 for (one, other), length in most.items() if one == other):
            self._best = dict(self._last)
            most = _shortest({pair: bound.now(at_ns) for pair, bound in self._best.items()})
        forth, back = most.get((source, target), math.inf), most.get((target, source), math.inf)
        if not math.isfinite(forth + back):
            return Ahead(ns=0, uncertain_ns=math.inf)
        return Ahead(ns=round((forth - back) / 2), uncertain_ns=abs(forth + back) / 2)


def _shortest(lengths: dict[Pair, float]) -> dict[Pair, float]:
    """Of all paths between each two (Floyd and Warshall); a host to itself is below 0 if bounds contradict."""
    names = sorted({name for pair in lengths for name in pair})
    found = {(name, name): 0.0 for name in names} | lengths
    for middle, source, target in itertools.product(names, repeat=3):
        through = found.get((source, middle), math.inf) + found.get((middle, target), math.inf)
        if through < found.get((source, target), math.inf):
            found[source, target] = through
    return found
