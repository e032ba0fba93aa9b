"""Claims about total-queue: against its definition with a matching found by trying all, correct and broken queues."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial
from typing import Any

import pytest

from checkers.guarantees.total_queue import TOTAL_QUEUE
from checkers.history import History
from checkers.operation import Operation
from checkers.verdict import Validity
from tests.checkers.guarantees.objects import TotalQueue
from tests.checkers.guarantees.spoiled import Event, correct, one_of, small
from tests.checkers.guarantees.told import op, story


def _out(item: Operation) -> list[Any]:
    if item.outcome != "ok" or item.f == "enqueue":
        return []
    return list(item.result) if item.f == "drain" else [item.result] if item.result is not None else []


def definition(history: History) -> dict[str, Any]:
    """Unexpected and duplicated values, how many were lost at least, how many can't be judged."""
    every = [item for item in history.operations if item.outcome != "fail"]
    puts = [item for item in every if item.f == "enqueue"]
    times = Counter(value for item in every for value in _out(item))
    put = Counter(item.value for item in puts)
    early = sum(
        item.return_index < min(one.call_index for one in puts if one.value == value)
        for item in every
        for value in _out(item)
        if put[value]
    )
    acks = [item for item in puts if item.outcome == "ok" and not times[item.value]]
    sights = [item for item in every if item.outcome == "ok" and item.f != "enqueue" and _saw_empty(item)]
    due = [(item, [one for one in sights if one.call_index > item.return_index]) for item in acks]
    missing = [min(one.return_index for one in after) for _, after in due if after]
    takers: list[int] = []
    for item in every:
        if item.outcome == "info" and item.f != "enqueue":
            takers += [item.call_index] * (len(missing) if item.f == "drain" else 1)
    return {
        "unexpected": len([value for value in times if not put[value]]) + early,
        "duplicated": sorted(value for value in times if 0 < put[value] < times[value]),
        "lost": len(missing) - _matched(missing, takers),
        "not judged": len([after for _, after in due if not after]),
    }


def _saw_empty(item: Operation) -> bool:
    return item.f == "drain" or item.result is None


def _matched(missing: list[int], takers: list[int]) -> int:
    """The most values that unknown dequeues can have taken, each at most one: by trying every way."""
    if not missing or not takers:
        return 0
    first, rest = missing[0], missing[1:]
    best = _matched(rest, takers)
    for place in {takers.index(taker) for taker in takers if taker < first}:
        best = max(best, 1 + _matched(rest, takers[:place] + takers[place + 1 :]))
    return best


def spoil(stream: random.Random, ok: list[Event]) -> None:
    """Changes what came out."""
    event = one_of(stream, ok, "dequeue", "drain")
    every = [None, 999, *(other["value"] for other in ok if other["f"] == "enqueue")]
    if event is None:
        return
    if event["f"] == "dequeue":
        event["value"] = stream.choice(every)
    elif event["value"] and stream.random() < 0.6:
        event["value"] = event["value"][1:]
    else:
        event["value"] = [*event["value"], stream.choice(every[1:])]


def compare(seeds: range) -> int:
    refused = 0
    for seed in seeds:
        history = small(seed, partial(TotalQueue, drains=0.2), spoil)
        expected = definition(history)
        result = TOTAL_QUEUE.check(history)
        counts = result.statistics
        assert {
            "unexpected": counts["unexpected"],
            "duplicated": sorted(counts["values"].get("duplicated", [])),
            "lost": counts["lost"],
            "not judged": counts["not_judged"],
        } == expected, seed
        broken = bool(expected["unexpected"] or expected["duplicated"] or expected["lost"])
        assert (result.validity is Validity.INVALID) == broken, seed
        refused += broken
    return refused


def test_it_agrees_with_its_definition() -> None:
    """On small random histories the counts are those of the definition, and so is the verdict."""
    assert 120 < compare(range(600)) < 540


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(1, 11))
def test_it_agrees_with_its_definition_on_many(part: int) -> None:
    """The same on a hundred thousand, in parts."""
    refused = compare(range(part * 10_000, part * 10_000 + 10_000))
    print(f"total-queue: 10000 histories, {refused} refused")
    assert refused > 1000


