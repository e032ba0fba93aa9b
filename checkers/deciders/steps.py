r"""Numbered steps: what counters and logs have in common, decided in O(n log n), unknown outcomes included.

A counter that moves in equal steps, and a log, pass through the levels 0, 1, 2, ...: each *taker* (an add, an append)
takes one step. A *sight* (a read) shows the level at an instant. Of a taker one may know which step it took (*fixed*:
an increment that returned the new value, an append whose value was read or whose offset was told), that it took some
step (*free*: ok), or not even that (*maybe*: info). Let t(1) < t(2) < ... be the instants of the steps, and M the
highest level that anybody saw.

*Windows.* A sight of level r during (c, e) needs an instant in it after t(r) and before t(r+1). A fixed taker of step s
is, to all others, a sight of s-1 followed by one of s. So, with the sights of level a that begin at c and those of
level b that return at e (a fixed taker counting with a = s-1, b = s),

    R(i) = max { c : a < i } < t(i) < D(i) = min { e : b >= i },

and both rise with i. Conversely, let rising instants with R < t < D be given, the fixed takers at theirs. A sight of r
then finds its instant: t(r) < D(r) <= e, c <= R(r+1) < t(r+1), c < e, and t(r) < t(r+1), so (c, e) and (t(r), t(r+1))
meet.

*Matching.* A taker that ran during (c, e) can take step i inside its window iff c < D(i), R(i) < e and R(i) < D(i): an
interval lo..hi of steps, as R and D rise. *Claim*: the history is linearizable iff R(i) < D(i) for i <= M, no step is
fixed twice, and the unfixed steps can be matched to takers in their intervals such that each free taker is matched, and
each unfixed step up to M. (Steps after M have D = infinity; there are as many as needed.) *Only if* is plain. *If*:
choose an instant for every matched pair in both its windows. Should instants of unfixed steps i < j be in the wrong
order, exchange them together with their takers: t(j) > R(j) >= R(i), t(j) < t(i) < D(i), and likewise for t(i): both
stay in the windows. When all unfixed steps are in order, a fixed step s between its unfixed neighbours p < s < q finds
room: max(R(s), t(p)) < min(D(s), t(q)), since R(s) < D(s), t(p) < D(p) <= D(s), R(s) <= R(q) < t(q); and several fixed
ones in a row do one after the other, as R and D rise. A fixed taker's own times contain its step's window.

*Both at once.* By Mendelsohn & Dulmage's theorem (1958), a matching that covers all free takers and one that covers all
unfixed steps up to M imply one that covers both. So two conditions of Hall's remain, and with intervals it is enough
to look at runs p..q of unfixed steps:

1. *crowd*: no more free takers have p <= lo and hi <= q than there are steps in p..q. Takers in the order of their
   returns (hence of hi) get the first step that is left in lo..hi; where one finds none, all steps of some run p..hi
   are taken by takers that had to stay inside it.
2. *shortage*: up to M, at least as many takers (free or maybe) have lo <= q and p <= hi as there are steps in p..q.
   That is #(lo <= q) - q >= #(hi < p) - p + 1 for all p <= q: one running maximum. Sets of steps with gaps need no
   look: a gap that holds fewer takers than steps makes the condition weaker, and none holds more, because only free
   takers can lie inside a gap (the hi of a maybe is infinite) and for those there is condition 1.

*Order.* Going through the steps and always taking the taker that returns first among those with lo <= i finds such a
matching (the classic exchange argument of earliest deadlines), and in the order of the steps no taker returns before an
earlier one, or a sight between them, begins: an order of the operations, with the sights of level r after step r.

All keys are judged in one go: the positions of key k are moved by k times the length of the history.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from checkers.deciders.refusals import Flags, Ids, Refusals
from checkers.history import NEVER, History

NOBODY = -1
"""The row of what needs no operation: the beginning."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Steps:
    """Rows of the history by what they are, with the level or step where it is known (relative to the beginning)."""

    sight: Ids
    level: Ids
    fixed: Ids
    step: Ids
    free: Ids
    maybe: Ids

    def of(self, history: History, standing: Flags) -> Steps:
        """Those of some keys only (a flag for each key's code)."""
        sight, fixed = standing[history.key[self.sight]], standing[history.key[self.fixed]]
        return Steps(
            sight=self.sight[sight],
            level=self.level[sight],
            fixed=self.fixed[fixed],
            step=self.step[fixed],
            free=self.free[standing[history.key[self.free]]],
            maybe=self.maybe[standing[history.key[self.maybe]]],
        )

    def takers(self, history: History) -> Ids:
        """How many operations may have taken a step, by key."""
        every = np.concatenate((self.fixed, self.free, self.maybe))
        return np.bincount(history.key[every], minlength=len(history.keys)).astype(np.int64)


