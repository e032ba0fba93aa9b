"""How late the controller's event loop is: a starved controller sees time-outs and slow replies that the system under
test never had.

A callback asks to be called every 20 ms and notes by how much it is late. Costs 50 callbacks a second. A run whose
worst lag passes the scenario's bound is ``unknown``, class machine (design, section 6).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

INTERVAL_S = 0.02
_FINE_MS = 0.1


class LagMonitor:
    """Measures while it is started. Lags are kept as a histogram, so that hours cost no more memory than seconds."""

    def __init__(self) -> None:
        self._histogram: Counter[int] = Counter()
        self._max_s = 0.0
        self._due_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._now: Callable[[], float] = lambda: 0.0

    def start(self) -> None:
        """Begins to measure the running event loop."""
        loop = asyncio.get_running_loop()
        self._now = loop.time
        self._schedule(loop)

    def stop(self) -> None:
        """Ends measuring. A lag that is going on counts. Safe to call twice."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._note(max(0.0, self._now() - self._due_s))

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due_s = loop.time() + INTERVAL_S
        self._timer = loop.call_later(INTERVAL_S, self._tick, loop)

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._note(max(0.0, loop.time() - self._due_s))
        self._schedule(loop)

    def _note(self, lag_s: float) -> None:
        self._max_s = max(self._max_s, lag_s)
        self._histogram[_bucket(lag_s * 1000)] += 1

    @property
    def max_ms(self) -> float:
        """The worst lag."""
        return self._max_s * 1000

    @property
    def p99_ms(self) -> float:
        """What 99 of 100 lags did not pass, to two digits; 0 when nothing was measured."""
        wanted = self._histogram.total() * 0.99
        seen = 0
        for bucket in sorted(self._histogram):
            seen += self._histogram[bucket]
            if seen >= wanted:
                return bucket * _FINE_MS
        return 0.0

    def starved(self, bound_ms: float) -> bool:
        """Whether the loop was ever later than the bound."""
        return self.max_ms > bound_ms

    def to_json(self) -> dict[str, float]:
        """The ``lag`` of ``run.json``."""
        return {"controller_max_ms": round(self.max_ms, 2), "controller_p99_ms": round(self.p99_ms, 2)}


def _bucket(lag_ms: float) -> int:
    """Lag in tenths of a millisecond, rounded up to two digits: at most 90 buckets a decade."""
    tenths = int(lag_ms / _FINE_MS) + 1 if lag_ms > 0 else 0
    step: int = 10 ** max(0, len(str(tenths)) - 2)
    return -(-tenths // step) * step
