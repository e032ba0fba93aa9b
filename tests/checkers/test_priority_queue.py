"""The priority queue's decider against the dumb twin, and each kind of conflict it names."""

from __future__ import annotations

import collections
import random
from typing import Any

import pytest

from checkers.deciders.containers.priority_queue import PriorityQueueDecider
from tests.checkers import containers, things
from tests.checkers.containers import Make


class Queue(things.PriorityQueue):
    """With initial elements, peeks, and values in random order."""

    def __init__(self, initial: list[int]) -> None:
        super().__init__()
        self.values = iter(random.Random(len(initial)).sample(range(900), 60))  # type: ignore[assignment]
        for item in initial:
            self.put(item)

    def fresh(self) -> int:
        return next(self.values)

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        f = random_.choice(("insert", "insert", "insert", "poll", "poll", "peek"))
        return f, self.fresh() if f == "insert" else None

    def apply(self, process: int, f: str, value: Any) -> Any:
        if f == "peek":
            return self.heap[0] if self.heap else None
        return super().apply(process, f, value)


MAKE = Make("priority-queue", Queue, ("insert", "poll", "peek"))
DECIDER = PriorityQueueDecider()


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
