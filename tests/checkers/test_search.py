"""The general search against the dumb twin, its budgets, and the small proofs that refusals are shrunk to."""

from __future__ import annotations

import collections
import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import Budget, History
from checkers.models import MODELS
from checkers.models.key_value import KeyValue
from checkers.models.model import Model
from checkers.models.multi_register import MultiRegister
from checkers.models.mutex import Mutex
from checkers.models.register import Register
from checkers.search import twin
from checkers.search.exploration import search
from checkers.search.problem import problem
from checkers.search.shrinking import shrink
from tests.checkers.histories import Event, intervals, register_history

Seen = collections.Counter[Any]


def any_history(
    random_: random.Random, model: Model, initial: Any, call: Callable[[random.Random], tuple[str, Any]]
) -> list[Event]:
    """Calls that took effect at random moments of a model, some results spoiled, some outcomes unknown."""
    schedule = intervals(random_, random_.randint(2, 7), random_.randint(1, 4))
    state, calls, pending = model.start(initial), dict[int, tuple[str, Any]](), dict[int, tuple[str, Any]]()
    results: dict[int, Any] = {}
    events: list[Event] = []
    for time, (kind, process, number) in enumerate(schedule):
        if kind == "invoke":
            calls[number] = pending[number] = call(random_)
        for other in random_.sample(sorted(pending), len(pending)):
            if (kind == "complete" and other == number) or random_.random() < 0.3:
                state, results[other] = take_effect(model, state, *pending.pop(other))
        f, value = calls[number]
        base = {"time": time, "process": process + 10 * number, "f": f}
        if kind == "invoke":
            events.append({**base, "type": "invoke", "value": value})
        elif random_.random() < 0.85:
            refused = results[number] == "refused" and random_.random() < 0.8
            type_ = "fail" if refused else "ok" if random_.random() < 0.9 else "info"
            events.append({**base, "type": type_, "value": spoiled(random_, f, value, results, number)})
    return events


def spoiled(random_: random.Random, f: str, value: Any, results: Mapping[int, Any], number: int) -> Any:
    """What an operation returned, or now and then something else of the same shape."""
    lies = random_.random() < 0.15
    if f == "get":
        return random_.choice(["", "a", "b", "ab", "ba"]) if lies else results[number]
    if f == "txn":
        return [
            [kind, name, random_.randrange(3) if kind == "r" and lies else result]
            for kind, name, result in results[number]
        ]
    return value


def take_effect(model: Model, state: Any, f: str, value: Any) -> tuple[Any, Any]:
    if f == "get":
        return state, state
    if f == "txn":
        registers = dict(state)
        result = []
        for kind, name, new in value:
            if kind == "w":
                registers[name] = new
            result.append([kind, name, registers.get(name)])
        return model.start(registers), result
    after = model.step(state, twin.Call(f, tuple(value) if isinstance(value, list) else value, value, True))
    return (after, value) if not isinstance(after, type(twin.REFUSED)) else (state, "refused")


def kv_call(random_: random.Random) -> tuple[str, Any]:
    f = random_.choice(("get", "get", "put", "append", "append", "delete"))
    return f, random_.choice("ab") if f in ("put", "append") else None


def txn_call(random_: random.Random) -> tuple[str, Any]:
    steps = [
        [kind, random_.choice("xy"), random_.randrange(3) if kind == "w" else None]
        for kind in random_.choices("rw", k=random_.randint(1, 3))
    ]
    return "txn", steps


def mutex_call(random_: random.Random) -> tuple[str, Any]:
    return random_.choice(("acquire", "release")), None


CASES: Mapping[str, tuple[Callable[..., Model], Any, Callable[[random.Random], tuple[str, Any]]]] = {
    "kv": (KeyValue, "", kv_call),
    "multi-register": (MultiRegister, {"x": 0}, txn_call),
    "mutex": (Mutex, None, mutex_call),
}


def compare(history: History, model: Model, initial: Any, seen: Seen) -> None:
    """The search's verdict on every key, its order, and its proof, against the twin."""
    for code in range(len(history.keys)):
        rows = np.flatnonzero(history.key == code)
        operations = [history.operation(int(row)) for row in rows]
        possible = twin.linearizable(operations, model.step, model.start(initial))
        found = search(problem(history, rows, model, initial), Budget())
        assert found.linearizable is possible, operations
        seen[possible] += 1
        replay(history, found.order, model, initial)
        if not possible:
            check_core(history, rows, found.stuck, model, initial)


