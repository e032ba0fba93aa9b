"""From a refused key to the few operations that prove the refusal, whatever all others did.

The *core* is a set of completed operations that fit no order even if every other operation of the key is optional
(:mod:`checkers.search.weakening`, with the proof that this refuses the whole). It is found in two steps:

1. Grow. Begin with the operation at which the search was stuck. While the certain operations fit an order, make those
   certain that returned next to the stuck one, twice as many each time: first asking for orders that begin in any state
   (which costs the same however long the history is), then for orders from its beginning. What began after the last
   certain return cannot matter; where operations are needed that returned later (they may have to take effect earlier),
   the end moves on.
2. Weaken. Make certain operations optional while the others are still refused, many at once, then one by one: first
   those that only observe, then the oldest, at last the stuck one. Refusal is monotone (fewer certain operations allow
   more), so one pass one by one leaves a core in which every operation is needed.

Both stop at their budget: what is certain then is refused too, only larger (without a refusal, all that completed is).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.history import INFO, OK, Column, History
from checkers.models.model import Model
from checkers.search.weakening import Trial, Weakening

WORK_MAX = 150_000
"""Transitions looked at while one key is shrunk (about 2 us each)."""

TRIAL_WORK_MAX = 40_000
"""Those that one question may cost; what is not refused within them stays certain."""

OPTIONAL_SHOWN_MAX = 6
"""More optional operations than that, and than certain ones, explain nothing to a reader."""

NEAR_MAX = 60
"""Operations next to the stuck one among which a core that needs nothing older is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """``certain`` rows fit no order, whichever of the ``optional`` ones happened; all other rows cannot matter.

    ``order``: the longest partial order of the certain rows, with the optional ones that it takes. ``minimal``: none of
    the certain ones can be weakened as well.
    """

    certain: Column
    optional: Column
    order: Column
    minimal: bool

    @property
    def whole(self) -> bool:
        """Are the optional rows few enough to be shown?"""
        return len(self.optional) <= max(OPTIONAL_SHOWN_MAX, len(self.certain))

    @property
    def rows(self) -> Column:
        """What a reader is shown: the certain rows, and the optional ones if these are few."""
        return np.union1d(self.certain, self.optional) if self.whole else self.certain


def shrink(history: History, rows: Column, stuck: int, model: Model, initial: Any, work: int = WORK_MAX) -> Core:
    """The core of some rows (one key, ascending), of which the search refused row ``stuck``."""
    end = int(history.return_[stuck])
    while True:
        shrinking = _Shrinking(Weakening(history, rows, model, initial, end), stuck, work)
        if shrinking.grow(near=True):
            shrinking.weaken(near=True)
            shrinking.weaken(near=False)
            return shrinking.core()
        if shrinking.grow(near=False):
            shrinking.weaken(near=False)
            return shrinking.core()
        later = np.sort(history.return_[rows][(history.outcome[rows] == OK) & (history.return_[rows] > end)])
        work = shrinking.left
        if not len(later) or work <= 0:
            return _whole(history, rows)
        end = int(later[min(len(later), len(shrinking.key.rows)) - 1])


def _whole(history: History, rows: Column) -> Core:
    """All that completed, as the search refused it."""
    done, info = (rows[np.isin(history.outcome[rows], outcomes)] for outcomes in ([OK], [INFO]))
    return Core(certain=done, optional=info, order=np.empty(0, np.int64), minimal=False)


class _Shrinking:
    """Which operations are certain, by place, and the work that is left."""

    def __init__(self, key: Weakening, stuck: int, work: int) -> None:
        self.key = key
        self.stuck = key.rows.index(stuck)
        self.left = work
        self.certain: set[int] = {self.stuck}
        self.minimal = False

    def grow(self, *, near: bool) -> bool:
        """Makes operations certain until they are refused; False if they never are, or the work is used up."""
        self.certain, nearby = {self.stuck}, self._nearby()
        for count in _doubling():
            if self._explore(self.certain, near=near).refused:
                return True
            fresh = [place for _, place in zip(range(count), nearby, strict=False)]
            if not fresh or self.left <= 0 or (near and len(self.certain) > NEAR_MAX):
                return False
            self.certain.update(fresh)
        raise AssertionError("unreachable: doubling never ends")

    def _nearby(self) -> Iterator[int]:
        """Completed operations not yet certain, next to the stuck one by their return."""
        key = self.key
        here = key.return_[self.stuck]
        done = [place for place in range(len(key.rows)) if key.done[place]]
        for place in sorted(done, key=lambda place: (key.return_[place] > here, abs(key.return_[place] - here))):
            if place not in self.certain:
                yield place

    def weaken(self, *, near: bool) -> None:
        """Makes certain operations optional while the others are refused."""
        observation = self.key.observation
        order = sorted(self.certain, key=lambda place: (place == self.stuck, not observation[place], place))
        size = len(order) // 2
        while size > 1:
            order = self._without_chunks(order, size, near=near)
            size //= 2
        self.minimal = True
        self._without_chunks(order, 1, near=near)

    def _without_chunks(self, order: Sequence[int], size: int, *, near: bool) -> list[int]:
        """Tries to do without each chunk; returns the places that stay, in the same order."""
        for start in range(0, len(order), size):
            fewer = self.certain - set(order[start : start + size])
            if not fewer:
                continue
            refused = self._explore(fewer, near=near).refused
            if refused:
                self.certain = fewer
            elif refused is None:
                self.minimal = False
        return [place for place in order if place in self.certain]

    def _explore(self, certain: Iterable[int], *, near: bool) -> Trial:
        if self.left <= 0:
            return Trial(refused=None, order=(), work=0)
        trial = self.key.explore(certain, min(self.left, TRIAL_WORK_MAX), near=near)
        self.left -= trial.work + len(self.certain)
        return trial

    def core(self) -> Core:
        """The core as rows."""
        row = np.array(self.key.rows, dtype=np.int64)
        return Core(
            certain=row[sorted(self.certain)],
            optional=row[self.key.optional(self.certain)],
            order=row[list(self.key.fit(self.certain, TRIAL_WORK_MAX))],
            minimal=self.minimal,
        )


def _doubling() -> Iterator[int]:
    count = 2
    while True:
        yield count
        count *= 2
