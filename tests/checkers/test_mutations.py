"""Correct histories of every data type, broken on purpose in every way that fits it: all are refused, and the
explanation names what was changed.
"""

from __future__ import annotations

import collections
import copy
import random

import pytest

from checkers import MODELS, History, Validity, check
from checkers.search import twin
from tests.checkers.mutations import KINDS, WAYS, Kind, Op, correct, events

PER_WAY = 12
"""Histories for each data type and way in the default run; the slow one takes twenty times as many."""

NAMED_MIN = 0.95
"""The share of the refused histories whose explanation must name an operation that was changed."""

CASES = [(kind, way) for kind, entry in KINDS.items() for way in entry.ways]


def broken(kind: Kind, way: str, random_: random.Random, operations: int, concurrency: int) -> tuple[History, set[int]]:
    """A history broken so, and when (ns) the changed operations were invoked."""
    for _ in range(200):
        ops = correct(kind, random_, operations_=operations, concurrency=concurrency)
        changed = kind.ways[way](ops, random_)
        if changed is not None:
            return History.of(events(ops)), {op.call for op in ops if op.number in changed}
    raise AssertionError(f"no history could be broken: {way}")


def judge(kind: Kind, way: str, count: int, seed: int) -> list[bool]:
    """Breaks and judges so many histories; for each, whether the explanation named what was changed."""
    random_ = random.Random(seed)
    named = []
    for _ in range(count):
        history, changed = broken(kind, way, random_, random_.randint(30, 90), random_.randint(2, 5))
        result = check(history, model=kind.model)
        assert result.validity is Validity.INVALID, (way, events_of(history))
        operations = {item.call_ns for finding in result.findings for item in finding.operations}
        named.append(bool(operations & changed))
    return named


def events_of(history: History) -> list[str]:
    return [str(operation) for operation in history.operations]


@pytest.mark.parametrize(("kind", "way"), CASES, ids=[f"{kind}: {way}" for kind, way in CASES])
def test_what_is_broken_is_refused(kind: str, way: str) -> None:
    """Every broken history is invalid, and nearly every explanation names an operation that was changed."""
    named = judge(KINDS[kind], way, PER_WAY, seed=CASES.index((kind, way)))
    assert sum(named) >= NAMED_MIN * len(named), named


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "way"), CASES, ids=[f"{kind}: {way}" for kind, way in CASES])
def test_many_that_are_broken_are_refused(kind: str, way: str) -> None:
    """The same with twenty times as many."""
    named = judge(KINDS[kind], way, 20 * PER_WAY, seed=1000 + CASES.index((kind, way)))
    assert sum(named) >= NAMED_MIN * len(named), sum(named)


def test_the_changed_record_itself_is_named() -> None:
    """Stricter, over all data types and ways: the operation whose own record differs, not one that stands for a loss.
    (An operation that vanished cannot be named; and where a take finds nothing, what it left behind often is.)"""
    named = [hit for kind, way in CASES for hit in strictly_named(KINDS[kind], way, random.Random(f"{kind} {way}"))]
    assert sum(named) >= NAMED_MIN * len(named), sum(named) / len(named)


def strictly_named(kind: Kind, way: str, random_: random.Random, count: int = 5) -> list[bool]:
    """For each of so many broken histories in which a record was changed, whether a finding names that record."""
    hits = []
    while len(hits) < count:
        ops = correct(kind, random_, operations_=random_.randint(30, 90), concurrency=random_.randint(2, 5))
        before = {op.number: (copy.deepcopy(op.value), copy.deepcopy(op.result), op.outcome) for op in ops}
        if kind.ways[way](ops, random_) is None:
            continue
        changed = {op.call for op in ops if (op.value, op.result, op.outcome) != before[op.number]}
        if not changed:
            return []  # this way makes an operation vanish
        result = check(History.of(events(ops)), model=kind.model)
        hits.append(any(item.call_ns in changed for finding in result.findings for item in finding.operations))
    return hits


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_broken_is_accepted(kind: str) -> None:
    """The same histories, left alone, are valid: what is refused is refused for what was changed."""
    random_ = random.Random(7)
    for _ in range(PER_WAY):
        ops = correct(KINDS[kind], random_, operations_=random_.randint(30, 90), concurrency=random_.randint(2, 5))
        result = check(History.of(events(ops)), model=KINDS[kind].model)
        assert result.validity is Validity.VALID, (result.findings, ops)


@pytest.mark.parametrize(
    ("kind", "way"),
    [case for case in CASES if KINDS[case[0]].model in MODELS],
    ids=[f"{kind}: {way}" for kind, way in CASES if KINDS[kind].model in MODELS],
)
def test_the_ways_do_break(kind: str, way: str) -> None:
    """Brute force refuses small histories that were broken so: the ways are what they claim to be."""
    entry, random_ = KINDS[kind], random.Random(99)
    model = MODELS[entry.model](null_read="value")
    done = 0
    for _ in range(3000):
        ops = correct(entry, random_, operations_=random_.randint(3, 7), concurrency=2, info=0.05)
        if entry.ways[way](ops, random_) is None:
            continue
        history = History.of(events(ops))
        assert not twin.linearizable(list(history.operations), model.step, model.start(None)), ops
        done += 1
        if done == PER_WAY:
            return
    assert done, "no small history could be broken so"


def test_every_way_is_used() -> None:
    """The twelve ways are documented, and each breaks some data type."""
    used = collections.Counter(way for _, way in CASES)
    assert set(used) == set(WAYS)


def test_an_operation_survives_the_way_there_and_back() -> None:
    """Events to operations to events loses nothing."""
    ops = [Op(number=0, process=1, f="read", value=None, result=3, outcome="ok", call=0, ret=1)]
    assert [event["type"] for event in events(ops)] == ["invoke", "ok"]