@dataclass(frozen=True, kw_only=True, slots=True)
class Trouble:
    """Why one key is impossible.

    ``what``: ``below`` (``then`` shows a level below the beginning), ``beyond`` (above all that could be reached:
    ``count`` takers), ``twice`` (``first`` and ``then`` took the same step), ``back`` (``first`` shows more, and
    returned before ``then`` began), ``crowd`` (``first`` returned before ``count`` takers, ``rows``, began, and they
    returned before ``then`` began, which shows too little), ``shortage`` (from the begin of ``first`` until ``then``
    returned only ``count`` takers, ``rows``, may have taken the steps between). ``first`` is :data:`NOBODY` for the
    beginning. ``low`` and ``high`` are the levels that ``first`` and ``then`` show; ``known`` are the fixed takers of
    steps between them, which ``count`` includes.
    """

    what: str
    key: int
    first: int
    then: int
    low: int = 0
    high: int = 0
    count: int = 0
    rows: tuple[int, ...] = ()
    known: tuple[int, ...] = ()


def troubles(history: History, steps: Steps, refusals: Refusals) -> Iterator[Trouble]:
    """The first trouble of every key that is not refused yet, as far as there is room to explain them; refuses them
    all.
    """
    keys = np.arange(len(history.keys))
    yield from _refused(list(_plain_troubles(history, steps)), refusals)
    windows = None
    for stage in (Windows.back, Windows.crowds, Windows.shortages):
        if windows is None:
            windows = Windows(history, steps.of(history, refusals.standing(keys)))
        found = list(stage(windows))
        yield from _refused(found, refusals)
        windows = None if found else windows


def _refused(found: Sequence[Trouble], refusals: Refusals) -> Iterator[Trouble]:
    keys = np.array([trouble.key for trouble in found], dtype=np.int64)
    return (found[at] for at in refusals.fresh(keys))


def _plain_troubles(history: History, steps: Steps) -> Iterator[Trouble]:
    """Levels that nobody can have reached, and steps taken twice. Keys without these are fit for :class:`Windows`."""
    takers = steps.takers(history)
    rows = np.concatenate((steps.sight, steps.fixed))
    level, least = np.concatenate((steps.level, steps.step)), np.concatenate((steps.level, steps.step - 1))
    key = history.key[rows]
    for at in _first_of_each(key, least < 0):
        yield Trouble(what="below", key=int(key[at]), first=NOBODY, then=int(rows[at]), high=int(level[at]))
    for at in _first_of_each(key, level > takers[key]):
        number = int(takers[key[at]])
        yield Trouble(
            what="beyond", key=int(key[at]), first=NOBODY, then=int(rows[at]), high=int(level[at]), count=number
        )
    key = history.key[steps.fixed]
    order = np.lexsort((steps.step, key))
    one, two = order[:-1], order[1:]
    same = (steps.step[one] == steps.step[two]) & (key[one] == key[two])
    for at in _first_of_each(key[one], same):
        first, then = sorted((int(steps.fixed[one[at]]), int(steps.fixed[two[at]])))
        number = int(steps.step[one[at]])
        yield Trouble(what="twice", key=int(key[one[at]]), first=first, then=then, low=number, high=number)


def _first_of_each(key: Ids, wrong: Flags) -> list[int]:
    found = np.flatnonzero(wrong)
    return sorted(found[np.unique(key[found], return_index=True)[1]].tolist())


