"""The online register refuses at the last event of the shortest prefix that the batch decider refuses: no earlier, no
later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from checkers import History
from checkers.deciders.register.decider import RegisterDecider
from checkers.streaming.register import OnlineRegister
from tests.checkers.streaming.small import Event, small_history

DECIDER = RegisterDecider()


def online(events: Sequence[Event], null_read: str = "value") -> tuple[str, int]:
    """How it ends, and after how many events."""
    register = OnlineRegister(null_read=null_read)
    open_: dict[int, tuple[int, Any]] = {}
    for position, event in enumerate(events):
        process, f, value = event["process"], event["f"], event["value"]
        if event["type"] == "invoke":
            open_[process] = (position, value)
            register.invoke(f, value, position)
        else:
            call, argument = open_.pop(process)
            register.complete(f, event["type"], argument, value, call, position)
        if register.refused or register.deferred is not None:
            return "refused" if register.refused else "deferred", position + 1
    return "accepted", len(events)


def batch(events: Sequence[Event], null_read: str = "value") -> str:
    """What the batch decider says."""
    decision = DECIDER.decide(History.of(events), initial=None, null_read=null_read)
    return "deferred" if decision.deferred else "refused" if decision.refused else "accepted"


def compare(histories: int, seed: int) -> Counter[str]:
    """Compares random histories; counts how they ended."""
    random, ends = Random(seed), Counter[str]()
    for number in range(histories):
        events = small_history(random)
        null_read = "unknown" if number % 3 == 0 else "value"
        end, place = online(events, null_read)
        assert batch(events[:place], null_read) == end, events
        if end != "accepted":
            assert batch(events[: place - 1], null_read) == "accepted", events
        ends[end] += 1
    return ends


def test_it_refuses_exactly_when_the_batch_decider_does() -> None:
    """Random histories: each ends alike, at the same event; all ends are frequent."""
    ends = compare(2_000, seed=1)
    assert ends["refused"] > 200
    assert ends["accepted"] > 200
    assert ends["deferred"] > 20


@pytest.mark.slow
def test_it_refuses_exactly_when_the_batch_decider_does_in_many_histories() -> None:
    """The same for 10^5."""
    ends = compare(100_000, seed=2)
    print(ends)
    assert min(ends.values()) > 1_000


def history(*words: str) -> list[Event]:
    """Events told as ``"1 invoke write 5"``."""
    events = []
    for time, word in enumerate(words):
        process, type_, f, *rest = word.split()
        value = None if not rest else int(rest[0]) if len(rest) == 1 else [int(rest[0]), int(rest[1])]
        events.append({"process": int(process), "type": type_, "f": f, "value": value, "time": time})
    return events


def test_a_value_is_seen_before_its_write_completes() -> None:
    """What is open may have happened: no alarm, and none when it completes late."""
    events = history("0 invoke write 5", "1 invoke read", "1 ok read 5", "0 ok write 5")
    assert online(events) == ("accepted", 4)


def test_a_late_fail_of_what_was_seen() -> None:
    """Only the completion proves it: refused there, and not before."""
    events = history("0 invoke write 5", "1 invoke read", "1 ok read 5", "0 fail write 5")
    assert online(events) == ("refused", 4)


def test_a_chain_of_open_compare_and_sets_is_followed_without_recursion() -> None:
    """A read at the end of 5,000 open compare-and-sets proves all of them."""
    words = ["0 invoke write 1", "0 ok write 1"]
    words += [f"{value} invoke cas {value} {value + 1}" for value in range(1, 5_001)]
    words += ["6000 invoke read", "6000 ok read 5001", "6000 invoke read", "6000 ok read 5000"]
    assert online(history(*words)) == ("refused", len(words))
