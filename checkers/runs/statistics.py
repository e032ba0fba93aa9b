"""The figures of a run: counts, rates, latencies, errors. Judges nothing.

Latencies are in ms from invocation to completion, as clients saw them (all attempts of an operation together);
quantiles are latencies that really occurred, not interpolated. Rates are over the time in which the cluster ran: what
it stood frozen for inspection is told apart. Operations that nobody saw end count as ``info`` and
have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from checkers.history import ABSENT, FAIL, INFO, OK, Column, History
from checkers.runs.windows import freeze_windows, span_ns
from checkers.verdict import Result

CHECKER = "statistics"

_OUTCOMES: Mapping[str, int] = {"ok": OK, "fail": FAIL, "info": INFO}
_QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_ERRORS_MAX = 20


def measure(history: History) -> Result:
    """Counts, rates and latencies over all, per function, per node and per kind of process; the commonest errors."""
    begin, end = span_ns(history)
    frozen = sum(
        max(min(window.end_ns(end), end) - max(window.from_ns, begin), 0) for window in freeze_windows(history.nemesis)
    )
    seconds = (end - begin - frozen) / 1e9
    every = np.ones(len(history), dtype=np.bool_)
    total = _figures(history, every)
    statistics = {
        "operations": len(history),
        "seconds": round(seconds, 3),
        **({"frozen_s": round(frozen / 1e9, 3)} if frozen else {}),
        "rate_per_s": round(len(history) / seconds, 1) if seconds else 0.0,
        "ok_per_s": round(int((history.outcome == OK).sum()) / seconds, 1) if seconds else 0.0,
        "outcomes": total,
        "functions": _by_code(history, history.f, history.functions),
        "nodes": _by_code(history, history.node, history.nodes),
        "processes": _by_kind(history),
        "errors": _errors(history),
    }
    return Result(checker=CHECKER, statistics=statistics)


def _figures(history: History, mask: Column) -> dict[str, Any]:
    """Per outcome that occurs: count and latency."""
    figures: dict[str, Any] = {}
    for name, code in _OUTCOMES.items():
        chosen = mask & (history.outcome == code)
        count = int(chosen.sum())
        if count:
            figures[name] = {"count": count, "latency_ms": latency_ms(history, chosen)}
    return figures


def latency_ms(history: History, mask: Column) -> dict[str, float] | None:
    """The latency quantiles of some operations; None if nobody saw any of them end."""
    ended = mask & (history.return_ns >= 0)
    latencies = np.sort(history.return_ns[ended] - history.call_ns[ended])
    if not len(latencies):
        return None
    ranks = {name: max(int(np.ceil(share * len(latencies))) - 1, 0) for name, share in _QUANTILES.items()}
    return {name: round(int(latencies[rank]) / 1e6, 3) for name, rank in ranks.items()}


def _by_code(history: History, column: Column, names: Any) -> dict[str, Any]:
    return {name: _figures(history, column == code) for code, name in enumerate(names) if (column == code).any()}


def _by_kind(history: History) -> dict[str, Any]:
    """Processes that only ever read against all others: a stale side shows in the readers first."""
    if not len(history):
        return {}
    processes, place = np.unique(history.process, return_inverse=True)
    others = np.bincount(place, weights=history.f != history.function("read"), minlength=len(processes))
    reads_only = (others == 0)[place]
    kinds = {"readers": reads_only, "writers": ~reads_only}
    return {
        name: {"processes": len(np.unique(history.process[mask])), **_figures(history, mask)}
        for name, mask in kinds.items()
        if mask.any()
    }


def _errors(history: History) -> list[dict[str, Any]]:
    codes = history.error[history.error != ABSENT]
    counts = np.bincount(codes, minlength=len(history.errors)) if len(codes) else np.zeros(0, dtype=np.int64)
    order = np.argsort(-counts, kind="stable")[:_ERRORS_MAX]
    return [{"error": history.errors[code], "count": int(counts[code])} for code in order if counts[code]]
