"""A queue in any order: what goes in comes out, once.

After Jepsen's ``total-queue``: multisets of what was enqueued and dequeued, whatever the order. ``drain`` returns the
list of all that was left; a dequeue that returns null found the queue empty.

- **unexpected**: a value came out that nobody put in, or before anybody began to put it in;
- **duplicate**: a value came out more often than it can have been put in (Jepsen counts these and lets them pass, for
  queues that deliver at least once: ``at_least_once`` does the same here);
- **lost**: a value was acknowledged and did not come out, though the queue was empty later. Jepsen takes it for granted
  that the queue was drained; here it must have been seen: by a drain or an empty dequeue that began after the enqueue
  was acknowledged (or ``drained`` says so of the end of the history);
- **recovered** (no finding): a value whose enqueue nobody saw end came out.

A dequeue that nobody saw end may have taken one value, a drain any number, at any time after it began. Those excuse
missing values, each at most one, and only those that it can have taken: a value must have been out by the end of the
first such sight of emptiness (its deadline), and a dequeue that began later than that can't have taken it. Deadlines
and beginnings are nested, so by Hall's theorem the least number of values that were lost is the maximum over all
times t of (values due by t) - (unknown dequeues begun before t).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.guarantees.accusation import SHOWN_MAX, Case, listed_some, nothing_judged
from checkers.guarantees.contents import Codes, Contents
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.selection import Rows, acknowledged, by_key, having, rows_of
from checkers.guarantees.settings import Settings
from checkers.history import FAIL, INFO, NEVER, OK, History
from checkers.verdict import Finding, Result
from checkers.wording import place, show

NAME = "total-queue"
_AT_THE_END = NEVER - 1
"""The deadline when the history's end is said to be a sight of emptiness."""

Column = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Missing:
    """Acknowledged values that did not come out, with the time by which they should have.

    ``seen``: the row of the drain or empty dequeue that makes it so (-1: the end of the history)."""

    row: Rows
    deadline: Column
    seen: Rows


@dataclass(frozen=True, kw_only=True, slots=True)
class Losses:
    """``certain``: at least so many of the ``due`` values were lost (all of them, if no ``unknown`` dequeue can have
    taken any). ``unjudged``: acknowledged values that did not come out of a queue that was not seen empty later."""

    certain: int
    due: Missing
    unknown: Rows
    excused: int
    unjudged: int


@dataclass(kw_only=True, slots=True)
class _Queue:
    """What went into one queue and what came out."""

    enqueues: Rows
    taken: Codes
    """Codes of all that came out, and by which row."""
    taken_row: Rows
    empty: Rows
    unknown_dequeues: Rows
    unknown_drains: Rows

    @staticmethod
    def of(history: History, contents: Contents, rows: Rows, *, null_is_empty: bool) -> _Queue:
        f, outcome = history.f[rows], history.outcome[rows]
        dequeues, drains = (rows[f == history.function(name)] for name in ("dequeue", "drain"))
        ok = acknowledged(history, dequeues)
        null = history.result[ok] == history.values.find(None)
        drained = [(row, contents.of(row)) for row in acknowledged(history, drains).tolist()]
        none = np.empty(0, np.int64)
        return _Queue(
            enqueues=rows[f == history.function("enqueue")],
            taken=np.concatenate([history.result[ok[~null]], *(codes for _, codes in drained)]).astype(np.int64),
            taken_row=np.concatenate([ok[~null], *(np.full(len(codes), row) for row, codes in drained)]),
            empty=np.sort(np.concatenate([ok[null & null_is_empty], none, [row for row, _ in drained]])).astype(
                np.int64
            ),
            unknown_dequeues=rows[(f == history.function("dequeue")) & (outcome == INFO)],
            unknown_drains=rows[(f == history.function("drain")) & (outcome == INFO)],
        )


@dataclass(kw_only=True, slots=True)
class _Tally:
    findings: list[Finding] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[Any]] = field(default_factory=dict)


