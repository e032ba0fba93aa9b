"""The compiled search against the plain one, move by move, and both against brute force, on every model."""

from __future__ import annotations

import collections
import random
from typing import Any

import numpy as np
import pytest

from checkers import Budget, History
from checkers.models import MODELS
from checkers.models.model import Model
from checkers.search import compiled, exploration, twin
from checkers.search.problem import problem
from tests.checkers.any_history import ARGUMENTS, any_history
from tests.checkers.test_search import replay

Seen = collections.Counter[Any]


def compare(history: History, model: Model, initial: Any, seen: Seen) -> None:
    """Both searches, with and without pruning: the verdict of brute force, and each other's every answer."""
    for code in range(len(history.keys)):
        rows = np.flatnonzero(history.key == code)
        operations = [history.operation(int(row)) for row in rows]
        possible = twin.linearizable(operations, model.step, model.start(initial))
        seen[possible] += 1
        for prune in (True, False):
            plain = exploration.search(problem(history, rows, model, initial), Budget(), prune=prune)
            fast = compiled.search(problem(history, rows, model, initial), Budget(), prune=prune)
            assert plain.linearizable is possible, operations
            assert (fast.linearizable, fast.order, fast.reached, fast.explored, fast.stuck) == (
                plain.linearizable,
                plain.order,
                plain.reached,
                plain.explored,
                plain.stuck,
            ), operations
            assert set(fast.states) == set(plain.states), operations
            replay(history, fast.order, model, initial)


def compare_model(name: str, seeds: range) -> Seen:
    seen: Seen = collections.Counter()
    for seed in seeds:
        model = MODELS[name](null_read="value")
        compare(History.of(any_history(random.Random(seed), name, model, None)), model, None, seen)
    return seen


def test_every_model_is_compared() -> None:
    """A model that is added needs its functions in ``any_history``."""
    assert set(ARGUMENTS) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_the_searches_agree_with_brute_force(name: str) -> None:
    """On 100 histories of each model; both verdicts frequent."""
    seen = compare_model(name, range(100))
    assert min(seen[True], seen[False]) >= 8, seen


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.timeout(1800)
def test_the_searches_agree_with_brute_force_on_many(name: str) -> None:
    """On 7,000 of each, more than 100,000 in all."""
    seen = compare_model(name, range(1_000_000, 1_007_000))
    print(f"{name}: {seen[True]} accepted, {seen[False]} refused")
    assert min(seen[True], seen[False]) >= 500, seen
