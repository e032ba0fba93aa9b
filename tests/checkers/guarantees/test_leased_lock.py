"""Claims about locks with leases and what they guard: against its definition by quantifiers, and told by hand."""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import Any

import pytest

from checkers import check
from checkers.guarantees.leased_lock import DRIFT, LEASED_LOCK
from checkers.history import History, HistoryError
from checkers.operation import Operation
from checkers.streaming import Stream
from checkers.verdict import Result, Validity
from tests.checkers.guarantees.told import MS, op, story
from tests.checkers.streaming.test_stream import fed

LEASE = 10
KINDS = {
    "two holders at once",
    "token went back",
    "token given twice",
    "overtaken write accepted",
    "guarded value went back",
}


def kinds(*operations: list[dict[str, Any]]) -> set[str]:
    """What is found in a story."""
    return {finding.kind for finding in LEASED_LOCK.check(story(*operations)).findings}


def acquire(process: int, begin: int, end: int, token: Any, lease: int | None = LEASE) -> list[dict[str, Any]]:
    return op(process, "acquire", lease, token, begin, end, key="l")


def release(process: int, begin: int, end: int, type_: str = "ok") -> list[dict[str, Any]]:
    return op(process, "release", None, None, begin, end, type_, key="l")


def write(process: int, token: int, number: int, begin: int, end: int, type_: str = "ok") -> list[dict[str, Any]]:
    return op(process, "write", [token, number], [token, number], begin, end, type_, key="r")


def read(process: int, value: Any, begin: int, end: int) -> list[dict[str, Any]]:
    return op(process, "read", None, value, begin, end, key="r")


def test_a_lock_may_change_hands_when_a_lease_is_over() -> None:
    """Without a release; the lease counts from the call of the acquire, less the drift."""
    assert not kinds(acquire(0, 0, 1, 1), acquire(1, 8, 9, 2))
    assert kinds(acquire(0, 0, 1, 1), acquire(1, 7, 8, 2)) == {"two holders at once"}
    assert not kinds(acquire(0, 0, 1, 1), release(0, 3, 4), acquire(1, 5, 6, 2))


def test_without_a_lease_it_is_held_for_ever() -> None:
    """Until the call of a release, whose outcome may be unknown; one that failed is none."""
    held = acquire(0, 0, 1, 1, None)
    assert kinds(held, acquire(1, 500, 501, 2, None)) == {"two holders at once"}
    assert not kinds(held, release(0, 3, 4, "info"), acquire(1, 500, 501, 2, None))
    assert kinds(held, release(0, 3, 4, "fail"), acquire(1, 500, 501, 2, None)) == {"two holders at once"}


def test_tokens_grow() -> None:
    """In the order of time, and in that of the sections where acquires overlap."""
    assert kinds(acquire(0, 0, 1, 5), acquire(1, 20, 21, 4)) == {"token went back"}
    assert kinds(acquire(0, 0, 1, 5), acquire(1, 20, 21, 5)) == {"token given twice"}
    overlapping = (acquire(0, 0, 2, 5, 100), release(0, 4, 5), acquire(1, 1, 8, 4, 100))
    assert kinds(*overlapping) == {"token went back"}
    assert not kinds(acquire(0, 0, 1, None), acquire(1, 20, 21, 4))
    assert kinds(acquire(0, 0, 1, "x")) == {"no token"}


def test_fences_hold() -> None:
    """A late holder's write is refused once a higher token was shown; before that it may come."""
    before = (write(0, 1, 1, 0, 1), write(1, 2, 2, 2, 3))
    assert kinds(*before, write(0, 1, 3, 4, 5)) == {"overtaken write accepted"}
    assert not kinds(*before, write(0, 1, 3, 4, 5, "fail"))
    assert not kinds(*before, write(0, 1, 3, 4, 5, "info"))
    assert kinds(*before, write(0, 1, 3, 4, 5, "info"), read(3, [1, 3], 6, 7)) == {"guarded value went back"}
    assert not kinds(write(1, 2, 2, 2, 5), write(0, 1, 1, 4, 6))


def test_the_registers_are_registers() -> None:
    """Linearizable."""
    assert kinds(write(0, 1, 1, 0, 1), read(1, None, 2, 3)) == {"stale read"}


def test_overwritten_increments_are_counted() -> None:
    """A late holder that wrote between the next one's read and its write: no fence prevents that."""
    result = LEASED_LOCK.check(story(read(1, None, 0, 1), write(0, 1, 1, 2, 3), write(1, 2, 1, 4, 5)))
    assert result.validity is Validity.VALID
    assert result.statistics["overwritten"] == 1