def judge(history: History, settings: Settings) -> Result:
    """Did everything come out that went in, and nothing else?

    Raises:
        HistoryError: a drain returned something that is no list.
        ValueError: a setting has a value that it can't have.
    """
    at_least_once, drained = settings.flag("at_least_once", False), settings.flag("drained", False)
    rows = rows_of(history, "enqueue", "dequeue", "drain")
    contents, tally = Contents(history), _Tally()
    for key, these in by_key(history, rows):
        queue = _Queue.of(history, contents, these, null_is_empty=settings.null_read == "value")
        case = _QueueCase(history, contents, history.keys.values[key], queue)
        _judge_taken(history, case, tally, at_least_once)
        losses = losses_of(history, queue, drained)
        tally.counts["lost"] += losses.certain
        tally.counts["possibly taken by unknown dequeues"] += losses.excused
        tally.counts["not judged"] += losses.unjudged
        if losses.certain:
            tally.names.setdefault("lost", []).extend(history.value[losses.due.row].tolist())
            tally.findings.extend(case.lost(losses))
    if not tally.findings and (tally.counts["not judged"] or not len(acknowledged(history, rows))):
        tally.findings.append(nothing_judged(NAME, _why_unknown(tally.counts["not judged"])))
    return Result(checker=NAME, findings=tuple(tally.findings), statistics=_statistics(history, rows, contents, tally))


def _why_unknown(count: int) -> str:
    if not count:
        return "No operation ended ok, so nothing is known of what went in and what came out."
    what = "1 acknowledged value" if count == 1 else f"{count} acknowledged values"
    return (
        f"{what} did not come out, and the queue was not seen empty afterwards, so nobody knows whether they are still "
        'in it; drain it at the end, or set "drained" if it was.'
    )


def _judge_taken(history: History, case: _QueueCase, tally: _Tally, at_least_once: bool) -> None:
    queue = case.queue
    attempts = np.bincount(history.value[queue.enqueues], minlength=case.contents.size)
    begun = np.full(case.contents.size, NEVER)
    begun[history.value[queue.enqueues][::-1]] = history.call[queue.enqueues][::-1]  # the first is written last
    inside = np.minimum(queue.taken, case.contents.size - 1)
    possible = np.where(queue.taken < case.contents.size, attempts[inside], 0)
    early = (possible > 0) & (history.return_[queue.taken_row] < begun[inside])
    times = np.bincount(queue.taken, minlength=case.contents.size)
    codes, first = np.unique(queue.taken, return_index=True)
    strange = [(int(code), int(queue.taken_row[at])) for code, at in zip(codes, first, strict=True) if not possible[at]]
    twice = [int(code) for code, at in zip(codes, first, strict=True) if 0 < possible[at] < times[code]]
    acked = np.bincount(history.value[acknowledged(history, queue.enqueues)], minlength=case.contents.size)
    here = codes[codes < case.contents.size]
    tally.counts["recovered"] += int(np.maximum(np.minimum(times[here], attempts[here]) - acked[here], 0).sum())
    tally.counts["unexpected"] += len(strange) + int(early.sum())
    tally.counts["duplicated"] += len(twice)
    tally.names.setdefault("unexpected", []).extend(code for code, _ in strange)
    tally.names.setdefault("duplicated", []).extend(twice)
    tally.findings.extend(case.unexpected(code, row) for code, row in strange[:SHOWN_MAX])
    early_at = np.flatnonzero(early)[:SHOWN_MAX].tolist()
    tally.findings.extend(case.early(int(queue.taken[at]), int(queue.taken_row[at])) for at in early_at)
    if not at_least_once:
        tally.findings.extend(case.duplicate(code, int(attempts[code])) for code in twice[:SHOWN_MAX])


