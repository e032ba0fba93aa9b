"""Sets: the decider against the dumb twin, and the sentence of each kind of refusal."""

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
from checkers.deciders.sets.decider import ADDED_AGAIN, READS_AND_REMOVES, SetDecider
from checkers.deciders.sets.explanation import DISORDER, EARLY, LOST, PHANTOM
from checkers.models.set_ import Set
from tests.checkers import things
from tests.checkers.comparison import Kind, compare, compare_many


class Values(things.Set):
    """add, remove and contains of few values; perhaps reads, perhaps no removes."""

    def __init__(self, random_: random.Random, start: Sequence[int] = ()) -> None:
        super().__init__()
        self.state = set(start)
        self.most = random_.choice((1, 2, 3))
        removes, reads = random_.choice(((1, 0), (2, 0), (0, 2), (0, 4), (0, 0), (1, 1)))
        self.weights = (2, removes, random_.choice((0, 2, 4)), reads)
        self.once = random_.random() < 0.8

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        f = random_.choices(("add", "remove", "contains", "read"), self.weights)[0]
        value = random_.randint(1, self.most)
        if f == "read":
            return f, None
        if f == "add" and self.once:
            value = self.most + 1 if value in self.added else value
            self.most = max(self.most, value)
            self.added.append(value)
        return f, value

    def apply(self, process: int, f: str, value: Any) -> Any:
        return (
            random.Random(len(self.added)).sample(sorted(self.state), len(self.state))
            if f == "read"
            else super().apply(process, f, value)
        )


class Switch(things.Set):
    """One value, added once, removed a few times, and looked for often."""

    def __init__(self, random_: random.Random) -> None:
        super().__init__()
        self.left = ["add", *["remove"] * random_.choice((1, 1, 2, 3)), *["contains"] * 8]
        random_.shuffle(self.left)

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return self.left.pop(), 1


class Grown(things.GrowOnlySet):
    """add of few values, reads and contains."""

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        f = random_.choice(("add", "read", "read", "contains"))
        return f, None if f == "read" else random_.randint(1, 4)

    def apply(self, process: int, f: str, value: Any) -> Any:
        if f == "contains":
            return value in self.state
        return value if f == "add" and value in self.state else super().apply(process, f, value)


def another_result(random_: random.Random, f: str, values: Sequence[Any]) -> Any:
    if f == "contains":
        return random_.random() < 0.5
    if f != "read":
        return 0
    lists = [list(value) for value in values if isinstance(value, list)] or [[]]
    seen = random_.choice(lists)
    others = [value for value in values if type(value) is int] or [9]
    way = random_.randrange(5)
    if way == 0 and seen:
        return random_.sample(seen, len(seen) - 1)
    return [*seen, random_.choice(others)] if way == 1 else seen


def another_value(random_: random.Random, f: str, values: Sequence[Any]) -> Any:
    return None if f == "read" else random_.choice([value for value in values if type(value) is int] or [1])


KIND = Kind(
    decider=SetDecider(),
    model=Set,
    thing=Values,
    results=another_result,
    arguments=another_value,
    renamed={"add": "contains", "contains": "remove", "remove": "add"},
    changes=9,
)

KINDS = (LOST, PHANTOM, EARLY, DISORDER, "duplicate element", "removed element seen")

STARTED = dataclasses.replace(KIND, thing=lambda random_: Values(random_, (1, -7)), initial=[1, -7])

SWITCH = dataclasses.replace(KIND, thing=Switch, renamed={}, changes=6)

GROWN = dataclasses.replace(KIND, thing=lambda _: Grown(), renamed={"add": "contains", "contains": "add"}, changes=6)


def test_agrees_with_brute_force() -> None:
    """Small histories with info, fail, ties and keys: both verdicts frequent, every kind of refusal seen."""
    seen = collections.Counter[Any]()
    for kind in (KIND, STARTED, SWITCH, GROWN):
        seen += compare_many(kind, range(60), 20)
    assert seen[True] > 2_000
    assert seen[False] > 900
    assert seen["order"] > 2_000
    assert set(KINDS) <= set(seen)
    assert seen[ADDED_AGAIN] > 0
    assert seen[READS_AND_REMOVES] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [KIND, STARTED, SWITCH, GROWN])
