"""The log-linear register checker against the dumb twin, and each kind of conflict it names."""

from __future__ import annotations

import collections
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, Operation, Outcome
from checkers.deciders.register.explanation import KINDS, explain
from checkers.deciders.register.judgement import Judgement, judge
from checkers.deciders.register.numbering import DUPLICATE, INITIAL_WRITTEN
from checkers.models.register import Register
from checkers.search import twin
from tests.checkers.histories import register_history


def ops(*rows: tuple[Any, ...]) -> History:
    """Rows (f, value, call, return or None) at the given times; a read's value is what it returned; one
    process each.
    """
    events: list[dict[str, Any]] = []
    for process, (f, value, call, return_) in enumerate(rows):
        base = {"process": process, "f": f, "key": "k"}
        events.append({**base, "time": call, "type": "invoke", "value": None if f == "read" else value})
        if return_ is not None:
            events.append({**base, "time": return_, "type": "ok", "value": value, "node": "n1"})
    return History.of(sorted(events, key=lambda item: int(item["time"])))


def random_history(seed: int, size: int) -> tuple[History, Any, str]:
    """So many random histories one after another, each with keys of its own, as one."""
    random_ = random.Random(seed)
    null_read = random_.choice(("value", "value", "unknown"))
    initial = random_.choice((None, 0))
    events: list[dict[str, Any]] = []
    for number in range(size):
        unique, keys, cas = random_.random() < 0.85, random_.choice((1, 1, 2)), random_.random() < 0.8
        part = register_history(random_, unique=unique, keys=keys, cas=cas, initial=initial)
        moved = {"time": 1000 * number, "process": 1000 * number}
        events += [
            {**item, **{name: item[name] + by for name, by in moved.items()}, "key": f"{item['key']} of {number}"}
            for item in part
        ]
    return History.of(events), initial, null_read


def by_key(history: History) -> Iterator[tuple[int, list[Operation]]]:
    parts: dict[Any, list[Operation]] = {key: [] for key in history.keys.values}
    for item in history.operations:
        parts[item.key].append(item)
    yield from enumerate(parts.values())


def compare(seed: int, size: int = 1) -> collections.Counter[Any]:
    """Judges random histories and checks every key's verdict, and every conflict, against the twin."""
    history, initial, null_read = random_history(seed, size)
    judgement = judge(history, initial=initial, null_read=null_read)
    model = Register(null_read=null_read)
    seen: collections.Counter[Any] = collections.Counter()
    for code, operations in by_key(history):
        if code in judgement.deferred:
            seen["deferred"] += 1
            continue
        possible = twin.linearizable(operations, model.step, model.start(initial))
        assert possible == (code not in judgement.refused), f"seed {seed}, key {code}"
        seen[possible] += 1
    check_conflicts(history, judgement, initial, model)
    seen.update(conflict.kind for conflict in judgement.conflicts)
    return seen


def check_conflicts(history: History, judgement: Judgement, initial: Any, model: Register) -> None:
    """The operations that are named are impossible by themselves, and the facts of time are facts."""
    for conflict in judgement.conflicts:
        finding = explain(history, conflict, initial)
        assert not twin.linearizable(finding.operations, model.step, model.start(initial)), finding
        for earlier, later in conflict.before:
            assert history.return_[earlier] < history.call[later]
        completed = [item.return_ns for item in finding.operations if item.outcome is Outcome.OK]
        assert finding.time_ns == max(time for time in completed if time is not None)


def compare_many(seeds: range, size: int) -> collections.Counter[Any]:
    seen: collections.Counter[Any] = collections.Counter()
    for seed in seeds:
        seen.update(compare(seed, size))
    return seen


def test_agrees_with_brute_force() -> None:
    """On 11,000 histories with chains, info, ties, keys and duplicates: both verdicts frequent, every kind seen."""
    seen = compare_many(range(1_000), 1) + compare_many(range(1_000, 1_400), 25)
    assert seen[True] > 5_000
    assert seen[False] > 1_500
    assert seen["deferred"] > 500
    assert set(KINDS) <= set(seen)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_agrees_with_brute_force_on_many() -> None:
    """On 400,000."""
    assert compare_many(range(1_000_000, 1_016_000), 25)[False] > 50_000