def losses_of(history: History, queue: _Queue, drained: bool) -> Losses:
    """How many acknowledged values were certainly lost, and which ones are due."""
    missing = _missing(history, queue, drained)
    judged = missing.deadline < NEVER
    drain_calls = history.call[queue.unknown_drains]
    due = judged & (missing.deadline <= (drain_calls.min() if len(drain_calls) else NEVER))
    order = np.argsort(missing.deadline[due], kind="stable")
    rows, deadline, seen = (column[due][order] for column in (missing.row, missing.deadline, missing.seen))
    unknown = queue.unknown_dequeues
    begun = np.searchsorted(history.call[unknown], deadline, side="left")
    short = np.arange(1, len(rows) + 1) - begun
    certain = max(int(short.max(initial=0)), 0)
    upto = int(short.argmax()) + 1 if certain else 0
    return Losses(
        certain=certain,
        due=Missing(row=rows[:upto], deadline=deadline[:upto], seen=seen[:upto]),
        unknown=unknown[: begun[upto - 1]] if upto else unknown[:0],
        excused=int(judged.sum()) - certain,
        unjudged=int((~judged).sum()),
    )


def _missing(history: History, queue: _Queue, drained: bool) -> Missing:
    """Acknowledged enqueues of values that came out less often, the last acknowledged first: they have the latest
    deadlines, and any of equal values may be the one that is missing."""
    acks = acknowledged(history, queue.enqueues)
    codes = history.value[acks]
    order = np.lexsort((-history.return_[acks], codes))
    codes, acks = codes[order], acks[order]
    starts = np.searchsorted(codes, codes, side="left")
    times = np.bincount(queue.taken, minlength=int(codes.max(initial=0)) + 1)
    count = np.searchsorted(codes, codes, side="right") - starts
    missing = np.arange(len(codes)) - starts < count - times[codes]
    rows = acks[missing]
    ends = history.return_[queue.empty]
    latest = np.minimum.accumulate(ends[::-1])[::-1] if len(ends) else ends
    place_ = np.searchsorted(history.call[queue.empty], history.return_[rows], side="right")
    last = _AT_THE_END if drained else NEVER
    deadline = np.append(latest, last)[place_]
    by_end = np.argsort(ends, kind="stable")
    seen = np.append(queue.empty[by_end], -1)[np.searchsorted(ends[by_end], deadline, side="left")]
    return Missing(row=rows, deadline=deadline, seen=seen)


