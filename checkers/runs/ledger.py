"""The ledger of "sometimes" facts: what a run really went through, counted.

A green run whose faults never caused an election has proved little; a campaign in which no log was ever cut has never
tested that code. So the counts are kept per run, and summed over a campaign, where a zero is worth reading.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from checkers.history import FAIL, INFO, OK, History
from checkers.raft.traces import RoleChange, SnapshotEvent, Start, Trace, Truncate
from checkers.runs.windows import Window, fault_windows, overlapping_ok, span_ns
from checkers.verdict import Result

CHECKER = "ledger"

Ledger = dict[str, int]

TRACE_FACTS = (
    "leader elected",
    "leader changed",
    "leader changed under a fault",
    "election with several candidates",
    "term skipped",
    "leader stepped down",
    "log suffix truncated",
    "snapshot taken",
    "snapshot installed",
    "node restarted",
    "trace line torn by a kill",
)
"""What is counted when nodes leave traces; always present then, so that a zero shows."""

HISTORY_FACTS = (
    "ok operation",
    "failed operation",
    "info operation",
    "info operation overlapped a fault",
    "cas succeeded",
    "cas failed",
)
"""What is counted of every history. Per fault family there are ``fault bit: F`` and ``ok operation overlapped F``."""


def keep_ledger(
    history: History, *, traces: Mapping[str, Trace] | None = None, start_monotonic_ns: int | None = None
) -> Result:
    """Counts the facts of one run. With ``start_monotonic_ns`` (nodes share the controller's clock) leader changes are
    put into the faults' windows; without it that count is left out."""
    faults = fault_windows(history.nemesis)
    counts = _of_history(history, faults)
    if traces:
        counts |= _of_traces(traces, faults, span_ns(history)[1], start_monotonic_ns)
    return Result(checker=CHECKER, statistics=counts)


def merge_ledgers(ledgers: Iterable[Mapping[str, int]]) -> Ledger:
    """The sum over many runs."""
    total: Counter[str] = Counter()
    for ledger in ledgers:
        total.update(ledger)
    return dict(total)


def _of_history(history: History, faults: Sequence[Window]) -> Ledger:
    cas = history.f == history.function("cas")
    _, end = span_ns(history)
    counts: Ledger = dict.fromkeys(HISTORY_FACTS, 0)
    counts["ok operation"] = int((history.outcome == OK).sum())
    counts["failed operation"] = int((history.outcome == FAIL).sum())
    counts["info operation"] = int((history.outcome == INFO).sum())
    counts["cas succeeded"] = int((cas & (history.outcome == OK)).sum())
    counts["cas failed"] = int((cas & (history.outcome == FAIL)).sum())
    counts["info operation overlapped a fault"] = _info_under_faults(history, faults, end)
    for fault in faults:
        overlapped = int(overlapping_ok(history, fault.from_ns, fault.end_ns(end)).sum())
        _add(counts, f"fault bit: {fault.family}", int(fault.bit is True))
        _add(counts, f"ok operation overlapped {fault.family}", overlapped)
    return counts


def _add(counts: Ledger, name: str, count: int) -> None:
    counts[name] = counts.get(name, 0) + count


def _info_under_faults(history: History, faults: Sequence[Window], end_ns: int) -> int:
    mask = history.outcome != history.outcome
    for fault in faults:
        ended = (history.return_ns < 0) | (history.return_ns >= fault.from_ns)
        mask |= (history.outcome == INFO) & ended & (history.call_ns <= fault.end_ns(end_ns))
    return int(mask.sum())


def _of_traces(
    traces: Mapping[str, Trace], faults: Sequence[Window], end_ns: int, start_monotonic_ns: int | None
) -> Ledger:
    counts: Ledger = dict.fromkeys(TRACE_FACTS, 0)
    leaders: dict[int, int] = {}  # term -> when (by the leader's clock)
    candidates: dict[int, set[str]] = {}
    seen_terms: set[int] = set()
    for name, trace in traces.items():
        counts["trace line torn by a kill"] += len(trace.torn)
        _count_events(counts, trace)
        for role, term, time in _roles(trace):
            seen_terms.add(term)
            if role == "candidate":
                candidates.setdefault(term, set()).add(name)
            if role == "leader":
                leaders.setdefault(term, time)
    counts["leader elected"] = len(leaders)
    counts["leader changed"] = max(len(leaders) - 1, 0)
    counts["election with several candidates"] = sum(len(names) > 1 for names in candidates.values())
    counts["term skipped"] = sum(1 for term in range(1, max(leaders, default=0)) if term not in leaders)
    if start_monotonic_ns is None:
        del counts["leader changed under a fault"]
    else:
        changes = [leaders[term] - start_monotonic_ns for term in sorted(leaders)[1:]]
        spans = [(fault.from_ns, fault.end_ns(end_ns)) for fault in faults]
        counts["leader changed under a fault"] = sum(any(a <= at <= b for a, b in spans) for at in changes)
    return counts


def _roles(trace: Trace) -> Iterable[tuple[str, int, int]]:
    for _, event in trace.select(RoleChange):
        if isinstance(event, RoleChange):
            yield event.role, event.term, event.time


def _count_events(counts: Ledger, trace: Trace) -> None:
    """What can be counted one event at a time."""
    leading, starts = False, 0
    for _, event in trace.select(Truncate, SnapshotEvent, Start, RoleChange):
        if isinstance(event, Truncate):
            counts["log suffix truncated"] += 1
        elif isinstance(event, SnapshotEvent):
            _add(counts, f"snapshot {event.action}", 1)
        elif isinstance(event, Start):
            starts, leading = starts + 1, False
        elif isinstance(event, RoleChange):
            counts["leader stepped down"] += leading and event.role != "leader"
            leading = event.role == "leader"
    counts["node restarted"] += max(starts - 1, 0)
