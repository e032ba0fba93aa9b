"""The search with its loops compiled: feeds :mod:`checkers.search.kernel` and answers what it asks.

The kernel knows no model. When it meets a transition for the first time it comes back, the model is asked in Python,
and the kernel goes on where it stood; what it will ask next is answered ahead. Models with few states (registers,
locks) soon run without Python; models whose every state is new run at the speed of their ``step``.

Memory is bounded before it is used: search states (measured: 39 to 44 bytes of a register), the tables over them and
transitions are counted in bytes, a model state as ``MODEL_STATE_BYTES``. While a table grows the old one is held too;
that is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from checkers.models.model import NOTHING
from checkers.search import exploration, kernel
from checkers.search.exploration import CANCELLED, MODEL_STATE_BYTES, NO_MEMORY, Budget, Exploration
from checkers.search.problem import Problem
from checkers.search.supply import Supply

STEPS = 1 << 16
"""Moves between two looks at the clock: about 10 ms."""

OPEN_BYTES = 12
"""For each operation open at a return: itself, in one or two lists, and the one before that does the same."""

ANSWERS = 1 << 8
"""Times that the model is asked between two looks at the clock and the memory."""

UNSUITED_ANSWERS = 2_000
"""Times that the model may be asked, before it counts whether that was for every fourth search state or more. (Measured
on queues and stacks: such searches are two to four times as fast in plain Python.)
"""

ROWS_FIRST, TRANSITIONS_FIRST = 1 << 14, 1 << 12


def search(
    problem: Problem,
    budget: Budget,
    deadline: float | None = None,
    *,
    prune: bool = True,
    cancelled: Callable[[], bool] = lambda: False,
) -> Exploration:
    """The same as :func:`checkers.search.exploration.search`: same moves in the same order, same answer.

    Where nearly every search state asks the model, compiled loops are of no use: then that search does it.
    """
    if OPEN_BYTES * open_operations(problem) > budget.bytes:
        reason = f"{budget.bytes / 1e6:.0f} {NO_MEMORY} for what is open at each return"
        return Exploration(linearizable=None, order=(), reached=0, explored=0, stuck=problem.row[0], reason=reason)
    return _Search(problem, budget, deadline, prune, cancelled).run() or exploration.search(
        problem, budget, deadline, prune=prune, cancelled=cancelled
    )


def open_operations(problem: Problem) -> int:
    """How many operations are open at each return, summed over all returns."""
    began = np.searchsorted(np.sort(problem.call), np.array(problem.return_, dtype=np.int64))
    return int(began.sum()) - len(began) * (len(began) - 1) // 2


class _Search:
    """The arrays of one search."""

    def __init__(
        self, problem: Problem, budget: Budget, deadline: float | None, prune: bool, cancelled: Callable[[], bool]
    ) -> None:
        self.problem, self.budget, self.deadline = problem, budget, deadline
        self.prune, self.cancelled = prune, cancelled
        self.operations = _operations(problem)
        self.unknowns = _unknowns(problem)
        self.known_values = Supply(problem) if prune and problem.model.valued() else None
        self.supply = _supply(self.known_values)
        self.state_values = np.empty(0, dtype=np.int32)
        self._value_states()
        slots = max((slot.bit_length() for slot in problem.slot), default=0)
        self.width = 1 + (slots + 63) // 64
        self.words = self.width + len(self.unknowns.guard)
        self.rows = np.empty((ROWS_FIRST, self.words), dtype=np.int64)
        self.chain = np.empty(ROWS_FIRST, dtype=np.int32)
        self.heads = np.full(2 * ROWS_FIRST, -1, dtype=np.int32)
        self.keys = np.full(TRANSITIONS_FIRST, -1, dtype=np.int64)
        self.values = np.empty(TRANSITIONS_FIRST, dtype=np.int32)
        self.known = self.answers = 0
        depth = len(problem.row) + sum(len(info.rows) for info in problem.infos) + 1
        self.frames = kernel.Frames(*(np.empty(depth, dtype=np.int32) for _ in range(4)))
        self.now = np.zeros(kernel.REGISTERS, dtype=np.int64)
        self.now[kernel.BEST] = self.now[kernel.FURTHEST] = -1

    def run(self) -> Exploration | None:
        """What was found; None if the model is asked too often (:data:`UNSUITED_ANSWERS`)."""
        while True:
            room = min(len(self.rows), self.budget.states + 1)
            why = kernel.explore(
                self.operations,
                self.unknowns,
                self.supply,
                self.state_values,
                self.keys,
                self.values,
                kernel.Memory(self.rows, self.chain, self.heads),
                self.frames,
                self.now,
                room,
                STEPS,
                self.prune,
            )
            if why in (kernel.FOUND, kernel.REFUSED):
                return self._result(bool(why == kernel.FOUND))
            if why == kernel.MISSING:
                self._answer()
                if self.answers > UNSUITED_ANSWERS and 4 * self.answers > self.now[kernel.COUNT]:
                    return None
            gave_up = self._limits(full=why == kernel.FULL) if why != kernel.MISSING else self._heavy()
            if gave_up:
                return self._result(None, gave_up)

    def _limits(self, *, full: bool) -> str | None:
        """Makes room, or says why there is none; looks at the clock."""
        if full and self.now[kernel.COUNT] > self.budget.states:
            return f"{self.budget.states} search states were not enough"
        if full and not self._grow():
            return self._out_of_memory()
        return self._late()

    def _late(self) -> str | None:
        if self.deadline is not None and self.budget.clock is not None and self.budget.clock() > self.deadline:
            return f"{self.budget.seconds} s were not enough"
        return CANCELLED if self.cancelled() else None

    def _out_of_memory(self) -> str:
        return f"{self.budget.bytes / 1e6:.0f} {NO_MEMORY}"

    def _heavy(self) -> str | None:
        """Models with many states fill the memory without a search state of their own."""
        self.answers += 1
        if self.answers % ANSWERS and self.problem.transitions.held <= self.budget.bytes:
            return None
        return self._out_of_memory() if self._bytes() > self.budget.bytes else self._late()

    def _bytes(self, rows: int = 0, heads: int = 0) -> int:
        """What is held, or would be with so many rows and a table so much larger."""
        memory = (rows or len(self.rows)) * (8 * self.words + 4) + 4 * len(self.heads) + 4 * heads
        transitions = 12 * len(self.keys) + MODEL_STATE_BYTES * len(self.problem.transitions.states)
        transitions += self.problem.transitions.held
        return memory + transitions + sum(array.nbytes for array in (*self.operations, *self.frames))

    def _grow(self) -> bool:
        """More rows, as many as the budget allows, at most twice as many; False if it allows none."""
        for tenths in (20, 15, 12, 11):
            rows = len(self.rows) * tenths // 10
            heads = len(self.heads) * (2 if 4 * rows > 3 * len(self.heads) else 1)
            larger = heads > len(self.heads)
            if self._bytes(rows, heads * larger) <= self.budget.bytes:
                self.rows.resize((rows, self.words), refcheck=False)
                self.chain.resize(rows, refcheck=False)
                if larger:
                    old, self.heads = self.heads, np.full(heads, -1, dtype=np.int32)
                    kernel.rehash(self.rows, self.heads, self.width, old)
                return True
        return False

    def _answer(self) -> None:
        """Asks the model for what the kernel misses, and for what it will miss next."""
        need, state, kind, number = (int(self.now[place]) for place in _NEEDS)
        problem, step = self.problem, self.problem.transitions.compute
        wanted = problem.kind[number]
        kinds: Sequence[int] = (kind,)
        if need == kernel.OBSERVATIONS:
            kinds = self._open(self.operations.obs_start, self.operations.obs, number)
        elif need == kernel.ACTIONS:
            kinds = self._open(self.operations.act_start, self.operations.act, number)
        elif need == kernel.INFOS:
            kinds = self.unknowns.kind.tolist()
        pairs = {}
        for what in kinds:
            after = pairs[state << 32 | what] = step(state, what)
            if need in (kernel.ACTIONS, kernel.INFOS) and after >= 0:
                pairs[after << 32 | wanted] = step(after, wanted)
        self._remember(pairs)
        self._value_states()

    def _value_states(self) -> None:
        """The values of states that are new."""
        states = self.problem.transitions.states
        if self.known_values is not None and len(states) > len(self.state_values):
            new = [self.known_values.values.of(state) for state in states[len(self.state_values) :]]
            self.state_values = np.concatenate([self.state_values, np.array(new, dtype=np.int32)])

    def _open(self, start: Any, operations: Any, number: int) -> Sequence[int]:
        kinds: list[int] = self.operations.kind[operations[start[number] : start[number + 1]]].tolist()
        return kinds

    def _remember(self, pairs: dict[int, int]) -> None:
        while 2 * (self.known + len(pairs)) > len(self.keys):
            keys, values = self.keys, self.values
            self.keys = np.full(2 * len(keys), -1, dtype=np.int64)
            self.values = np.empty(2 * len(keys), dtype=np.int32)
            kernel.remember(self.keys, self.values, keys, values)
        self.known += kernel.remember(
            self.keys,
            self.values,
            np.fromiter(pairs.keys(), dtype=np.int64, count=len(pairs)),
            np.fromiter(pairs.values(), dtype=np.int32, count=len(pairs)),
        )

    def _result(self, linearizable: bool | None, reason: str | None = None) -> Exploration:
        problem, best, count = self.problem, int(self.now[kernel.BEST]), int(self.now[kernel.COUNT])
        refused = linearizable is False
        stuck = max(best, int(self.now[kernel.FURTHEST])) if refused else best
        return Exploration(
            linearizable=linearizable,
            order=self._order(),
            reached=best,
            explored=count - (linearizable is True),  # the end is no state to go on from
            stuck=problem.row[stuck] if stuck < len(problem.row) else None,
            states=self._states(best, count) if refused else (),
            reason=reason,
        )

    def _states(self, best: int, count: int) -> tuple[Any, ...]:
        """The model states of all search states that got furthest."""
        first = self.rows[:count, 0]
        numbers = np.unique(first[first >> 32 == best] & 0xFFFFFFFF).tolist()
        return tuple(self.problem.transitions.states[number] for number in numbers)

    def _order(self) -> tuple[int, ...]:
        """The rows of the best path."""
        depth = int(self.now[kernel.BEST_DEPTH])
        moves = self.frames.saved[:depth].copy()
        if self.now[kernel.UNSAVED]:
            moves[self.now[kernel.COMMON] :] = self.frames.move[self.now[kernel.COMMON] : depth]
        order = np.empty(len(self.frames.saved), dtype=np.int32)
        length = kernel.replay(self.operations, self.unknowns, self.keys, self.values, moves, self.width, order)
        used = [iter(info.rows) for info in self.problem.infos]
        row = self.problem.row
        return tuple(row[move] if move >= 0 else next(used[-2 - move]) for move in order[:length].tolist())


_NEEDS = (kernel.NEED, kernel.NEED_STATE, kernel.NEED_KIND, kernel.NEED_NUMBER)


def _supply(known: Supply | None) -> kernel.Supply:
    """What is known of the values as arrays; empty if the state is not one value."""
    if known is None:
        nothing = np.empty(0, dtype=np.int32)
        start = np.empty(0, dtype=np.int64)
        return kernel.Supply(nothing, nothing, nothing, nothing, start, nothing, nothing, nothing, nothing)
    come, gone, later = (np.zeros(len(known.values), dtype=np.int32) for _ in range(3))
    return kernel.Supply(
        observed=_ints(known.observed),
        made=_ints(known.made),
        arrivals=_ints(known.arrivals),
        departures=_ints(known.departures),
        start=_starts([len(infos) for infos in known.infos]),
        info=_ints([info for infos in known.infos for info in infos]),
        come=come,
        gone=gone,
        later=later,
    )


def _unknowns(problem: Problem) -> kernel.Unknowns:
    """Kinds of info operations; their counts packed into words, none across two."""
    infos = problem.infos
    word, shift, guard = [], [], [0]
    at = 0
    for info in infos:
        width = info.mask.bit_length() + 1
        if at + width > 64:
            guard.append(0)
            at = 0
        word.append(len(guard) - 1)
        shift.append(at)
        at += width
        guard[-1] |= 1 << (at - 1)
    last = problem.last_observed()
    total, produces = len(problem.row), problem.transitions.produces
    lasts = [total if produces[info.kind] is NOTHING else last.get(produces[info.kind], -1) for info in infos]
    starts = np.cumsum([0, *(len(info.rows) for info in infos)])
    return kernel.Unknowns(
        kind=_ints([info.kind for info in infos]),
        word=_ints(word),
        shift=_ints(shift),
        mask=np.array([info.mask for info in infos], dtype=np.int64),
        many=_ints([len(info.rows) for info in infos]),
        first=starts.astype(np.int64),
        available=_ints([first for info in infos for first in info.available]),
        last=_ints(lasts),
        guard=np.array(guard if infos else [], dtype=np.uint64).view(np.int64),
    )


def _ints(values: Any) -> kernel.Ints:
    return np.array(values, dtype=np.int32)


def _operations(problem: Problem) -> kernel.Operations:
    """Completed operations, and which of them are open at each return."""
    call, return_ = np.array(problem.call, dtype=np.int64), np.array(problem.return_, dtype=np.int64)
    kind, slot = _ints(problem.kind), _ints([slot.bit_length() - 1 for slot in problem.slot])
    observes = np.array(problem.transitions.observation, dtype=np.bool_)[kind]
    numbers = np.arange(len(call))
    began = {seen: np.searchsorted(np.sort(call[observes == seen]), return_) for seen in (False, True)}
    ended = {seen: np.searchsorted(numbers[observes == seen], numbers) for seen in (False, True)}
    act_start, obs_start = (_starts(began[seen] - ended[seen]) for seen in (False, True))
    fresh_start = np.concatenate([[0], began[True]]).astype(np.int64)
    act, twin, obs, fresh = (
        np.empty(start[-1], dtype=np.int32) for start in (act_start, act_start, obs_start, fresh_start)
    )
    made = kernel.Operations(kind, slot, act_start, act, twin, obs_start, obs, fresh_start, fresh)
    kernel.fill_open(made, np.argsort(call), call, return_, observes, len(problem.transitions.calls))
    return made


def _starts(counts: Any) -> Any:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