class _QueueCase:
    """The sentences about one queue."""

    def __init__(self, history: History, contents: Contents, key: Any, queue: _Queue) -> None:
        self.history, self.contents, self.key, self.queue = history, contents, key, queue
        self.where = "the queue" if key is None else place(key)

    def _takers(self, code: int) -> list[int]:
        rows: list[int] = self.queue.taken_row[self.queue.taken == code].tolist()
        return rows

    def _enqueues(self, code: int) -> list[int]:
        rows: list[int] = self.queue.enqueues[self.history.value[self.queue.enqueues] == code].tolist()
        return rows

    def unexpected(self, code: int, row: int) -> Finding:
        history = self.history
        failed = having(history, "enqueue") & (history.outcome == FAIL) & (history.value == code)
        attempts = np.flatnonzero(failed & (history.key == history.key[row]))
        why = "though every attempt to put it in certainly failed" if len(attempts) else "which nobody put in"
        case = Case(history, [row, *attempts[:1].tolist()])
        message = f"{self._came_out(case, code)}, {why}."
        return case.finding(NAME, "unexpected", message, key=self.key, value=self.contents.value(code))

    def early(self, code: int, row: int) -> Finding:
        first = self._enqueues(code)[0]
        case = Case(self.history, [row, first])
        taker, enqueue = case.operations
        message = (
            f"{self._came_out(case, code)}, and that was over at {case.words.ended(taker)}; but nobody began to put it "
            f"in before {case.words.began(enqueue)}."
        )
        return case.finding(NAME, "unexpected", message, key=self.key, value=self.contents.value(code))

    def duplicate(self, code: int, attempts: int) -> Finding:
        takers, enqueues = self._takers(code), self._enqueues(code)
        case = Case(self.history, [*dict.fromkeys(takers), *enqueues][: SHOWN_MAX + 1])
        times = "once" if attempts == 1 else f"{attempts} times"
        who = [case.words.who(item) for item in case.operations if item.f != "enqueue"]
        message = (
            f"{show(self.contents.value(code))} came out of {self.where} {len(takers)} times ({', '.join(who)}), but "
            f"was put in {times} at most."
        )
        return case.finding(
            NAME, "duplicate", message, key=self.key, value=self.contents.value(code), times=len(takers), put=attempts
        )

    def _came_out(self, case: Case, code: int) -> str:
        taker = case.operations[0]
        did = "the drain" if taker.f == "drain" else "the dequeue"
        who = f"{did} by {case.words.who(taker)} at {case.words.began(taker)}"
        return f"{show(self.contents.value(code))} came out of {self.where} ({who})"

    def lost(self, losses: Losses) -> list[Finding]:
        """One finding a value if nothing can have taken any of them; else one for all that are due."""
        due = losses.due
        if len(losses.unknown):
            return [self._some_lost(losses)]
        together = zip(due.row[:SHOWN_MAX].tolist(), due.seen[:SHOWN_MAX].tolist(), strict=True)
        return [self._one_lost(row, seen) for row, seen in together]

    def _one_lost(self, row: int, seen: int) -> Finding:
        case = Case(self.history, [row, seen] if seen >= 0 else [row])
        enqueue = case.operations[0]
        told = f"{show(enqueue.value)} was put into {self.where} by {case.words.who(enqueue)}"
        message = (
            f"{told} (acknowledged at {case.words.ended(enqueue)}) and never came out, but {self._emptied(case, seen)}."
        )
        return case.finding(NAME, "lost", message, key=self.key, value=enqueue.value, enqueue=row, seen_empty=seen)

    def _emptied(self, case: Case, seen: int) -> str:
        if seen < 0:
            return "the queue was drained at the end"
        sight = self.history.operation(seen)
        did = "the drain" if sight.f == "drain" else "the empty dequeue"
        return f"{did} by {case.words.who(sight)}, which began at {case.words.began(sight)}, found nothing more"

    def _some_lost(self, losses: Losses) -> Finding:
        due, unknown = losses.due, losses.unknown
        seen = int(due.seen[-1])
        shown = due.row[:SHOWN_MAX].tolist()
        case = Case(self.history, [*shown, *([seen] if seen >= 0 else []), *unknown[:SHOWN_MAX].tolist()])
        values = [self.history.operation(row).value for row in listed_some(due.row.tolist())]
        some = ", ".join(map(show, values[:SHOWN_MAX]))
        message = (
            f"{len(due.row)} values were put into {self.where}, acknowledged, and never came out ({some}"
            f"{', ...' if len(values) > SHOWN_MAX else ''}), but {self._emptied(case, seen)}; the dequeues that nobody "
            f"saw end and that began before can have taken {len(unknown)} of them, so {losses.certain} were lost."
        )
        facts = {"values": values, "certain": losses.certain, "unknown": listed_some(unknown.tolist())}
        return case.finding(NAME, "lost", message, key=self.key, **facts)


def _statistics(history: History, rows: Rows, contents: Contents, tally: _Tally) -> Mapping[str, Any]:
    functions = {name: rows[history.f[rows] == history.function(name)] for name in ("enqueue", "dequeue", "drain")}
    kinds = ("lost", "unexpected", "duplicated", "recovered", "possibly taken by unknown dequeues", "not judged")
    return {
        **{f"{name}s": len(these) for name, these in functions.items()},
        "enqueues_acknowledged": int((history.outcome[functions["enqueue"]] == OK).sum()),
        **{kind.replace(" ", "_"): tally.counts[kind] for kind in kinds},
        "values": {
            kind: [contents.value(code) for code in listed_some(codes)] for kind, codes in tally.names.items() if codes
        },
    }


TOTAL_QUEUE = Guarantee(
    name=NAME,
    judge=judge,
    functions=frozenset({"enqueue", "dequeue", "drain"}),
    summary="a queue in any order: what goes in comes out once, and nothing else does",
    settings={
        "at_least_once": "whether a value may come out more than once (default false)",
        "drained": "whether the queue was empty at the end of the history (default: only if it was seen)",
    },
)
