"""Session guarantees of an append-only log whose reads return the whole list, and whose elements are unique.

- **read your writes**: a read shows everything that its session appended before;
- **monotonic reads**: a read shows everything that its session's last read showed, in the same order;
- **monotonic writes**: wherever an element shows, its session's element before it shows, in front of it;
- **writes follow reads**: wherever an element shows, everything that its session read before appending it shows, in
  front of it.

The last two speak of every read. A read that is the beginning of the longest one says nothing that the longest does not
say, so only the longest and those that are no beginning of it are looked at. Elements that were appended more than once
are left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from checkers.guarantees.accusation import SHOWN_MAX, Case, nothing_judged
from checkers.guarantees.contents import Contents
from checkers.guarantees.selection import Rows, acknowledged, by_key, key_of, rows_of
from checkers.guarantees.settings import Settings
from checkers.history import OK, History
from checkers.verdict import Finding, Result
from checkers.wording import place, show

NAME = "session-guarantees"
RYW, MR, MW, WFR = "read your writes", "monotonic reads", "monotonic writes", "writes follow reads"
KINDS = (RYW, MR, MW, WFR)
NOTHING = "No session did two things that can be compared, so no guarantee can be judged."

Column = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Breach:
    kind: str
    rows: tuple[int, ...]
    """The reads and appends that prove it, the judged one last."""
    code: int
    """The element that is missing or behind."""
    other: int
    """The element that it should come before (-1: it is missing from a read that must show it)."""


@dataclass(kw_only=True, slots=True)
class _Log:
    """One key's operations: elements by read, and what each session did before each append."""

    appender: dict[int, int] = field(default_factory=dict)
    lists: dict[int, Column] = field(default_factory=dict)
    before: dict[int, tuple[int, int]] = field(default_factory=dict)
    """element: (its session's element before it, the row of its session's last read before it); -1 if none."""
    judged: int = 0


def judge(history: History, settings: Settings) -> Result:
    """Does every session see its own past?

    Raises:
        HistoryError: a read returned something that is no list.
    """
    contents = Contents(history)
    breaches: list[_Breach] = []
    judged = 0
    rows = rows_of(history, "append", "read")
    if settings.null_read == "unknown":
        rows = rows[history.result[rows] != history.values.find(None)]
    for _, these in by_key(history, rows):
        log = _Log()
        breaches.extend(_sessions(history, contents, these, log))
        breaches.extend(_everywhere(log))
        judged += log.judged
    counts = Counter(breach.kind for breach in breaches)
    findings: list[Finding] = []
    for kind in KINDS:
        shown = [breach for breach in breaches if breach.kind == kind][:SHOWN_MAX]
        findings.extend(_finding(history, contents, breach) for breach in shown)
    if not judged:
        findings.append(nothing_judged(NAME, NOTHING))
    statistics = {
        "operations": len(acknowledged(history, rows)),
        "sessions": len(set(history.process.tolist())),
        "comparisons": judged,
        "order": "places in the lists",
        **{kind.replace(" ", "_"): counts[kind] for kind in KINDS},
    }
    return Result(checker=NAME, findings=tuple(findings), statistics=statistics)


def _sessions(history: History, contents: Contents, rows: Rows, log: _Log) -> Iterator[_Breach]:
    """What each session's own reads must show; and what it knew before each append, for the rest."""
    appends = rows[history.f[rows] == history.function("append")]
    times = Counter(history.value[appends].tolist())
    own: dict[int, list[int]] = {}
    last: dict[int, int] = {}
    for row in rows.tolist():
        process, code = int(history.process[row]), int(history.value[row])
        if history.f[row] == history.function("append"):
            if times[code] == 1:
                mine = own.setdefault(process, [])
                log.appender[code] = row
                log.before[code] = (mine[-1] if mine else -1, last.get(process, -1))
                if history.outcome[row] == OK:
                    mine.append(code)
            continue
        if history.outcome[row] != OK:
            continue
        items = log.lists[row] = contents.of(row)
        at = {code: number for number, code in enumerate(items.tolist())}
        log.judged += bool(own.get(process)) or process in last
        missing = next((code for code in own.get(process, ()) if code not in at), None)
        if missing is not None:
            yield _Breach(RYW, (log.appender[missing], row), missing, -1)
        if process in last:
            yield from _not_monotonic(log, last[process], row, at)
        last[process] = row


def _not_monotonic(log: _Log, earlier: int, row: int, at: dict[int, int]) -> Iterator[_Breach]:
    shown = log.lists[earlier]
    if np.array_equal(shown, log.lists[row][: len(shown)]):
        return
    previous = -1
    for code in shown.tolist():
        if code not in at:
            yield _Breach(MR, (earlier, row), code, -1)
            return
        if previous >= 0 and at[code] < at[previous]:
            yield _Breach(MR, (earlier, row), previous, code)
            return
        previous = code


def _everywhere(log: _Log) -> Iterator[_Breach]:
    """What every read must show in front of an element."""
    if not log.lists:
        return
    longest = max(log.lists, key=lambda row: len(log.lists[row]))
    top = log.lists[longest]
    begins = {row: np.array_equal(items, top[: len(items)]) for row, items in log.lists.items()}
    log.judged += sum(previous >= 0 or read >= 0 for previous, read in log.before.values())
    for row, items in log.lists.items():
        if row != longest and begins[row]:
            continue
        at = {code: number for number, code in enumerate(items.tolist())}
        for code, number in at.items():
            previous, read = log.before.get(code, (-1, -1))
            if previous >= 0 and at.get(previous, len(items)) > number:
                yield _Breach(MW, (log.appender[previous], log.appender[code], row), previous, code)
            if read >= 0 and not (begins[read] and row == longest and len(log.lists[read]) <= number):
                behind = next((item for item in log.lists[read].tolist() if at.get(item, len(items)) >= number), None)
                if behind is not None:
                    yield _Breach(WFR, (read, log.appender[code], row), behind, code)


def _finding(history: History, contents: Contents, breach: _Breach) -> Finding:
    case = Case(history, breach.rows)
    first, read = case.operations[0], case.operations[-1]
    where = "the log" if read.key is None else place(read.key)
    element = show(contents.value(breach.code))
    told = f"The read of {where} by {case.words.who(read)} at {case.words.began(read)}"
    done = f"(over at {case.words.ended(first)})"
    if breach.kind == RYW:
        message = f"{told} does not show {element}, which that process had appended {done}."
    elif breach.kind == MR:
        if breach.other < 0:
            message = f"{told} does not show {element}, which that process's read before {done} showed."
        else:
            other = show(contents.value(breach.other))
            before = f"that process's read before {done} showed {element} in front of {other}"
            message = f"{told} shows {other} in front of {element}; but {before}."
    else:
        other = show(contents.value(breach.other))
        did = "appended" if breach.kind == MW else "read"
        message = (
            f"{told} shows {other} without {element} in front of it; but the process that appended {other} had {did} "
            f"{element} before that {done}."
        )
    key = key_of(history, breach.rows[-1])
    return case.finding(
        NAME, breach.kind, message, key=key, element=contents.value(breach.code), rows=list(breach.rows)
    )
