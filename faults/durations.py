"""Durations as people write them (``800ms``, ``30s``, ``2m``, ``1.5h``), kept as integer nanoseconds; exact both ways.

A bare number is refused: a scenario that says ``time: 30`` has not said whether that is seconds or minutes.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
LONGEST_NS = 10 * 365 * 24 * _UNITS_NS["h"]
"""Ten years: more is a slip of the pen, and what is added to it must still fit 64 bits."""
_CHARACTERS_MAX = 50
_PATTERN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


def parse_duration(value: object) -> int:
    """Nanoseconds of a duration with a unit.

    Raises:
        ValueError: no number, no unit, or a unit that is not one of ns, us, ms, s, m, h; more than ten years.
    """
    text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if len(text) > _CHARACTERS_MAX:
        raise ValueError(f"{text[:20]}... ({len(text)} characters) is not a duration; write one like 800ms, 30s or 2m")
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and a unit, like 800ms, 30s or 2m")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"{value!r} has no unit; write {number}s or {number}ms")
    if unit not in _UNITS_NS:
        raise ValueError(f"{value!r} has the unknown unit {unit!r}; known: {', '.join(_UNITS_NS)}")
    ns = round(Fraction(number) * _UNITS_NS[unit])  # a float would lose nanoseconds from 104 days on
    if ns > LONGEST_NS:
        raise ValueError(f"{value!r} is a duration of more than ten years; write a shorter one")
    return ns


def format_duration(ns: int) -> str:
    """The shortest exact way to write it: ``1500ms``, ``30s``, ``2m``."""
    for unit in ("h", "m", "s", "ms", "us"):
        if ns and ns % _UNITS_NS[unit] == 0:
            return f"{ns // _UNITS_NS[unit]}{unit}"
    return f"{ns}ns" if ns else "0s"


def _from_text(value: object) -> int:
    return parse_duration(value)


def _from_signed(value: object) -> int:
    text = str(value).strip()
    negative = text.startswith("-")
    return -parse_duration(text[1:]) if negative else parse_duration(text.removeprefix("+"))


def _to_signed(ns: int) -> str:
    return f"-{format_duration(-ns)}" if ns < 0 else format_duration(ns)


Duration = Annotated[int, BeforeValidator(_from_text), PlainSerializer(format_duration, return_type=str)]
"""Field type of scenarios: text outside, nanoseconds inside."""

SignedDuration = Annotated[int, BeforeValidator(_from_signed), PlainSerializer(_to_signed, return_type=str)]
"""The same with a sign before it: ``-45s``."""
