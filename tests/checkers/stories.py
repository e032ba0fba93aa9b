"""Small histories for tests, told in milliseconds."""

from __future__ import annotations

from typing import Any

from checkers.history import History

MS = 1_000_000


def history(*operations: tuple[Any, ...], nemesis: tuple[tuple[int, str, str, dict[str, Any]], ...] = ()) -> History:
    """Operations: (process, call ms, return ms or None, outcome, f, extra fields). Faults: (ms, type, f, value)."""
    events: list[tuple[int, int, dict[str, Any]]] = []
    for process, call, end, outcome, f, *rest in operations:
        extra = rest[0] if rest else {}
        base = {"process": process, "f": f, "key": "k", "value": [1, 2] if f == "cas" else 1}
        events.append((call * MS, 1, {**base, "type": "invoke"}))
        if end is not None:
            events.append((end * MS, 0, {**base, "type": outcome, **extra}))
    for time, type_, f, value in nemesis:
        events.append((time * MS, 1, {"process": "nemesis", "type": type_, "f": f, "value": value}))
    events.sort(key=lambda row: row[:2])
    return History.of({"index": index, "time": time, **event} for index, (time, _, event) in enumerate(events))


def fault(
    number: int, family: str, begin: int, end: int | None, *, targets: tuple[str, ...] = ("n1",), proved: bool = True
) -> tuple[tuple[int, str, str, dict[str, Any]], ...]:
    """The nemesis events of one fault that was injected at ``begin`` and healed at ``end`` (ms), each in 2 ms."""
    value = {"id": number, "family": family}
    told = {**value, "summary": f"{family} of n1", "targets": list(targets), "proved": proved}
    inject = ((begin, "invoke", "inject", value), (begin + 2, "info", "inject", told))
    return inject if end is None else (*inject, (end - 2, "invoke", "heal", value), (end, "info", "heal", told))
