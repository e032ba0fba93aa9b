"""An event loop's clock and timers that tests move by hand."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, order=True)
class Due:
    at: float
    number: int
    callback: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """The clock and the timers of an event loop: time stands still until it is moved."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timers: list[Due] = []
        self._numbers = itertools.count()

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> Due:
        return self.call_at(self.now_s + delay, callback, *args)

    def call_at(self, at: float, callback: Callable[..., None], *args: Any) -> Due:
        due = Due(at, next(self._numbers), lambda: callback(*args))
        heapq.heappush(self.timers, due)
        return due

    def call_soon(self, callback: Callable[..., None], *args: Any) -> Due:
        return self.call_later(0, callback, *args)

    def go(self, seconds: float = 0.0) -> None:
        end_s = self.now_s + seconds
        while self.timers and self.timers[0].at <= end_s:
            due = heapq.heappop(self.timers)
            self.now_s = max(self.now_s, due.at)
            if not due.cancelled:
                due.callback()
        self.now_s = end_s
