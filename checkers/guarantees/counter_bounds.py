"""A counter, by bounds: every read lies between what must and what can have been added.

After Jepsen's ``counter``: a read shows at least the adds that ended ok before it began and at most those that began
before it ended, failed ones never. Adds may be of any size: a negative one that may or may not count lowers the lower
bound. Jepsen judges each read by itself, so that it passes a counter that goes backwards between two reads (jepsen
issue 303). If no add is negative, a read here must also show no less than any read that was over before it began.

These are bounds: a value between them need not be a sum of adds, and what was added between two reads is not held
against their difference. For steps of one ``--model counter`` is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.event import shorten
from checkers.guarantees.accusation import SHOWN_MAX, Case, nothing_judged
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.selection import Rows, acknowledged, by_key, rows_of
from checkers.guarantees.settings import Settings
from checkers.history import History, HistoryError
from checkers.verdict import Finding, Result
from checkers.wording import place

NAME = "counter-bounds"
_LARGEST = 2**62

Column = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Counter:
    """One counter's adds and reads in order of invocation; amounts and values as numbers."""

    key: Any
    adds: Rows
    amount: Column
    reads: Rows
    value: Column
    lower: Column
    upper: Column


def judge(history: History, settings: Settings) -> Result:
    """Is every read within its bounds?

    Raises:
        HistoryError: an amount or a value is no whole number, or the amounts are too large to be summed.
    """
    start = 0 if settings.initial is None else settings.initial
    if type(start) is not int:
        raise ValueError(f"the initial value of a counter is {start!r}; use a whole number")
    rows = rows_of(history, "add", "read")
    findings: list[Finding] = []
    counts = {"reads": 0, "adds": 0, "below": 0, "above": 0, "backwards": 0}
    for key, these in by_key(history, rows):
        counter = _counter(history, these, history.keys.values[key], start, settings.null_read)
        counts["reads"] += len(counter.reads)
        counts["adds"] += len(counter.adds)
        outside = np.flatnonzero((counter.value < counter.lower) | (counter.value > counter.upper))
        counts["below"] += int((counter.value < counter.lower).sum())
        counts["above"] += int((counter.value > counter.upper).sum())
        findings.extend(_outside(history, counter, number) for number in outside[:SHOWN_MAX].tolist())
        pairs = _backwards(history, counter)
        counts["backwards"] += len(pairs)
        findings.extend(_went_back(history, counter, *pair) for pair in pairs[:SHOWN_MAX])
    if not counts["reads"]:
        findings.append(nothing_judged(NAME, "No read ended ok, so nothing is known of what was counted."))
    return Result(checker=NAME, findings=tuple(findings), statistics=counts)


def _counter(history: History, rows: Rows, key: Any, start: int, null_read: str) -> _Counter:
    adds = rows[history.f[rows] == history.function("add")]
    reads = acknowledged(history, rows[history.f[rows] == history.function("read")])
    if null_read == "unknown":
        reads = reads[history.result[reads] != history.values.find(None)]
    amount = _numbers(history, adds, history.value[adds], None)
    value = _numbers(history, reads, history.result[reads], 0)
    if float(np.abs(amount.astype(np.float64)).sum()) + abs(start) >= _LARGEST:
        problem = "the amounts add up to more than a counter of 62 bits holds"
        raise HistoryError(history.source, None, problem, "Use smaller amounts.")
    lower, upper = _bounds(history, adds, amount, reads, start)
    return _Counter(key=key, adds=adds, amount=amount, reads=reads, value=value, lower=lower, upper=upper)


def _numbers(history: History, rows: Rows, codes: npt.NDArray[Any], null: int | None) -> Column:
    values = history.values.values
    for row, code in zip(rows.tolist(), codes.tolist(), strict=True):
        value = values[code]
        if (type(value) is not int or abs(value) >= _LARGEST) and not (value is None and null is not None):
            line, f = int(history.call[row]) + 1, history.functions[int(history.f[row])]
            what = "the result of a read" if f == "read" else "the value of an add"
            problem = f"{what} is {shorten(value)}"
            raise HistoryError(history.source, line, problem, "Counters are whole numbers of at most 62 bits.")
    found = [null if values[code] is None else values[code] for code in codes.tolist()]
    return np.array(found, dtype=np.int64)


