"""Operations of one key of which some are taken as certain and all others as merely possible.

An operation is *weakened* by taking it as possible: it may take effect once, at any time from its invocation on, or
never, and what it returned is forgotten. Every legal order of a history is legal for the weakened one. Therefore: *if
the certain operations fit no order, whatever the possible ones did, then the whole history has none*. This holds for
every model; removing an operation has no such consequence (without a write, its reads are impossible).

Completed operations whose recorded result proves that they change no state are left out instead of weakened: an order
is as legal without them.

:meth:`Weakening.explore` asks whether certain operations fit an order. It is the search of
:mod:`checkers.search.exploration` in small: few operations that must be placed, many that may. First possible
operations may happen any number of times, which is weaker still and makes a search state small; only if that has an
order, or there is no end of states, are they counted.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from checkers.history import ABSENT, FAIL, INFO, NEVER, OK, Column, History
from checkers.models.model import NOTHING, UNOBSERVED, Call, Model
from checkers.search.problem import ILLEGAL, Transitions, call_of
from checkers.search.relevance import blind, finite, relevant

Path = tuple[Any, int]
Move = tuple[int, int, int, int, Path | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """``refused``: None if the work was not enough to tell. ``order``: places of operations, as far as they fit."""

    refused: bool | None
    order: tuple[int, ...]
    work: int


class Weakening:
    """The operations of a key that began before a position (those that returned up to it can be certain), by *place*:
    their number in the order of invocation.
    """

    def __init__(self, history: History, rows: Column, model: Model, initial: Any, end: int) -> None:
        rows = rows[(history.outcome[rows] != FAIL) & (history.call[rows] < end)]
        self.model = model
        self.rows: list[int] = rows.tolist()
        self.call: list[int] = history.call[rows].tolist()
        self.return_: list[int] = history.return_[rows].tolist()
        # What returned later can't be certain here: operations that began before it did, and could help it, are missing.
        self.done: list[bool] = ((history.outcome[rows] == OK) & (history.return_[rows] <= end)).tolist()
        calls = [call_of(history, row, model) for row in self.rows]
        kinds: dict[Call, int] = {}
        self.kind = [kinds.setdefault(call, len(kinds)) for call in calls]
        self.forgotten = [
            kinds.setdefault(call._replace(result=None, known=False), len(kinds)) if call.known else kind
            for call, kind in zip(calls, self.kind, strict=True)
        ]
        self.calls = list(kinds)
        self.start = model.start(initial)
        self.transitions = Transitions(model.narrowed(self.calls), self.calls, self.start)
        self.observation = [self.transitions.observation[kind] for kind in self.kind]
        self.blind = blind(model)

    def possible(self, certain: Iterable[int]) -> list[int]:
        """Places of the operations that may matter to certain ones."""
        chosen = set(certain)
        last = max(self.return_[place] for place in chosen)
        others = [
            place
            for place in range(len(self.rows))
            if place not in chosen and not self.observation[place] and self.call[place] < last
        ]
        matters = relevant(
            self.model,
            self.start,
            [self.calls[self.kind[place]] for place in chosen],
            [self.calls[self.forgotten[place]] for place in others],
        )
        return [place for place, needed in zip(others, matters, strict=True) if needed]

    def explore(self, certain: Iterable[int], work: int) -> Trial:
        """Do the certain operations fit an order? ``work`` bounds the transitions looked at."""
        chosen = sorted(certain, key=self.return_.__getitem__)
        possible = self.possible(chosen)
        often = Trial(refused=None, order=(), work=0)
        if possible and finite(self.model):
            often = _Fitting(self, chosen, possible, work // 2, counted=False).run()
        if often.refused:
            return often
        once = _Fitting(self, chosen, possible, work - often.work, counted=True).run()
        return Trial(refused=once.refused, order=once.order, work=often.work + once.work)

    def fit(self, certain: Iterable[int], work: int) -> tuple[int, ...]:
        """As many certain operations as fit an order in which every possible one happens at most once, with those."""
        chosen = sorted(certain, key=self.return_.__getitem__)
        return _Fitting(self, chosen, self.possible(chosen), work, counted=True).run().order

    def broken(self, order: Sequence[int], certain: set[int]) -> list[int]:
        """The completed operations of an order, not certain yet, to which it does what they forbid: they come after
        one that began when they were over, or would not have returned what they did.
        """
        broken = []
        latest, state, step = -1, 0, self.transitions.step
        for place in order:
            if place not in certain and self.done[place]:
                told = step(state, self.kind[place])
                if self.return_[place] < latest or told == ILLEGAL:
                    broken.append(place)
            state = step(state, self.kind[place] if place in certain else self.forgotten[place])
            latest = max(latest, self.call[place])
        return broken


@dataclass(slots=True)
class _Possible:
    """Equal possible operations: places in the order of invocation, and how many may precede each certain return."""

    kind: int
    places: list[int]
    available: list[int]
    last_wanted: int
    shift: int
    mask: int


class _Fitting:
    """One search. A search state is (the next certain return, certain operations placed ahead of it, possible
    operations used of each kind, model state).
    """

    def __init__(self, key: Weakening, certain: Sequence[int], possible: Sequence[int], work: int, *, counted: bool):
        self.key, self.places, self.counted = key, certain, counted
        self.kind = [key.kind[place] for place in certain]
        self.step = key.transitions.step
        self.left = work
        self.work = work
        self.pending = [
            [other for other in range(number, len(certain)) if key.call[certain[other]] < key.return_[place]]
            for number, place in enumerate(certain)
        ]
        self.groups = self._groups(possible)
        self.guard = sum((group.mask + 1) << group.shift for group in self.groups)
        self.seen: dict[Hashable, list[int]] = {}

    def _groups(self, possible: Sequence[int]) -> list[_Possible]:
        key = self.key
        by_kind: dict[int, list[int]] = {}
        for place in possible:
            by_kind.setdefault(key.forgotten[place], []).append(place)
        last = self._last_wanted(by_kind)
        returns = [key.return_[place] for place in self.places]
        groups, shift = [], 0
        for kind, places in by_kind.items():
            calls = [key.call[place] for place in places]
            mask = (1 << len(places).bit_length()) - 1
            available = [bisect_left(calls, position) for position in returns]
            groups.append(_Possible(kind, places, available, last[kind], shift, mask))
            shift += mask.bit_length() + 1
        return groups

    def _last_wanted(self, kinds: Iterable[int]) -> dict[int, int]:
        """For each kind, the last certain return up to which an order may need it (types whose state is one value)."""
        kinds = list(kinds)
        end = len(self.places)
        if not self.key.model.valued():
            return dict.fromkeys(kinds, end)
        observes, produces = self.key.transitions.observes, self.key.transitions.produces
        last = {observes[kind]: number for number, kind in enumerate(self.kind)}
        last.update({observes[kind]: end for kind in kinds if observes[kind] is not NOTHING})
        return {kind: last.get(produces[kind], -1) for kind in kinds}

    def run(self) -> Trial:
        stack: list[Move] = [(0, 0, 0, 0, None)]
        best, longest = -1, None
        while stack and self.left >= 0:
            number, ahead, used, state, path = self._settled(*stack.pop())
            if number > best:
                best, longest = number, path
            if number == len(self.places):
                return self._trial(False, longest)
            if self._is_new((number, ahead, state), used):
                stack.extend(reversed(self._moves(number, ahead, used, state, path)))
        return self._trial(None if stack else True, longest)

    def _trial(self, refused: bool | None, path: Path | None) -> Trial:
        return Trial(refused=refused, order=_unrolled(path), work=self.work - self.left)

    def _settled(self, number: int, ahead: int, used: int, state: int, path: Path | None) -> Move:
        """Places certain observations that are open and legal, and passes over returns that are satisfied."""
        observation = self.key.transitions.observation
        while number < len(self.places):
            for other in self.pending[number]:
                kind = self.kind[other]
                if observation[kind] and not ahead >> other & 1 and self.step(state, kind) == state:
                    ahead |= 1 << other
                    path = (path, self.places[other])
            if not ahead >> number & 1:
                break
            number += 1
        return number, ahead, used, state, path

    def _is_new(self, place: Hashable, used: int) -> bool:
        seen = self.seen.get(place)
        if seen is None:
            self.seen[place] = [used]
            return True
        guard = self.guard
        if not self.counted or any(((used | guard) - fewer) & guard == guard for fewer in seen):
            return False
        seen.append(used)
        return True

    def _moves(self, number: int, ahead: int, used: int, state: int, path: Path | None) -> list[Move]:
        """What may come next, the most promising first."""
        step, wanted = self.step, self.kind[number]
        first: list[Move] = []
        later: list[Move] = []
        observation = self.key.transitions.observation
        for other in self.pending[number]:
            if ahead >> other & 1 or (other != number and observation[self.kind[other]]):
                continue
            after = step(state, self.kind[other])
            if after != ILLEGAL:
                move = (number, ahead | 1 << other, used, after, (path, self.places[other]))
                (first if other == number or step(after, wanted) != ILLEGAL else later).append(move)
        states = self.key.transitions.states
        for group in self.groups:
            count = used >> group.shift & group.mask
            if count >= group.available[number] or group.last_wanted < number:
                continue
            after = step(state, group.kind)
            if after in (ILLEGAL, state) or (self.key.blind and states[after] is UNOBSERVED):
                continue
            more = used + (1 << group.shift) if self.counted else 0
            move = (number, ahead, more, after, (path, group.places[count]))
            (first if step(after, wanted) != ILLEGAL else later).append(move)
        self.left -= len(self.pending[number]) + len(self.groups) + 1
        return first + later


def _unrolled(path: Path | None) -> tuple[int, ...]:
    order: list[int] = []
    while path is not None:
        order.append(path[1])
        path = path[0]
    return tuple(reversed(order))


def weakened(history: History, rows: Column, certain: Iterable[int]) -> History:
    """The history in which only some rows are certain: all other completed ones of ``rows`` have become ``info``."""

    sure = np.fromiter(certain, dtype=np.int64)
    others = rows[(history.outcome[rows] == OK) & ~np.isin(rows, sure)]
    outcome, return_, result = history.outcome.copy(), history.return_.copy(), history.result.copy()
    outcome[others], return_[others], result[others] = INFO, NEVER, ABSENT
    return replace(history, outcome=outcome, return_=return_, result=result)
