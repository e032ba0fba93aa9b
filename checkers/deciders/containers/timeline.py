"""Positions of events, key by key: each key has a stretch of its own, so that all keys are judged at once.

A stretch holds room for the initial elements (two positions each), the key's events in their order, its *end* (the
return of what nobody saw end: after everything) and one position more (when what never left may be thought to leave).
*Slot* i is the moment between the positions i and i + 1. Positions are distinct, so an operation with call c and return
r can take effect in the slots c ... r - 1, and A precedes B if and only if A's return is less than B's call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from checkers.history import NEVER, History

Ids = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeline:
    """``call`` and ``return_`` by row of the history, ``key`` the number of its key among those that occur.

    By key number: ``code`` (its code in the history), ``base`` (first position) and ``end``. ``slots``: how many
    positions there are in all.
    """

    call: Ids
    return_: Ids
    key: Ids
    code: Ids
    base: Ids
    end: Ids
    slots: int


def timeline(history: History, lead: int) -> Timeline:
    """The positions of a history's operations, with room for ``lead`` initial elements a key."""
    used = np.bincount(history.key, minlength=1) > 0
    code = np.flatnonzero(used)
    make = _one_key if len(code) <= 1 else _many_keys
    return make(history, 2 * lead, used, code)


def _one_key(history: History, room: int, used: Flags, code: Ids) -> Timeline:  # noqa: ARG001
    end = history.events + room
    return Timeline(
        call=history.call + room,
        return_=np.where(history.return_ == NEVER, end, history.return_ + room * (history.return_ != NEVER)),
        key=np.zeros(len(history), dtype=np.int64),
        code=code,
        base=np.zeros(len(code), dtype=np.int64),
        end=np.full(len(code), end, dtype=np.int64),
        slots=end + 2,
    )


def _many_keys(history: History, room: int, used: Flags, code: Ids) -> Timeline:
    key = (np.cumsum(used) - 1)[history.key]
    returned = history.return_ != NEVER
    every_key = np.concatenate((key, key[returned]))
    place = np.concatenate((history.call, history.return_[returned]))
    order = np.argsort(every_key * (history.events + 1) + place)
    events = np.bincount(every_key, minlength=len(code))
    base = np.concatenate(([0], np.cumsum(events + room + 2)))
    before = np.concatenate(([0], np.cumsum(events)))
    sorted_key = every_key[order]
    position = np.empty(len(place), dtype=np.int64)
    position[order] = np.arange(len(place)) - before[sorted_key] + base[sorted_key] + room
    end = base[1:] - 2
    return_ = end[key]
    return_[returned] = position[len(key) :]
    return Timeline(
        call=position[: len(key)], return_=return_, key=key, code=code, base=base[:-1], end=end, slots=int(base[-1])
    )