class Windows:
    """R and D of every step of every key, and the intervals of steps of the takers. All steps stand in one row, key
    after key; ``base`` is where a key's begin, ``top`` its M.
    """

    def __init__(self, history: History, steps: Steps) -> None:
        self.history, self.steps = history, steps
        self.span = history.events + 2
        keys = len(history.keys)
        observed = np.concatenate((steps.sight, steps.fixed))
        high = np.concatenate((steps.level, steps.step))
        low = np.concatenate((steps.level, steps.step - 1))
        key = history.key[observed].astype(np.int64)
        self.top = np.zeros(keys, dtype=np.int64)
        np.maximum.at(self.top, key, high)
        size = self.top + np.bincount(history.key[steps.free], minlength=keys) + 1
        self.base = np.concatenate((np.zeros(1, np.int64), np.cumsum(size)))
        self.key = np.repeat(np.arange(keys), size)
        self.after = self.key * self.span - 1
        self.until = self.key * self.span + history.events
        self._observe(observed, key, low, high)
        self.unfixed = np.ones(len(self.key), dtype=np.bool_)
        self.unfixed[self.base[history.key[steps.fixed]] + steps.step - 1] = False

    def _observe(self, rows: Ids, key: Ids, low: Ids, high: Ids) -> None:
        """Sets R (``after``) and D (``until``)."""
        history = self.history
        np.maximum.at(self.after, self.base[key] + low, history.call[rows] + key * self.span)
        np.maximum.accumulate(self.after, out=self.after)
        seen = high > 0
        ends = np.minimum(history.return_[rows], history.events) + key * self.span
        np.minimum.at(self.until, (self.base[key] + high - 1)[seen], ends[seen])
        self.until = np.minimum.accumulate(self.until[::-1])[::-1]

    def intervals(self, rows: Ids) -> tuple[Ids, Ids]:
        """The first and the last step that takers can take, as places in the row of all steps."""
        key = self.history.key[rows] * self.span
        ends = np.minimum(self.history.return_[rows], self.history.events) + key
        lo = np.searchsorted(self.until, self.history.call[rows] + key, side="right")
        return lo, np.searchsorted(self.after, ends, side="left") - 1

    def back(self) -> Iterator[Trouble]:
        """Levels that went back."""
        for at in _first_of_each(self.key, self.after > self.until):
            key, step = int(self.key[at]), int(at - self.base[self.key[at]]) + 1
            first, then = self._shows_at_least(key, at), self._shows_less(key, at)
            yield Trouble(what="back", key=key, first=first, then=then, low=self._low(then), high=step)

    def crowds(self) -> Iterator[Trouble]:
        """Free takers that find no step: condition 1."""
        free = self.steps.free[np.argsort(self._ends(self.steps.free))]
        lo, hi = self.intervals(free)
        before = _counted(self.unfixed)
        lo, hi = before[lo], before[hi + 1] - 1
        number = np.arange(len(lo))
        in_turn = np.maximum.accumulate(lo - number) + number if len(lo) else lo
        suspects = np.unique(self.history.key[free[in_turn > hi]])
        if not len(suspects):
            return
        look = np.isin(self.history.key[free], suspects)
        free, lo, hi = free[look], lo[look], hi[look]
        failed = _unplaced(lo, hi, int(before[-1]))
        for at in _first_of_each(self.history.key[free], failed):
            yield self._crowd(free, lo, hi, at)

    def _ends(self, rows: Ids) -> Ids:
        ends: Ids = np.minimum(self.history.return_[rows], self.history.events) + self.history.key[rows] * self.span
        return ends

    def _crowd(self, free: Ids, lo: Ids, hi: Ids, at: int) -> Trouble:
        """The shortest run of steps up to the hi of a taker without one that holds too many."""
        key = int(self.history.key[free[at]])
        last = int(hi[at])
        among = np.flatnonzero((self.history.key[free] == key) & (hi <= last))
        starts = np.sort(lo[among])
        inside = len(starts) - np.arange(len(starts))  # as many have this start or a later one
        start = int(starts[np.flatnonzero(inside > last - starts + 1)[-1]])
        rows = free[among[lo[among] >= start]]
        places = np.flatnonzero(self.unfixed)
        begins = start > 0 and int(self.key[places[start - 1]]) == key
        first = self._shows_at_least(key, int(places[start - 1])) if begins else NOBODY
        then = self._shows_less(key, int(places[last + 1]))
        low = 0 if first == NOBODY else self._high(first)
        known = self._fixed_between(key, low, self._low(then))
        return Trouble(
            what="crowd",
            key=key,
            first=first,
            then=then,
            low=low,
            high=self._low(then),
            count=len(rows) + len(known),
            rows=tuple(rows.tolist()),
            known=known,
        )

    def shortages(self) -> Iterator[Trouble]:
        """Steps up to M that nobody can have taken: condition 2."""
        place = np.arange(len(self.key))
        wanted = self.unfixed & (place - self.base[self.key] < self.top[self.key])
        before = _counted(wanted)
        takers = np.concatenate((self.steps.free, self.steps.maybe))
        lo, hi = self.intervals(takers)
        lo, hi = before[lo], before[hi + 1] - 1
        useful = lo <= hi
        lo, hi, count = lo[useful], hi[useful], int(before[-1])
        if not count:
            return
        number = np.arange(count)
        supply = np.cumsum(np.bincount(lo, minlength=count)) - number - 1
        lost = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.bincount(hi, minlength=count))[:-1])) - number
        places = np.flatnonzero(wanted)
        apart = self.key[places] * (4 * (len(takers) + count) + 4)
        worst = np.maximum.accumulate(lost + apart)
        for at in _first_of_each(self.key[places], worst > supply + apart):
            key = self.key[places] == self.key[places[at]]
            start = int(np.flatnonzero(key[: at + 1] & (lost[: at + 1] > supply[at]))[-1])
            yield self._shortage(int(places[start]), int(places[at]), takers)

    def _shortage(self, start: int, last: int, takers: Ids) -> Trouble:
        key = int(self.key[start])
        first, then = self._shows_less(key, start), self._shows_at_least(key, last)
        low = 0 if first == NOBODY else self._low(first)
        call, return_ = (-1 if first == NOBODY else self.history.call[first]), self.history.return_[then]
        mine = takers[self.history.key[takers] == key]
        rows = mine[(self.history.call[mine] < return_) & (self.history.return_[mine] > call)]
        high = self._high(then)
        known = self._fixed_between(key, low, high)
        return Trouble(
            what="shortage",
            key=key,
            first=first,
            then=then,
            low=low,
            high=high,
            count=len(rows) + len(known),
            rows=tuple(rows.tolist()),
            known=known,
        )

    def _fixed_between(self, key: int, low: int, high: int) -> tuple[int, ...]:
        steps = self.steps
        inside = (self.history.key[steps.fixed] == key) & (steps.step > low) & (steps.step <= high)
        return tuple(steps.fixed[inside].tolist())

    def _shows_less(self, key: int, place: int) -> int:
        """The row whose call is R of a step."""
        position = int(self.after[place]) - key * self.span
        return NOBODY if position < 0 else int(np.flatnonzero(self.history.call == position)[0])

    def _shows_at_least(self, key: int, place: int) -> int:
        """The row whose return is D of a step."""
        position = int(self.until[place]) - key * self.span
        if position < self.history.events:
            return int(np.flatnonzero(self.history.return_ == position)[0])
        return NOBODY

    def _low(self, row: int) -> int:
        """The level that a row shows where it begins."""
        return self._known(row, 0)

    def _high(self, row: int) -> int:
        """The level that a row shows where it ends."""
        return self._known(row, 1)

    def _known(self, row: int, fixed: int) -> int:
        at = np.flatnonzero(self.steps.sight == row)
        if len(at):
            return int(self.steps.level[at[0]])
        return int(self.steps.step[np.flatnonzero(self.steps.fixed == row)[0]]) - 1 + fixed

    def order(self) -> Ids:
        """A linearization, if there is one key and no trouble."""
        history, steps = self.history, self.steps
        takers = np.concatenate((steps.free, steps.maybe))
        lo, _ = self.intervals(takers)
        ready = sorted(zip(lo.tolist(), history.return_[takers].tolist(), takers.tolist(), strict=True), reverse=True)
        every = np.concatenate((takers, steps.fixed, steps.sight))
        key = int(history.key[every[0]]) if len(every) else 0
        base, top = int(self.base[key]), int(self.base[key] + self.top[key])
        fixed = dict(zip((base + steps.step - 1).tolist(), steps.fixed.tolist(), strict=True))
        open_: list[tuple[int, int]] = []
        taken: list[int] = []
        for place in range(base, int(self.base[key + 1])):
            while ready and ready[-1][0] <= place:
                heapq.heappush(open_, ready.pop()[1:])
            if place in fixed:
                taken.append(fixed[place])
            elif open_ and (place < top or open_[0][0] < NEVER):
                taken.append(heapq.heappop(open_)[1])
        rows = np.concatenate((np.array(taken, dtype=np.int64), steps.sight))
        level = np.concatenate((np.arange(1, len(taken) + 1), steps.level))
        sees = np.arange(len(rows)) >= len(taken)
        return rows[np.lexsort((history.call[rows], sees, level))]


def _counted(flags: Flags) -> Ids:
    """How many flags are set before each place, and in all."""
    counts = np.zeros(len(flags) + 1, dtype=np.int64)
    np.cumsum(flags, out=counts[1:])
    return counts


def _unplaced(lo: Ids, hi: Ids, places: int) -> Flags:
    """Which takers, in the order of their hi, find all places in lo..hi taken: union-find over the next free place."""
    next_ = list(range(places + 2))
    failed: list[int] = []
    for number, (first, last) in enumerate(zip(lo.tolist(), hi.tolist(), strict=True)):
        at = first
        while next_[at] != at:
            next_[at] = next_[next_[at]]
            at = next_[at]
        if at > last:
            failed.append(number)
        else:
            next_[at] = at + 1
            next_[first] = at + 1
    flags = np.zeros(len(lo), dtype=np.bool_)
    flags[failed] = True
    return flags
