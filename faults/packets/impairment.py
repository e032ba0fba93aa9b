"""What a bad network does to packets: the parameters of ``tc netem``, validated, as words for it and as effects for
the stand-in (:mod:`faults.packets.fates`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from faults.durations import Duration, format_duration
from faults.family import Parameters
from faults.packets.fates import PACKETS_DELAYED, PACKETS_QUEUED, Effects

Distribution = Literal["uniform", "normal", "pareto"]

_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(bit|kbit|mbit|gbit)\s*", re.IGNORECASE)
_BITS = {"gbit": 10**9, "mbit": 10**6, "kbit": 10**3, "bit": 1}
RATE_LEAST = 8_000
"""A kilobyte a second: below that no proof would end in time."""
DELAY_LONGEST_NS = 5_000_000_000


def _percent(value: object) -> float:
    """A share: ``5%``. A bare number is refused: whether 0.5 is half of them or one in 200, it does not say."""
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        raise ValueError(f"{value!r} is not a percentage; write one like 5%") from None
    if not text.endswith("%"):
        raise ValueError(f"{value!r} has no unit; write {text}%, if that is meant")
    if not 0 <= number <= 100:
        raise ValueError(f"{value!r} is not between 0% and 100%")
    return number


def _rate(value: object) -> int:
    match = _RATE.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a rate; write one like 1mbit")
    bits = round(float(match[1]) * _BITS[match[2].lower()])
    if bits < RATE_LEAST:
        raise ValueError(f"{value!r} is less than a kilobyte a second; write 8kbit or more")
    return bits


def format_rate(bits: int) -> str:
    """The shortest exact way to write it: ``1mbit``."""
    unit = next(unit for unit, size in _BITS.items() if bits % size == 0)
    return f"{bits // _BITS[unit]}{unit}"


Percent = Annotated[float, BeforeValidator(_percent), PlainSerializer(lambda share: f"{share:g}%", return_type=str)]
"""Text outside (``5%``), 0 to 100 inside."""

Rate = Annotated[int, BeforeValidator(_rate), PlainSerializer(format_rate, return_type=str)]
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
        if (self.reorder or self.correlation) and not self.delay:
            name = "reorder" if self.reorder else "correlation"
            raise ValueError(f"{name} needs a delay: it says which packets are delayed, and how much alike")
        if (longest := self.effects().delay_long) > DELAY_LONGEST_NS:
            said = f"delay and four times the jitter are {format_duration(round(longest))} together"
            raise ValueError(f"{said}: at most {format_duration(DELAY_LONGEST_NS)} can be proved in time")
        return self

    def does_nothing(self) -> bool:
        """Whether no packet would notice."""
        shares = (self.loss, self.duplicate, self.corrupt)
        return not (self.delay or self.rate or any(shares))

    def effects(self) -> Effects:
        """The same as numbers."""
        return Effects(**{name: getattr(self, name) for name in EFFECTS})

    def netem(self) -> Sequence[str]:
        """The arguments of ``tc qdisc add ... netem``."""
        words = ["limit", str(PACKETS_QUEUED if self.rate is not None else PACKETS_DELAYED)]
        if self.delay:
            words += ["delay", _microseconds(self.delay)]
            if self.jitter:
                words += [_microseconds(self.jitter), f"{self.correlation:g}%"]
                words += ["distribution", self.distribution] if self.distribution != "uniform" else []
        for name in ("loss", "duplicate", "corrupt"):
            if share := getattr(self, name):
                words += [name, f"{share:g}%"]
        if self.reorder:
            words += ["reorder", f"{self.reorder:g}%"]
        if self.rate is not None:
            words += ["rate", f"{self.rate}bit"]
        return words

    def words(self) -> str:
        """What happens to packets, for people."""
        said = [f"delay {format_duration(self.delay)}"] if self.delay else []
        if self.jitter:
            said[0] += f" +- {format_duration(self.jitter)}"
            said[0] += f" ({self.distribution})" if self.distribution != "normal" else ""
        said += [
            f"{word} {share:g}%"
            for word, share in (
                ("loss", self.loss),
                ("duplicates", self.duplicate),
                ("reordering", self.reorder),
                ("corruption", self.corrupt),
            )
            if share
        ]
        said += [f"rate {format_rate(self.rate)}"] if self.rate is not None else []
        return ", ".join(said)


EFFECTS = tuple(field.name for field in fields(Effects))


def _microseconds(ns: int) -> str:
    return f"{round(ns / 1000)}us"
