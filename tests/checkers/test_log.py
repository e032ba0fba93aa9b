"""Logs: the decider against the dumb twin, and the sentence of each kind of refusal."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, HistoryError, Validity, check
from checkers.deciders.log.decider import DUPLICATE, LogDecider
from checkers.models.log import Log
from tests.checkers import things
from tests.checkers.comparison import Kind, compare, compare_many


class Appends(things.Log):
    """append that tells its offset sometimes, always or never, and read."""

    def __init__(self, random_: random.Random) -> None:
        super().__init__()
        self.random = random_
        self.told = random_.choice((0.0, 0.5, 1.0))
        self.reads = random_.choice((0.1, 0.4))
        self.state = [-1, -2] if START else []

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return ("read", None) if random_.random() < self.reads else ("append", self.fresh())

    def apply(self, process: int, f: str, value: Any) -> Any:
        result = super().apply(process, f, value)
        return None if f == "append" and self.random.random() >= self.told else result


START: list[int] = []
"""The initial list of simulated logs; tests put values in."""


def another_result(random_: random.Random, f: str, values: Sequence[Any]) -> Any:
    if f == "append":
        return random_.choice((0, 1, 2, 3, 4))
    lists = [list(value) for value in values if isinstance(value, list)] or [[]]
    seen = random_.choice(lists)
    others = [value for value in values if type(value) is int] or [9]
    way = random_.randrange(4)
    if way == 0 and seen:
        return seen[: random_.randrange(len(seen))]
    if way == 1:
        return [*seen, random_.choice(others)]
    if way == 2:
        return random_.sample(seen, len(seen))
    return seen


KIND = Kind(
    decider=LogDecider(),
    model=Log,
    thing=Appends,
    results=another_result,
    arguments=lambda random_, f, values: None if f == "read" else random_.choice([*filter(None, values), 99]),
)
