"""Operations of one key of which some are taken as certain and all others as optional.

An operation is *weakened* by making it optional: it may have happened, in its own time and with its own result, or not
at all. (Whatever ended ``info`` is so from the beginning.) Every legal order of a history is one of the weakened
history. Therefore: *if the certain operations fit no order, whichever of the optional ones are placed among them, then
the whole history has none*. This holds for every model; removing an operation has no such consequence (without a write,
its reads are impossible).

Completed operations whose recorded result proves that they change no state are left out instead of weakened: an order
is as legal without them.

:meth:`Weakening.explore` asks whether certain operations fit an order. It is the search of
:mod:`checkers.search.exploration` in small: few operations that must be placed, many that may. First optional
operations may happen any number of times, which is weaker still and makes a search state small; only if that has an
order, or there is no end of states, at most once.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from checkers.history import FAIL, OK, Column, History
from checkers.models.model import NOTHING, UNOBSERVED, Call, Model
from checkers.search.problem import ILLEGAL, Transitions, call_of
from checkers.search.relevance import blind, finite, relevant

Path = tuple[Any, int]
Move = tuple[int, int, int, int, Path | None]


EQUAL_MAX = 16
"""Equal optional operations that are told apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """``refused``: None if the work was not enough to tell. ``order``: places of operations, as far as they fit."""

    refused: bool | None
    order: tuple[int, ...]
    work: int


