"""Which values can lie at the bottom of a stack: the loop of :mod:`checkers.deciders.containers.stack`.

``nest`` and what it calls are written in the part of Python that numba compiles: short histories run it as it is, on
lists; long ones run the same source compiled, on arrays (:mod:`checkers.deciders.containers.compilation`).

Three trees over ranges, each a list with the root at 1 and node n's children at 2n and 2n + 1, hold what is asked:

- over the ends of intervals in the order of time, +1 where one starts and -1 where it ends, each node's total and the
  least total of a beginning of its range: the first end after which all that started is over;
- over values in the order of their starts, the least call of a put that was not yet known to come early enough;
- over values in the same order, the (negated) greatest return of a take among those that do.

A value is in the second tree until its part of time begins after its put's call, then in the third until it is removed:
so every value costs O(log n), whatever the shape of the history.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from checkers.deciders.containers.compilation import COMPILED_FROM, compiled_together
from checkers.deciders.containers.timeline import Flags, Ids

_NEVER = 2**60


@dataclass(frozen=True, kw_only=True, slots=True)
class Nesting:
    """By value: ``turn`` (its place among the removed; -1: it was not removed), and the first and last position of the
    part of time of which it was the bottom. ``stuck``: the parts (first, last position) in which no value can be the
    bottom.
    """

    turn: Ids
    first: Ids
    last: Ids
    stuck: Ids


def nesting(low: Ids, start: Ids, end: Ids, high: Ids, compiled: bool | None = None) -> Nesting:
    """Values that are certainly inside from ``start`` to ``end``, put in after ``low``, taken out before ``high``.

    ``compiled``: None to choose by size.
    """
    count = len(start)
    by_start = np.argsort(start, kind="stable")
    turn, first, last = (np.full(count, -1, dtype=np.int64) for _ in range(3))
    stuck = np.zeros(2 * count, dtype=np.int64)
    if not count:
        return Nesting(turn=turn, first=first, last=last, stuck=stuck.reshape(0, 2))
    columns = _prepared(low[by_start], start[by_start], end[by_start], high[by_start])
    outputs = (turn, first, last, stuck)
    if count >= COMPILED_FROM if compiled is None else compiled:
        many = int(_compiled()(*columns, *outputs))
    else:
        lists = [column.tolist() for column in outputs]
        many = nest(*(column.tolist() for column in columns), *lists)
        turn, first, last, stuck = (np.array(column, dtype=np.int64) for column in lists)
    given = np.argsort(by_start)
    return Nesting(turn=turn[given], first=first[given], last=last[given], stuck=stuck[: 2 * many].reshape(-1, 2))


@cache
def _compiled() -> Callable[..., Any]:
    return compiled_together(next_there, first_balance, first_below, put, forget, nest)


def _prepared(low: Ids, start: Ids, end: Ids, high: Ids) -> list[Ids]:
    """The arguments of ``nest`` but its outputs."""
    count = len(start)
    every = np.concatenate((start, end))
    order = np.argsort(every, kind="stable")
    place = np.empty(2 * count, dtype=np.int64)
    place[order] = np.arange(2 * count)
    opens = order < count
    starts = np.concatenate(([0], np.cumsum(opens)))
    total, least = _totals(opens)
    lows = _least(np.append(low, -1))
    highs = _least(np.append(np.full(count, _NEVER), -_NEVER))
    skip, pile = np.arange(2 * count + 2), np.zeros(2 * count + 2, dtype=np.int64)
    return [every[order], starts, place[:count], place[count:], high, total, least, lows, highs, skip, pile]


def _power(count: int) -> int:
    return 1 << max(1, (count - 1).bit_length())


def _least(leaves: Ids) -> Ids:
    """A tree of least leaves."""
    size = _power(len(leaves))
    tree = np.full(2 * size, _NEVER, dtype=np.int64)
    tree[size : size + len(leaves)] = leaves
    while size > 1:
        tree[size // 2 : size] = np.minimum(tree[size : 2 * size : 2], tree[size + 1 : 2 * size : 2])
        size //= 2
    return tree


def _totals(opens: Flags) -> tuple[Ids, Ids]:
    """The tree of totals, and of least totals of beginnings."""
    size = _power(len(opens))
    total, least = (np.zeros(2 * size, dtype=np.int64) for _ in range(2))
    total[size : size + len(opens)] = np.where(opens, 1, -1)
    least[size:] = total[size:]
    while size > 1:
        left, right = slice(size, 2 * size, 2), slice(size + 1, 2 * size, 2)
        total[size // 2 : size] = total[left] + total[right]
        least[size // 2 : size] = np.minimum(least[left], total[left] + least[right])
        size //= 2
    return total, least


def nest(
    place: Any,
    starts: Any,
    opened: Any,
    closed: Any,
    high: Any,
    total: Any,
    least: Any,
    lows: Any,
    highs: Any,
    skip: Any,
    pile: Any,
    turn: Any,
    first: Any,
    last: Any,
    stuck: Any,
) -> int:
    """Removes bottoms until nothing is left or no part has one; returns how many parts are stuck.

    ``place``: positions of the ends of intervals; ``starts``: how many of those before each are starts; ``opened`` and
    ``closed``: where a value's interval starts and ends among them; ``skip``: from an end to the next that is there;
    ``pile``: ranges of ends whose parts are yet to be looked at.
    """
    turns, stucks, piles = 0, 0, 1
    pile[0], pile[1] = 0, len(place) - 1
    while piles > 0:
        piles -= 1
        end = pile[2 * piles + 1]
        begin = next_there(skip, pile[2 * piles])
        while begin <= end:
            close = first_balance(total, least, begin)
            left, right = place[begin], place[close]
            beyond = starts[close + 1]
            rank = first_below(lows, starts[begin], left)
            while rank < beyond:
                put(lows, rank, _NEVER)
                put(highs, rank, -high[rank])
                rank = first_below(lows, rank, left)
            turns_before = turns
            rank = first_below(highs, starts[begin], -right)
            while rank < beyond:
                turn[rank], first[rank], last[rank] = turns, left, right
                turns += 1
                put(highs, rank, _NEVER)
                for gone in (opened[rank], closed[rank]):
                    skip[gone] = gone + 1
                    forget(total, least, gone)
                rank = first_below(highs, rank, -right)
            if turns == turns_before:
                stuck[2 * stucks], stuck[2 * stucks + 1] = left, right
                stucks += 1
            else:
                pile[2 * piles], pile[2 * piles + 1] = begin, close
                piles += 1
            begin = next_there(skip, close + 1)
    return stucks


def next_there(skip: Any, place: int) -> int:
    """The next end that is there."""
    while skip[place] != place:
        skip[place] = skip[skip[place]]
        place = skip[place]
    return place


def first_balance(total: Any, least: Any, begin: int) -> int:
    """The first end from ``begin`` on after which all that started from there on is over."""
    span, sum_ = len(total) // 2, 0
    node = span + begin
    while sum_ + least[node] > 0:
        sum_ += total[node]
        while node & 1:
            node >>= 1
        node += 1
    while node < span:
        node *= 2
        if sum_ + least[node] > 0:
            sum_ += total[node]
            node += 1
    return node - span


def first_below(tree: Any, rank: int, bound: int) -> int:
    """The first leaf from ``rank`` on that is below the bound; the last leaf that was given always is."""
    wide = len(tree) // 2
    node = wide + rank
    while tree[node] >= bound:
        while node & 1:
            node >>= 1
        node += 1
    while node < wide:
        node *= 2
        if tree[node] >= bound:
            node += 1
    return node - wide


def put(tree: Any, rank: int, value: int) -> None:
    """Changes a leaf of a tree of least leaves."""
    node = len(tree) // 2 + rank
    tree[node] = value
    while node > 1:
        node >>= 1
        tree[node] = min(tree[2 * node], tree[2 * node + 1])


def forget(total: Any, least: Any, gone: int) -> None:
    """Takes an end out of the trees of totals."""
    node = len(total) // 2 + gone
    total[node], least[node] = 0, 0
    while node > 1:
        node >>= 1
        total[node] = total[2 * node] + total[2 * node + 1]
        least[node] = min(least[2 * node], total[2 * node] + least[2 * node + 1])
