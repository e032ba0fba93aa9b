"""The priority queue's decider against the dumb twin, and each kind of conflict it names."""

from __future__ import annotations

import collections
import random
from typing import Any

import numpy as np
import pytest

from checkers import HistoryError
from checkers.deciders.containers.moments import Questions, moments
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


def refusal(*rows: containers.Row, initial: Any = None) -> tuple[str, str]:
    return containers.refusal(DECIDER, MAKE.model, rows, initial)


def accepted(*rows: containers.Row, initial: Any = None) -> bool:
    return not DECIDER.decide(containers.ops(rows), initial=initial, null_read="value").refused


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


def test_not_the_smallest() -> None:
    """A poll while something smaller was there all the time."""
    kind, message = refusal(("insert", 1, 1, 2), ("insert", 2, 3, 4), ("poll", 2, 5, 6), ("poll", 1, 7, 8))
    assert kind == "not the smallest"
    assert "something smaller was there: 1 was in it" in message


def test_each_kind() -> None:
    """One history a kind."""
    assert refusal(("insert", 1, 1, 2), ("poll", 1, 3, 4), ("poll", 1, 5, 6))[0] == "polled twice"
    assert refusal(("peek", 9, 1, 2))[0] == "never inserted"
    assert refusal(("poll", 1, 1, 2), ("insert", 1, 3, 4))[0] == "polled before it was inserted"
    assert refusal(("insert", 1, 1, 2), ("peek", None, 3, 4))[0] == "empty while it held a value"
    assert refusal(("insert", 1, 1, 2), ("poll", 1, 3, 4), ("peek", 1, 5, 6))[0] == "peeked after it was polled"


def test_order_of_elements() -> None:
    """Numbers by value, strings by code points; a mixture is refused."""
    assert accepted(("insert", 10, 1, 2), ("insert", 9.5, 3, 4), ("poll", 9.5, 5, 6))
    assert accepted(("insert", "10", 1, 2), ("insert", "9", 3, 4), ("poll", "10", 5, 6))
    for one, other in (("a", 1), (True, 2), (1, 1.0), ([1], [2])):
        with pytest.raises(HistoryError, match="insert of"):
            accepted(("insert", one, 1, 2), ("insert", other, 3, 4))


def test_hidden_polls() -> None:
    """A smaller value that was not seen to leave was taken by the poll that nobody saw end."""
    lost = (("insert", 1, 1, 2), ("insert", 2, 3, 4), ("poll", 2, 7, 8))
    assert accepted(*lost, ("poll", None, 5, None))
    assert not accepted(*lost)


def test_compiled_and_plain_loops_agree() -> None:
    """The same source in both speeds."""
    random_ = random.Random(7)
    for _ in range(60):
        count, slots = random_.randint(1, 12), 60
        start, end = (np.array(random_.choices(range(slots), k=count)) for _ in range(2))
        low = np.array(random_.choices(range(40), k=count))
        questions = Questions(value=np.arange(count), low=low, high=low + 1 + low % 7, wish=low + low % 3)
        plain, compiled = (moments(np.arange(count), start, end, questions, slots, fast) for fast in (False, True))
        assert np.array_equal(plain[0], compiled[0])
        assert np.array_equal(plain[1], compiled[1])
