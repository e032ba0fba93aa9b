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
from tests.checkers.simulated import simulate


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
    assert KINDS <= set(seen)
    assert seen[UNEQUAL] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_agrees_with_brute_force_on_many() -> None:
    """On 100,000."""
    assert compare_many(KIND, range(1_000_000, 1_005_000), 20)[False] > 20_000


@settings(max_examples=100, deadline=None)
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
