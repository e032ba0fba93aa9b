"""Hard time-outs for every operation at the price of one timer.

``asyncio.timeout`` around each operation costs more than the rest of the operation (field notes, section 8), because
each is a timer that is made, put into a heap and cancelled. Here every operation has the same time-out and every worker
at most one operation, so the wheel of timers degenerates to one slot a worker: setting and clearing a deadline is one
store into a list, and a tick compares as many integers as there are workers. A deadline is noticed at most one tick
late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

TICKS_PER_TIMEOUT = 50
TICK_S_MIN = 0.005
TICK_S_MAX = 0.05

_NEVER_NS = 1 << 63


class Deadlines:
    """The deadline of each worker's operation, and a tick that finds those that have passed."""

    def __init__(self, workers: int, *, timeout_s: float, clock: Callable[[], int]) -> None:
        self._timeout_ns = round(timeout_s * 1e9)
        self._tick_s = min(TICK_S_MAX, max(TICK_S_MIN, timeout_s / TICKS_PER_TIMEOUT))
        self._clock = clock
        self._due_ns = [_NEVER_NS] * workers
        self._timer: asyncio.TimerHandle | None = None

    def set(self, worker: int, now_ns: int) -> None:
        """The worker's operation begins now."""
        self._due_ns[worker] = now_ns + self._timeout_ns

    def clear(self, worker: int) -> None:
        """The worker has no operation any more."""
        self._due_ns[worker] = _NEVER_NS

    def expired(self, now_ns: int) -> list[int]:
        """Workers whose operation is past its deadline."""
        return [worker for worker, due_ns in enumerate(self._due_ns) if due_ns <= now_ns]

    def start(self, on_tick: Callable[[list[int]], None]) -> None:
        """Calls ``on_tick`` with the expired workers (often none) again and again until stopped."""
        loop = asyncio.get_running_loop()

        def tick() -> None:
            self._timer = loop.call_later(self._tick_s, tick)
            on_tick(self.expired(self._clock()))

        self._timer = loop.call_later(self._tick_s, tick)

    def stop(self) -> None:
        """No more ticks."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
