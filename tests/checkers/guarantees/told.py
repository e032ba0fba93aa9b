"""Histories told operation by operation, in milliseconds."""

from __future__ import annotations

from typing import Any

from checkers.history import History

Event = dict[str, Any]
MS = 1_000_000


def op(
    process: int, f: str, value: Any, result: Any, time: int, end: int | None, type_: str = "ok", **more: Any
) -> list[Event]:
    """An operation that began at ``time`` and ended at ``end`` (None: nobody saw it end)."""
    base = {"process": process, "f": f, **more}
    begin = [{**base, "type": "invoke", "time": time * MS, "value": value}]
    return begin if end is None else [*begin, {**base, "type": type_, "time": end * MS, "value": result}]


def story(*operations: list[Event]) -> History:
    """Operations as a history, by time; their ends come in the order in which they are told."""
    return History.of(sorted((event for each in operations for event in each), key=lambda event: event["time"]))
