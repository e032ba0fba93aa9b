"""Moments at which something was certainly inside.

A value is certainly inside from the return of its put to the call of its take. An empty result needs a moment at which
nothing was; these *gaps* are all that linearizations of the three containers need (each method's proof says why).
"""

from __future__ import annotations

import numpy as np

from checkers.deciders.containers.timeline import Ids


def gaps(start: Ids, end: Ids, slots: int) -> Ids:
    """For each slot, how many slots before it are covered by no interval; slots start ... end - 1 are an interval's.
    Empty intervals (end <= start) cover nothing. One entry more than slots.
    """
    real = start < end
    change = np.bincount(start[real], minlength=slots + 1) - np.bincount(end[real], minlength=slots + 1)
    before = np.zeros(slots + 1, dtype=np.int64)
    np.cumsum(np.cumsum(change[:-1]) == 0, out=before[1:])
    return before


def first_gaps(before: Ids, call: Ids) -> Ids:
    """The first uncovered slot at or after each call; ``before`` as :func:`gaps` made it."""
    return np.searchsorted(before, before[call], side="right") - 1


def chain(start: Ids, end: Ids, low: int, high: int) -> list[int]:
    """The fewest intervals that cover the slots low ... high - 1, in order; they do cover them."""
    inside = np.flatnonzero((start < end) & (start < high) & (end > low))
    inside = inside[np.argsort(start[inside], kind="stable")]
    reach = np.maximum.accumulate(end[inside])
    links: list[int] = []
    while low < high:
        upto = int(np.searchsorted(start[inside], low, side="right"))
        low = int(reach[upto - 1])
        links.append(int(inside[int(np.argmax(end[inside[:upto]]))]))
    return links


def reach(start: Ids, end: Ids, slot: int) -> int:
    """The first slot at or after a given one that no interval covers."""
    after = np.flatnonzero((start < end) & (end > slot))
    after = after[np.argsort(start[after], kind="stable")]
    for first, last in zip(start[after].tolist(), end[after].tolist(), strict=True):
        if first > slot:
            break
        slot = max(slot, last)
    return slot
