"""Witnesses: an order for every acceptance, and a replay that refuses whatever is none."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import Budget, History, HistoryError, check, linearizability, witness
from checkers.models import MODELS
from checkers.models.register import Register
from checkers.replay import ReplayError, replay
from harness.cli import cli
from tests.checkers import things
from tests.checkers.histories import register_history
from tests.checkers.model_histories import CASES, history
from tests.checkers.simulated import Thing, simulate
from tests.checkers.test_search import explosive, history_of

THINGS: Mapping[str, Callable[[], Thing]] = {
    "register": things.PlainRegister,
    "cas-register": things.Register,
    "kv": things.KeyValue,
    "mutex": things.Mutex,
    "owned-mutex": things.Mutex,
    "fenced-lock": things.FencedLock,
    "list-append": things.ListAppend,
    "set": things.Set,
    "counter": things.Counter,
    "log": things.Log,
    "fifo-queue": things.FifoQueue,
    "stack": things.Stack,
    "priority-queue": things.PriorityQueue,
}


def of(thing: Thing, operations: int, *, info: float = 0.02, keys: int = 1, seed: int = 1) -> History:
    """A correct history, with ties and unknown outcomes."""
    key = None if keys == 1 else lambda random_: random_.randrange(keys)
    made = simulate(thing, random.Random(seed), operations=operations, concurrency=4, info=info, ties=0.1, key=key)
    return History.of(made.events)


@pytest.mark.parametrize("name", THINGS)
def test_correct_histories_have_a_witness(name: str) -> None:
    """400 operations of each data type; the witness was replayed, or the call had raised."""
    made = of(THINGS[name](), 400)
    found = witness(made, model=name)
    assert found is not None
    completed = int((made.outcome == 0).sum())
    assert completed <= sum(len(order) for order in found.orders.values()) <= len(made)


@pytest.mark.parametrize("null_read", ["value", "unknown"])
def test_registers_of_many_keys_have_a_witness(null_read: str) -> None:
    """All keys at once, without search; reads that say nothing are in the order, too."""
    rows = [("write", 1, 0, 5), ("read", None, 1, 9), ("read", 1, 6, 7), ("write", 2, 8, 12), ("read", 2, 13, 14)]
    made = history_of(*rows) if null_read == "unknown" else _many_keys()
    found = witness(made, null_read=null_read)
    assert found is not None
    assert sum(len(order) for order in found.orders.values()) >= int((made.outcome == 0).sum())


def _many_keys() -> History:
    events: list[dict[str, Any]] = []
    for key in range(30):
        made = simulate(things.Register(1 + 1000 * key), random.Random(key), operations=60, concurrency=5, info=0.05)
        events += [
            {**event, "key": f"k{key}", "process": event["process"] * 30 + key, "time": event["time"]}
            for event in made.events
        ]
    return History.of(sorted(events, key=lambda event: int(event["time"])))


def test_the_search_is_not_needed_for_registers() -> None:
    """A history on which the search would give up has a witness, since its values are unique."""
    made = of(things.PlainRegister(), 3_000, info=0.01)
    assert witness(made, model="register", budget=Budget(states=1)) is not None


@settings(max_examples=100)
@given(seed=st.integers(0, 2**63))
def test_registers_anywhere(seed: int) -> None:
    """A witness if and only if the check accepts, unique values or not, several keys, either meaning of null."""
    random_ = random.Random(seed)
    unique, null_read, keys = random_.random() < 0.7, random_.choice(("value", "unknown")), random_.choice((1, 1, 3))
    made = History.of(register_history(random_, unique=unique, initial=random_.choice((None, 0)), keys=keys))
    accepted = check(made, null_read=null_read).validity == "valid"
    assert (witness(made, null_read=null_read) is not None) == accepted


@settings(max_examples=150)
@given(seed=st.integers(0, 2**63), name=st.sampled_from(sorted(CASES)))
def test_models_anywhere(seed: int, name: str) -> None:
    """A witness if and only if the history is accepted by the search."""
    made, initial = History.of(history(name, random.Random(seed))), CASES[name].initial
    accepted = linearizability.check(made, model=name, initial=initial, search_only=True).validity == "valid"
    assert (witness(made, model=name, initial=initial) is not None) == accepted


def test_a_refused_history_has_none() -> None:
    """None; and None when the budget is not enough."""
    assert witness(history_of(("read", 5, 0, 1))) is None
    assert witness(history_of(("write", 1, 0, 1), ("write", 1, 2, 3), ("write", 2, 4, 5), ("read", 1, 6, 7))) is None
    twice = history_of(("write", 1, 0, 3), ("write", 1, 1, 4), ("read", 1, 5, 6))
    assert witness(twice, budget=Budget(states=0)) is None
    assert witness(twice) is not None
    assert witness(explosive(3)) is None


GOOD = (("write", 1, 0, 1), ("write", 2, 2, 5), ("read", 1, 3, 4), ("read", 2, 6, 7), ("write", 3, 8, None))


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ([0, 2, 1], r"operation 3 \(read by process 3\) is missing, though it completed"),
        ([0, 2, 1, 3, 3], "more than once"),
        ([0, 1, 2, 3], "found another value than the order left"),
        ([2, 0, 1, 3], "comes after an operation that began when it was over"),
        ([0, 2, 3, 1], "comes after an operation that began when it was over"),
        ([0, 2, 1, 3, 9], "what is no operation of the history"),
        ([0, 2, 1, 3, 4, 4], "more than once"),
    ],
)
def test_the_replay_refuses(order: list[int], problem: str) -> None:
    """Missing, doubled, late, illegal and unknown operations: whatever is no linearization."""
    made = history_of(*GOOD)
    replay(made, {0: np.array([0, 2, 1, 3])}, Register(), None)
    replay(made, {0: np.array([0, 2, 1, 3, 4])}, Register(), None)
    with pytest.raises(ReplayError, match=problem):
        replay(made, {0: np.array(order)}, Register(), None)


def test_the_replay_refuses_failed_operations_and_other_keys() -> None:
    """A failed operation has no place in an order, nor has one of another key."""
    base = {"process": 0, "f": "write", "value": 1}
    failed = History.of([{**base, "time": 0, "type": "invoke"}, {**base, "time": 1, "type": "fail"}])
    with pytest.raises(ReplayError, match="though it failed"):
        replay(failed, {0: np.array([0])}, Register(), None)
    events = [{**base, "time": time, "type": type_, "key": "a"} for time, type_ in ((0, "invoke"), (1, "ok"))]
    with pytest.raises(ReplayError, match="in the order of another key"):
        replay(History.of(events), {1: np.array([0])}, Register(), None)


def test_both_replays_of_registers_agree() -> None:
    """The one in columns and the one step by step refuse the same random orders."""
    refused = 0
    for seed in range(300):
        random_ = random.Random(seed)
        made = History.of(register_history(random_, unique=False, cas=True))
        order = [row for row in range(len(made)) if made.outcome[row] != 1]
        random_.shuffle(order)
        if random_.random() < 0.7:
            found = witness(made)
            order = order if found is None else [int(row) for part in found.orders.values() for row in part]
            if len(order) > 1 and random_.random() < 0.5:
                place = random_.randrange(len(order) - 1)
                order[place], order[place + 1] = order[place + 1], order[place]
        answers = [_accepted(made, order, model) for model in (Register(), _Stepped())]
        assert answers[0] == answers[1]
        refused += not answers[0]
    assert 50 < refused < 280


class _Stepped:
    """A register that is not recognized as one."""

    start, step, shown = Register().start, Register().step, Register().shown


def _accepted(made: History, order: list[int], model: Any) -> bool:
    try:
        replay(made, {0: np.array(order, dtype=np.int64)}, model, None)
    except ReplayError:
        return False
    return True


def test_what_has_no_orders_is_refused() -> None:
    """Checks that are no linearizability, unknown options and functions: with what there is."""
    with pytest.raises(ValueError, match="'bank' has no orders to show; use one of: register, "):
        witness(History.of([]), model="bank")
    with pytest.raises(ValueError, match="null_read is 'maybe'"):
        witness(History.of([]), null_read="maybe")
    with pytest.raises(HistoryError, match="the model cas-register has no function 'pop'"):
        witness(history_of(("pop", 1, 0, 1)))


@pytest.mark.parametrize("name", MODELS)
def test_an_empty_history_has_an_empty_witness(name: str) -> None:
    """Nothing to order."""
    found = witness(History.of([]), model=name)
    assert found is not None
    assert found.orders == {}


def test_the_command_line_writes_it(tmp_path: Path) -> None:
    """One line a key, with the numbers of its operations in an order; a refused history has none, and says so."""
    good, bad, out = tmp_path / "good.jsonl", tmp_path / "bad.jsonl", tmp_path / "witness.jsonl"
    _write(good, history_of(*GOOD[:4]))
    done = CliRunner().invoke(cli, ["check", str(good), "--witness", str(out)])
    assert done.exit_code == 0, done.output
    assert [json.loads(line) for line in out.read_text().splitlines()] == [{"key": None, "order": [0, 2, 1, 3]}]
    _write(bad, history_of(("write", 1, 0, 1), ("read", 7, 2, 3)))
    done = CliRunner().invoke(cli, ["check", str(bad), "--witness", str(out)])
    assert done.exit_code == 1


def _write(path: Path, made: History) -> None:
    events = []
    for item in made.operations:
        base = {"process": item.process, "f": item.f}
        events.append({**base, "time": item.call_ns, "type": "invoke", "value": item.value})
        events.append({**base, "time": item.return_ns, "type": "ok", "value": item.result})
    path.write_text("".join(f"{json.dumps(event)}\n" for event in sorted(events, key=lambda event: event["time"])))
