"""The stack's decider against the dumb twin, and each kind of conflict it names."""

from __future__ import annotations

import collections
import random
from typing import Any

import pytest

from checkers.deciders.containers.stack import StackDecider
from tests.checkers import containers, things
from tests.checkers.containers import Make


class Stack(things.Stack):
    """With initial elements."""

    def __init__(self, initial: list[int]) -> None:
        super().__init__()
        self.state.extend(initial)

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return ("push", self.fresh()) if random_.random() < 0.5 else ("pop", None)


MAKE = Make("stack", Stack, ("push", "pop"))
DECIDER = StackDecider()


def many(seeds: range, size: int) -> collections.Counter[Any]:
    total: collections.Counter[Any] = collections.Counter()
    for seed in seeds:
        total += containers.compare(MAKE, DECIDER, seed, size)
    return total


def test_agrees_with_the_twin() -> None:
    """Same verdict, witnesses that replay, findings that are impossible by themselves."""
    seen = many(range(20), 50) + many(range(1000, 1100), 1)
    assert seen[False] > 0.2 * (seen[True] + seen[False])


@pytest.mark.slow
def test_agrees_with_the_twin_on_many() -> None:
    """10^5 histories."""
    seen = many(range(10_000, 12_000), 50)
    print(seen)
    assert seen[False] > 20_000
