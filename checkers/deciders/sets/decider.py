"""Sets: add, remove, contains, and reads of everything where nothing is removed.

Without reads, values are independent of one another: :mod:`checkers.deciders.sets.removals` for what is removed. What
is never removed, with reads or without: :mod:`checkers.deciders.sets.growth`. Any number of adds of one value without a
remove, or any number of removes of a value that is added once, are decided. A value that is added more than once and
removed is the search's (a switch that is turned on and off repeatedly is a register whose values repeat), and so are
keys with removes and reads of everything. Both are still refused here if what remains without those reads, or another
value, is impossible: leaving out operations that change nothing, or all operations of a value, never makes a possible
history impossible.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from checkers.deciders.decision import Decision, Rows
from checkers.deciders.refusals import Flags, Ids, Refusals
from checkers.deciders.sets import explanation
from checkers.deciders.sets.columns import Columns
from checkers.deciders.sets.growth import NO_LEVEL, Growth, Levels, levels
from checkers.deciders.sets.removals import Removals, outside
from checkers.history import NEVER, History, HistoryError
from checkers.models.set_ import Set

ADDED_AGAIN = "a value is added more than once and removed"
READS_AND_REMOVES = "elements are removed and the whole set is read"


class SetDecider:
    """add, remove, contains and read."""

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:
        """See the module."""
        columns = Columns.of(history, _start(history, initial), null_read)
        refusals = Refusals(history, "set", initial)
        removals = Removals.of(columns)
        shrinking = _keys_with(history, history.key[columns.remove])
        ranks = levels(columns, ~shrinking)
        growth = Growth.of(columns, removals, ranks)
        story = explanation.Story(refusals, columns, removals, ranks, growth)
        _refuse(story)
        deferred = _deferred(columns, removals, shrinking)
        return Decision(
            findings=tuple(refusals.findings),
            refused=frozenset(refusals.keys),
            deferred={key: why for key, why in deferred.items() if key not in refusals.keys},
        )

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:
        """Every operation at the earliest instant that the proofs give it."""
        part = history.select(rows)
        columns = Columns.of(part, _start(history, initial), null_read)
        removals = Removals.of(columns)
        shrinking = _keys_with(part, part.key[columns.remove])
        if _deferred(columns, removals, shrinking):
            return None
        ranks = levels(columns, ~shrinking)
        return rows[_Order(columns, removals, ranks, Growth.of(columns, removals, ranks)).rows()]


def _start(history: History, initial: Any) -> tuple[Any, ...]:
    try:
        Set().start(initial)
    except ValueError as error:
        raise HistoryError(history.source, None, str(error), "Choose another initial value.") from None
    return tuple(initial or ())


def _keys_with(history: History, keys: Ids) -> Flags:
    flags = np.zeros(len(history.keys), dtype=np.bool_)
    flags[keys] = True
    return flags


def _deferred(columns: Columns, removals: Removals, shrinking: Flags) -> dict[int, str]:
    read = columns.history.key[columns.read]
    deferred = dict.fromkeys(np.unique(columns.key[removals.open_]).tolist(), ADDED_AGAIN)
    deferred.update(dict.fromkeys(np.unique(read[shrinking[read]]).tolist(), READS_AND_REMOVES))
    return deferred


def _refuse(story: explanation.Story) -> None:
    refusals, columns, growth = story.refusals, story.columns, story.growth
    stages = (
        (np.flatnonzero(story.removals.phantom), columns.key, story.phantom),
        (np.arange(len(story.ranks.faults)), story.keys_of_faults(), story.fault),
        (np.flatnonzero(story.removals.wrong), columns.key, story.removal),
        (np.flatnonzero(growth.wrong_alone), columns.key, story.appearance),
        (np.flatnonzero(growth.wrong), columns.key, story.appearance),
        (np.flatnonzero(growth.wrong_read), columns.history.key[columns.read], story.read),
    )
    for found, keys, tell in stages:
        for at in refusals.fresh(keys[found].astype(np.int64)):
            tell(int(found[at]))


_MISSED, _FIRST, _ADD, _FOUND, _REMOVE, _AFTER = range(6)
"""The order of operations on one value that are put at the same instant."""


class _Order:
    """Rows with their instants (see the proofs) and what decides where instants are equal."""

    def __init__(self, columns: Columns, removals: Removals, ranks: Levels, growth: Growth) -> None:
        self.columns, self.removals, self.ranks = columns, removals, ranks
        history = columns.history
        self.call = history.call
        self.appears = np.where(removals.removed, self._appears(), growth.earliest - columns.key * growth.span - 2)
        self.counts = np.where(removals.removed, removals.needed, growth.counts)
        self.level = np.where(ranks.element == NO_LEVEL, ranks.last[columns.key] + 1, ranks.element)
        self.parts: list[tuple[Ids, Ids, Ids, Ids]] = []
        read_key = history.key[columns.read] * growth.span + 2
        self._put(columns.read, growth.read_earliest - read_key, 2 * ranks.read + 1, _MISSED)

    def rows(self) -> Ids:
        columns = self.columns
        self._adds()
        self._place(columns.found, columns.found_of, self.appears, _FOUND)
        self._outside()
        row, instant, level, kind = (np.concatenate(parts) for parts in zip(*self.parts, strict=True))
        return row[np.lexsort((kind, level, instant))]

    def _put(self, rows: Ids, instant: Ids, level: Ids, kind: int) -> None:
        self.parts.append((rows, instant, level, np.full(len(rows), kind)))

    def _place(self, rows: Ids, of: Ids, after: Ids, kind: int) -> None:
        """As early as its call and an instant of its element allow."""
        self._put(rows, np.maximum(self.call[rows], after[of]), 2 * self.level[of], kind)

    def _adds(self) -> None:
        columns, of = self.columns, self.columns.add_of
        first = self.counts[of] & (self.call[columns.add] == self.removals.added[of])
        self._place(columns.add[first], of[first], self.appears, _FIRST)
        others = ~first & columns.ok(columns.add)
        self._place(columns.add[others], of[others], self.appears, _ADD)

    def _outside(self) -> None:
        """What lies where the element is not there; and the remove that takes it away."""
        removals = self.removals
        rows, of = outside(self.columns)
        taken = self._taken()
        takes = np.isin(rows, taken)
        after: Flags = self._away(of) & (self.columns.history.return_[rows] > removals.gone[of])
        self._place(rows[~after], of[~after], np.full(len(self.columns), -1), _MISSED)
        late = after & ~takes
        self._place(rows[late], of[late], removals.gone, _AFTER)
        takers = np.isin(self.columns.remove, taken)
        self._place(self.columns.remove[takers], self.columns.remove_of[takers], removals.gone, _REMOVE)

    def _away(self, of: Ids) -> Flags:
        """Is it of the shape in which it is removed?"""
        removals = self.removals
        away: Flags = (removals.removed & removals.needed & ~removals.kept & (removals.gone != NEVER))[of]
        return away

    def _taken(self) -> Ids:
        """The remove of each such element that takes it away: the first called of those that return late enough."""
        columns = self.columns
        late = self._away(columns.remove_of)
        late &= columns.history.return_[columns.remove] > self.removals.begin[columns.remove_of]
        rows, of = columns.remove[late], columns.remove_of[late]
        taken: Ids = rows[self.call[rows] == columns.first(rows, of, self.call)[of]]
        return taken

    def _appears(self) -> Ids:
        """When what is removed appears: after its call and all that is outside before it."""
        columns = self.columns
        rows, of = outside(columns)
        early = ~self._away(of) | (columns.history.return_[rows] <= self.removals.gone[of])
        return np.maximum(self.removals.added, columns.last(rows[early], of[early], self.call))
