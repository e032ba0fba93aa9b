"""What a bad network does to packets: the parameters of ``tc netem``, as words for it and as decisions of our own.

The same parameters drive the kernel's netem where it is there (:meth:`Impairment.netem`) and the stand-in elsewhere
(:class:`Decider`). Semantics are netem's (``man 8 tc-netem``, ``net/sched/sch_netem.c``): each packet's delay is drawn
anew, so jitter reorders; ``reorder`` sends that share at once, past the others; with ``rate`` packets queue up behind
each other; ``correlation`` mixes each random number with the one before (which narrows the spread, in netem as here).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from statistics import NormalDist
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from faults.durations import Duration
from faults.family import Parameters

Distribution = Literal["uniform", "normal", "pareto"]

_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(bit|kbit|mbit|gbit)\s*", re.IGNORECASE)
_BITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_NORMAL = NormalDist()
_PARETO_SHAPE = 3.0
"""That of netem's own table (its mean is 1.5, its variance 0.75)."""


def _percent(value: object) -> float:
    """A share: ``5%``, or 5."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        raise ValueError(f"{value!r} is not a percentage; write one like 5%") from None
    if not 0 <= number <= 100:
        raise ValueError(f"{value!r} is not between 0% and 100%")
    return number


def _rate(value: object) -> int:
    match = _RATE.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a rate; write one like 1mbit")
    bits = round(float(match[1]) * _BITS[match[2].lower()])
    if bits < 8:
        raise ValueError(f"{value!r} is less than a byte a second")
    return bits


Percent = Annotated[float, BeforeValidator(_percent), PlainSerializer(lambda share: f"{share:g}%", return_type=str)]
"""Text outside (``5%``), 0 to 100 inside."""

Rate = Annotated[int, BeforeValidator(_rate), PlainSerializer(lambda bits: f"{bits}bit", return_type=str)]
"""Text outside (``1mbit``), bits a second inside."""


class Impairment(Parameters):
    """What happens to the packets of a link, in the words of ``tc netem``."""

    delay: Duration = 0
    jitter: Duration = 0
    distribution: Distribution = "normal"
    correlation: Percent = 0.0
    loss: Percent = 0.0
    duplicate: Percent = 0.0
    reorder: Percent = 0.0
    corrupt: Percent = 0.0
    rate: Rate | None = Field(default=None)

    @model_validator(mode="after")
    def _check_sense(self) -> Self:
        if self.jitter > self.delay:
            raise ValueError("jitter is larger than delay: packets cannot arrive before they were sent")
        if self.reorder and not self.delay:
            raise ValueError("reorder needs a delay: the reordered packets are those that are not delayed")
        return self

    def does_nothing(self) -> bool:
        """Whether no packet would notice."""
        shares = (self.loss, self.duplicate, self.corrupt)
        return not (self.delay or self.rate or any(shares))

    def netem(self) -> Sequence[str]:
        """The arguments of ``tc qdisc add ... netem``."""
        words: list[str] = []
        if self.delay:
            words += ["delay", f"{self.delay / 1000:g}us"]
            if self.jitter:
                words += [f"{self.jitter / 1000:g}us", f"{self.correlation:g}%"]
                words += ["distribution", self.distribution] if self.distribution != "uniform" else []
        for name in ("loss", "duplicate", "corrupt"):
            if share := getattr(self, name):
                words += [name, f"{share:g}%"]
        if self.reorder:
            words += ["reorder", f"{self.reorder:g}%"]
        if self.rate is not None:
            words += ["rate", f"{self.rate}bit"]
        return words


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one packet: delivered ``after_s`` (None: lost), perhaps with a flipped bit."""

    after_s: float | None
    corrupted: bool = False


LOST = Fate(None)


@dataclass(slots=True)
class Decider:
    """Decides packet by packet. ``random`` decides everything, so that a seed repeats it."""

    impairment: Impairment
    random: Random
    _last: float = field(default=0.5, init=False)
    _free_at: float = field(default=0.0, init=False)

    def decide(self, now_s: float, length: int) -> Fate:
        """The fate of a packet of so many bytes."""
        this, chance = self.impairment, self.random.random
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
        return bool(self.impairment.duplicate) and self.random.random() * 100 < self.impairment.duplicate

    def _delay_s(self) -> float:
        this = self.impairment
        if not this.jitter:
            return this.delay / 1e9
        return max(0.0, (this.delay + this.jitter * self._spread()) / 1e9)

    def _spread(self) -> float:
        """A draw of mean 0; deviation 1, but for ``uniform``, which lies between -1 and 1."""
        share = self.impairment.correlation / 100
        uniform = self._last = (1 - share) * self.random.random() + share * self._last
        uniform = min(max(uniform, 1e-9), 1 - 1e-9)
        if self.impairment.distribution == "uniform":
            return 2 * uniform - 1
        if self.impairment.distribution == "normal":
            return _NORMAL.inv_cdf(uniform)
        return (math.pow(1 - uniform, -1 / _PARETO_SHAPE) - 1.5) / math.sqrt(0.75)


def with_flipped_bit(payload: bytes, random: Random) -> bytes:
    """A packet with one bit of what it carries (behind its IPv4 header) flipped."""
    header = 4 * (payload[0] & 15) if payload else 0
    if len(payload) <= header:
        return payload
    place = random.randrange(header, len(payload))
    flipped = payload[place] ^ (1 << random.randrange(8))
    return payload[:place] + bytes([flipped]) + payload[place + 1 :]