@dataclass(frozen=True, slots=True)
class _Option:
    """An optional operation; ``often``: it stands for many, and may happen any number of times."""

    call: int
    return_: int
    kind: int
    place: int
    often: bool


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
        # What returned later is not certain here: operations that began before it did, and could help, are missing.
        self.done: list[bool] = ((history.outcome[rows] == OK) & (history.return_[rows] <= end)).tolist()
        kinds: dict[Call, int] = {}
        self.kind = _kinds(history, rows, model, kinds)
        self.calls = list(kinds)
        self.start = model.start(initial)
        self.transitions = Transitions(model.narrowed(self.calls), self.calls, self.start)
        self.observation = [self.transitions.observation[kind] for kind in self.kind]
        self.blind = blind(model)
        self.by_kind = self._by_kind()
        self.earliest = {
            kind: list(accumulate((self.call[place] for place in places), min)) for kind, places in self.by_kind.items()
        }

    def _by_kind(self) -> Mapping[int, list[int]]:
        """Places of those that may change something, by kind, the first to return first."""
        by_kind: dict[int, list[int]] = {}
        for place in sorted(range(len(self.rows)), key=self.return_.__getitem__):
            if not self.observation[place]:
                by_kind.setdefault(self.kind[place], []).append(place)
        return by_kind

    def optional(self, certain: Iterable[int]) -> list[int]:
        """Places of the operations that may matter to certain ones."""
        chosen = set(certain)
        last = max(self.return_[place] for place in chosen)
        wanted = (place for kind in self._relevant(chosen) for place in self.by_kind[kind])
        return sorted(place for place in wanted if place not in chosen and self.call[place] < last)

    def _relevant(self, chosen: Iterable[int]) -> list[int]:
        certain = [self.calls[kind] for kind in {self.kind[place] for place in chosen}]
        matters = relevant(self.model, self.start, certain, [self.calls[kind] for kind in self.by_kind])
        return [kind for kind, needed in zip(self.by_kind, matters, strict=True) if needed]

    def _options(self, chosen: set[int]) -> list[_Option]:
        """Optional operations, the first to return first. Of many equal ones only the last are told apart; the others
        are one that may happen any number of times from the first call to the last return, which is weaker.
        """
        last = max(self.return_[place] for place in chosen)
        options: list[_Option] = []
        for kind in self._relevant(chosen):
            single: list[int] = []
            places = self.by_kind[kind]
            for left, place in zip(range(len(places), 0, -1), reversed(places), strict=True):
                if place in chosen or self.call[place] >= last:
                    continue
                if len(single) == EQUAL_MAX:
                    options.append(_Option(self.earliest[kind][left - 1], self.return_[place], kind, place, often=True))
                    break
                single.append(place)
            options.extend(_Option(self.call[place], self.return_[place], kind, place, often=False) for place in single)
        return sorted(options, key=lambda option: option.return_)

    def explore(self, certain: Iterable[int], work: int) -> Trial:
        """Do the certain operations fit an order? ``work`` bounds the transitions looked at."""
        chosen = sorted(certain, key=self.return_.__getitem__)
        options = self._options(set(chosen))
        often = Trial(refused=None, order=(), work=0)
        if options and finite(self.model):
            often = _Fitting(self, chosen, options, work // 2, once=False).run()
        if often.refused:
            return often
        once = _Fitting(self, chosen, options, work - often.work, once=True).run()
        return Trial(refused=once.refused, order=once.order, work=often.work + once.work)

    def fit(self, certain: Iterable[int], work: int) -> tuple[int, ...]:
        """As many certain operations as fit an order, with the optional ones that it takes."""
        chosen = sorted(certain, key=self.return_.__getitem__)
        return _Fitting(self, chosen, self._options(set(chosen)), work, once=True).run().order


class _Fitting:
    """One search. A search state is (the next certain return, certain operations placed ahead of it, optional
    operations that can still be placed, model state); more of the latter is better.

    Sets are bit masks. An operation that is placed rules out the optional ones that were over when it began.
    """

    def __init__(self, key: Weakening, certain: Sequence[int], options: Sequence[_Option], work: int, *, once: bool):
        self.key, self.places, self.options, self.once = key, certain, options, once
        self.kind = [key.kind[place] for place in certain]
        self.step = key.transitions.step
        self.left = self.work = work
        self.pending = [
            [other for other in range(number, len(certain)) if key.call[certain[other]] < key.return_[place]]
            for number, place in enumerate(certain)
        ]
        self.groups: dict[int, list[int]] = {}
        for number, option in enumerate(options):
            self.groups.setdefault(option.kind, []).append(number)
        self.last_wanted = self._last_wanted()
        self.ends = [option.return_ for option in options]
        self.after = [self._later(key.call[place]) for place in certain]
        self.after_option = [self._later(option.call) for option in options]
        self.seen: dict[Hashable, list[int]] = {}

    def _later(self, call: int) -> int:
        """The options that return after a position."""
        return (1 << len(self.ends)) - (1 << bisect_left(self.ends, call))

    def _last_wanted(self) -> Mapping[int, int]:
        """For each kind, the last certain return up to which an order may need it (types whose state is one value)."""
        end = len(self.places)
        if not self.key.model.valued():
            return dict.fromkeys(self.groups, end)
        observes, produces = self.key.transitions.observes, self.key.transitions.produces
        last = {observes[kind]: number for number, kind in enumerate(self.kind)}
        last.update({observes[kind]: end for kind in self.groups if observes[kind] is not NOTHING})
        return {kind: last.get(produces[kind], -1) for kind in self.groups}

    def run(self) -> Trial:
        stack: list[Move] = [(0, 0, (1 << len(self.options)) - 1, 0, None)]
        best, longest = -1, None
        while stack and self.left >= 0:
            number, ahead, open_, state, path = self._settled(*stack.pop())
            if number > best:
                best, longest = number, path
            if number == len(self.places):
                return self._trial(False, longest)
            if self._is_new((number, ahead, state), open_):
                stack.extend(reversed(self._moves(number, ahead, open_, state, path)))
        return self._trial(None if stack else True, longest)

    def _trial(self, refused: bool | None, path: Path | None) -> Trial:
        return Trial(refused=refused, order=_unrolled(path), work=self.work - self.left)

    def _settled(self, number: int, ahead: int, open_: int, state: int, path: Path | None) -> Move:
        """Places certain observations that are open and legal, and passes over returns that are satisfied.

        Earlier is as good for an observation, unless it rules out optional operations by having been placed.
        """
        observation = self.key.transitions.observation
        while number < len(self.places):
            for other in self.pending[number]:
                kind = self.kind[other]
                free = observation[kind] and not ahead >> other & 1 and open_ & self.after[other] == open_
                if free and self.step(state, kind) == state:
                    ahead |= 1 << other
                    path = (path, self.places[other])
            if not ahead >> number & 1:
                break
            number += 1
        return number, ahead, open_, state, path

    def _is_new(self, place: Hashable, open_: int) -> bool:
        seen = self.seen.setdefault(place, [])
        if any(open_ | more == more for more in seen):
            return False
        seen.append(open_)
        return True

    def _moves(self, number: int, ahead: int, open_: int, state: int, path: Path | None) -> list[Move]:
        """What may come next, the most promising first."""
        step, wanted = self.step, self.kind[number]
        first: list[Move] = []
        later: list[Move] = []
        for other in self.pending[number]:
            if ahead >> other & 1:
                continue
            after = step(state, self.kind[other])
            if after != ILLEGAL:
                move = (number, ahead | 1 << other, open_ & self.after[other], after, (path, self.places[other]))
                (first if other == number or step(after, wanted) != ILLEGAL else later).append(move)
        for kind, after in self._steps(number, state):
            (first if step(after, wanted) != ILLEGAL else later).extend(
                (number, ahead, self._without(chosen, open_), after, (path, self.options[chosen].place))
                for chosen in self._choice(kind, number, open_)
            )
        self.left -= len(self.pending[number]) + len(self.groups) + 1
        return first + later

    def _steps(self, number: int, state: int) -> Iterator[tuple[int, int]]:
        """Kinds of optional operations that lead somewhere, and where."""
        states = self.key.transitions.states
        for kind, last in self.last_wanted.items():
            if last >= number:
                after = self.step(state, kind)
                if after not in (ILLEGAL, state) and not (self.key.blind and states[after] is UNOBSERVED):
                    yield kind, after

    def _choice(self, kind: int, number: int, open_: int) -> Iterator[int]:
        """Of equal optional operations that can be placed before a return: those of which no other returns earlier and
        began earlier, too. (In an order that takes another one now, the two can change places.)
        """
        began = self.key.return_[self.places[number]]
        for candidate in self.groups[kind]:
            call = self.options[candidate].call
            if open_ >> candidate & 1 and call < began:
                began = call
                yield candidate

    def _without(self, chosen: int, open_: int) -> int:
        left = open_ & self.after_option[chosen]
        return left & ~(1 << chosen) if self.once and not self.options[chosen].often else left


def _kinds(history: History, rows: Column, model: Model, kinds: dict[Call, int]) -> list[int]:
    """The kind of each row; rows whose codes are equal are looked at once."""
    columns = [history.f, history.value, history.expected, history.result, history.outcome]
    if model.by_process:
        columns.append(history.process)
    seen: dict[Any, int] = {}
    found = []
    for row, code in zip(rows.tolist(), zip(*(column[rows].tolist() for column in columns), strict=True), strict=True):
        kind = seen.get(code)
        if kind is None:
            kind = seen[code] = kinds.setdefault(call_of(history, row, model), len(kinds))
        found.append(kind)
    return found


def _unrolled(path: Path | None) -> tuple[int, ...]:
    order: list[int] = []
    while path is not None:
        order.append(path[1])
        path = path[0]
    return tuple(reversed(order))
