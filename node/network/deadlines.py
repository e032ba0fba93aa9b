"""Time-outs that share timers.

A timer for each call costs more than most of what else is done for it. Calls that begin in the same turn of the loop,
to wait equally long, end at the same moment, so one timer does for all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Deadline(Generic[_T]):
    """A moment, and who must have left by then."""

    __slots__ = ("_expired", "_timer", "at", "waiting")

    def __init__(self, at: float, loop: asyncio.AbstractEventLoop, expired: Callable[[_T], None]) -> None:
        self.at = at
        """By the loop's clock."""
        self.waiting: dict[_T, None] = {}
        self._expired = expired
        self._timer = loop.call_at(at, self._expire)

    def leave(self, one: _T) -> None:
        """It is done, or told already; the last one stops the timer."""
        if self.waiting.pop(one, self) is None and not self.waiting:
            self._timer.cancel()

    def _expire(self) -> None:
        while self.waiting:
            self._expired(self.waiting.popitem()[0])


class Deadlines(Generic[_T]):
    """Those of one event loop."""

    def __init__(self, expired: Callable[[_T], None]) -> None:
        """``expired`` is called in the loop with each that has not left in time."""
        self._expired = expired
        self._last: Deadline[_T] | None = None

    def join(self, one: _T, loop: asyncio.AbstractEventLoop, after_s: float) -> Deadline[_T]:
        """Puts one under the deadline of so many seconds from now."""
        at = loop.time() + after_s
        deadline = self._last
        if deadline is None or deadline.at != at or not deadline.waiting:  # an empty one has no timer any more
            deadline = self._last = Deadline(at, loop, self._expired)
        deadline.waiting[one] = None
        return deadline
