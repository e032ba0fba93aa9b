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

from checkers import History, HistoryError, Validity, check
from checkers.deciders.locks.mutex import MutexDecider
from checkers.deciders.locks.sections import SectionsDecider
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
    changes=4,
    weights=(0, 2, 3, 2),
)

HELD = dataclasses.replace(MUTEX, thing=lambda random_: Anybodys(random_, held=True), initial="locked")


class Owners(things.FencedLock):
    """acquire and release by owners, who are nearly always right; tokens grow by more than one and are told sometimes."""

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
    changes=4,
    weights=(0, 2, 1, 3),
)
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
    "owned": (OWNED, OWNED_FROM_THE_START),
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
        seen += compare_many(kind, range(60), 20)
    assert seen[True] > 1_200
    assert seen[False] > 300
    assert seen["order"] > 1_200
    assert REFUSALS[name] <= set(seen)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", [kind for kinds in KINDS.values() for kind in kinds])
def test_agrees_with_brute_force_on_many(kind: Kind) -> None:
    """On 100,000 of each sort."""
    assert compare_many(kind, range(1_000_000, 1_005_000), 20)[False] > 15_000


@settings(max_examples=100, deadline=None)
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