@settings(max_examples=200)
@given(seed=st.integers(0, 2**63))
def test_agrees_with_brute_force_anywhere(seed: int) -> None:
    """Seeds that nobody chose."""
    compare(seed)


def sentence(history: History, initial: Any = None) -> tuple[str, str]:
    (conflict,) = judge(history, initial=initial).conflicts
    finding = explain(history, conflict, initial)
    return finding.kind, finding.message


SECOND = 1_000_000_000


def test_stale_read() -> None:
    """The sentence names the read, the write it saw, the newer write, and who knew of it."""
    kind, message = sentence(
        ops(
            ("write", 17, 1 * SECOND, 2 * SECOND),
            ("write", 23, 3 * SECOND, 4 * SECOND),
            ("read", 17, 12_031_000_000, 12_040_000_000),
        )
    )
    assert kind == "stale read"
    assert message == (
        "The read of key k by process 2 on n1 at 12.031 s returned 17; but the write of 17 by process 0 on n1 returned "
        "at 2.000 s, before the write of 23 by process 1 on n1 began at 3.000 s, and 23 was acknowledged to process 1 "
        "on n1 at 4.000 s, before this read began. 17 was written only once."
    )


def test_stale_read_of_the_initial_value() -> None:
    """Nobody wrote the initial value, so nobody is named for it."""
    kind, message = sentence(ops(("write", 1, 1, 2), ("read", None, 3, 4)))
    assert kind == "stale read"
    assert "returned the initial value null; but 1 was acknowledged to process 0" in message


def test_stale_read_after_compare_and_sets() -> None:
    """A read of a value that compare-and-sets had replaced names the chain."""
    kind, message = sentence(ops(("write", 1, 1, 2), ("cas", (1, 2), 3, 4), ("cas", (2, 3), 5, 6), ("read", 1, 7, 8)))
    assert kind == "stale read"
    assert "1 had been replaced" in message
    assert "was written only once" in message


def test_phantom_reads_say_what_is_known_of_the_value() -> None:
    """Nobody wrote it; or the only write failed; or it was written to another key."""
    assert "a value that nobody ever tried to write" in sentence(ops(("read", 9, 1, 2)))[1]
    failed = [
        {"time": 1, "process": 0, "type": "invoke", "f": "write", "key": "k", "value": 9},
        {"time": 2, "process": 0, "type": "fail", "f": "write", "key": "k", "value": 9},
        {"time": 3, "process": 1, "type": "invoke", "f": "read", "key": "k"},
        {"time": 4, "process": 1, "type": "ok", "f": "read", "key": "k", "value": 9},
    ]
    assert (
        "the only attempt to write it (the write of 9 by process 0) certainly failed" in sentence(History.of(failed))[1]
    )
    elsewhere = [
        *({**item, "key": "other", "type": item["type"].replace("fail", "ok")} for item in failed[:2]),
        *failed[2:],
    ]
    assert "was written to key other only, never to key k" in sentence(History.of(elsewhere))[1]


def test_read_before_write() -> None:
    """A value that was seen before anybody set out to write it."""
    kind, message = sentence(ops(("read", 5, 1, 2), ("write", 5, 3, 4)))
    assert (kind, "was over at" in message) == ("read before write", True)


def test_two_compare_and_sets_consume_one_value() -> None:
    """One of them is info: it counts only because its value was read, and the finding holds that read."""
    history = ops(("write", 1, 1, 2), ("cas", (1, 2), 3, 4), ("cas", (1, 3), 5, None), ("read", 3, 6, 7))
    (conflict,) = judge(history).conflicts
    finding = explain(history, conflict, None)
    assert finding.kind == "two compare-and-sets consumed one value"
    assert [item.f for item in finding.operations] == ["write", "cas", "cas", "read"]
    assert "must have happened" in finding.message


def test_compare_and_set_cycle() -> None:
    """Each needs the other's value."""
    kind, message = sentence(ops(("cas", (1, 2), 1, 5), ("cas", (2, 1), 2, 6)))
    assert kind == "compare-and-set cycle"
    assert "none of them can have been first" in message


def test_info_that_nobody_saw_never_happened() -> None:
    """An info write, and an info compare-and-set that would break a chain, are left out if their values were
    not seen.
    """
    history = ops(
        ("write", 1, 1, 2), ("write", 9, 3, None), ("cas", (1, 7), 3, None), ("cas", (1, 2), 4, 5), ("read", 2, 6, 7)
    )
    assert judge(history).refused == frozenset()


