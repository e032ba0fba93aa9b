"""How long the system served nobody: per fault and overall. Judges nothing; progress after healing is liveness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from checkers.history import OK, Column, History
from checkers.runs.windows import Window, fault_windows, freeze_windows, ok_times, overlapping_ok, span_ns
from checkers.verdict import Result

CHECKER = "availability"

GRACE_NS = 5_000_000_000
"""How long after healing a gap still counts as the fault's: election and reconnection take that long."""


def measure(history: History, *, grace_ns: int = GRACE_NS) -> Result:
    """Per fault, from its injection until ``grace_ns`` after its healing (but not into the next fault, whose gap that
    would be): the longest time without an ok completion, how long until an operation invoked under the fault
    succeeded, and the operations that overlapped it. Nothing after the end of the load counts: nobody asked then; nor
    does anything after the nodes were frozen for inspection: nobody could answer.
    """
    frozen_ns = min((window.from_ns for window in freeze_windows(history.nemesis)), default=None)
    if frozen_ns is not None:
        history = history.select(history.call_ns < frozen_ns)
    begin, end = _load_ns(history)
    end = end if frozen_ns is None else min(end, frozen_ns)
    times = ok_times(history)
    overall = longest_gap(times, begin, end)
    windows = fault_windows(history.nemesis)
    faults = [_fault(history, times, window, _until(window, windows, end, grace_ns), end) for window in windows]
    statistics = {"longest_gap_ms": _ms(overall[0]), "gap_from_ns": overall[1], "faults": faults}
    return Result(checker=CHECKER, statistics=statistics)


def longest_gap(times: Column, from_ns: int, to_ns: int) -> tuple[int, int]:
    """The longest stretch of ``[from_ns, to_ns]`` without one of the rising ``times``: (length, begin), in ns."""
    if to_ns <= from_ns:
        return 0, from_ns
    inside = times[np.searchsorted(times, from_ns, "right") : np.searchsorted(times, to_ns, "left")]
    marks = np.concatenate(([from_ns], inside, [to_ns]))
    gaps = np.diff(marks)
    place = int(np.argmax(gaps))
    return int(gaps[place]), int(marks[place])


def _load_ns(history: History) -> tuple[int, int]:
    """First invocation and last event of the load: final reads come after it, when everything has been healed."""
    load = ~history.final
    if not load.any():
        return span_ns(history)
    calls = history.call_ns[load]
    return int(calls.min()), int(max(calls.max(), history.return_ns[load].max()))


def _until(window: Window, windows: Sequence[Window], end_ns: int, grace_ns: int) -> int:
    """Where the search for a fault's gap ends."""
    healed = window.end_ns(end_ns)
    following = [other.from_ns for other in windows if other.from_ns >= healed]
    return min(healed + grace_ns, end_ns, *following)


def _fault(history: History, times: Column, window: Window, until: int, end_ns: int) -> dict[str, Any]:
    healed = window.end_ns(end_ns)
    gap, gap_from = longest_gap(times, window.from_ns, until)
    under_way = (history.call_ns <= healed) & ((history.return_ns < 0) | (history.return_ns >= window.from_ns))
    return {
        "id": window.id,
        "family": window.family,
        "summary": window.summary,
        "from_ns": window.from_ns,
        "to_ns": window.to_ns,
        "longest_gap_ms": _ms(gap),
        "gap_from_ns": gap_from,
        "gap_until_ns": until,
        "next_ok_ms": _next_ok_ms(history, window),
        "operations": int(under_way.sum()),
        "ok": int(overlapping_ok(history, window.from_ns, healed).sum()),
    }


def _next_ok_ms(history: History, window: Window) -> float | None:
    """From the moment the fault was in force until an operation that was invoked later succeeded; None: never."""
    since = window.from_ns if window.injected_ns is None else window.injected_ns
    returns = history.return_ns[(history.outcome == OK) & (history.call_ns >= since)]
    return _ms(int(returns.min()) - since) if len(returns) else None


def _ms(ns: int) -> float:
    return round(ns / 1e6, 3)
