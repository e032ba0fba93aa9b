"""Random small histories of an object, most of them spoiled a little: for comparing a check with its definition."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from checkers.history import History
from tests.checkers.simulated import Thing, simulate

Event = dict[str, Any]
Spoil = Callable[[random.Random, list[Event]], None]
"""Changes one of the ``ok`` events in place."""


def small(
    seed: int, thing: Callable[[], Thing], spoil: Spoil, *, operations: int = 9, keys: int = 1, spoils: int = 2
) -> History:
    """A history of at most so many operations by few clients, with unknown outcomes and ties; four in five spoiled."""
    stream = random.Random(seed)
    clients = stream.randint(1, 4)
    count = stream.randint(2, operations)
    events: list[Event] = []
    for key in range(keys):
        made = simulate(thing(), stream, operations=count, concurrency=clients, info=0.15, ties=0.3).events
        for event in made:
            event["process"] = event["process"] * keys + key
            if keys > 1:
                event["key"] = f"k{key}"
        events.extend(made)
    events.sort(key=lambda event: event["time"])
    if stream.random() < 0.8:
        ok = [event for event in events if event["type"] == "ok"]
        for _ in range(stream.randint(1, spoils) if ok else 0):
            spoil(stream, ok)
    return History.of(events)


def one_of(stream: random.Random, ok: list[Event], *functions: str) -> Event | None:
    """One event with one of these functions, if there is any."""
    return stream.choice([event for event in ok if event["f"] in functions] or [None])


def correct(seed: int, thing: Thing, *, operations: int = 60, info: float = 0.1) -> list[Event]:
    """The events of a correct history."""
    stream = random.Random(seed)
    clients = stream.randint(1, 8)
    return simulate(thing, stream, operations=operations, concurrency=clients, info=info, ties=0.2).events
