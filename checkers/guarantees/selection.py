"""Rows of a history by what they are: function, outcome, key."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.history import ABSENT, FAIL, OK, History

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def having(history: History, *functions: str) -> Mask:
    """Which operations have one of these functions."""
    codes = [history.function(name) for name in functions]
    return np.isin(history.f, [code for code in codes if code != ABSENT])


def rows_of(history: History, *functions: str) -> Rows:
    """Operations with one of these functions that may have happened (not ``fail``), in order of invocation."""
    return np.flatnonzero(having(history, *functions) & (history.outcome != FAIL))


def acknowledged(history: History, rows: Rows) -> Rows:
    """Those that ended ``ok``."""
    ok: Rows = rows[history.outcome[rows] == OK]
    return ok


def key_of(history: History, row: int) -> Any:
    """The key of an operation."""
    return history.keys.values[int(history.key[row])]


def by_key(history: History, rows: Rows) -> Iterator[tuple[int, Rows]]:
    """(code of a key, its rows in their order), for each key that the rows have."""
    keys = history.key[rows]
    if not len(rows):
        return
    if (keys == keys[0]).all():  # no keys, or one: nearly every history of these checks
        yield int(keys[0]), rows
        return
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    for start, end in zip(starts, np.r_[starts[1:], len(ordered)], strict=True):
        yield int(ordered[start]), rows[order[start:end]]
