"""Locks: the deciders against the dumb twin, and the sentence of each kind of refusal."""

from __future__ import annotations

import collections
import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, HistoryError
from checkers.deciders.locks.mutex import MutexDecider
from checkers.deciders.locks.sections import LARGE, WENT_ON, SectionsDecider
from checkers.models.mutex import FencedLock, Mutex, OwnedMutex
from checkers.search import twin
from tests.checkers import things
from tests.checkers.comparison import Kind, compare, compare_many
from tests.checkers.simulated import FAILED


class Anybodys(things.Mutex):
    """acquire and release by whoever; fails where it is not legal."""

    def __init__(self, random_: random.Random, held: bool = False) -> None:
        super().__init__()
        self.holder = -1 if held else None
        self.wrong = random_.choice((0.0, 0.2))

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        acquires = (self.holder is None) != (random_.random() < self.wrong + 0.2)
        return "acquire" if acquires else "release", None

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if (f == "acquire") == (self.holder is not None):
            return FAILED
        self.holder = process if f == "acquire" else None
        return None


MUTEX = Kind(
    decider=MutexDecider(),
    model=Mutex,
    thing=Anybodys,
    renamed={"acquire": "release", "release": "acquire"},
    changes=7,
    weights=(0, 2, 3, 2),
)

HELD = dataclasses.replace(MUTEX, thing=lambda random_: Anybodys(random_, held=True), initial="locked")


class Owners(things.FencedLock):
    """acquire and release by owners, mostly right; tokens grow by one or more, told or not."""

    def __init__(self, random_: random.Random, told: float, holder: int | None = None, token: int = 0) -> None:
        super().__init__()
        self.random, self.told = random_, told
        self.holder, self.token = holder, token

    def apply(self, process: int, f: str, value: Any) -> Any:
        result = super().apply(process, f, value)
        if f != "acquire" or result is FAILED:
            return result
        self.token += self.random.choice((0, 0, 1, 3))
        return self.token if self.random.random() < self.told else None


def another_token(random_: random.Random, f: str, values: Sequence[Any]) -> Any:
    if f != "acquire":
        return None
    return random_.choice([value for value in values if value is not None] or [1]) + random_.choice((-2, -1, 0, 1))


OWNED = Kind(
    decider=SectionsDecider(fenced=False),
    model=OwnedMutex,
    thing=lambda random_: Owners(random_, 0.0),
    renamed={"acquire": "release", "release": "acquire"},
    by_process=True,
    changes=7,
    weights=(0, 2, 1, 3),
)
# The holder at the beginning is a process of the first history only: this kind is compared one history at a time.
OWNED_FROM_THE_START = dataclasses.replace(OWNED, thing=lambda random_: Owners(random_, 0.0, 0), initial=0)
FENCED = dataclasses.replace(
    OWNED,
    decider=SectionsDecider(fenced=True),
    model=FencedLock,
    thing=lambda random_: Owners(random_, random_.choice((1.0, 1.0, 0.5))),
    results=another_token,
    weights=(4, 1, 1, 2),
)
FENCED_FROM_A_TOKEN = dataclasses.replace(FENCED, thing=lambda random_: Owners(random_, 0.7, None, 2), initial=2)

KINDS = {
    "mutex": (MUTEX, HELD),
    "owned": (OWNED,),
    "fenced": (FENCED, FENCED_FROM_A_TOKEN),
}

REFUSALS = {
    "mutex": {"two holders at once", "release of a free lock"},
    "owned": {"two holders at once", "acquired twice", "release by who does not hold"},
    "fenced": {"two holders at once", "token went back", "token given twice"},
}