def test_correct_queues_are_never_refused() -> None:
    """Whatever ended unknown, a queue that works is accepted."""
    for seed in range(200):
        result = TOTAL_QUEUE.check(History.of(correct(seed, TotalQueue(drains=0.05), info=0.2)))
        assert result.validity is not Validity.INVALID, seed


@pytest.mark.parametrize("kind", ["lost", "unexpected", "duplicate"])
def test_broken_queues_are_refused_by_name(kind: str) -> None:
    """A value that was taken out of a drained queue, invented or doubled is refused, and is the one that is named."""
    seen = 0
    for seed in range(60):
        stream = random.Random(seed)
        queue = TotalQueue()
        events = correct(seed, queue, info=0.0)
        end = events[-1]["time"] + 1
        taken = [event for event in events if event["type"] == "ok" and event["f"] == "dequeue" and event["value"]]
        if len(taken) < 2:
            continue
        events += op(77, "drain", None, queue.state, 10**6 + end, 10**6 + end + 1)
        event, other = stream.sample(taken, 2)
        value = {"lost": event["value"], "unexpected": -5, "duplicate": other["value"]}[kind]
        event["value"] = None if kind == "lost" else value
        result = TOTAL_QUEUE.check(History.of(events))
        assert result.validity is Validity.INVALID
        finding = next(finding for finding in result.findings if finding.kind == kind)
        assert finding.evidence["value"] == value
        assert str(value) in finding.message
        seen += 1
    assert seen > 30


def test_each_unknown_dequeue_excuses_one_value() -> None:
    """Three values are missing and two dequeues ended unknown: one was lost, and nobody knows which."""
    puts = [op(0, "enqueue", value, value, value, value + 1) for value in (1, 3, 5)]
    unknown = [op(process, "dequeue", None, None, 2, None) for process in (1, 2)]
    result = TOTAL_QUEUE.check(story(*puts, *unknown, op(3, "drain", None, [], 10, 12)))
    assert result.statistics["lost"] == 1
    assert result.statistics["possibly_taken_by_unknown_dequeues"] == 2
    (finding,) = result.findings
    assert "can have taken 2 of them, so 1 were lost" in finding.message


def test_an_unknown_dequeue_that_began_too_late_excuses_nothing() -> None:
    """The queue was empty without the value before the dequeue began."""
    result = TOTAL_QUEUE.check(
        story(op(0, "enqueue", 1, 1, 0, 1), op(1, "dequeue", None, None, 2, 3), op(2, "dequeue", None, None, 4, None))
    )
    (finding,) = result.findings
    assert finding.kind == "lost"
    assert finding.message == (
        "1 was put into the queue by process 0 (acknowledged at 0.001 s) and never came out, but the empty dequeue by "
        "process 1, which began at 0.002 s, found nothing more."
    )


def test_what_may_still_be_in_the_queue_is_unknown() -> None:
    """Without a drain nobody knows; "drained" says that it was empty; an unknown drain may have taken everything."""
    put = op(0, "enqueue", 1, 1, 0, 1)
    assert TOTAL_QUEUE.check(story(put)).validity is Validity.UNKNOWN
    assert TOTAL_QUEUE.check(story(put), {"drained": True}).validity is Validity.INVALID
    drain = op(1, "drain", None, None, 2, None)
    assert TOTAL_QUEUE.check(story(put, drain), {"drained": True}).validity is Validity.VALID


def test_at_least_once() -> None:
    """A value that came out twice is refused unless the queue delivers at least once."""
    twice = story(op(0, "enqueue", 1, 1, 0, 1), *(op(1, "dequeue", None, 1, time, time + 1) for time in (2, 4)))
    assert [finding.kind for finding in TOTAL_QUEUE.check(twice).findings] == ["duplicate"]
    assert TOTAL_QUEUE.check(twice, {"at_least_once": True}).validity is Validity.VALID


def test_what_failed_did_not_happen() -> None:
    """A value whose only enqueue failed must not come out."""
    history = story(op(0, "enqueue", 1, 1, 0, 1, "fail"), op(1, "dequeue", None, 1, 2, 3))
    (finding,) = TOTAL_QUEUE.check(history).findings
    assert "though every attempt to put it in certainly failed" in finding.message


def test_matching_is_tried_every_way() -> None:
    """The twin's own matching is right on a case that greed gets wrong."""
    assert _matched([5, 2], [1, 4]) == 2
    assert _matched([2], [3]) == _matched([], [1]) == 0
