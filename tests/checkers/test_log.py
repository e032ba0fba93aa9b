"""Logs: the decider against the dumb twin, and the sentence of each kind of refusal."""

from __future__ import annotations

import collections
import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, HistoryError, Validity, check
from checkers.deciders.log.decider import DUPLICATE, LogDecider
from checkers.models.log import Log
from tests.checkers import things
from tests.checkers.comparison import Kind, compare, compare_many


class Appends(things.Log):
    """append that tells its offset sometimes, always or never, and read."""

    def __init__(self, random_: random.Random, start: Sequence[int] = ()) -> None:
        super().__init__()
        self.random = random_
        self.told = random_.choice((0.0, 0.5, 1.0))
        self.reads = random_.choice((0.1, 0.4))
        self.state = list(start)

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return ("read", None) if random_.random() < self.reads else ("append", self.fresh())

    def apply(self, process: int, f: str, value: Any) -> Any:
        result = super().apply(process, f, value)
        return None if f == "append" and self.random.random() >= self.told else result


def another_result(random_: random.Random, f: str, values: Sequence[Any]) -> Any:
    if f == "append":
        return random_.choice((0, 1, 2, 3, 4))
    lists = [list(value) for value in values if isinstance(value, list)] or [[]]
    seen = random_.choice(lists)
    others = [value for value in values if type(value) is int] or [9]
    way = random_.randrange(4)
    if way == 0 and seen:
        return seen[: random_.randrange(len(seen))]
    if way == 1:
        return [*seen, random_.choice(others)]
    if way == 2:
        return random_.sample(seen, len(seen))
    return seen


KIND = Kind(
    decider=LogDecider(),
    model=Log,
    thing=Appends,
    results=another_result,
    arguments=lambda random_, f, values: None if f == "read" else random_.choice([*filter(None, values), 99]),
)

STARTED = dataclasses.replace(KIND, thing=lambda random_: Appends(random_, (-1, -2)), initial=[-1, -2])

KINDS = {
    *("phantom element", "duplicate element", "lost element", "wrong offset", "reads disagree on the order"),
    *("offset too high", "offset too low", "offset told twice", "appended out of order", "seen before it was appended"),
}


def test_agrees_with_brute_force() -> None:
    """Small histories with info, fail, ties and keys: both verdicts frequent, every kind of refusal seen."""
    seen = collections.Counter[Any]()
    for kind in (KIND, STARTED):
        seen += compare_many(kind, range(75), 20)
    assert seen[True] > 1_200
    assert seen[False] > 700
    assert seen["order"] > 1_200
    assert set(seen) >= KINDS
    assert seen[DUPLICATE] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [KIND, STARTED])
def test_agrees_with_brute_force_on_many(kind: Kind) -> None:
    """On 100,000 of each sort."""
    assert compare_many(kind, range(1_000_000, 1_005_000), 20)[False] > 20_000


@settings(max_examples=100)
@given(seed=st.integers(0, 2**63))
def test_agrees_with_brute_force_anywhere(seed: int) -> None:
    """Seeds that nobody chose."""
    compare(KIND, seed, 1)


def ops(*rows: tuple[Any, ...]) -> History:
    """Rows (f, argument, result, call, return), each a process of its own."""
    events: list[dict[str, Any]] = []
    for process, (f, value, result, call, return_) in enumerate(rows):
        base = {"process": process, "f": f}
        events.append({**base, "time": call, "type": "invoke", "value": value})
        events.append({**base, "time": return_, "type": "ok", "value": result})
    return History.of(sorted(events, key=lambda item: int(item["time"])))


def test_a_lost_element_names_the_append_and_the_read() -> None:
    """And what had returned before what began."""
    result = check(ops(("append", 7, None, 1, 2), ("append", 8, None, 1, 3), ("read", None, [8], 4, 5)), model="log")
    (finding,) = result.findings
    assert finding.kind == "lost element"
    assert "lacks 7; but the append of 7 by process 0 had returned" in finding.message
    assert [item.index for item in finding.operations] == [0, 2]


def test_texts_that_begin_alike_are_no_prefixes() -> None:
    """1 is no prefix of 12, and true is not 1."""
    for shorter, longer in (([1], [12]), ([1], [True, 2])):
        rows = [("append", value, None, 1, 2) for value in (1, 12, True, 2)]
        history = ops(*rows, ("read", None, shorter, 3, 4), ("read", None, longer, 3, 5))
        assert check(history, model="log").validity is Validity.INVALID


def test_a_result_that_is_no_offset_is_an_error() -> None:
    """With the line, the value and what to do."""
    for result in ("x", -1, True):
        with pytest.raises(HistoryError, match="append returned"):
            check(ops(("append", 7, result, 1, 2)), model="log")
