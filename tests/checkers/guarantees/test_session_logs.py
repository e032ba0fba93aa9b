"""Claims about session guarantees of logs: against their definition over all reads, on correct and broken logs."""

from __future__ import annotations

import random

import pytest

from checkers.guarantees.sessions import SESSIONS
from checkers.history import History
from checkers.verdict import Validity
from tests.checkers.guarantees.spoiled import Event, correct, one_of, small
from tests.checkers.guarantees.told import op, story
from tests.checkers.things import Log

RYW, MR, MW, WFR = "read_your_writes", "monotonic_reads", "monotonic_writes", "writes_follow_reads"


def definition(history: History) -> set[str]:
    """The guarantees that are broken, by trying all pairs of operations of one session with all reads."""
    done = [item for item in history.operations if item.outcome != "fail"]
    reads = [item for item in done if item.f == "read" and item.outcome == "ok"]
    broken: set[str] = set()
    for later in done:
        past = [item for item in done if item.process == later.process and item.index < later.index]
        for earlier in (item for item in past if item.outcome == "ok"):
            before = [earlier.value] if earlier.f == "append" else list(earlier.result)
            if later.f == "read" and later.outcome == "ok":
                kind = RYW if earlier.f == "append" else MR
                last = max(item.index for item in past if item.f == "read") if kind == MR else earlier.index
                if earlier.index == last and not in_order(before, list(later.result)):
                    broken.add(kind)
            elif later.f == "append":
                kind = MW if earlier.f == "append" else WFR
                same = [item for item in past if item.f == earlier.f]
                if earlier is same[-1] and any(
                    later.value in read.result
                    and not in_order([*before, later.value], list(read.result), together=False)
                    for read in reads
                ):
                    broken.add(kind)
    return broken


def in_order(wanted: list[int], shown: list[int], *, together: bool = True) -> bool:
    """Whether all of ``wanted`` are shown; in their order if ``together``, else all others in front of the last."""
    if any(value not in shown for value in wanted):
        return False
    places = [shown.index(value) for value in wanted]
    return places == sorted(places) if together else all(place < places[-1] for place in places[:-1])


def spoil(stream: random.Random, ok: list[Event]) -> None:
    """Changes what a read shows, every element at most once."""
    event = one_of(stream, ok, "read")
    if event is None:
        return
    shown = list(event["value"])
    how = stream.randrange(3)
    if how == 0 and shown:
        shown.remove(stream.choice(shown))
    elif how == 1 and len(shown) > 1:
        stream.shuffle(shown)
    else:
        shown = shown[: stream.randint(0, len(shown))]
    event["value"] = shown


def compare(seeds: range) -> int:
    refused = 0
    for seed in seeds:
        history = small(seed, Log, spoil, operations=12, spoils=3)
        expected = definition(history)
        result = SESSIONS.check(history)
        assert {kind for kind in (RYW, MR, MW, WFR) if result.statistics[kind]} == expected, seed
        assert (result.validity is Validity.INVALID) == bool(expected), seed
        refused += bool(expected)
    return refused


def test_it_agrees_with_its_definition() -> None:
    """On small random histories the broken guarantees are those that trying everything finds."""
    assert 120 < compare(range(500)) < 470


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_it_agrees_with_its_definition_on_many() -> None:
    """The same on a hundred thousand."""
    refused = compare(range(10_000, 110_000))
    print(f"session logs: 100000 histories, {refused} refused")
    assert refused > 10_000


def test_correct_logs_are_never_refused() -> None:
    """Whatever ended unknown."""
    for seed in range(100):
        assert SESSIONS.check(History.of(correct(seed, Log(), info=0.2))).validity is not Validity.INVALID, seed


def a(process: int, value: int, time: int) -> list[Event]:
    return op(process, "append", value, None, time, time + 1)


def r(process: int, value: list[int], time: int) -> list[Event]:
    return op(process, "read", None, value, time, time + 1)


STORIES = {
    "read your writes": (
        [a(0, 1, 0), r(0, [], 2)],
        "The read of the log by process 0 at 0.002 s does not show 1, which that process had appended (over at "
        "0.001 s).",
    ),
    "monotonic reads": (
        [a(0, 1, 0), r(1, [1], 2), r(1, [], 4)],
        "The read of the log by process 1 at 0.004 s does not show 1, which that process's read before (over at "
        "0.003 s) showed.",
    ),
    "monotonic writes": (
        [a(0, 1, 0), a(0, 2, 2), r(1, [2, 1], 4)],
        "The read of the log by process 1 at 0.004 s shows 2 without 1 in front of it; but the process that appended 2 "
        "had appended 1 before that (over at 0.001 s).",
    ),
    "writes follow reads": (
        [a(0, 1, 0), r(2, [1], 2), a(2, 2, 4), r(1, [2], 6)],
        "The read of the log by process 1 at 0.006 s shows 2 without 1 in front of it; but the process that appended 2 "
        "had read 1 before that (over at 0.003 s).",
    ),
}


@pytest.mark.parametrize("kind", STORIES)
def test_each_guarantee_is_told(kind: str) -> None:
    """The smallest log that breaks a guarantee is refused by it, in a sentence."""
    operations, sentence = STORIES[kind]
    (finding,) = SESSIONS.check(story(*operations)).findings
    assert (finding.kind, finding.message) == (kind, sentence)


def test_a_read_of_null_may_say_nothing() -> None:
    """With ``null_read="unknown"``; otherwise it is the empty log."""
    history = story(op(0, "append", 1, None, 0, 1), op(1, "read", None, [1], 2, 3), op(1, "read", None, None, 4, 5))
    assert SESSIONS.check(history, {}, null_read="unknown").validity is not Validity.INVALID
    assert SESSIONS.check(history, {}).validity is Validity.INVALID