def replay(history: History, order: tuple[int, ...], model: Model, initial: Any) -> None:
    """An order that is claimed to be legal is legal, step by step, and keeps to real time."""
    state = model.start(initial)
    latest_call = -1
    for row in order:
        state = model.step(state, twin.call_of(history.operation(row)))
        assert not isinstance(state, type(twin.REFUSED))
        assert history.return_[row] > latest_call
        latest_call = max(latest_call, int(history.call[row]))


def check_core(history: History, rows: Any, stuck: int | None, model: Model, initial: Any) -> None:
    """What a refusal is shrunk to is impossible, whichever of the others happened."""
    assert stuck is not None
    core = shrink(history, rows, stuck, model, initial)
    operations = [history.operation(int(row)) for row in rows]
    others = set(rows.tolist()) - set(core.certain.tolist())
    assert not twin.linearizable(operations, model.step, model.start(initial), others), operations


def compare_registers(seeds: range) -> Seen:
    seen: Seen = collections.Counter()
    for seed in seeds:
        random_ = random.Random(seed)
        initial, null_read = random_.choice((None, 0)), random_.choice(("value", "value", "unknown"))
        unique, cas = random_.random() < 0.4, random_.random() < 0.8
        history = History.of(register_history(random_, unique=unique, cas=cas, initial=initial))
        compare(history, Register(null_read=null_read), initial, seen)
    return seen


def compare_model(name: str, seeds: range) -> Seen:
    seen: Seen = collections.Counter()
    make, initial, call = CASES[name]
    for seed in seeds:
        model = make(null_read="value")
        compare(History.of(any_history(random.Random(seed), model, initial, call)), model, initial, seen)
    return seen


def test_registers_agree_with_brute_force() -> None:
    """On 8,000 histories, most with repeated values; both verdicts frequent."""
    seen = compare_registers(range(8_000))
    assert min(seen[True], seen[False]) > 1_500


@pytest.mark.parametrize("name", CASES)
def test_models_agree_with_brute_force(name: str) -> None:
    """On 2,500 histories of each; both verdicts frequent."""
    seen = compare_model(name, range(2_500))
    assert min(seen[True], seen[False]) > 200


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_models_agree_with_brute_force_on_many(name: str) -> None:
    """On 60,000 of each."""
    compare_model(name, range(1_000_000, 1_060_000))


@pytest.mark.slow
def test_registers_agree_with_brute_force_on_many() -> None:
    """On 200,000."""
    compare_registers(range(1_000_000, 1_200_000))


@settings(max_examples=150)
@given(seed=st.integers(0, 2**63), name=st.sampled_from([*CASES]))
def test_models_agree_with_brute_force_anywhere(seed: int, name: str) -> None:
    """Seeds that nobody chose."""
    compare_model(name, range(seed, seed + 1))
    compare_registers(range(seed, seed + 1))


def history_of(*rows: tuple[Any, ...]) -> History:
    """Rows (f, value, call, return or None), each its own process; for a read the value is what it returned."""
    events: list[dict[str, Any]] = []
    for process, (f, value, call, return_) in enumerate(rows):
        base = {"process": process, "f": f}
        events.append({**base, "time": call, "type": "invoke", "value": None if f == "read" else value})
        if return_ is not None:
            events.append({**base, "time": return_, "type": "ok", "value": value})
    return History.of(sorted(events, key=lambda item: int(item["time"])))


def verdict(history: History, initial: Any = None, budget: Budget | None = None) -> bool | None:
    every = np.arange(len(history))
    return search(problem(history, every, Register(), initial), budget or Budget()).linearizable


def test_a_write_that_finds_its_own_value_is_not_taken_at_once() -> None:
    """w3, w3 pending, w5, r5, r3: taking the pending write as soon as it is legal would be a false alarm."""
    rows = [("write", 3, 0, 1), ("write", 3, 2, 9), ("write", 5, 3, 4), ("read", 5, 5, 6), ("read", 3, 7, 8)]
    assert verdict(history_of(*rows)) is True


def test_an_info_operation_is_not_taken_at_once() -> None:
    """info cas 1 -> 2 while the register holds 3, then w1, r2: taking it as a failed one at once would be a false
    alarm.
    """
    rows = [("write", 3, 0, 1), ("cas", (1, 2), 2, None), ("write", 1, 3, 4), ("read", 2, 5, 6)]
    assert verdict(history_of(*rows)) is True


