"""Claims about counters by bounds: against sums over all adds, on correct counters and broken ones."""

from __future__ import annotations

import random

import pytest

from checkers.guarantees.counter_bounds import COUNTER_BOUNDS
from checkers.history import History, HistoryError
from checkers.verdict import Validity
from tests.checkers.guarantees.objects import Steps
from tests.checkers.guarantees.spoiled import Event, correct, one_of, small
from tests.checkers.guarantees.told import op, story


def definition(history: History) -> tuple[int, int]:
    """(reads outside their bounds, reads below one that was over before they began, if nothing is subtracted)."""
    every = [item for item in history.operations if item.outcome != "fail"]
    adds = [item for item in every if item.f == "add"]
    reads = [item for item in every if item.f == "read" and item.outcome == "ok"]
    outside = 0
    for read in reads:
        sure = [add.value for add in adds if add.return_index is not None and add.return_index < read.call_index]
        may = [add.value for add in adds if add.call_index < read.return_index]
        may = may[:]
        for amount in sure:
            may.remove(amount)
        low = sum(sure) + sum(amount for amount in may if amount < 0)
        high = sum(sure) + sum(amount for amount in may if amount > 0)
        outside += not low <= read.result <= high
    falls = any(add.value < 0 for add in adds)
    back = [
        read
        for read in reads
        if any(other.return_index < read.call_index and other.result > read.result for other in reads)
    ]
    return outside, 0 if falls else len(back)


def spoil(stream: random.Random, ok: list[Event]) -> None:
    """Changes what a read shows."""
    event = one_of(stream, ok, "read")
    if event is not None:
        event["value"] += stream.choice((-4, -1, 1, 3))


def compare(seeds: range) -> int:
    refused = 0
    for seed in seeds:
        history = small(seed, lambda falls=seed % 2 == 0: Steps(falls=falls), spoil)
        expected = definition(history)
        result = COUNTER_BOUNDS.check(history)
        counts = result.statistics
        assert (counts["below"] + counts["above"], counts["backwards"]) == expected, seed
        assert (result.validity is Validity.INVALID) == any(expected)
        refused += any(expected)
    return refused


def test_it_agrees_with_its_definition() -> None:
    """On small random histories the reads outside their bounds are those that sums over all adds say."""
    assert 120 < compare(range(600)) < 540


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_agrees_with_its_definition_on_many() -> None:
    """The same on a hundred thousand."""
    refused = compare(range(10_000, 110_000))
    print(f"counter-bounds: 100000 histories, {refused} refused")
    assert refused > 10_000


def test_correct_counters_are_never_refused() -> None:
    """Steps of any sign, whatever ended unknown."""
    for seed in range(200):
        history = History.of(correct(seed, Steps(falls=seed % 2 == 0), info=0.2))
        assert COUNTER_BOUNDS.check(history).validity is not Validity.INVALID, seed


def test_what_failed_does_not_count() -> None:
    """A read that shows a failed add is above its bound, and the sentence says which."""
    history = story(op(0, "add", 5, 5, 0, 1, "fail"), op(1, "read", None, 5, 2, 3))
    (finding,) = COUNTER_BOUNDS.check(history).findings
    assert finding.message == (
        "The read of the counter by process 1 at 0.002 s returned 5, but all that can have been added by 0.003 s makes "
        "it at most 0."
    )


def test_a_counter_that_goes_backwards_is_refused() -> None:
    """Jepsen's issue 303: each read alone is within its bounds, both together are not."""
    history = story(op(0, "add", 5, None, 0, None), op(1, "read", None, 5, 1, 2), op(1, "read", None, 0, 3, 4))
    (finding,) = COUNTER_BOUNDS.check(history).findings
    assert finding.kind == "backwards"
    assert "returned 0; but the read by process 1, which was over at 0.002 s, returned 5" in finding.message


def test_values_and_settings_are_validated() -> None:
    """What is no whole number is named; nothing read is unknown; the initial value counts."""
    with pytest.raises(HistoryError, match=r"the value of an add is 1\.5"):
        COUNTER_BOUNDS.check(story(op(0, "add", 1.5, 1.5, 0, 1)))
    with pytest.raises(ValueError, match="the initial value of a counter is 'x'"):
        COUNTER_BOUNDS.check(story(op(0, "read", None, 1, 0, 1)), initial="x")
    assert COUNTER_BOUNDS.check(story(op(0, "add", 1, 1, 0, 1))).validity is Validity.UNKNOWN
    assert COUNTER_BOUNDS.check(story(op(0, "read", None, 7, 0, 1)), initial=7).validity is Validity.VALID


def test_a_read_of_null_is_one_of_zero() -> None:
    """Whatever the initial value, as for the data type counter."""
    history = story(op(0, "add", 1, 1, 0, 1), op(0, "read", None, None, 2, 3))
    assert COUNTER_BOUNDS.check(history, {}, initial=-1).validity is Validity.VALID
    assert COUNTER_BOUNDS.check(history, {}, initial=0).validity is Validity.INVALID
