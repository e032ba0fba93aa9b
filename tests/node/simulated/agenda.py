"""Simulated time: what is to happen when."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

Event = Callable[[], None]


class Agenda:
    """Events in the order of their times; at equal times, of their entry. A *step* is one event."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.steps = 0
        self.record: deque[str] | None = None
        """The last things that happened, for a person; None while nobody reads them: they cost half of the speed."""
        self._order = 0
        self._events: list[tuple[int, int, Event]] = []

    def at(self, time_ns: int, event: Event) -> None:
        """Enters an event."""
        self._order += 1
        heapq.heappush(self._events, (time_ns, self._order, event))

    def step(self) -> None:
        """Lets the next event happen."""
        self.now_ns, _, event = heapq.heappop(self._events)
        self.steps += 1
        event()

    def note(self, text: str) -> None:
        """Writes a line into the record. Callers ask first whether there is one."""
        if self.record is not None:
            self.record.append(f"{self.now_ns / 1e6:10.2f} ms  step {self.steps:<6} {text}")