def test_equal_info_operations_are_counted() -> None:
    """Two infos of one value explain two returns of it, not three."""
    rows = [("write", 7, 0, None), ("write", 7, 1, None)]
    for turn in range(2):
        rows += [("write", 1 + turn, 10 + 10 * turn, 11 + 10 * turn), ("read", 7, 12 + 10 * turn, 13 + 10 * turn)]
    assert verdict(history_of(*rows)) is True
    assert verdict(history_of(*rows, ("write", 9, 40, 41), ("read", 7, 42, 43))) is False


def explosive(writers: int) -> History:
    """Concurrent writes of values that are all read later by nobody in any order that works: every order must
    be tried.
    """
    rows: list[tuple[Any, ...]] = [("write", value, value, 100 + value) for value in range(writers)]
    rows += [("read", value, 50 + value, 200 + value) for value in range(writers)]
    rows += [("read", 0, 300, 301), ("read", 1, 302, 303), ("read", 0, 304, 305)]
    return history_of(*rows)


def test_the_budget_of_states_holds() -> None:
    """Unknown at the budget, with the reason and what was satisfied until then; never a wrong verdict."""
    history = explosive(12)
    found = search(problem(history, np.arange(len(history)), Register(), None), Budget(states=2_000))
    assert found.linearizable is None
    assert found.explored <= 2_001
    assert found.reason == "2000 search states were not enough"
    assert found.reached > 0
    replay(history, found.order, Register(), None)


def test_the_budget_of_seconds_holds() -> None:
    """With a clock that jumps, the search ends at its next look at it."""
    ticks = iter(range(0, 10_000, 10))
    budget = Budget(seconds=15, clock=lambda: float(next(ticks)))
    history = explosive(12)
    found = search(problem(history, np.arange(len(history)), Register(), None), budget, budget.deadline())
    assert found.linearizable is None
    assert found.explored <= 3 * 1024
    assert found.reason == "15 s were not enough"


def test_seconds_need_a_clock() -> None:
    """The checkers read no clock of their own."""
    with pytest.raises(ValueError, match="needs a clock"):
        Budget(seconds=1).deadline()


def test_memory_does_not_grow_with_the_length() -> None:
    """A search state is as small in the 15,000th operation as in the first: slots, not positions."""
    rows: list[tuple[Any, ...]] = []
    for turn in range(5_000):
        start = 10 * turn
        rows += [("write", turn % 3, start, start + 5), ("write", 5, start + 1, start + 6)]
        rows += [("read", turn % 3 if turn % 2 else 5, start + 7, start + 8)]
    prepared = problem(history_of(*rows), np.arange(len(rows)), Register(), None)
    assert max(prepared.slot) <= 2
    assert search(prepared, Budget()).linearizable is True


def test_a_refusal_is_shrunk_to_what_matters() -> None:
    """Of 300 operations, the stale read and the two writes stay."""
    rows: list[tuple[Any, ...]] = []
    for turn in range(100):
        start = 10 * turn
        rows += [("write", turn % 5, start, start + 1), ("read", turn % 5, start + 2, start + 3)]
    rows += [("write", 8, 2000, 2001), ("write", 9, 2002, 2003), ("read", 8, 2004, 2005)]
    rows += [("read", 9, 2006, 2007)] * 3
    history = history_of(*rows)
    every = np.arange(len(rows))
    found = search(problem(history, every, Register(), None), Budget())
    assert found.linearizable is False
    core = shrink(history, every, found.stuck or 0, Register(), None)
    assert [history.operation(int(row)).value or history.operation(int(row)).result for row in core.rows] == [8, 9, 8]


def test_every_model_is_made_the_same_way() -> None:
    """The table's entries take null_read and can be asked for their start."""
    for make in MODELS.values():
        assert make(null_read="unknown").start(None) is not NotImplemented


@pytest.mark.parametrize(
    ("model", "initial", "events", "words"),
    [
        (Mutex(), "broken", [], "use 'unlocked' or 'locked'"),
        (KeyValue(), None, [("append", 5)], "the values of a kv history are texts"),
        (MultiRegister(), None, [("txn", [["x", "a", 1]])], '["r", name, value]'),
    ],
)
def test_what_a_model_does_not_know_is_refused(model: Model, initial: Any, events: Any, words: str) -> None:
    """With the value and how to write it."""
    history = history_of(*[(f, value, 0, 1) for f, value in events])
    with pytest.raises(ValueError, match=r".") as caught:
        problem(history, np.arange(len(history)), model, initial)
    assert words in str(caught.value)
