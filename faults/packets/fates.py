"""What becomes of each packet on a bad link: netem's rules, decided packet by packet in Python.

Semantics are netem's (``man 8 tc-netem``, ``net/sched/sch_netem.c``): each packet's delay is drawn anew, so jitter
reorders; ``reorder`` sends that share at once, past the others; with ``rate`` packets queue up behind each other;
``correlation`` mixes each random number with the one before (which narrows the spread, in netem as here).

Nothing but the standard library is imported here: the stand-in for netem runs on nodes' hosts with whatever Python is
there (:mod:`faults.programs`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from statistics import NormalDist

PACKETS_DELAYED = 65_536
"""Packets that a link holds at most while they are only delayed; more are dropped, and counted."""
PACKETS_QUEUED = 1_000
"""Packets that wait at most where a rate limits them, netem's own limit: what more is sent is lost, as in a router."""
_NORMAL = NormalDist()
_PARETO_SHAPE, _PARETO_MEAN, _PARETO_SCALE = 3.0, 1.5, 4 / 3
"""Those of netem's own table (``pareto.dist``); cut off at four, its deviation is 0.82."""
_SPREAD_MOST = 4.0
"""netem's tables hold no more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """What happens to the packets of a link: times in nanoseconds, shares in percent, the rate in bits a second."""

    delay: int = 0
    jitter: int = 0
    distribution: str = "normal"
    correlation: float = 0.0
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    corrupt: float = 0.0
    rate: int | None = None

    @property
    def in_order(self) -> bool:
        """Whether packets that are not lost leave in the order in which they came."""
        return not (self.jitter or self.reorder)

    @property
    def delay_median(self) -> float:
        """The delay that half of the packets exceed, in nanoseconds."""
        if self.distribution != "pareto":
            return self.delay
        return max(0.0, self.delay + self.jitter * _pareto(0.5))

    @property
    def delay_long(self) -> float:
        """A delay that hardly any packet exceeds, in nanoseconds."""
        return self.delay + 4.0 * self.jitter


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one packet: delivered ``after_s`` (None: lost), perhaps with a flipped bit."""

    after_s: float | None
    corrupted: bool = False


LOST = Fate(None)


@dataclass(slots=True)
class Decider:
    """Decides packet by packet. ``random`` decides everything, so that a seed repeats it."""

    effects: Effects
    random: Random
    _last: float = field(default=0.5, init=False)
    _free_at: float = field(default=0.0, init=False)

    def decide(self, now_s: float, length: int) -> Fate:
        """The fate of a packet of so many bytes."""
        this, chance = self.effects, self.random.random
        if this.loss and chance() * 100 < this.loss:
            return LOST
        corrupted = bool(this.corrupt) and chance() * 100 < this.corrupt
        passes = bool(this.reorder) and chance() * 100 < this.reorder
        due = now_s + (0.0 if passes else self._delay_s())
        if this.rate is not None:
            due = self._free_at = max(due, self._free_at) + 8 * length / this.rate
        return Fate(due - now_s, corrupted)

    def duplicates(self) -> bool:
        """Whether a packet is sent twice."""
        return bool(self.effects.duplicate) and self.random.random() * 100 < self.effects.duplicate

    def _delay_s(self) -> float:
        this = self.effects
        if not this.jitter:
            return this.delay / 1e9
        return max(0.0, (this.delay + this.jitter * self._spread()) / 1e9)

    def _spread(self) -> float:
        """A draw of mean 0; deviation 1, but for ``uniform``, which lies between -1 and 1."""
        share = self.effects.correlation / 100
        uniform = self._last = (1 - share) * self.random.random() + share * self._last
        uniform = min(max(uniform, 1e-9), 1 - 1e-9)
        if self.effects.distribution == "uniform":
            return 2 * uniform - 1
        if self.effects.distribution == "normal":
            return max(-_SPREAD_MOST, min(_SPREAD_MOST, _NORMAL.inv_cdf(uniform)))
        return _pareto(uniform)


def _pareto(share: float) -> float:
    """The value that this share of the draws is below."""
    return min(_SPREAD_MOST, _PARETO_SCALE * (math.pow(1 - share, -1 / _PARETO_SHAPE) - _PARETO_MEAN))


def with_flipped_bit(payload: bytes, random: Random) -> bytes:
    """A packet with one bit of what it carries (behind its IPv4 header) flipped."""
    header = 4 * (payload[0] & 15) if payload else 0
    if len(payload) <= header:
        return payload
    place = random.randrange(header, len(payload))
    flipped = payload[place] ^ (1 << random.randrange(8))
    return payload[:place] + bytes([flipped]) + payload[place + 1 :]
