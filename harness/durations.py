"""Durations as people write them (``800ms``, ``30s``, ``2m``, ``1.5h``), kept as integer nanoseconds.

A bare number is refused: a scenario that says ``time: 30`` has not said whether that is seconds or minutes.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_UNITS_NS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_PATTERN = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


def parse_duration(value: object) -> int:
    """Nanoseconds of a duration with a unit.

    Raises:
        ValueError: no number, no unit, or a unit that is not one of us, ms, s, m, h.
    """
    match = (
        _PATTERN.fullmatch(str(value)) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    )
    if match is None:
        raise ValueError(f"{value!r} is not a duration; write a number and a unit, like 800ms, 30s or 2m")
    number, unit = match.groups()
    if not unit:
        raise ValueError(f"{value!r} has no unit; write {number}s or {number}ms")
    if unit not in _UNITS_NS:
        raise ValueError(f"{value!r} has the unknown unit {unit!r}; known: {', '.join(_UNITS_NS)}")
    return round(float(number) * _UNITS_NS[unit])


def format_duration(ns: int) -> str:
    """The shortest exact way to write it: ``1500ms``, ``30s``, ``2m``."""
    for unit in ("h", "m", "s", "ms", "us"):
        if ns and ns % _UNITS_NS[unit] == 0:
            return f"{ns // _UNITS_NS[unit]}{unit}"
    return f"{ns / _UNITS_NS['us']:g}us" if ns else "0s"


def _from_text(value: object) -> int:
    return parse_duration(value)


Duration = Annotated[int, BeforeValidator(_from_text), PlainSerializer(format_duration, return_type=str)]
"""Field type of scenarios: text outside, nanoseconds inside."""