def test_agrees_with_brute_force_on_many(kind: Kind) -> None:
    """On 100,000 of each sort."""
    assert compare_many(kind, range(1_000_000, 1_005_000), 20)[False] > 18_000


@settings(max_examples=100)
@given(seed=st.integers(0, 2**63), kind=st.sampled_from((KIND, STARTED, SWITCH, GROWN)))
def test_agrees_with_brute_force_anywhere(seed: int, kind: Kind) -> None:
    """Seeds that nobody chose."""
    compare(kind, seed, 1)


def ops(*rows: tuple[Any, ...]) -> History:
    """Rows (f, argument, result, call, return), each a process of its own."""
    events: list[dict[str, Any]] = []
    for process, (f, value, result, call, return_) in enumerate(rows):
        base = {"process": process, "f": f}
        events.append({**base, "time": call, "type": "invoke", "value": value})
        events.append({**base, "time": return_, "type": "ok", "value": result})
    return History.of(sorted(events, key=lambda item: int(item["time"])))


def test_a_lost_element_names_the_add_and_the_read() -> None:
    """And what had returned before what began."""
    (finding,) = check(ops(("add", 7, None, 1, 2), ("read", None, [], 3, 4)), model="set").findings
    assert finding.kind == LOST
    assert "lacks 7; but the add of it by process 0 had returned" in finding.message
    assert finding.evidence["before"] == [[0, 1]]


def test_a_removed_element_that_is_seen_names_all_that_happened_to_it() -> None:
    """Add, remove, and the contains that found it afterwards."""
    history = ops(("add", 7, None, 1, 2), ("remove", 7, None, 3, 4), ("contains", 7, True, 5, 6))
    (finding,) = check(history, model="set").findings
    assert finding.kind == "removed element seen"
    assert [item.index for item in finding.operations] == [0, 1, 2]


def test_large_reads_of_shuffled_numbers() -> None:
    """Elements are found by a table, by bisection, and by name, all with one result."""
    random_ = random.Random(1)
    for spread in (1, 1_000_003, 2**64):
        values = [spread * number for number in range(200)]
        adds = [("add", value, None, 1 + 2 * number, 2 + 2 * number) for number, value in enumerate(values)]
        reads = [("read", None, random_.sample(values, 200), 500 + 2 * at, 501 + 2 * at) for at in range(3)]
        assert check(ops(*adds, *reads), model="set").validity is Validity.VALID
        lacking = ("read", None, random_.sample(values, 199), 600, 601)
        assert check(ops(*adds, *reads, lacking), model="set").validity is Validity.INVALID
        strange = ("read", None, [*values[1:], -5], 600, 601)
        assert check(ops(*adds, strange), model="set").findings[0].kind in (PHANTOM, LOST)


def test_results_that_are_none_are_errors() -> None:
    """With the line, the value and what to do."""
    for row in (("contains", 7, "x", 1, 2), ("contains", 7, None, 1, 2), ("read", None, 3, 1, 2)):
        with pytest.raises(HistoryError, match="returned"):
            check(ops(row), model="set")


def test_keys_are_read_in_any_order() -> None:
    """A key that comes second and is read first does not make the other one impossible."""

    def done(process: int, key: str, f: str, value: object, result: object, time: int) -> list[dict[str, object]]:
        base = {"process": process, "key": key, "f": f}
        end = {**base, "type": "ok", "time": time + 1, "value": result}
        return [{**base, "type": "invoke", "time": time, "value": value}, end]

    events = [
        *done(0, "a", "add", 1, 1, 0),
        *done(0, "b", "add", 1, 1, 2),
        *done(0, "b", "read", None, [1], 4),
        *done(0, "a", "read", None, [1], 6),
    ]
    assert check(History.of(events), model="set").validity is Validity.VALID
