r"""Elements that are removed, each by itself: one add (or the initial one), any number of removes, and contains.

A set with add, remove and contains is as many independent switches as there are values, so a history is linearizable
iff the part of each value is (locality). Here one value, added once during (c, e), with removes, of which the ok ones
must take effect and info ones may, contains that found it (*found*) and that did not (*missed*). Let

    U = min (e, returns of found),   B = max (c, calls of found).

There are two shapes of a linearization.

*Never removed*: all missed and all ok removes come before the add, all found after it. With instants as close after
the calls as the order asks, that is possible iff max (c, calls of missed and of ok removes) < U.

*Removed*: some remove q is the first after the add. The value is there from t(add) to t(q), all found lie between, and
missed and the other ok removes lie before t(add) or after t(q). So c < U; t(q) > B; and the sooner t(q), the better for
all others: the first instant after B at which a remove can take effect is L = max (B, min { q.call : q.return > B }).
What must be outside can come after t(q) if it returns after L, and else before t(add) if its call is before U. (Whoever
has to come before the add returns by L, so its call never delays t(q) beyond L; and if it returns before c, its call is
before U.) Hence: possible iff c < U, L exists, and no missed and no other ok remove has call >= U and return <= L. The
remove that gives L returns after it, so it needs no exception.

An info add that nobody found can be taken as never having happened, after which nothing is left to violate. Without an
add, a found is impossible and all else possible. Elements added more than once *and* removed are the search's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checkers.deciders.refusals import Flags, Ids
from checkers.deciders.sets.columns import BEFORE_ALL, Columns
from checkers.history import NEVER, OK


@dataclass(frozen=True, kw_only=True, slots=True)
class Removals:
    """By element; only those flagged ``judged`` mean something.

    ``removed``: some remove may have taken effect. ``needed``: it was certainly there at some time; ``phantom``: though
    nobody added it. ``kept``: the shape without a remove is possible. ``until`` is U, ``begin`` B, ``gone`` L
    (:data:`NEVER`: no such remove). ``wrong``: impossible. ``open_``: added more than once and removed.
    """

    removed: Flags
    needed: Flags
    phantom: Flags
    kept: Flags
    added: Ids
    until: Ids
    gone: Ids
    begin: Ids
    wrong: Flags
    open_: Flags

    @staticmethod
    def of(columns: Columns) -> Removals:
        history = columns.history
        done = columns.ok(columns.add)
        removed = columns.any(columns.remove_of)
        needed = columns.any(columns.found_of) | columns.any(columns.add_of[done]) | columns.initial
        adds = np.bincount(columns.add_of, minlength=len(columns)) + columns.initial
        added = columns.first(columns.add, columns.add_of, history.call)
        added[columns.initial] = BEFORE_ALL
        until = columns.first(columns.add[done], columns.add_of[done], history.return_)
        until[columns.initial] = BEFORE_ALL + 1
        until = np.minimum(until, columns.first(columns.found, columns.found_of, history.return_))
        out, of = outside(columns)
        kept = np.maximum(added, columns.last(out, of, history.call)) < until
        begin = np.maximum(added, columns.last(columns.found, columns.found_of, history.call))
        gone = _gone(columns, begin)
        inside = (history.call[out] > until[of]) & (history.return_[out] <= gone[of])
        taken_away = (added < until) & (gone != NEVER) & ~columns.any(of[inside])
        judged = removed & needed & (adds == 1)
        return Removals(
            removed=removed,
            needed=needed,
            phantom=needed & (adds == 0),
            kept=kept,
            added=added,
            until=until,
            gone=gone,
            begin=begin,
            wrong=judged & ~kept & ~taken_away,
            open_=removed & needed & (adds > 1),
        )


def outside(columns: Columns) -> tuple[Ids, Ids]:
    """Rows that must lie where the element is not there, and their elements."""
    done = columns.history.outcome[columns.remove] == OK
    rows = np.concatenate((columns.missed, columns.remove[done]))
    return rows, np.concatenate((columns.missed_of, columns.remove_of[done]))


def _gone(columns: Columns, begin: Ids) -> Ids:
    """L: when a remove can first take effect, given what must be before it."""
    history = columns.history
    late = history.return_[columns.remove] > begin[columns.remove_of]
    first = columns.first(columns.remove[late], columns.remove_of[late], history.call)
    return np.where(first == NEVER, NEVER, np.maximum(first, begin))
