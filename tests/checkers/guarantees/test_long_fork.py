"""Claims about long fork: against the pairwise definition, on correct and forked histories."""

from __future__ import annotations

import random
from itertools import combinations
from typing import Any

import pytest

from checkers.guarantees.long_fork import LONG_FORK
from checkers.history import History, HistoryError
from checkers.verdict import Validity
from tests.checkers.guarantees.objects import Snapshots
from tests.checkers.guarantees.spoiled import Event, correct, one_of, small
from tests.checkers.guarantees.told import op, story


def forked(history: History) -> bool:
    """Whether two reads exist of which each saw a write that the other, reading the same key, did not."""
    reads = [
        {key: value for kind, key, value in item.result if kind == "r"}
        for item in history.operations
        if item.outcome == "ok" and all(step[0] == "r" for step in item.result)
    ]

    def ahead(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
        return any(one[key] is not None and other[key] is None for key in one.keys() & other.keys())

    def fork(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
        common = one.keys() & other.keys()
        ones, others = ({key: read[key] for key in common} for read in (one, other))
        return ahead(ones, others) and ahead(others, ones)

    return any(fork(one, other) for one, other in combinations(reads, 2))


def spoil(stream: random.Random, ok: list[Event]) -> None:
    """Lets a read see something else."""
    event = one_of(stream, ok, "txn")
    if event is not None and event["value"][0][0] == "r":
        place = stream.randrange(len(event["value"]))
        kind, key, value = event["value"][place]
        event["value"][place] = [kind, key, None if value == 1 else 1]


def compare(seeds: range) -> tuple[int, int]:
    refused = unjudged = 0
    for seed in seeds:
        history = small(seed, Snapshots, spoil, operations=14, spoils=3)
        expected = forked(history)
        result = LONG_FORK.check(history)
        phantom = any(finding.kind == "phantom read" for finding in result.findings)
        assert (result.statistics["forks"] > 0) == expected, seed
        assert (result.validity is Validity.INVALID) == (expected or phantom), seed
        refused += expected
        unjudged += result.validity is Validity.UNKNOWN
    return refused, unjudged


def test_it_agrees_with_its_definition() -> None:
    """On small random histories a fork is found if and only if two reads disagree."""
    refused, unjudged = compare(range(800))
    assert 80 < refused < 700
    assert unjudged < 300


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_agrees_with_its_definition_on_many() -> None:
    """The same on a hundred thousand."""
    refused, unjudged = compare(range(10_000, 110_000))
    print(f"long-fork: 100000 histories, {refused} refused, {unjudged} unknown")
    assert refused > 5_000


def test_correct_snapshots_are_never_refused() -> None:
    """Reads of one state after the other never fork."""
    for seed in range(150):
        history = History.of(correct(seed, Snapshots(), info=0.2))
        assert LONG_FORK.check(history).validity is not Validity.INVALID, seed


def txn(process: int, time: int, *steps: list[Any]) -> list[Event]:
    asked = [[kind, key, None if kind == "r" else value] for kind, key, value in steps]
    return op(process, "txn", asked, list(steps), time, time + 1)


def test_a_fork_is_told_with_both_readers_and_writers() -> None:
    """The four transactions are named."""
    history = story(
        txn(0, 0, ["w", "x", 1]),
        txn(1, 1, ["w", "y", 1]),
        txn(2, 3, ["r", "x", None], ["r", "y", 1]),
        txn(3, 3, ["r", "x", 1], ["r", "y", None]),
    )
    (finding,) = LONG_FORK.check(history).findings
    assert finding.kind == "long fork"
    assert {item.process for item in finding.operations} == {0, 1, 2, 3}
    assert 'process 3 at 0.003000 s read "x" as written and "y" as not yet written' in finding.message.replace(
        "0.003 s", "0.003000 s"
    )


def test_keys_written_twice_are_unknown() -> None:
    """They tell no order, and the verdict says so."""
    writes = [txn(0, time, ["w", "x", time]) for time in (1, 3)]
    result = LONG_FORK.check(story(*writes, txn(1, 5, ["r", "x", 3], ["r", "y", None])))
    assert result.validity is Validity.UNKNOWN
    assert 'written more than once ("x")' in result.findings[0].message


def test_a_value_that_nobody_wrote_is_refused() -> None:
    """If the history has writes at all."""
    history = story(txn(0, 0, ["w", "x", 1]), txn(1, 2, ["r", "x", 2], ["r", "y", None]))
    (finding,) = LONG_FORK.check(history).findings
    assert finding.message == 'The transaction by process 1 at 0.002 s read 2 from "x", which nobody wrote there.'


def test_group_size_and_form_are_validated() -> None:
    """A read of another number of keys and a value that is no transaction are errors with their line."""
    history = story(txn(0, 0, ["r", "x", None], ["r", "y", None]))
    assert LONG_FORK.check(history, {"group_size": 2}).validity is Validity.VALID
    with pytest.raises(HistoryError, match="read 2 keys, the group size is 3"):
        LONG_FORK.check(history, {"group_size": 3})
    with pytest.raises(HistoryError, match="a transaction has the value 3"):
        LONG_FORK.check(story(op(0, "txn", 3, 3, 0, 1)))


def test_a_transaction_s_own_write_is_no_snapshot() -> None:
    """What it wrote itself says nothing about when others' writes happened."""
    history = story(
        txn(0, 0, ["w", "x", 1], ["r", "x", 1], ["r", "y", None]),
        txn(1, 0, ["w", "y", 1], ["r", "y", 1], ["r", "x", None]),
    )
    assert LONG_FORK.check(history).statistics["forks"] == 0