@pytest.mark.parametrize("name", KINDS)
def test_agrees_with_brute_force(name: str) -> None:
    """Small histories with info, fail, ties and keys: both verdicts frequent, every kind of refusal seen."""
    seen = collections.Counter[Any]()
    for kind in KINDS[name]:
        seen += compare_many(kind, range(60 // len(KINDS[name]) * 2), 20)
    assert seen[True] > 1_200
    assert seen[False] > 300
    assert seen["order"] > 1_200
    assert REFUSALS[name] <= set(seen)


def test_agrees_with_brute_force_from_a_holder() -> None:
    """Histories that begin with a lock that is held."""
    seen = compare_many(OWNED_FROM_THE_START, range(400), 1)
    assert seen[True] > 100
    assert seen[False] > 50


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [kind for kinds in KINDS.values() for kind in kinds])
def test_agrees_with_brute_force_on_many(kind: Kind) -> None:
    """On 100,000 of each sort."""
    assert compare_many(kind, range(1_000_000, 1_005_000), 20)[False] > 18_000


@settings(max_examples=100)
@given(seed=st.integers(0, 2**63), name=st.sampled_from(sorted(KINDS)))
def test_agrees_with_brute_force_anywhere(seed: int, name: str) -> None:
    """Seeds that nobody chose."""
    for kind in KINDS[name]:
        compare(kind, seed, 1)


def ops(*rows: tuple[Any, ...]) -> History:
    """Rows (process, function, result, call, return or None)."""
    events: list[dict[str, Any]] = []
    for process, f, result, call, return_ in rows:
        base = {"process": process, "f": f}
        events.append({**base, "time": call, "type": "invoke", "value": None})
        if return_ is not None:
            events.append({**base, "time": return_, "type": "ok", "value": result})
    return History.of(sorted(events, key=lambda item: int(item["time"])))


def test_what_one_stretch_needs_may_be_missing_in_another() -> None:
    """No stretch of time has two acquires too many by itself; the finding names everything up to the stuck one."""
    rows = [("acquire", 0, 5), ("acquire", 1, 10), ("release", 7, 1000), ("release", 20, 30), ("release", 40, 50)]
    rows += [("acquire", 41, 2000), ("acquire", 60, 70), ("acquire", 80, 90)]
    history = ops(*((process, f, None, call, return_) for process, (f, call, return_) in enumerate(rows)))
    (finding,) = MutexDecider().decide(history, initial=None, null_read="value").findings
    assert finding.kind == "no turns possible"
    assert len(finding.operations) == 8
    model = Mutex()
    assert not twin.linearizable(history.operations, model.step, model.start(None))


def decided(history: History, *, fenced: bool = True, initial: Any = None) -> tuple[str, str]:
    decision = SectionsDecider(fenced=fenced).decide(history, initial=initial, null_read="value")
    (finding,) = decision.findings
    return finding.kind, finding.message


SECOND = 1_000_000_000


def test_two_holders_are_named_with_their_times() -> None:
    """Who held it until when, and who else had acquired it by then."""
    history = ops(
        (0, "acquire", 1, 1 * SECOND, 2 * SECOND),
        (1, "acquire", 2, 1 * SECOND, 3 * SECOND),
        (0, "release", None, 4 * SECOND, 5 * SECOND),
    )
    assert decided(history) == (
        "two holders at once",
        "Process 0 acquired the lock by process 0 (1.000 s to 2.000 s) and began to release it only at 4.000 s; but "
        "process 1 had acquired it by process 1 (1.000 s to 3.000 s) by then, and never released it either: two "
        "holders at once.",
    )


def test_tokens_must_grow_and_untold_ones_count() -> None:
    """Two acquires that were not told fit between 5 and 8, not between 5 and 7."""
    for token, refused in ((8, 0), (7, 1)):
        rows = [(0, "acquire", 5, 1, 2), (0, "release", None, 3, 4), (1, "acquire", None, 5, 6)]
        rows += [(1, "release", None, 7, 8), (2, "acquire", None, 9, 10), (2, "release", None, 11, 12)]
        history = ops(*rows, (3, "acquire", token, 13, 14))
        assert len(SectionsDecider(fenced=True).decide(history, initial=None, null_read="value").refused) == refused


def test_what_is_not_judged_is_left_to_the_search() -> None:
    """A process that goes on after info; tokens that no column can hold."""
    events = [
        {"process": 0, "time": 1, "type": "invoke", "f": "acquire"},
        {"process": 0, "time": 2, "type": "info", "f": "acquire"},
        {"process": 0, "time": 3, "type": "invoke", "f": "release"},
        {"process": 0, "time": 4, "type": "ok", "f": "release"},
    ]
    decide = SectionsDecider(fenced=True).decide
    assert decide(History.of(events), initial=None, null_read="value").deferred == {0: WENT_ON}
    large = ops((0, "acquire", 2**70, 1, 2))
    assert decide(large, initial=None, null_read="value").deferred == {0: LARGE}


def test_a_token_that_is_no_number_is_an_error() -> None:
    """With the line, the value and what to do."""
    with pytest.raises(HistoryError, match='line 2: an acquire returned "x"'):
        SectionsDecider(fenced=True).decide(
            ops((1, "acquire", 1, 1, 9), (0, "acquire", "x", 2, 3)), initial=None, null_read="value"
        )