def test_the_sentence_names_both_holders() -> None:
    """Who, when, and why the first still held it."""
    (finding,) = LEASED_LOCK.check(story(acquire(0, 0, 1, 1), acquire(1, 5, 6, 2))).findings
    assert finding.message == (
        'the lock "l" was acquired by process 0 at 0.001 s and by process 1 at 0.006 s, while the first certainly held '
        "it: its lease lasted until 0.009 s at least."
    )
    assert [item.index for item in finding.operations] == [0, 1]


def test_rows_keep_their_numbers() -> None:
    """Findings on registers name operations of the whole history."""
    (finding,) = LEASED_LOCK.check(story(acquire(9, 0, 1, 1), write(0, 1, 1, 2, 3), read(1, None, 4, 5))).findings
    assert {item.index for item in finding.operations} == {1, 2}


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (op(0, "acquire", "x", 1, 0, 1, key="l"), "the value of an acquire"),
        (op(0, "write", 5, 5, 0, 1, key="r"), "the value of a write"),
    ],
)
def test_what_is_no_lease_and_no_guarded_value_is_refused(operation: list[dict[str, Any]], words: str) -> None:
    """With line and value."""
    with pytest.raises(HistoryError, match=words):
        LEASED_LOCK.check(story(operation))


def events(random: Random) -> list[dict[str, Any]]:
    """A few sections and guarded writes, with tokens that are mostly right."""
    told, token, time = [], 0, 0
    for process in range(random.randint(2, 5)):
        begin = time + random.randint(0, 6)
        end = begin + random.randint(1, 6)
        token += random.choice((1, 1, 1, 0, -1, 2))
        told.append(acquire(process, begin, end, token, random.choice((LEASE, LEASE, None))))
        if random.random() < 0.6:
            at = end + random.randint(1, 8)
            told.append(write(process, token, process, at, at + random.randint(1, 5), random.choice(("ok", "info"))))
            end = at + 6
        if random.random() < 0.7:
            told.append(release(process, end + 1, end + 2, random.choice(("ok", "ok", "info", "fail"))))
        time = random.choice((begin, end + LEASE, end + LEASE))
    return sorted((event for each in told for event in each), key=lambda event: event["time"])


def until_ns(rows: list[Operation], section: Operation) -> float:
    """When a section may be over: at the call of its release, or with its lease."""
    lease = section.call_ns + section.value * (1 - DRIFT) * MS if section.value else float("inf")
    released = (row.call_ns for row in rows if row.f == "release" and row.process == section.process)
    return min(lease, *released, float("inf"))


def wrong(history: History) -> bool:
    """By quantifiers: locks and fences only."""
    rows = [row for row in history.operations if row.outcome != "fail"]
    sections = [row for row in rows if row.f == "acquire" and row.outcome == "ok"]
    writes = [row for row in rows if row.f == "write" and row.outcome == "ok"]
    for one, other in permutations(sections, 2):
        assert one.return_ns is not None
        assert other.return_ns is not None
        held = one.return_ns < until_ns(rows, one)
        both = held and other.return_ns < until_ns(rows, other)
        if both and one.return_ns <= other.return_ns < until_ns(rows, one):
            return True
        later = one.return_ns < other.call_ns or (both and until_ns(rows, one) <= other.return_ns)
        if (later and other.result <= one.result) or other.result == one.result:
            return True
    return any(
        one.return_ns is not None and one.return_ns < other.call_ns and other.value[0] < one.value[0]
        for one, other in permutations(writes, 2)
    )


def refused(result: Result) -> bool:
    """For its locks or fences."""
    return bool({finding.kind for finding in result.findings} & KINDS)


def test_it_agrees_with_its_definition() -> None:
    """On random small stories, both verdicts frequent."""
    random, count = Random(6), 0
    for _ in range(300):
        history = History.of(events(random))
        assert refused(LEASED_LOCK.check(history)) == wrong(history)
        count += wrong(history)
    assert 60 < count < 240


def test_it_is_closed_under_prefixes() -> None:
    """What is refused stays so; and judging on the way ends as judging at the end."""
    random = Random(7)
    for _ in range(20):
        story_ = events(random)
        verdicts = [
            LEASED_LOCK.check(History.of(story_[:end])).validity is Validity.INVALID for end in range(len(story_) + 1)
        ]
        assert verdicts == sorted(verdicts)
        assert (fed(Stream(model="leased-lock"), story_, 3) is not None) == verdicts[-1]


def test_without_leases_what_it_refuses_the_fenced_lock_refuses() -> None:
    """Where both can judge."""
    random, count = Random(8), 0
    for _ in range(150):
        story_ = [
            {**event, "value": None} if event["type"] == "invoke" else event
            for event in events(random)
            if event["f"] != "write"
        ]
        history = History.of(story_)
        if refused(LEASED_LOCK.check(history)):
            count += 1
            assert check(history, model="fenced-lock").validity is Validity.INVALID
    assert count > 20
