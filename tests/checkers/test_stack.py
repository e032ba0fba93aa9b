"""The stack's decider against the dumb twin, and each kind of conflict it names."""

from __future__ import annotations

import collections
import random
from typing import Any

import numpy as np
import pytest

from checkers import Budget, History, Validity, check
from checkers.deciders.containers.nesting import nesting
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


def test_out_of_order() -> None:
    """The lower left while the upper one was there."""
    kind, message = refusal(("push", 1, 1, 2), ("push", 2, 3, 4), ("pop", 1, 5, 6), ("pop", 2, 7, 8))
    assert kind == "out of order"
    assert message.startswith("2 lay upon 1 in the stack")
    assert "but 1 left first" in message


def test_each_kind() -> None:
    """One history a kind."""
    assert refusal(("push", 1, 1, 2), ("pop", 1, 3, 4), ("pop", 1, 5, 6))[0] == "popped twice"
    assert refusal(("pop", 9, 1, 2))[0] == "never pushed"
    assert refusal(("pop", 1, 1, 2), ("push", 1, 3, 4))[0] == "popped before it was pushed"
    assert refusal(("push", 1, 1, 2), ("pop", None, 3, 4))[0] == "empty while it held a value"


def test_hidden_pops() -> None:
    """A value that was on top, and was not seen to leave, was taken by the pop that nobody saw end."""
    lost = (("push", 1, 1, 2), ("push", 2, 3, 4), ("pop", 1, 7, 8))
    assert accepted(*lost, ("pop", None, 5, None))
    assert not accepted(*lost)
    assert not accepted(*lost, ("pop", None, 9, None))


def test_longer_histories_agree_with_the_search() -> None:
    """Deeper stacks than the twin can try, nested and with empty pops between."""
    refused = 0
    for seed in range(60):
        random_ = random.Random(seed)
        history = History.of(MAKE.events(random_, [], 16))
        decision = DECIDER.decide(history, initial=None, null_read="value")
        if decision.deferred:
            continue
        searched = check(history, model="stack", search_only=True, budget=Budget(states=200_000))
        assert searched.validity in (Validity.UNKNOWN, Validity.INVALID if decision.refused else Validity.VALID), seed
        refused += bool(decision.refused)
    assert refused > 10


def test_compiled_and_plain_loops_agree() -> None:
    """The same source in both speeds, on parts that get stuck and parts that do not."""
    random_ = random.Random(7)
    for _ in range(60):
        count = random_.randint(1, 12)
        places = list(range(1, 4 * count + 1))
        random_.shuffle(places)
        ends = np.sort(np.array(places).reshape(count, 4), axis=1)
        plain, compiled = (nesting(ends[:, 0], ends[:, 1], ends[:, 2], ends[:, 3], fast) for fast in (False, True))
        for name in ("turn", "first", "last", "stuck"):
            assert np.array_equal(getattr(plain, name), getattr(compiled, name))


@pytest.mark.skipif(not containers.VECTORS.exists(), reason="../shared/vectors is not there")
def test_public_histories() -> None:
    """Their stated verdicts, without search."""
    assert containers.wrong_vectors("limo-stack") == []
