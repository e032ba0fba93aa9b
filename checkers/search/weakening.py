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

Before that it is asked whether the certain operations fit an order that begins in *any* state when the first of them
began (``near``). That is weaker, too, and needs nothing of what was over by then: in a legal order of the whole, go to
the last operation that was over by then. All certain ones come after it; those that were open then and come before it
are optional, and left out. So a core at the end of a long history costs no more than one at its beginning.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from checkers.history import FAIL, NEVER, OK, Column, History
from checkers.models.model import NOTHING, UNOBSERVED, Call, Model
from checkers.search.problem import ILLEGAL, Transitions, call_of
from checkers.search.relevance import blind, finite, relevant
from checkers.search.settling import attainable, grows, settled

Path = tuple[Any, int]
Move = tuple[int, int, int, int, Path | None]


ANY = -2
"""The number of a state of which nothing is known."""

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
        self.narrow = model.narrowed(self.calls)
        self.transitions = Transitions(self.narrow, self.calls, self.start)
        self.observation = [self.transitions.observation[kind] for kind in self.kind]
        self.blind, self.finite, self.growing = blind(model), finite(model), grows(model)
        self.changing = sorted(
            (place for place in range(len(self.rows)) if not self.observation[place]), key=self.return_.__getitem__
        )
        self.ends = [self.return_[place] for place in self.changing]
        self.known_after: dict[int, int] = {}

    def step(self, state: int, kind: int) -> int:
        """The number of the state after a call, :data:`ILLEGAL`, or :data:`ANY`."""
        if state != ANY:
            return self.transitions.step(state, kind)
        after = self.known_after.get(kind)
        if after is None:
            known = settled(self.narrow, self.calls[kind])
            after = self.known_after[kind] = ANY if known is NOTHING else self.transitions.number(known)
        return after

    def optional(self, certain: Iterable[int]) -> list[int]:
        """Places of the operations that may matter to certain ones."""
        chosen = set(certain)
        return sorted(place for places in self._relevant(chosen, self.changing).values() for place in places)

    def _relevant(self, chosen: set[int], places: Iterable[int]) -> Mapping[int, list[int]]:
        """Those of some places, by kind, that may matter to the chosen ones."""
        last = max(self.return_[place] for place in chosen)
        by_kind: dict[int, list[int]] = {}
        for place in places:
            if place not in chosen and self.call[place] < last:
                by_kind.setdefault(self.kind[place], []).append(place)
        certain = [self.calls[kind] for kind in {self.kind[place] for place in chosen}]
        matters = relevant(self.model, self.start, certain, [self.calls[kind] for kind in by_kind])
        return {kind: by_kind[kind] for kind, needed in zip(by_kind, matters, strict=True) if needed}

    def _options(self, chosen: set[int], since: int = -1) -> list[_Option]:
        """Optional operations that return after a position, the first to return first.

        Of many equal ones only the last are told apart; the others are one that may happen any number of times from the
        first call to the last return, which is weaker (and too weak where the number of times is what matters).
        """
        options: list[_Option] = []
        for kind, places in self._relevant(chosen, self.changing[bisect_left(self.ends, since) :]).items():
            split = max(0, len(places) - EQUAL_MAX) if self.finite else 0
            if split:
                call = min(self.call[place] for place in places[:split])
                options.append(_Option(call, self.return_[places[split - 1]], kind, places[split - 1], often=True))
            options += [
                _Option(self.call[place], self.return_[place], kind, place, often=False) for place in places[split:]
            ]
        return sorted(options, key=lambda option: option.return_)

    def explore(self, certain: Iterable[int], work: int, *, near: bool = False) -> Trial:
        """Do the certain operations fit an order? ``work`` bounds the transitions looked at; ``near``: only asks
        whether they fit one that begins in any state.
        """
        chosen = sorted(certain, key=self.return_.__getitem__)
        options = self._options(set(chosen), min(self.call[place] for place in chosen))
        tried = _Fitting(self, chosen, options, work // 2, once=True, start=ANY).run()
        spent = tried.work + len(options)
        if not tried.refused and not near:
            options = self._options(set(chosen))
            spent += len(self.changing)
            if options and self.finite:
                tried = _Fitting(self, chosen, options, (work - spent) // 2, once=False).run()
                spent += tried.work
            if not tried.refused:
                tried = _Fitting(self, chosen, options, work - spent, once=True).run()
                spent += tried.work
        return Trial(refused=tried.refused, order=tried.order, work=spent)

    def fit(self, certain: Iterable[int], work: int) -> tuple[int, ...]:
        """As many certain operations as fit an order, with the optional ones that it takes."""
        chosen = sorted(certain, key=self.return_.__getitem__)
        return _Fitting(self, chosen, self._options(set(chosen)), work, once=True).run().order


class _Fitting:
    """One search. A search state is (the next certain return, certain operations placed ahead of it, optional
    operations that can still be placed, model state); more of the latter is better.

    Sets are bit masks. An operation that is placed rules out the optional ones that were over when it began.
    """

    def __init__(
        self,
        key: Weakening,
        certain: Sequence[int],
        options: Sequence[_Option],
        work: int,
        *,
        once: bool,
        start: int = 0,
    ):
        self.key, self.places, self.options, self.once, self.start = key, certain, options, once, start
        self.kind = [key.kind[place] for place in certain]
        self.step = key.step
        self.doomed: dict[tuple[int, int], bool] = {}
        self.left = self.work = work
        self.pending = [
            [other for other in range(number, len(certain)) if key.call[certain[other]] < key.return_[place]]
            for number, place in enumerate(certain)
        ]
        self.groups: dict[int, list[int]] = {}
        for number, option in enumerate(options):
            self.groups.setdefault(option.kind, []).append(number)
        self.group_masks = {kind: sum(1 << number for number in group) for kind, group in self.groups.items()}
        self.earliest_later = self._earliest_later()
        self.last_wanted = self._last_wanted()
        self.ends = [option.return_ for option in options]
        self.after = [self._later(key.call[place]) for place in certain]
        self.after_option = [self._later(option.call) for option in options]
        self.seen: dict[Hashable, list[int]] = {}

    def _earliest_later(self) -> list[int]:
        """For each option, the first call among the equal ones that return later."""
        earliest = [NEVER] * len(self.options)
        for group in self.groups.values():
            for number, following in zip(reversed(group[:-1]), reversed(group[1:]), strict=True):
                earliest[number] = min(earliest[following], self.options[following].call)
        return earliest

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
        stack: list[Move] = [(0, 0, (1 << len(self.options)) - 1, self.start, None)]
        best, longest = -1, None
        while stack and self.left >= 0:
            number, ahead, open_, state, path = self._settled(*stack.pop())
            if number > best:
                best, longest = number, path
            if number == len(self.places):
                return self._trial(False, longest)
            if self._is_new((number, ahead, state), open_) and self._hopeful(number, ahead, state):
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
        self.left -= len(seen)
        if any(open_ | more == more for more in seen):
            return False
        seen.append(open_)
        return True

    def _hopeful(self, number: int, ahead: int, state: int) -> bool:
        """May all certain operations that are left still become legal?"""
        if state == ANY or not self.key.growing:
            return True
        for other in range(number, len(self.places)):
            place = (state, self.kind[other])
            if place not in self.doomed:
                shown, call = self.key.transitions.states[state], self.key.calls[self.kind[other]]
                self.doomed[place] = not attainable(self.key.model, shown, call)
            if self.doomed[place] and not ahead >> other & 1:
                return False
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
                seen = after == ANY or not self.key.blind or states[after] is not UNOBSERVED
                if after not in (ILLEGAL, state) and seen:
                    yield kind, after

    def _choice(self, kind: int, number: int, open_: int) -> Iterator[int]:
        """Of equal optional operations that can be placed before a return: those of which no other returns earlier and
        began earlier, too. (In an order that takes another one now, the two can change places.)
        """
        began = self.key.return_[self.places[number]]
        left = open_ & self.group_masks[kind]
        while left:
            lowest = left & -left
            candidate = lowest.bit_length() - 1
            if self.options[candidate].call < began:
                began = self.options[candidate].call
                yield candidate
            if self.earliest_later[candidate] >= began:
                return
            left ^= lowest

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
