"""Histories of transactions written in short: for tests that read like the anomaly that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers import History

Story = Sequence[tuple[Any, ...]]


def told(*transactions: Any, together: bool = True, outcomes: str = "") -> History:
    """A history of transactions, each a text: ``ax1`` appends 1 to x, ``wx1`` writes it, ``rx12`` read [1, 2] of a
    list, ``rx=1`` read 1 of a register, ``rx`` read nothing. ``together``: all at the same time, by processes of their
    own; else one after the other by process 0. ``outcomes``: a letter each (``o``, ``f``, ``i``)."""
    outcomes = outcomes or "o" * len(transactions)
    parsed = [_parsed(text) for text in transactions]
    begins = [_event("invoke", place, parsed[place], together) for place in range(len(parsed))]
    kinds = {"o": "ok", "f": "fail", "i": "info"}
    ends = [_event(kinds[letter], place, parsed[place], together) for place, letter in enumerate(outcomes)]
    events = begins + ends if together else [event for pair in zip(begins, ends, strict=True) for event in pair]
    return History.of({**event, "time": time} for time, event in enumerate(events))


def _event(kind: str, place: int, micros: list[list[Any]], together: bool) -> dict[str, Any]:
    value = [[f, key, None if f == "r" and kind != "ok" else item] for f, key, item in micros]
    return {"type": kind, "process": place if together else 0, "f": "txn", "value": value}


def _parsed(text: str) -> list[list[Any]]:
    return [_micro(word) for word in text.split()]


def _micro(word: str) -> list[Any]:
    letter, key, rest = word[0], word[1], word[2:]
    if letter == "a":
        return ["append", key, int(rest)]
    if letter == "w":
        return ["w", key, int(rest)]
    if rest.startswith("="):
        return ["r", key, int(rest[1:]) if rest[1:] else None]
    return ["r", key, [int(digit) for digit in rest]]
