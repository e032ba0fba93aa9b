"""LIFO stacks: linearizability in O(n log n), all keys at once.

A value v has a push with call e and return E, a pop with call d and return D (what is never popped is popped after the
end, all at one position: a linearization can always be prolonged so, last in first out, and shortened again). After
E := min(E, D), d := max(d, e), which loses nothing as a push takes effect before its pop, v is certainly inside from E
to d if E < d.

*Theorem.* With unique values and no pop that returns before its push begins, the history is linearizable if and only if
every empty pop has a moment that lies in no [E, d], and the following removes all values:

(a) A value with d < E is removed: push and pop at once, between d and E, change nothing for the others, wherever that
is; and a linearization stays one without them.
(b) A *part* is a maximal union [L, R] of overlapping [E, d] of the remaining values. A value of a part with e < L and
R < D is removed (e and D as in the history).

Proof. A linearization gives each v moments l in [e, E] and r in [d, D] such that the intervals [l, r] of any two are
disjoint or nested, and no empty pop lies in one of them; that is all that is asked.

(i) *Let x be a moment outside all [E, d]. If there is a linearization, there is one in which the stack is empty at x.*
Each value then inside has x < E (kind A) or d < x (kind B). Do not push those of kind A before x at all, pop those of
kind B just before x, in the order of the stack, and push those of kind A just after x, in the order in which they lay.
What happens before x is legal without the A, which are not popped there; what happens after it finds the A in the same
order, without the B, which are not popped there any more. Empty pops stay so. So the history falls apart at x: values
with x < E are pushed and popped after x, the others before x, and empty pops may happen at x. Doing this at all moments
outside all [E, d] leaves each part to be judged by itself, between the moments just before L and just after R; pushes
begin no earlier and pops end no later than these, which matters nothing for (b), as L only grows and R only shrinks.

(ii) *A part that is linearizable has a value w with e < L and R < D.* Something is inside at every moment from L to R,
so what lies at the bottom never changes: w lies there from L to R.

(iii) *Any such w will do.* In a linearization of the part (of its other values, even) let w be pushed before all else,
just before L, and popped after all else, just after R: its interval contains all others. So the part is linearizable if
and only if it is so without w. Repeat.

The loop is in :mod:`checkers.deciders.containers.nesting`. If a part has no such w, then the values of the shortest
chain of overlapping [E, d] from L to R are impossible by themselves: they have the same L and R, and none can be w.

Abdulla et al. (PLDI 2025, arXiv 2509.17795) report that earlier polynomial methods for stacks, or their proofs, were
wrong; this one was worked out here, and is compared with the twin on many histories. Lee & Mathur (OOPSLA 2025) name
the same bound. Pops of unknown result: :mod:`checkers.deciders.containers.hidden`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from checkers.deciders.containers.conflicts import Conflict, Conflicts, Stay, covering
from checkers.deciders.containers.contents import NOBODY, Contents, Takes, contents
from checkers.deciders.containers.coverage import chain, first_gaps, gaps, reach
from checkers.deciders.containers.explanation import explain
from checkers.deciders.containers.hidden import UNASSIGNED, Wish, settle
from checkers.deciders.containers.nesting import Nesting, nesting
from checkers.deciders.containers.timeline import Flags, Ids
from checkers.deciders.containers.vocabulary import EMPTY_WHILE_HOLDING, OUT_OF_ORDER, STACK
from checkers.deciders.decision import Decision, Rows
from checkers.history import History


@dataclass(frozen=True, kw_only=True)
class StackDecider:
    """push and pop of values that are pushed once."""

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:  # noqa: ARG002
        """See the module. Left to the search: keys in which a value is pushed twice, and those whose pops of unknown
        result could not be told (:mod:`checkers.deciders.containers.hidden`).

        Raises:
            HistoryError: the initial value is no list.
        """
        conflicts, deferred = Conflicts(), dict[int, str]()
        stack = contents(history, STACK, initial, conflicts, deferred)
        settled = settle(stack, Attempt, conflicts)
        code = stack.timeline.code
        deferred.update(dict.fromkeys(code[sorted(settled.open_)].tolist(), UNASSIGNED))
        findings = tuple(explain(history, STACK, conflict) for conflict in conflicts.found)
        refused = frozenset(code[sorted(conflicts.keys)].tolist())
        return Decision(findings=findings, refused=refused, deferred=deferred)

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:  # noqa: ARG002
        """As in the proof. Of hidden pops, it holds those that were assigned a value. None for a key that is left to
        the search."""
        deferred = dict[int, str]()
        stack = contents(history.select(rows), STACK, initial, Conflicts(), deferred)
        settled = settle(stack, Attempt, Conflicts())
        if deferred or settled.open_:
            return None
        return rows[Attempt(stack, settled.takes).order()]


class Attempt:
    """The method without hidden takes: what is refused, why, and what would help."""

    def __init__(self, stack: Contents, takes: Takes) -> None:
        self.stack, self.takes = stack, takes
        self.start = np.minimum(stack.put_return, takes.return_)
        self.end = np.maximum(takes.call, stack.put_call)
        self.inside = np.flatnonzero(self.start < self.end)
        self.nesting = self._nesting()
        self.empties = self._wrong_empties()

    def _nesting(self) -> Nesting:
        inside = self.inside
        low, high = self.stack.put_call[inside], self.takes.return_[inside]
        return nesting(low, self.start[inside], self.end[inside], high)

    def _gaps(self) -> Ids:
        return gaps(self.start, self.end, self.stack.slots)

    def _wrong_empties(self) -> Ids:
        where, rows = self.stack.timeline, self.stack.empty_row
        if not len(rows):
            return rows
        before = self._gaps()
        wrong: Ids = rows[before[where.return_[rows]] == before[where.call[rows]]]
        return wrong

    @property
    def _stuck_keys(self) -> Ids:
        base = self.stack.timeline.base
        return np.searchsorted(base, self.nesting.stuck[:, 0], side="right") - 1

    @property
    def keys(self) -> set[int]:
        """The refused keys."""
        return {*self._stuck_keys.tolist(), *self.stack.timeline.key[self.empties].tolist()}

    def explain(self, conflicts: Conflicts) -> None:
        """One conflict a key; a wrong empty pop before a wrong order, as it is plainer."""
        where = self.stack.timeline
        for index in conflicts.fresh(where.key[self.empties]):
            conflicts.found.append(self._wrong_empty(int(self.empties[index])))
        for index in conflicts.fresh(self._stuck_keys):
            conflicts.found.append(self._disorder(*(int(place) for place in self.nesting.stuck[index])))

    def wishes(self, movable: Flags) -> Iterator[Wish]:
        """Gone at a moment of a wrong empty pop; gone where those values of a part that must be there leave a gap."""
        where = self.stack.timeline
        fixed = np.flatnonzero(~movable)
        spans = [(int(where.call[row]), int(where.return_[row]), True) for row in self.empties]
        spans += [(int(first), int(last) + 1, False) for first, last in self.nesting.stuck]
        for first, last, empty in spans:
            there = fixed if empty else fixed[self._left(fixed)]
            slot = reach(self.start[there], self.end[there], first)
            if slot < last:
                gone = np.flatnonzero(movable & (self.start <= slot) & (self.end > slot))
                yield Wish(slot=slot, values=gone if empty else gone[self._left(gone)])

    def _left(self, values: Ids) -> Flags:
        """Which of some values were not removed."""
        removed = np.zeros(len(self.start), dtype=np.bool_)
        removed[self.inside[self.nesting.turn >= 0]] = True
        left: Flags = ~removed[values]
        return left

    def _stay(self, value: int) -> Stay:
        put, take = int(self.stack.put_row[value]), int(self.takes.row[value])
        origin, left = None if put == NOBODY else put, None if take == NOBODY else take
        untaken = bool(self.stack.untaken[value]) and left is not None
        inside = self.stack.value(value)
        return Stay(value=inside, put=origin, take=None if untaken else left, shown=origin, left=left, untaken=untaken)

    def _wrong_empty(self, row: int) -> Conflict:
        where = self.stack.timeline
        links = chain(self.start, self.end, int(where.call[row]), int(where.return_[row]))
        stays = tuple(self._stay(link) for link in links)
        key, before = int(where.code[where.key[row]]), covering(stays, row, row)
        return Conflict(kind=EMPTY_WHILE_HOLDING, key=key, roles={"empty": row}, before=before, stays=stays)

    def _disorder(self, first: int, last: int) -> Conflict:
        left = self.inside[self.nesting.turn < 0]
        values = [int(left[link]) for link in chain(self.start[left], self.end[left], first, last)]
        stays = tuple(self._stay(value) for value in values)
        before = [(stay.shown, previous.left) for previous, stay in pairwise(stays)]
        for value, stay in zip(values, stays, strict=True):
            later = self.stack.put_call[value] > first
            before.append((stays[0].put, stay.put) if later else (stay.take, stays[-1].left))
        facts = tuple((a, b) for a, b in before if a is not None and b is not None)
        key = int(self.stack.timeline.code[self.stack.key[values[0]]])
        return Conflict(kind=OUT_OF_ORDER, key=key, roles={}, before=facts, stays=stays)

    def order(self) -> Ids:
        """Rows of the history in an order that is a linearization, if nothing was refused.

        In one slot: pops first, then empty pops and pairs of a push and its pop, then pushes.
        """
        stack, takes = self.stack, self.takes
        free = np.flatnonzero(self.start >= self.end)
        inside, turn = self.inside, self.nesting.turn
        empties = first_gaps(self._gaps(), stack.timeline.call[stack.empty_row])
        row = (takes.row[inside], stack.empty_row, stack.put_row[free], takes.row[free], stack.put_row[inside])
        slot = (self.nesting.last, empties, self.end[free], self.end[free], self.nesting.first - 1)
        pair = 2 * np.arange(len(free))
        rank = (-turn, np.full(len(empties), -1), pair, pair + 1, turn)
        phase = np.repeat([0, 1, 1, 1, 2], [len(part) for part in row])
        placed = np.concatenate(row)[np.lexsort((np.concatenate(rank), phase, np.concatenate(slot)))]
        order: Ids = placed[placed != NOBODY]
        return order
