"""Counters: the decider against the dumb twin, and the sentence of each kind of refusal."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, HistoryError, Validity, check
from checkers.deciders.counter import UNEQUAL, CounterDecider
from checkers.models.counter import Counter
from tests.checkers import things
from tests.checkers.comparison import Kind, compare, compare_many


class Steps(things.Counter):
    """add and increment in equal steps (or 0), and read."""

    def __init__(self, random_: random.Random) -> None:
        super().__init__()
        self.step = random_.choice((1, 1, 1, 1, 5, -1))
        self.increments = random_.choice((0.0, 0.3))

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        if random_.random() < 0.45:
            return "read", None
        f = "increment" if random_.random() < self.increments else "add"
        return f, 0 if random_.random() < 0.05 else self.step

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "read":
            return self.state
        self.state += value
        return value if f == "add" else self.state


def another_result(random_: random.Random, f: str, values: Sequence[Any]) -> Any:
    if f == "add":
        return None
    known = [value for value in values if isinstance(value, int)] or [0]
    return max(-3, min(12, random_.choice(known) + random_.choice((-1, -1, 0, 1, 1, 5))))


KIND = Kind(
    decider=CounterDecider(),
    model=Counter,
    thing=Steps,
    results=another_result,
    arguments=lambda random_, f, _: None if f == "read" else random_.choice((1, 1, 1, 5, -1, 0)),
    renamed={"add": "increment", "increment": "add"},
)

KINDS = {"count too low", "count too high", "count went back", "count told twice", "count between steps"}


def test_agrees_with_brute_force() -> None:
    """Small histories with info, fail, ties and keys: both verdicts frequent, every kind of refusal seen."""
    seen = compare_many(KIND, range(150), 20)
    assert seen[True] > 1_000
    assert seen[False] > 600
    assert seen["order"] > 800
    assert set(seen) >= KINDS
    assert seen[UNEQUAL] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_agrees_with_brute_force_on_many() -> None:
    """On 100,000."""
    assert compare_many(KIND, range(1_000_000, 1_005_000), 20)[False] > 20_000


@settings(max_examples=100)
@given(seed=st.integers(0, 2**63))
def test_agrees_with_brute_force_anywhere(seed: int) -> None:
    """Seeds that nobody chose."""
    compare(KIND, seed, 1)


def ops(*rows: tuple[Any, ...]) -> History:
    """Rows (f, argument, result, call, return or None), each a process of its own."""
    events: list[dict[str, Any]] = []
    for process, (f, value, result, call, return_) in enumerate(rows):
        base = {"process": process, "f": f}
        events.append({**base, "time": call, "type": "invoke", "value": value})
        if return_ is not None:
            events.append({**base, "time": return_, "type": "ok", "value": result})
    return History.of(sorted(events, key=lambda item: int(item["time"])))


def refused(*rows: tuple[Any, ...], initial: Any = None) -> tuple[str, str]:
    decision = CounterDecider().decide(ops(*rows), initial=initial, null_read="value")
    (finding,) = decision.findings
    return finding.kind, finding.message


def test_a_count_too_low_says_what_had_been_added() -> None:
    """The reads around, and the adds between."""
    rows = [("add", 1, 1, 1, 2), ("read", None, 1, 3, 4), ("add", 1, 1, 5, 6), ("add", 1, 1, 5, 7)]
    kind, message = refused(*rows, ("read", None, 2, 8, 9))
    assert kind == "count too low"
    assert "the counter had 1 when the read of 1 by process 1" in message
    assert "which makes 3 at least; but the read found 2" in message


def test_a_count_too_high_says_what_could_have_been_added() -> None:
    """An info add counts as possible, another is not there."""
    kind, message = refused(("add", 1, None, 1, None), ("read", None, 2, 3, 4))
    assert kind == "count too high"
    assert "only 1 attempt to move it" in message


def test_counters_go_down_in_equal_steps_too() -> None:
    """Then what is too low is too high."""
    assert refused(("add", -3, None, 1, 2), ("read", None, 0, 3, 4))[0] == "count too high"
    assert refused(("add", -3, None, 1, 2), ("read", None, -2, 3, 4))[0] == "count between steps"


def test_increments_return_each_value_once() -> None:
    """Two that saw the same value are named both."""
    kind, message = refused(("increment", 1, 1, 1, 9), ("increment", 1, 1, 2, 8))
    assert (kind, "Two increments of the counter returned 1" in message) == ("count told twice", True)


def test_unequal_steps_are_left_to_the_search() -> None:
    """Which still decides them."""
    history = ops(("add", 2, None, 1, 2), ("add", 3, None, 1, 3), ("read", None, 5, 4, 5))
    result = check(history, model="counter")
    assert result.validity is Validity.VALID
    assert result.statistics["searched_because"] == {UNEQUAL: 1}


def test_values_that_are_no_numbers_are_errors() -> None:
    """In arguments and in results; an enormous number is only wrong."""
    for row in (("add", "x", None, 1, 2), ("read", None, True, 1, 2), ("increment", 1, 1.5, 1, 2)):
        with pytest.raises(HistoryError, match="A counter has whole numbers"):
            check(ops(row), model="counter")
    for value in (2**80, -(2**63)):
        assert check(ops(("read", None, value, 1, 2)), model="counter").validity is Validity.INVALID
