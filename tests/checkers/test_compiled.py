"""The compiled search against the plain one, move by move, and both against brute force, on every model."""

from __future__ import annotations

import collections
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from checkers import Budget, History
from checkers.models import MODELS
from checkers.models.model import Model
from checkers.models.register import Register
from checkers.search import compiled, exploration, twin
from checkers.search.exploration import Exploration
from checkers.search.problem import problem
from tests.checkers.any_history import ARGUMENTS, any_history
from tests.checkers.simulated import simulate
from tests.checkers.test_search import history_of, replay
from tests.checkers.things import KeyValue

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


def both(
    history: History, model: Model, budget: Budget | None = None, *, initial: Any = None
) -> tuple[Exploration, Exploration]:
    """What the plain and the compiled search find, each on a problem of its own."""
    rows = np.arange(len(history))
    plain, fast = (
        engine.search(problem(history, rows, model, initial), budget or Budget()) for engine in (exploration, compiled)
    )
    return plain, fast


def test_more_open_operations_than_a_word_has_bits() -> None:
    """150 writes, all open at once, then reads of the first and the last: three words of slots, the same answer."""
    rows: list[tuple[Any, ...]] = [("write", value, value, 1_000 + value) for value in range(150)]
    rows += [("read", 149, 2_000, 2_001), ("read", 149, 2_002, 2_003)]
    plain, fast = both(history_of(*rows), Register())
    assert fast == plain
    assert fast.linearizable is True
    assert both(history_of(*rows, ("read", 3, 2_004, 2_005)), Register())[1].linearizable is False


def test_more_kinds_of_unknown_operations_than_a_word_counts() -> None:
    """Of 100 unknown compare-and-sets a chain of 30 must have happened, in order: several words of counts."""
    rows: list[tuple[Any, ...]] = [("write", 0, 0, 1)]
    rows += [("cas", [value, value + 1], 2 + value, None) for value in range(100)]
    rows += [("read", 30, 500, 501), ("read", 60, 502, 503)]
    plain, fast = both(history_of(*rows), Register())
    assert fast == plain
    assert fast.linearizable is True
    assert len(fast.order) == 63
    assert both(history_of(*rows, ("read", 10, 504, 505)), Register())[1].linearizable is False


def test_memory_that_grows_loses_nothing() -> None:
    """More search states than the first tables hold: the plain search's answer, state for state."""
    history = register_at_its_limits()
    rows = np.arange(len(history))
    plain, fast = (
        engine.search(problem(history, rows, Register(), None), Budget(), prune=False)
        for engine in (exploration, compiled)
    )
    assert fast == replace(plain, states=fast.states)
    assert set(fast.states) == set(plain.states)
    assert fast.explored > compiled.ROWS_FIRST


def test_a_model_whose_every_state_is_new_is_searched_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled search gives way, and the answer is the same."""
    monkeypatch.setattr(compiled, "UNSUITED_ANSWERS", 20)
    thing = KeyValue()
    initial = thing.state
    history = History.of(simulate(thing, random.Random(1), operations=200, concurrency=10).events)
    model = MODELS["kv"](null_read="value")
    assert compiled._Search(problem(history, np.arange(200), model, initial), Budget(), None, True, bool).run() is None
    plain, fast = both(history, model, initial=initial)
    assert fast == plain


def exploding(writers: int = 16) -> History:
    """Sets of elements added at once, each read back only in part: every subset is a state, every order leads there."""
    events: list[dict[str, Any]] = []
    for turn in range(3):
        for number in range(writers):
            value = turn * writers + number
            events.append({"process": value, "f": "add", "type": "invoke", "value": value})
        for number in range(writers):
            value = turn * writers + number
            events.append({"process": value, "f": "add", "type": "ok", "value": value})
    events.append({"process": 999, "f": "contains", "type": "invoke", "value": 1_000})
    events.append({"process": 999, "f": "contains", "type": "ok", "value": True})
    return History.of([{**event, "time": time} for time, event in enumerate(events)])


@pytest.mark.parametrize("engine", [exploration, compiled])
def test_the_budget_of_memory_holds(engine: Any) -> None:
    """A history made to explode ends at the bytes allowed, with the reason and what was satisfied until then."""
    history = exploding()
    model = MODELS["set"](null_read="value")
    found = engine.search(problem(history, np.arange(len(history)), model, None), Budget(bytes=4_000_000))
    assert found.linearizable is None
    assert found.reason == "4 MB were not enough"
    assert found.reached > 0
    replay(history, found.order, model, None)


def test_compiled_memory_is_what_was_counted() -> None:
    """The arrays of a search that ran into its budget are no larger than it."""
    history = register_at_its_limits()
    search = compiled._Search(
        problem(history, np.arange(len(history)), Register(), None), Budget(bytes=1_400_000), None, False, bool
    )
    found = search.run()
    assert found is not None
    assert found.reason == "1 MB were not enough"
    held = search.rows.nbytes + search.chain.nbytes + search.heads.nbytes + search.keys.nbytes + search.values.nbytes
    assert 600_000 < held <= 1_400_000


def register_at_its_limits() -> History:
    """Many writes of few values at once, again and again, and unknown ones: hard without pruning."""
    rows: list[tuple[Any, ...]] = []
    for turn in range(6):
        start = 1_000 * turn
        rows += [("cas", [number % 5, (number * 2 + 1) % 5], start + number, None) for number in range(6)]
        rows += [("write", number % 5, start + 100 + number, start + 500 + number) for number in range(14)]
    rows += [("read", 77, 10_000, 10_001)]
    return history_of(*rows)


def test_open_operations_count_as_memory() -> None:
    """A thousand operations all open at once need half a million entries; where they don't fit, that is said."""
    history = history_of(*[("write", number % 2, number, 2_000 + number) for number in range(1_000)])
    found = both(history, Register(), Budget(bytes=1_000_000))[1]
    assert found.linearizable is None
    assert "for what is open at each return" in str(found.reason)


def test_a_cancelled_search_ends() -> None:
    """At its next look, with the reason."""
    history = register_at_its_limits()
    for engine in (exploration, compiled):
        prepared = problem(history, np.arange(len(history)), Register(), None)
        found = engine.search(prepared, Budget(), prune=False, cancelled=lambda: True)
        assert found.linearizable is None
        assert found.reason == "another key was refused meanwhile"


def test_the_budget_of_seconds_holds_in_compiled_loops() -> None:
    """With a clock that jumps, the search ends at its next look at it."""
    ticks = iter(range(0, 1_000_000, 10))
    budget = Budget(seconds=5, clock=lambda: float(next(ticks)))
    history = register_at_its_limits()
    prepared = problem(history, np.arange(len(history)), Register(), None)
    found = compiled.search(prepared, budget, budget.deadline(), prune=False)
    assert found.reason == "5 s were not enough"
    assert found.explored <= compiled.STEPS
