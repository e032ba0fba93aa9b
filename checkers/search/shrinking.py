"""From a refused key to a small set of operations that is impossible by itself, and therefore proves the refusal.

Two steps, each of which keeps this invariant: *if the whole key has a legal order, so has what is left*.

1. Cut after the return of the operation that no order satisfies (or a later one: see ``_beginning``). What was open
then may still have happened or not, so it
   becomes ``info``; what began later is left out. A legal order of the whole gives one of this beginning.
2. Leave out operations whose absence nobody that is left can notice: reads; and, for types whose state is one value,
whatever
   writes a value that nothing left observes (in a legal order, all that follows it observes nothing until the next
   change of state, so it stays legal). Therefore values are left out as a whole: all who observe them, then all who
   write them.

Shrinking is done in halving chunks and stops at its budget: what is left then is impossible too, only larger.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from checkers.history import ABSENT, FAIL, INFO, NEVER, OK, Column, History
from checkers.models.model import NOTHING, Model
from checkers.search.exploration import Budget, Exploration, search
from checkers.search.problem import call_of, problem

WORK_MAX = 400_000
"""Rows prepared and search states explored while one key is shrunk (about 10 us each): a few seconds at worst."""

TRIAL_STATES = 20_000
"""Search states that one of them may use; what is not refused within them is not left out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """Rows that are impossible by themselves, in a history in which what was open at the cut has become ``info``."""

    history: History
    rows: Column


def shrink(history: History, rows: Column, stuck: int, model: Model, initial: Any) -> Core:
    """A small impossible part of some rows (one key, ascending), of which the search refused row ``stuck``."""
    shrinking = _Shrinking(*_beginning(history, rows, stuck, model, initial), model, initial)
    return Core(history=shrinking.history, rows=shrinking.run())


def _beginning(history: History, rows: Column, stuck: int, model: Model, initial: Any) -> tuple[History, Column]:
    """The rows cut as early as they are still refused.

    Where results can hold back an operation that also changes the state (a transaction), a cut takes results away that
    the refusal may stand on; then later cuts are tried, at distances that double, and at last none.
    """
    ends = np.sort(
        history.return_[rows][(history.outcome[rows] == OK) & (history.return_[rows] >= history.return_[stuck])]
    )
    place = 0
    while place < len(ends):
        cut, kept = _cut(history, rows, int(ends[place]))
        if model.valued() or _explore(cut, kept, model, initial).linearizable is False:
            return cut, kept
        place = 2 * place + 1
    return history, rows[history.outcome[rows] != FAIL]


def _explore(history: History, rows: Column, model: Model, initial: Any) -> Exploration:
    return search(problem(history, rows, model, initial), Budget(states=TRIAL_STATES))


def _cut(history: History, rows: Column, end: int) -> tuple[History, Column]:
    rows = rows[(history.call[rows] < end) & (history.outcome[rows] != FAIL)]
    outcome, return_, result = history.outcome.copy(), history.return_.copy(), history.result.copy()
    open_ = rows[history.return_[rows] > end]
    outcome[open_], return_[open_], result[open_] = INFO, NEVER, ABSENT
    return replace(history, outcome=outcome, return_=return_, result=result), rows


class _Shrinking:
    """The rows left, and how to try to do without some."""

    def __init__(self, history: History, rows: Column, model: Model, initial: Any) -> None:
        self.history, self.model, self.initial = history, model, initial
        self.left: list[int] = rows.tolist()
        self.work = 0
        calls = {row: call_of(history, row, model) for row in self.left}
        self.observes = {row: model.observes(call) for row, call in calls.items()}
        self.produces = {row: model.produces(call) for row, call in calls.items()}
        self.reads = {row for row, call in calls.items() if model.observation(call)}

    def run(self) -> Column:
        if self.model.valued():
            self._only_recent_values()
            self._without_reads()
            for value in dict.fromkeys(self.produces[row] for row in self.left):
                if value is not NOTHING:
                    self._try(self._touching({value}))
        self._without_reads()
        return np.array(self.left, dtype=np.int64)

    def _only_recent_values(self) -> None:
        """Most violations need only values of the last few operations; this makes all further trials cheap."""
        count = 8
        while count < len(self.left):
            recent = self.left[-count:]
            wanted = {self.observes[row] for row in recent} | {self.produces[row] for row in recent}
            every = {self.observes[row] for row in self.left} | {self.produces[row] for row in self.left}
            if self._try(self._touching(every - wanted - {NOTHING})):
                return
            count *= 2

    def _without_reads(self) -> None:
        """Leaves reads out, in chunks that halve."""
        candidates = [row for row in self.left if row in self.reads]
        size = len(candidates)
        while size:
            chunks = [candidates[start : start + size] for start in range(0, len(candidates), size)]
            candidates = [row for chunk in chunks if not self._try(set(chunk)) for row in chunk]
            size = size // 2 if size > 1 else 0

    def _touching(self, values: set[Any]) -> set[int]:
        """Whoever observes or writes these values, and so on for the values that the observers among them write."""
        gone: set[int] = set()
        while values:
            touched = [row for row in self.left if self.observes[row] in values or self.produces[row] in values]
            made = {self.produces[row] for row in touched if self.observes[row] in values}
            gone.update(touched)
            values = {value for value in made - values if value is not NOTHING and self._is_left(value, gone)}
        return gone

    def _is_left(self, value: Any, gone: set[int]) -> bool:
        return any(self.observes[row] == value for row in self.left if row not in gone)

    def _try(self, gone: set[int]) -> bool:
        """Leaves rows out for good if the others are still impossible."""
        rows = np.array([row for row in self.left if row not in gone], dtype=np.int64)
        if not gone or self.work > WORK_MAX or not (self.history.outcome[rows] == OK).any():
            return False
        found = _explore(self.history, rows, self.model, self.initial)
        self.work += len(rows) + found.explored
        if found.linearizable is False:
            self.left = rows.tolist()
        return found.linearizable is False
