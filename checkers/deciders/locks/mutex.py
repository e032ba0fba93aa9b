r"""The mutex that anybody may release: acquire and release must take turns. O(n log n), unknown outcomes included.

Nothing is returned, so an operation is only its kind and its interval. Go through the ok operations in the order of
their returns. When o is to return and has not taken effect:

- If o is legal now (acquire of a free mutex, release of a held one), let it take effect now.
- Else one operation of the other kind that has been called must take effect first, then o: the one that returns first
  (info operations, which never return, last). If there is none, the history is impossible.

*Exact.* Only the order matters: a sequence is allowed iff no operation stands before one that returned before its call.
All that is called and not done returns later than o, so before o's return these may stand in any order. Let some valid
order begin with s1 ... sm, o from the present state. If o is legal, o and s1 (if m > 0) are of one kind: exchange them.
s1 comes later, but still before o's return, and the order stays valid. So it is no loss to let o go first. If o is not
legal, s1 is of the other kind. Let r be the choice above. If r stands later in the order, exchange it with s1, which
returns later than r (or never) and can wait. If r does not appear, r is info, hence so is s1, and r can take its place.
After r, o is legal: the first case. (Earliest deadline first, with turns.)
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.deciders.decision import Decision, Rows
from checkers.deciders.refusals import OPERATIONS_MAX, Case, Ids, Refusals, plural
from checkers.history import FAIL, OK, Column, History, HistoryError
from checkers.models.mutex import Mutex
from checkers.operation import Operation
from checkers.wording import capital, listed, show

NAMED_MAX = 4


class MutexDecider:
    """acquire and release by whoever."""

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:  # noqa: ARG002
        """See the module."""
        held = _start(history, initial)
        refusals = Refusals(history, "mutex", initial)
        stuck = [(turns, at) for turns in _by_key(history) if (at := turns.run(held)) is not None]
        keys = np.array([turns.key for turns, _ in stuck], dtype=np.int64)
        for index in refusals.fresh(keys):
            turns, at = stuck[index]
            _explain(refusals, turns, at, held)
        return Decision(findings=tuple(refusals.findings), refused=frozenset(refusals.keys))

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:  # noqa: ARG002
        """The order in which operations take effect above."""
        order: list[int] = []
        for turns in _by_key(history, rows):
            turns.run(_start(history, initial), order)
        return np.array(order, dtype=np.int64)


def _start(history: History, initial: Any) -> bool:
    try:
        return bool(Mutex().start(initial))
    except ValueError as error:
        raise HistoryError(history.source, None, str(error), "Choose another initial value.") from None


def _by_key(history: History, rows: Rows | None = None) -> Iterator[_Turns]:
    every = np.arange(len(history)) if rows is None else rows
    every = every[history.outcome[every] != FAIL]
    acquires = history.f == history.function("acquire")
    done = every[history.outcome[every] == OK]
    done = done[np.argsort(history.return_[done])]
    unknown = every[history.outcome[every] != OK]
    one = len(history.keys) == 1
    done = done if one else done[np.argsort(history.key[done], kind="stable")]
    unknown = unknown if one else unknown[np.argsort(history.key[unknown], kind="stable")]
    keys = np.arange(len(history.keys))
    edges = np.searchsorted(history.key[done], np.arange(len(keys) + 1))
    more = np.searchsorted(history.key[unknown], np.arange(len(keys) + 1))
    for key in np.unique(history.key[done]).tolist():
        mine, open_ = done[edges[key] : edges[key + 1]], unknown[more[key] : more[key + 1]]
        yield _Turns(
            key=key,
            rows=mine,
            acquire=acquires[mine].tolist(),
            call=history.call[mine].tolist(),
            return_=history.return_[mine].tolist(),
            unknown=tuple(open_[acquires[open_] == kind].tolist() for kind in (False, True)),
            unknown_call=tuple(history.call[open_[acquires[open_] == kind]].tolist() for kind in (False, True)),
        )


@dataclass(kw_only=True, slots=True)
class _Turns:
    """The operations of one key: ok ones in the order of their returns; info ones by kind (False: release), as they
    were invoked. Below, an operation is its place in the order of returns.
    """

    key: int
    rows: Ids
    acquire: list[bool]
    call: list[int]
    return_: list[int]
    unknown: Sequence[list[int]]
    unknown_call: Sequence[list[int]]
    _called: list[Iterator[int]] = field(default_factory=list)

    def run(self, held: bool, order: list[int] | None = None) -> int | None:
        """The first operation that cannot take effect by its return, None if all can; appends rows to ``order``."""
        waiting = (_Waiting(self, False), _Waiting(self, True))
        done = bytearray(len(self.acquire))
        for at, acquires in enumerate(self.acquire):
            if done[at]:
                continue
            if held == acquires:
                helper = waiting[not acquires].take(at, done)
                if helper is None:
                    return at
                if order is not None:
                    order.append(helper)
            held = acquires
            if order is not None:
                order.append(int(self.rows[at]))
        return None


class _Waiting:
    """Operations of one kind that are called and not done."""

    def __init__(self, turns: _Turns, kind: bool) -> None:
        self.turns = turns
        self.kind = kind
        self.by_call: list[int] | None = None
        self.heap: list[int] = []
        self.called = 0
        self.unknown = 0

    def take(self, at: int, done: bytearray) -> int | None:
        """The row of the one that returns first after operation ``at``, None if there is none; it is done then."""
        turns = self.turns
        now, call = turns.return_[at], turns.call
        by_call = self._by_call()
        while self.called < len(by_call) and call[by_call[self.called]] < now:
            place = by_call[self.called]
            self.called += 1
            if place > at and not done[place]:
                heapq.heappush(self.heap, place)
        while self.heap:
            place = heapq.heappop(self.heap)
            if place > at and not done[place]:
                done[place] = 1
                return int(turns.rows[place])
        calls = turns.unknown_call[self.kind]
        if self.unknown < len(calls) and calls[self.unknown] < now:
            self.unknown += 1
            return turns.unknown[self.kind][self.unknown - 1]
        return None

    def _by_call(self) -> list[int]:
        if self.by_call is None:
            mine = np.flatnonzero(np.array(self.turns.acquire) == self.kind)
            self.by_call = mine[np.argsort(np.array(self.turns.call)[mine])].tolist()
        return self.by_call


def _explain(refusals: Refusals, turns: _Turns, at: int, held: bool) -> None:
    """The shortest stretch of time, up to the return of the operation that is stuck, in which one kind had to take
    effect at least two times more than the other can have (from the beginning: one more than the first state allows).
    Nearly always there is one; where what was needed in one stretch was missing in another, the whole part is named.
    """
    history, kind = refusals.history, turns.acquire[at]
    rows = np.concatenate((turns.rows, np.array([*turns.unknown[False], *turns.unknown[True]], dtype=np.int64)))
    until = turns.return_[at]
    mine = (history.f[rows] == history.function("acquire")) == kind
    same = rows[mine & (history.return_[rows] <= until)]
    others = rows[~mine & (history.call[rows] < until)]
    begin = _begin(history.call[same], history.return_[others], held == kind)
    if begin is None:
        _explain_stuck(refusals, int(turns.rows[at]), rows[history.call[rows] < until])
        return
    inside = same[history.call[same] > begin]
    others = others[history.return_[others] > begin]
    inside = inside[np.argsort(history.call[inside], kind="stable")]
    roles = {
        f"{'acquire' if kind else 'release'} {number + 1}": int(row) for number, row in enumerate(inside[:NAMED_MAX])
    }
    story = _Story(kind=kind, held=held, begin=begin, inside=len(inside), could=len(others))
    ended = int(history.return_ns[inside].max())
    follow = [(int(a), int(b)) for a, b in itertools.pairwise(inside) if history.return_[a] < history.call[b]]
    refusals.add(
        "two holders at once" if kind else "release of a free lock",
        roles,
        lambda case: story.tell(case, ended),
        before=follow[:OPERATIONS_MAX],
        also=(*inside.tolist(), *others.tolist()),
        evidence={"count": len(inside), "could": len(others)},
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Story:
    """What happened too often: ``inside`` acquires (or releases) where ``could`` of the other kind can have been."""

    kind: bool
    held: bool
    begin: int
    inside: int
    could: int

    def tell(self, case: Case, ended: int) -> str:
        verb, other = ("acquired", "release") if self.kind else ("released", "acquire")
        since = f"{case.where} was {'held' if self.held else 'free'} at the beginning"
        if self.begin >= 0:
            since = f"the first of them began at {case.words.began(next(iter(case.roles.values())))}"
        told = f"{case.where} was {verb} {plural(self.inside, 'time')}"
        if self.inside == len(case.roles):
            who = [f"process {item.process} {self._times(case, item)}" for item in case.roles.values()]
            told = f"{listed(who)} {verb} {case.where}"
        could = f"only {plural(self.could, other)} can" if self.could else f"no {other} can"
        return (
            f"{capital(told)}; {since}, and from then until the last of them returned at {case.words.time(ended)} "
            f"{could} have taken effect."
        )

    def _times(self, case: Case, item: Operation) -> str:
        return f"({case.words.began(item)} to {case.words.ended(item)})"


def _begin(calls: Column, returns: Column, first_is_wrong: bool) -> int | None:
    """Just before which call the stretch begins; -1 for the beginning of the history; None if there is none."""
    calls = np.sort(calls)
    inside = len(calls) - np.arange(len(calls))
    possible = len(returns) - np.searchsorted(np.sort(returns), calls)
    wrong = np.flatnonzero(inside - possible >= 2)
    if len(wrong):
        return int(calls[wrong[-1]]) - 1
    return -1 if len(calls) - len(returns) >= 2 - first_is_wrong else None


def _explain_stuck(refusals: Refusals, stuck: int, rows: Ids) -> None:
    """An operation that fits nowhere, with all that was invoked before it returned (the last of them, if many)."""
    latest = rows[np.argsort(refusals.history.call[rows])][-OPERATIONS_MAX:]

    def tell(case: Case) -> str:
        name = case["stuck"].f
        until = f"the {len(rows)} operations that were invoked before it returned"
        return (
            f"The {name} of {case.where} {case.by('stuck')} has no place: in no order of {until} that keeps to their "
            f"times do acquire and release take turns, from {show(refusals.initial or 'unlocked')} on."
        )

    refusals.add("no turns possible", {"stuck": stuck}, tell, also=latest.tolist())
