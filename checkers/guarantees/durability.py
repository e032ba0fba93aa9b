"""Durability: what was acknowledged is there at the end.

Holds acknowledged writes against the final reads (events with ``final: true``, taken after everything was healed).
What the history holds is told by its functions: ``add`` and ``read`` a set, ``append`` and ``read`` a log, ``write``,
``cas`` and ``read`` registers, ``enqueue`` with ``dequeue`` and ``drain`` a queue. Per key:

- a **set** or a **log**: an element whose add or append was acknowledged before some final read began, and that no
  final read that began later shows, is lost. Only what *no* final read shows: one that a single node lacks is counted
  (``on_some_final_reads_only``), and the other checks speak of stale reads;
- a **register**: a write is lost if every final read that began after its acknowledgement shows a value that is
  provably older: every write of that value was known before this one began (:mod:`checkers.guarantees.overwriting`). So
  a write is never called lost if an operation whose end nobody saw may have overwritten it. Of several lost writes of a
  key the one that began last is named: the others may have been overwritten by it;
- a **queue**: :mod:`checkers.guarantees.total_queue` says what was lost.

A key without a final read says nothing; if there is none at all, the verdict is ``unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.guarantees.accusation import SHOWN_MAX, Case, listed_some, nothing_judged
from checkers.guarantees.contents import Contents
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.overwriting import Registers, observations
from checkers.guarantees.selection import Rows, acknowledged, by_key, having, rows_of
from checkers.guarantees.settings import Settings
from checkers.guarantees.total_queue import TOTAL_QUEUE
from checkers.history import FAIL, NEVER, History, HistoryError
from checkers.verdict import Finding, Result
from checkers.wording import place, show

NAME = "durability"
_KINDS = {"add": "set", "append": "log", "write": "registers", "cas": "registers", "enqueue": "queue"}

Column = npt.NDArray[np.int64]


def judge(history: History, settings: Settings) -> Result:
    """Is everything that was acknowledged there at the end?

    Raises:
        HistoryError: the history mixes data types, or a read of a set or a log returned something that is no list.
    """
    kind = _kind(history)
    if kind == "queue":
        return _queue(history, settings)
    final = acknowledged(history, rows_of(history, "read"))
    final = final[history.final[final]]
    if settings.null_read == "unknown":
        final = final[history.result[final] != history.values.find(None)]
    found = _elements(history, final) if kind in ("set", "log") else _registers(history, final, settings)
    findings = list(found.findings)
    if not findings and not found.judged:
        findings.append(nothing_judged(NAME, _why_nothing(final, kind)))
    statistics = {
        "data": kind or "nothing",
        "final_reads": len(final),
        "acknowledged": len(acknowledged(history, rows_of(history, *_KINDS))),
        "judged": found.judged,
        "lost": found.lost,
        "lost_values": found.values,
        "on_some_final_reads_only": found.some,
    }
    return Result(checker=NAME, findings=tuple(findings), statistics=statistics)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    findings: tuple[Finding, ...] = ()
    judged: int = 0
    lost: int = 0
    values: tuple[Any, ...] = ()
    some: int = 0


def _kind(history: History) -> str:
    kinds = {kind for name, kind in _KINDS.items() if having(history, name).any()}
    if len(kinds) > 1:
        problem = f"the history is one of {' and '.join(sorted(kinds))} at once"
        raise HistoryError(history.source, None, problem, "Judge the data types one by one.")
    return next(iter(kinds), "")


def _why_nothing(final: Rows, kind: str) -> str:
    if not len(final):
        return 'No final read ended ok (an event with "final": true), so nothing is known of what was there at the end.'
    what = kind or "anything"
    return f"No operation on the {what} was acknowledged before a final read of its key began, so none had to be there."


def _elements(history: History, final: Rows) -> _Found:
    """Elements of sets and logs."""
    contents = Contents(history)
    finals = dict(by_key(history, final))
    findings: list[Finding] = []
    lost: list[int] = []
    judged = some = 0
    for key, acks in by_key(history, acknowledged(history, rows_of(history, "add", "append"))):
        reads = finals.get(key, final[:0])
        begun = len(reads) - np.searchsorted(history.call[reads], history.return_[acks])
        shown = np.zeros(len(acks), np.int64)
        for read in reads.tolist():
            there = np.zeros(contents.size, np.bool_)
            codes = contents.of(read)
            there[codes[codes < contents.size]] = True
            shown += there[history.value[acks]] & (history.return_[acks] < history.call[read])
        gone = acks[(begun > 0) & (shown == 0)]
        judged += int((begun > 0).sum())
        some += int(((shown > 0) & (shown < begun)).sum())
        lost.extend(gone.tolist())
        findings.extend(_lost_element(history, row, reads) for row in gone[:SHOWN_MAX].tolist())
    values = [history.operation(row).value for row in listed_some(lost)]
    return _Found(findings=tuple(findings), judged=judged, lost=len(lost), values=tuple(values), some=some)


def _lost_element(history: History, row: int, reads: Rows) -> Finding:
    later = reads[history.call[reads] > history.return_[row]]
    case = Case(history, [row, *later[:SHOWN_MAX].tolist()])
    done, read = case.operations[:2]
    key = done.key
    did = "added to" if done.f == "add" else "appended to"
    where = ("the set" if done.f == "add" else "the log") if key is None else place(key)
    message = (
        f"{show(done.value)} was {did} {where} by {case.words.who(done)} (acknowledged at {case.words.ended(done)}), "
        f"but {_none_shows(case, read, len(later))}."
    )
    return case.finding(
        NAME, "lost", message, key=key, value=done.value, row=row, final_reads=listed_some(later.tolist())
    )


def _none_shows(case: Case, read: Any, count: int) -> str:
    one = f"the final read by {case.words.who(read)} at {case.words.began(read)}"
    return f"{one} does not show it" if count == 1 else f"none of the {count} final reads since ({one} first) shows it"


def _registers(history: History, final: Rows, settings: Settings) -> _Found:
    """The last lost write of each key."""
    registers = Registers.of(history, observations(history, settings.null_read), settings.initial)
    settled = registers.settled_by(final, history.result[final].astype(np.int64))
    at = {int(row): int(position) for row, position in zip(final, settled, strict=True)}
    finals = dict(by_key(history, final))
    findings: list[Finding] = []
    values: list[Any] = []
    judged = 0
    for key, acks in by_key(history, acknowledged(history, rows_of(history, "write", "cas"))):
        reads = finals.get(key, final[:0])
        if not len(reads):
            continue
        newest = np.maximum.accumulate([at[int(read)] for read in reads[::-1]])[::-1]
        since = np.searchsorted(history.call[reads], history.return_[acks], side="right")
        judged += bool((since < len(reads)).any())
        shows = np.append(newest, NEVER)[since]
        lost = acks[shows < history.call[acks]]
        if len(lost):
            row = int(lost[-1])  # the one that began last: it, or what overwrote it, is what the final reads lack
            findings.append(_lost_write(history, row, reads[history.call[reads] > history.return_[row]]))
            values.append(_new(history, row))
    shown = tuple(findings[:SHOWN_MAX])
    return _Found(findings=shown, judged=judged, lost=len(values), values=tuple(listed_some(values)))


def _new(history: History, row: int) -> Any:
    return history.values.values[int(history.value[row])]


def _lost_write(history: History, row: int, reads: Rows) -> Finding:
    read = int(reads[0])
    shown = int(history.result[read])
    writers = having(history, "write", "cas") & (history.value == shown) & (history.outcome != FAIL)
    older = np.flatnonzero(writers & (history.key == history.key[row]))
    case = Case(history, [row, *reads[:SHOWN_MAX].tolist(), *older[:SHOWN_MAX].tolist()])
    lost, final = case.operations[:2]
    value = show(final.result)
    if len(older):
        since = f"and {value} was written before that write began at {case.words.began(lost)}, and never again"
    else:
        since = f"and {value} is the initial value"
    many = "" if len(reads) == 1 else f" (none of the {len(reads)} final reads since shows anything newer)"
    message = (
        f"The write of {show(_new(history, row))} to {place(lost.key)} by {case.words.who(lost)} was acknowledged at "
        f"{case.words.ended(lost)}; but the final read by {case.words.who(final)} at {case.words.began(final)} "
        f"returned {value}, {since}{many}."
    )
    return case.finding(
        NAME, "lost", message, key=lost.key, value=_new(history, row), row=row, final_reads=listed_some(reads.tolist())
    )


def _queue(history: History, settings: Settings) -> Result:
    """What total-queue calls lost, under this check's name."""
    result = TOTAL_QUEUE.check(history, null_read=settings.null_read)
    kept = [item for item in result.findings if item.kind in ("lost", "nothing to judge")]
    statistics: Mapping[str, Any] = {"data": "queue", **result.statistics}
    renamed = tuple(_renamed(finding) for finding in kept)
    return Result(checker=NAME, findings=renamed, statistics=statistics)


def _renamed(finding: Finding) -> Finding:
    return Finding(
        checker=NAME,
        kind=finding.kind,
        message=finding.message,
        blame=finding.blame,
        key=finding.key,
        operations=finding.operations,
        nodes=finding.nodes,
        time_ns=finding.time_ns,
        evidence=finding.evidence,
    )


DURABILITY = Guarantee(
    has_initial=True,
    name=NAME,
    judge=judge,
    functions=frozenset({"add", "append", "write", "cas", "read", "enqueue", "dequeue", "drain"}),
    summary="what was acknowledged is in the final reads (sets, logs, registers, queues)",
)
