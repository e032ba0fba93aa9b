"""Priority queues: linearizability in O(n log n) (the sorting; all else is nearly linear), all keys at once.

``insert`` v, ``poll`` (removes and returns the smallest), ``peek`` (returns it). Numbers are ordered by value, strings
by code points; a key's values are all of one kind. A value v has an insert with call e and return E, a poll with call d
and return D (what is never polled is polled after the end, all at one position, and nothing is asked of these polls),
and peeks, each with call s and return t. After E := min(E, D, all t) and d := max(d, e, all s), which loses nothing, v
is certainly inside from E to d if E < d: it *covers* these moments.

*Theorem.* With unique values, no answer v that returns before its insert begins, and no peek of v that begins after v's
poll returned, the history is linearizable if and only if

(1) each poll of v has a moment in [d, D], and each peek of v one in [max(s, e), min(t, D)], that no smaller value
covers;
(2) each empty answer has a moment that no value covers.

*Necessary*: an answer takes effect within these bounds, and nothing smaller is inside then.

*Sufficient*: choose for each poll the first such moment; for each peek the first from E on, if it has one there, else
the last before E (but if v's poll has its moment before E, which takes d < E, the same one for all of v's answers); for
each empty answer any. Let v be inside from its first moment or E, whichever is earlier, to its last moment or d,
whichever is later (a value never polled: to the end); call this v's *stay*. Claim: no moment x of an answer of a
greater value, or of an empty answer, lies within v's stay. x is covered neither by v nor by what is smaller than v. So
x < E, or x > d.

- d < x, x in the stay, E <= d: x lies before an answer of v that chose a moment after d although x would have done:
the poll, as d <= x; or a peek, as s <= d < x and E < x. Both choose the first; a contradiction.
- x < E, x in the stay, E <= d: x lies after a peek of v that chose a moment before E, although x was later and would
have done, as x < E <= t. A contradiction.
- E > d: if v's poll chose a moment before E, then all its answers are at one moment, which is none of x's strictly. If
not, no moment between d and E is free of what is smaller, so x lies before d or after E, and the two cases above apply.

So at the moment of an answer v, the smaller values have left or are not yet there. What shares a moment x is ordered:
first what began to stay before x, the smallest first (its peeks, then its poll), then empty answers, then what stays at
x only, each by itself, then what begins to stay at x, the greatest first. All this keeps every answer right.

(1) and (2) are answered by going through the values from the smallest on, each asking and then covering its moments.
The condition, without proof, was read in PolyLin's code (Lee & Mathur, OOPSLA 2025). Polls of unknown result:
:mod:`checkers.deciders.containers.hidden`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.deciders.containers.conflicts import Conflict, Conflicts, Stay, covering
from checkers.deciders.containers.contents import NOBODY, Contents, Takes, contents
from checkers.deciders.containers.coverage import chain, reach
from checkers.deciders.containers.explanation import explain
from checkers.deciders.containers.hidden import UNASSIGNED, Wish, settle
from checkers.deciders.containers.moments import NONE, Questions, moments
from checkers.deciders.containers.timeline import Flags, Ids
from checkers.deciders.containers.vocabulary import EMPTY_WHILE_HOLDING, NOT_SMALLEST, PEEKED_LATE, PRIORITY_QUEUE
from checkers.deciders.decision import Decision, Rows
from checkers.history import History, HistoryError
from checkers.models.priority_queue import priority, validate_order


@dataclass(frozen=True, kw_only=True)
class PriorityQueueDecider:
    """insert, poll and peek of values that are inserted once."""

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:  # noqa: ARG002
        """See the module. Left to the search: keys in which a value is inserted twice, and those whose polls of unknown
        result could not be told (:mod:`checkers.deciders.containers.hidden`).

        Raises:
            HistoryError: elements are neither all numbers nor all strings; the initial value is no list.
        """
        conflicts, deferred = Conflicts(), dict[int, str]()
        queue = _queue(history, initial, conflicts, deferred)
        settled = settle(queue, Attempt, conflicts)
        code = queue.timeline.code
        deferred.update(dict.fromkeys(code[sorted(settled.open_)].tolist(), UNASSIGNED))
        findings = tuple(explain(history, PRIORITY_QUEUE, conflict) for conflict in conflicts.found)
        refused = frozenset(code[sorted(conflicts.keys)].tolist())
        return Decision(findings=findings, refused=refused, deferred=deferred)

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:  # noqa: ARG002
        """As in the proof. Of hidden polls, it holds those that were assigned a value. None for a key that is left to
        the search."""
        conflicts, deferred = Conflicts(), dict[int, str]()
        queue = _queue(history.select(rows), initial, conflicts, deferred)
        settled = settle(queue, Attempt, conflicts)
        if deferred or settled.open_:
            return None
        return rows[Attempt(queue, settled.takes).order()]


def _queue(history: History, initial: Any, conflicts: Conflicts, deferred: dict[int, str]) -> Contents:
    queue = contents(history, PRIORITY_QUEUE, initial, conflicts, deferred)
    if _found_late_peeks(queue, conflicts):
        return queue.of_keys(set(range(len(queue.timeline.code))) - conflicts.keys)
    return queue


def _found_late_peeks(queue: Contents, conflicts: Conflicts) -> bool:
    where, rows = queue.timeline, queue.peek_row
    wrong = np.flatnonzero(where.call[rows] > queue.take_return[queue.peek_value])
    for index in conflicts.fresh(where.key[rows[wrong]]):
        peek, value = int(rows[wrong[index]]), int(queue.peek_value[wrong[index]])
        take, put = int(queue.take_row[value]), int(queue.put_row[value])
        roles = {"peek": peek, "take": take, **({} if put == NOBODY else {"put": put})}
        key = int(where.code[where.key[peek]])
        conflicts.found.append(Conflict(kind=PEEKED_LATE, key=key, roles=roles, before=((take, peek),)))
    return len(wrong) > 0


def ranks(queue: Contents) -> Ids:
    """The values, smallest first (those of different keys in any order).

    Raises:
        HistoryError: the values of a key have no order among them.
    """
    table = queue.history.values.values
    codes, at, which = np.unique(queue.code, return_index=True, return_inverse=True)
    pairs = zip(codes.tolist(), at.tolist(), strict=True)
    values = [table[code] if code < len(table) else queue.value(index) for code, index in pairs]
    rank = np.empty(len(values), dtype=np.int64)
    rank[_sorted(queue, values)] = np.arange(len(values))
    return np.argsort(rank[which.reshape(-1)], kind="stable")


def _sorted(queue: Contents, values: list[Any]) -> Ids:
    """Places of the values, smallest first."""
    kinds = set(map(type, values))
    if kinds == {int} and max(values) < 2**62 and min(values) > -(2**62):
        return np.argsort(np.array(values, dtype=np.int64), kind="stable")
    if len(kinds) > 1 or not kinds <= {int, float, str}:
        _validate(queue)
    order = sorted(range(len(values)), key=lambda index: priority(values[index]))
    return np.array(order, dtype=np.int64)


def _validate(queue: Contents) -> None:
    by_key: dict[int, list[Any]] = {}
    for index, key in enumerate(queue.key.tolist()):
        by_key.setdefault(key, []).append(queue.value(index))
    try:
        for of_key in by_key.values():
            validate_order(of_key)
    except ValueError as error:
        raise HistoryError(queue.history.source, None, str(error), "Insert values of one kind.") from None


class Attempt:
    """The method without hidden takes: what is refused, why, and what would help."""

    def __init__(self, queue: Contents, takes: Takes) -> None:
        self.queue, self.takes = queue, takes
        where, peeked = queue.timeline, queue.peek_value
        self.start, self.end = np.minimum(queue.put_return, takes.return_), np.maximum(takes.call, queue.put_call)
        np.minimum.at(self.start, peeked, where.return_[queue.peek_row])
        np.maximum.at(self.end, peeked, where.call[queue.peek_row])
        by_rank = ranks(queue)
        self.rank = np.empty(len(by_rank), dtype=np.int64)
        self.rank[by_rank] = np.arange(len(by_rank))
        self.polled = np.flatnonzero(takes.row != NOBODY)
        self.questions, self.asker = self._questions()
        self.found, self.free = moments(by_rank, self.start, self.end, self.questions, queue.slots)
        self.wrong = np.flatnonzero(self.found == NONE)
        self.empties = self._wrong_empties()

    def _questions(self) -> tuple[Questions, Ids]:
        """All questions, and the rows that ask."""
        queue, takes, polled = self.queue, self.takes, self.polled
        where, rows, peeked = queue.timeline, queue.peek_row, queue.peek_value
        low = np.maximum(where.call[rows], queue.put_call[peeked])
        value = np.concatenate((polled, peeked))
        order = np.argsort(self.rank[value], kind="stable")
        questions = Questions(
            value=value[order],
            low=np.concatenate((self.end[polled], low))[order],
            high=np.concatenate((takes.return_[polled], np.minimum(where.return_[rows], takes.return_[peeked])))[order],
            wish=np.concatenate((self.end[polled], np.maximum(low, self.start[peeked])))[order],
        )
        return questions, np.concatenate((takes.row[polled], rows))[order]

    def _wrong_empties(self) -> Ids:
        where, rows = self.queue.timeline, self.queue.empty_row
        before = np.concatenate(([0], np.cumsum(self.free)))
        wrong: Ids = rows[before[where.return_[rows]] == before[where.call[rows]]]
        return wrong

    @property
    def keys(self) -> set[int]:
        """The refused keys."""
        wrong = self.queue.key[self.questions.value[self.wrong]]
        return {*wrong.tolist(), *self.queue.timeline.key[self.empties].tolist()}

    def explain(self, conflicts: Conflicts) -> None:
        """One conflict a key."""
        where = self.queue.timeline
        for index in conflicts.fresh(where.key[self.empties]):
            conflicts.found.append(self._wrong_empty(int(self.empties[index])))
        for index in conflicts.fresh(self.queue.key[self.questions.value[self.wrong]]):
            conflicts.found.append(self._wrong_answer(int(self.wrong[index])))

    def wishes(self, movable: Flags) -> Iterator[Wish]:
        """Smaller values gone at the first moment at which only such cover as may be gone."""
        where, asked = self.queue.timeline, self.questions
        spans = [(int(where.call[row]), int(where.return_[row]), len(self.rank)) for row in self.empties]
        spans += [(int(asked.low[at]), int(asked.high[at]), int(self.rank[asked.value[at]])) for at in self.wrong]
        for first, last, rank in spans:
            smaller = self.rank < rank
            fixed = np.flatnonzero(smaller & ~movable)
            slot = reach(self.start[fixed], self.end[fixed], first)
            if slot < last:
                gone = np.flatnonzero(smaller & movable & (self.start <= slot) & (self.end > slot))
                yield Wish(slot=slot, values=gone)

    def _wrong_empty(self, row: int) -> Conflict:
        where = self.queue.timeline
        links = chain(self.start, self.end, int(where.call[row]), int(where.return_[row]))
        return self._conflict(EMPTY_WHILE_HOLDING, {"empty": row}, links, row, row)

    def _wrong_answer(self, question: int) -> Conflict:
        asked, value = self.questions, int(self.questions.value[question])
        low, high = int(asked.low[question]), int(asked.high[question])
        smaller = np.flatnonzero((self.rank < self.rank[value]) & (self.queue.key == self.queue.key[value]))
        links = [int(smaller[link]) for link in chain(self.start[smaller], self.end[smaller], low, high)]
        rows = self._rows_of(value)
        begins = next(row for row in rows if self.queue.timeline.call[row] == low)
        ends = next(row for row in rows if self.queue.timeline.return_[row] == high)
        roles = {"answer": int(self.asker[question])}
        roles.update({"not before": begins} if begins not in roles.values() else {})
        roles.update({"not after": ends} if ends not in roles.values() else {})
        put = int(self.queue.put_row[value])
        roles.update({"inserted": put} if put not in (NOBODY, *roles.values()) else {})
        return self._conflict(NOT_SMALLEST, roles, links, begins, ends)

    def _conflict(self, kind: str, roles: dict[str, int], links: Iterable[int], begins: int, ends: int) -> Conflict:
        stays = tuple(self._stay(link) for link in links)
        where = self.queue.timeline
        key = int(where.code[where.key[begins]])
        return Conflict(kind=kind, key=key, roles=roles, before=covering(stays, begins, ends), stays=stays)

    def _rows_of(self, value: int) -> list[int]:
        """The operations of one value."""
        every = (self.queue.put_row[value], self.takes.row[value], *self.queue.peek_row[self.queue.peek_value == value])
        return [int(row) for row in every if row != NOBODY]

    def _stay(self, value: int) -> Stay:
        where, rows = self.queue.timeline, self._rows_of(value)
        put = int(self.queue.put_row[value])
        left = next((row for row in rows if where.call[row] == self.end[value]), None)
        take = int(self.takes.row[value])
        untaken = bool(self.queue.untaken[value]) and take != NOBODY
        return Stay(
            value=self.queue.value(value),
            put=None if put == NOBODY else put,
            take=None if untaken or take == NOBODY else take,
            shown=next((row for row in rows if where.return_[row] == self.start[value]), None),
            left=left,
            untaken=untaken and left == take,
        )

    def order(self) -> Ids:
        """Rows of the history in an order that is a linearization, if nothing was refused."""
        queue, asked, at = self.queue, self.questions, self._together()
        first, last = self.start - 1, np.where(self.takes.row == NOBODY, queue.slots, -1)
        np.minimum.at(first, asked.value, at)
        np.maximum.at(last, asked.value, at)
        is_poll = self.asker == self.takes.row[asked.value]
        at = np.where(is_poll, last[asked.value], at)
        value = np.concatenate((np.arange(len(first)), asked.value))
        slot = np.concatenate((first, at))
        phase = np.where(first[value] < slot, 0, np.where(last[value] <= slot, 2, 3))
        rank = np.where(phase == 3, -self.rank[value], self.rank[value])
        step = np.concatenate((np.zeros(len(first), dtype=np.int64), 1 + is_poll))
        free = np.flatnonzero(self.free)
        empties = free[np.searchsorted(free, queue.timeline.call[queue.empty_row])]
        nothing = np.zeros(len(empties), dtype=np.int64)
        row = np.concatenate((queue.put_row, self.asker, queue.empty_row))
        keys = [(step, nothing), (rank, nothing), (phase, nothing + 1), (slot, empties)]
        placed = row[np.lexsort([np.concatenate(pair) for pair in keys])]
        linearization: Ids = placed[placed != NOBODY]
        return linearization

    def _together(self) -> Ids:
        """The moments; one for all answers of a value whose put and take may be at once, if its poll says so."""
        asked, at = self.questions, self.found.copy()
        at_once = np.flatnonzero(self.start > self.end)
        moment = np.full(len(self.start), NONE, dtype=np.int64)
        is_poll = self.asker == self.takes.row[asked.value]
        moment[asked.value[is_poll]] = at[is_poll]
        at_once = at_once[(moment[at_once] != NONE) & (moment[at_once] < self.start[at_once])]
        chosen = np.isin(asked.value, at_once)
        at[chosen] = moment[asked.value[chosen]]
        return at
