"""Moments at which an answer of a priority queue can be right: the loop of
:mod:`checkers.deciders.containers.priority_queue`.

As in :mod:`checkers.deciders.containers.nesting`, the source is run as it is or compiled. Slots that something smaller
covers are skipped by pointers with path halving, one kind to the right and one to the left: nearly constant each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from checkers.deciders.containers.compilation import COMPILED_FROM, compiled_together
from checkers.deciders.containers.timeline import Flags, Ids

NONE = -1
"""The moment of a question that has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Questions:
    """Each asks for a slot in ``low`` ... ``high`` - 1 that no smaller value covers: the first from ``wish`` on, else
    the last before it. ``value``: whose question it is; sorted by the ranks of values.
    """

    value: Ids
    low: Ids
    high: Ids
    wish: Ids


def moments(
    by_rank: Ids, start: Ids, end: Ids, questions: Questions, slots: int, compiled: bool | None = None
) -> tuple[Ids, Flags]:
    """The slot of each question (:data:`NONE`: there is none), and which slots nothing covers at the end.

    ``by_rank``: the values, smallest first; each covers the slots ``start`` ... ``end`` - 1. ``compiled``: None to
    choose by size.
    """
    asked = np.bincount(questions.value, minlength=len(by_rank))[by_rank]
    first = np.concatenate(([0], np.cumsum(asked)))
    columns = [first, start[by_rank], end[by_rank], questions.low, questions.high, questions.wish]
    columns += [np.arange(slots + 2), np.arange(slots + 2)]
    found = np.full(len(questions.low), NONE, dtype=np.int64)
    if len(by_rank) >= COMPILED_FROM if compiled is None else compiled:
        _compiled()(*columns, found)
        right = columns[-2]
    else:
        lists, out = [column.tolist() for column in columns], found.tolist()
        ask(*[*lists, out])
        found, right = np.array(out, dtype=np.int64), np.array(lists[-2], dtype=np.int64)
    return found, right[:slots] == np.arange(slots)


@cache
def _compiled() -> Callable[..., Any]:
    return compiled_together(uncovered, ask)


def uncovered(skip: Any, slot: int) -> int:
    """The next slot in a pointer's direction that nothing covers."""
    while skip[slot] != slot:
        skip[slot] = skip[skip[slot]]
        slot = skip[slot]
    return slot


def ask(first: Any, start: Any, end: Any, low: Any, high: Any, wish: Any, right: Any, left: Any, found: Any) -> None:
    """Goes through values from the smallest on: its questions, then its cover. Slot s is at place s in ``right`` and at
    s + 1 in ``left``, where place 0 is before all slots; ``first``: where each value's questions begin.
    """
    for value in range(len(start)):
        for question in range(first[value], first[value + 1]):
            slot = uncovered(right, wish[question])
            if slot < high[question]:
                found[question] = slot
            elif wish[question] > low[question]:
                slot = uncovered(left, wish[question]) - 1
                if slot >= low[question]:
                    found[question] = slot
        slot = uncovered(right, start[value]) if start[value] < end[value] else end[value]
        while slot < end[value]:
            right[slot] = slot + 1
            left[slot + 1] = slot
            slot = uncovered(right, slot + 1)
