"""Time-outs that share timers: each is told once, whoever has left is not, and none is left behind."""

from __future__ import annotations

import asyncio
from typing import cast

from node.network.deadlines import Deadlines
from tests.node.hand_loop import Loop


def bench() -> tuple[Loop, asyncio.AbstractEventLoop, Deadlines[str], list[str]]:
    """A loop, the same as deadlines take it, deadlines, and who was told."""
    loop, told = Loop(), list[str]()
    return loop, cast(asyncio.AbstractEventLoop, loop), Deadlines[str](told.append), told


def test_calls_of_one_turn_share_a_timer_and_are_all_told() -> None:
    """Two with the same time-out have one timer, a third with another one has its own."""
    loop, events, deadlines, told = bench()
    for name, after_s in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        deadlines.join(name, events, after_s)
    assert len(loop.timers) == 2
    loop.go(1.0)
    assert sorted(told) == ["a", "b"]
    loop.go(8.0)
    assert sorted(told) == ["a", "b", "c"]


def test_whoever_has_left_is_not_told() -> None:
    """The others of the same deadline still are."""
    loop, events, deadlines, told = bench()
    first = deadlines.join("a", events, 1.0)
    deadlines.join("b", events, 1.0)
    first.leave("a")
    first.leave("a")
    loop.go(1.0)
    assert told == ["b"]


def test_the_last_one_stops_the_timer_and_whoever_comes_then_gets_another() -> None:
    """No timer outlives its calls, and no call is put under a timer that was stopped."""
    loop, events, deadlines, told = bench()
    deadlines.join("a", events, 1.0).leave("a")
    assert [timer.cancelled for timer in loop.timers] == [True]
    deadlines.join("b", events, 1.0)
    loop.go(1.0)
    assert told == ["b"]


def test_an_expired_one_may_leave_afterwards() -> None:
    """As the caller does when it is told."""
    loop, events, deadlines, told = bench()
    deadline = deadlines.join("a", events, 1.0)
    loop.go(1.0)
    deadline.leave("a")
    assert told == ["a"]