def test_info_that_was_seen_happened_at_any_later_time() -> None:
    """Even after the operations that followed it."""
    history = ops(("write", 9, 1, None), ("write", 1, 2, 3), ("read", 1, 4, 5), ("read", 9, 6, 7))
    assert judge(history).refused == frozenset()
    again = ops(("write", 9, 1, None), ("write", 1, 2, 3), ("read", 9, 4, 5), ("read", 1, 6, 7))
    assert len(judge(again).refused) == 1


def test_touching_intervals_overlap() -> None:
    """A read that ends at the instant the write begins may have seen it."""
    assert judge(ops(("read", 1, 1, 5), ("write", 1, 5, 6))).refused == frozenset()
    assert len(judge(ops(("read", 1, 1, 5), ("write", 1, 6, 7))).refused) == 1


def test_null_reads_may_say_nothing() -> None:
    """As in knossos, if asked."""
    history = ops(("write", 1, 1, 2), ("read", None, 3, 4))
    assert len(judge(history).refused) == 1
    assert judge(history, null_read="unknown").refused == frozenset()


def test_keys_with_repeated_values_are_left_alone() -> None:
    """And named, with the reason; the other keys are judged."""
    rows = [("a", "write", 1), ("a", "write", 1), ("b", "write", 0), ("c", "write", 5), ("c", "read", 6)]
    events: list[dict[str, Any]] = []
    for process, (key, f, value) in enumerate(rows):
        base = {"process": process, "f": f, "key": key}
        events.append({**base, "time": 2 * process, "type": "invoke", "value": None if f == "read" else value})
        events.append({**base, "time": 2 * process + 1, "type": "ok", "value": value})
    judgement = judge(History.of(events), initial=0)
    assert judgement.deferred == {0: DUPLICATE, 1: INITIAL_WRITTEN}
    assert judgement.refused == {2}


def test_a_foreign_read_does_not_accuse_another_key() -> None:
    """Key b reads a value that was written to key a: b is refused, a is not."""
    rows = [("a", "write", 1), ("a", "write", 2), ("b", "read", 1), ("a", "read", 2)]
    events: list[dict[str, Any]] = []
    for process, (key, f, value) in enumerate(rows):
        base = {"process": process, "f": f, "key": key}
        events.append({**base, "time": 2 * process, "type": "invoke", "value": None if f == "read" else value})
        events.append({**base, "time": 2 * process + 1, "type": "ok", "value": value})
    assert judge(History.of(events)).refused == {1}


def chain(length: int, stale: int | None = None) -> History:
    """A write and a chain of compare-and-sets, one after another; then perhaps a read of a value in the middle."""
    count = length + 1 + (stale is not None)
    f = np.full(count, 1)
    f[0] = 0
    value, expected = np.arange(1, count + 1), np.arange(count)
    history = ops(("write", 1, 1, 2), ("cas", (1, 2), 3, 4), ("read", 2, 5, 6))
    columns = {name: np.resize(getattr(history, name), count) for name in ("process", "key", "node", "error", "final")}
    result = np.full(count, -1)
    if stale is not None:
        f[-1], value[-1], result[-1] = 2, 0, stale
    expected[f != 1] = -1
    for number in range(2, count + 2):
        history.values.code(number)
    # Code 0 is null; the values 1, 2, ... have the codes 1, 2, ...
    return History(
        **columns,
        f=f,
        value=value,
        expected=expected,
        result=result,
        outcome=np.zeros(count, np.int8),
        call=2 * np.arange(count),
        return_=2 * np.arange(count) + 1,
        call_ns=2 * np.arange(count),
        return_ns=2 * np.arange(count) + 1,
        functions=("write", "cas", "read"),
        keys=history.keys,
        values=history.values,
        nodes=history.nodes,
        errors=(),
        events=2 * count,
    )


@pytest.mark.parametrize("length", [1, 2, 3, 64, 65, 100_000])
def test_long_chains(length: int) -> None:
    """A chain of any length is ordered without a loop over its members, and a stale read in it is found."""
    assert judge(chain(length)).refused == frozenset()
    (conflict,) = judge(chain(length, stale=1)).conflicts
    assert conflict.kind == "stale read"
    assert len(conflict.path) == 1  # the first step away from the value is proof enough