def _bounds(history: History, adds: Rows, amount: Column, reads: Rows, start: int) -> tuple[Column, Column]:
    """What each read must and can show."""
    certain = _sums(history.return_[adds], amount, history.call[reads])
    begun, over = history.return_[reads], history.call[reads]
    call, end = history.call[adds], history.return_[adds]
    plus, minus = np.maximum(amount, 0), np.minimum(amount, 0)
    # What may have counted began before the read ended, less what is certain.
    most = _sums(call, plus, begun) - _sums(end, plus, over)
    least = _sums(call, minus, begun) - _sums(end, minus, over)
    return start + certain + least, start + certain + most


def _sums(position: Column, amount: Column, before: Column) -> Column:
    """The sum of the amounts whose positions are less than each of ``before``."""
    order = np.argsort(position, kind="stable")
    sums: Column = np.concatenate(([0], np.cumsum(amount[order])))
    return sums[np.searchsorted(position[order], before, side="left")]


def _backwards(history: History, counter: _Counter) -> list[tuple[int, int]]:
    """(earlier read, later read) for later reads that show less."""
    if (counter.amount < 0).any() or not len(counter.reads):
        return []
    ends = np.argsort(history.return_[counter.reads], kind="stable")
    ended = history.return_[counter.reads][ends]
    best = _running_best(counter.value[ends])
    pairs = []
    place_ = np.searchsorted(ended, history.call[counter.reads], side="left")
    for number in np.flatnonzero(place_ > 0).tolist():
        earlier = int(ends[best[place_[number] - 1]])
        if counter.value[number] < counter.value[earlier]:
            pairs.append((earlier, number))
    return pairs


def _running_best(values: Column) -> Column:
    """The place of the greatest value so far, for each place."""
    greatest = np.maximum.accumulate(values)
    return np.maximum.accumulate(np.where(values == greatest, np.arange(len(values)), 0))


def _outside(history: History, counter: _Counter, number: int) -> Finding:
    row, value = int(counter.reads[number]), int(counter.value[number])
    low, high = int(counter.lower[number]), int(counter.upper[number])
    open_ = (history.call[counter.adds] < history.return_[row]) & (history.return_[counter.adds] > history.call[row])
    case = Case(history, [row, *counter.adds[open_][:SHOWN_MAX].tolist()])
    read = case.operations[0]
    where = "the counter" if counter.key is None else place(counter.key)
    who = f"by {case.words.who(read)} at {case.words.began(read)}"
    if value < low:
        why = f"but what had certainly been added by then makes it at least {low}"
    else:
        why = f"but all that can have been added by {case.words.ended(read)} makes it at most {high}"
    message = f"The read of {where} {who} returned {value}, {why}."
    kind = "below the lower bound" if value < low else "above the upper bound"
    return case.finding(NAME, kind, message, key=counter.key, read=row, value=value, lower=low, upper=high)


def _went_back(history: History, counter: _Counter, earlier: int, later: int) -> Finding:
    rows = [int(counter.reads[number]) for number in (earlier, later)]
    case = Case(history, rows)
    first, second = case.operations
    where = "the counter" if counter.key is None else place(counter.key)
    message = (
        f"The read of {where} by {case.words.who(second)} at {case.words.began(second)} returned "
        f"{int(counter.value[later])}; but the read by {case.words.who(first)}, which was over at "
        f"{case.words.ended(first)}, returned {int(counter.value[earlier])}, and nothing was ever subtracted."
    )
    return case.finding(NAME, "backwards", message, key=counter.key, reads=rows)


COUNTER_BOUNDS = Guarantee(
    has_initial=True,
    name=NAME,
    judge=judge,
    functions=frozenset({"add", "read"}),
    summary="a counter with steps of any size: every read between what must and what can have been added",
)
