"""A stream finds what the batch checker refuses, of any data type, and looks only at what is new."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

import checkers.streaming.stream as stream_module
from checkers import History, check
from checkers.event import Event
from checkers.streaming import Stream, Violation, streams
from checkers.verdict import Validity
from tests.checkers.simulated import simulate
from tests.checkers.streaming.small import small_history
from tests.checkers.things import FifoQueue, Register
from tests.checkers.transactions.histories import history as transactions


def fed(stream: Stream, events: list[dict[str, Any]], batch: int) -> Violation | None:
    """Feeds in batches, with a look after each; the violation."""
    for begin in range(0, len(events), batch):
        stream.feed(msgspec.convert(event, Event) for event in events[begin : begin + batch])
        while stream.due:
            violation = stream.look()
            if violation is not None:
                return violation
    return None


def test_registers_are_refused_at_the_event_that_proves_it() -> None:
    """However large the batches are: the prefix is the shortest that the batch checker refuses."""
    random, refused = Random(5), 0
    for _ in range(300):
        events = small_history(random)
        violation = fed(Stream(model="cas-register"), events, random.randint(1, 9))
        if violation is None:
            assert check(History.of(events), model="cas-register").validity is Validity.VALID
        elif violation.exact:
            refused += 1
            for prefix, validity in ((violation.events, Validity.INVALID), (violation.events - 1, Validity.VALID)):
                assert check(History.of(events[:prefix]), model="cas-register").validity is validity
    assert refused > 30


def two_queues(random: Random) -> list[dict[str, Any]]:
    """Two queues, each under a key of its own, side by side."""
    a, b = (simulate(FifoQueue(), random, operations=150, concurrency=4).events for _ in "ab")
    pairs = zip(a, b, strict=False)
    mixed = [{**each, "key": key} for pair in pairs for each, key in zip(pair, "ab", strict=True)]
    return [
        {**event, "time": time, "process": event["process"] + (1000 if event["key"] == "b" else 0)}
        for time, event in enumerate(mixed)
    ]


def test_any_data_type_is_judged_by_looks() -> None:
    """A queue whose element is taken twice: found at the first look after the second time, with its key."""
    events = two_queues(Random(3))
    assert fed(Stream(model="fifo-queue"), events, 40) is None
    taken = [row for row, event in enumerate(events) if event["type"] == "ok" and event["f"] == "dequeue"]
    taken = [row for row in taken if events[row]["value"] is not None and events[row]["key"] == "a"]
    first, again = taken[0], taken[-1]
    events[again] = {**events[again], "value": events[first]["value"]}
    violation = fed(Stream(model="fifo-queue"), events, 40)
    assert violation is not None
    assert not violation.exact
    assert violation.events == min(-(-(again + 1) // 40) * 40, len(events))
    assert violation.finding.key == "a"


def test_a_key_in_which_values_repeat_is_looked_at() -> None:
    """The online register leaves it alone; the batch checker's search judges it all the same."""
    words: list[tuple[str, str, int | None]] = [
        ("invoke", "write", 1),
        ("ok", "write", 1),
        ("invoke", "write", 1),
        ("ok", "write", 1),
    ]
    words += [("invoke", "read", None), ("ok", "read", 7)]
    events = [{"process": 0, "type": t, "f": f, "value": v, "time": n} for n, (t, f, v) in enumerate(words)]
    violation = fed(Stream(model="register"), events, 2)
    assert violation is not None
    assert not violation.exact


def test_invocations_and_accepted_registers_need_no_look() -> None:
    """Nothing is due unless something may have been proved."""
    stream = Stream(model="fifo-queue")
    stream.feed([Event(process=0, type="invoke", f="enqueue", value=1, time=1)])
    assert not stream.due
    stream.feed([Event(process=0, type="ok", f="enqueue", value=1, time=2)])
    assert stream.due
    assert stream.look() is None
    assert not stream.due
    register = Stream(model="cas-register")
    for event in simulate(Register(), Random(1), operations=100, concurrency=3).events:
        register.feed([msgspec.convert(event, Event)])
    assert not register.due


def test_fault_events_are_no_operations() -> None:
    """Nemesis events are passed over, and counted as events."""
    stream = Stream(model="cas-register")
    stream.feed([Event(process="nemesis", type="info", f="freeze", time=1, value={})])
    assert stream.events == 1
    assert stream.look() is None


def test_a_key_that_is_too_hard_is_left_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its search runs out of the budget once, and is not tried at every look; other keys still are."""
    monkeypatch.setattr(stream_module, "LOOK_STATES", 3)
    stream = Stream(model="register")
    hard: list[tuple[str, str, int | None]] = [("invoke", "write", 1), ("ok", "write", 1)] * 6
    hard += [("invoke", "read", None), ("ok", "read", 1)]
    events = [
        {"process": 0, "type": t, "f": f, "key": "hard", "value": v, "time": n} for n, (t, f, v) in enumerate(hard)
    ]
    assert fed(stream, events, 100) is None
    assert stream.too_hard == 1
    easy = [("invoke", "write", 1), ("ok", "write", 1), ("invoke", "read", None), ("ok", "read", 9)]
    events = [
        {"process": 1, "type": t, "f": f, "key": "easy", "value": v, "time": 100 + n}
        for n, (t, f, v) in enumerate(easy)
    ]
    violation = fed(stream, events, 100)
    assert violation is not None
    assert violation.finding.key == "easy"


def test_what_cannot_be_judged_on_the_way_is_refused() -> None:
    """Bank is no linearizability: a prefix may look broken and turn out whole."""
    assert not streams("bank")
    with pytest.raises(ValueError, match="at the end only"):
        Stream(model="bank")


def test_transactions_are_judged_on_the_way() -> None:
    """On random small histories of list-append: what is refused stays so, and is seen at the next look."""
    random, refused = Random(12), 0
    for _ in range(12):
        events = transactions(random, "append")
        verdicts = [
            check(History.of(events[:end]), model="list-append").validity is Validity.INVALID
            for end in range(len(events) + 1)
        ]
        assert verdicts == sorted(verdicts)
        violation = fed(Stream(model="list-append"), events, 1)
        assert (violation is None) == (not verdicts[-1])
        if violation is not None:
            refused += 1
            assert violation.events == verdicts.index(True)
    assert refused > 2


def test_the_values_that_clash_are_enough() -> None:
    """Whenever the online register refuses, the operations on the values that it names are refused by themselves."""
    random, refused = Random(11), 0
    for _ in range(1_000):
        events = small_history(random)
        stream = Stream(model="cas-register")
        stream.feed(msgspec.convert(event, Event) for event in events)
        for suspicion in stream._suspicions:
            prefix = Stream(model="cas-register")
            prefix.feed(msgspec.convert(event, Event) for event in events[: suspicion.events])
            (again,) = prefix._suspicions
            finding = prefix._refused(again.shard, {again.key}, again.shard.online[again.key].suspects)
            assert finding is not None, events
            refused += 1
    assert refused > 100
