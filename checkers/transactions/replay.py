"""A serial order, checked: the transactions done one after the other on a store, each read compared with what was read.

It shares nothing with the search: it reads the operations of the history as they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from checkers.history import OK, History
from checkers.models.model import hashable


def replay(
    history: History, rows: Sequence[int], level: int, initial: Any = None, null_read: str = "value"
) -> str | None:
    """What is wrong with an order of rows, or nothing. ``level``: the order besides that it must keep (0 none, 1 of
    each process, 2 of time as well). Every completed transaction must be in it."""
    missing = set(np.flatnonzero(history.outcome == OK).tolist()) - set(rows)
    if missing or len(set(rows)) < len(rows):
        return f"transactions are missing or doubled: {sorted(missing)[:5]}"
    return _out_of_order(history, rows, level) or _misread(history, rows, initial, null_read == "value")


def _out_of_order(history: History, rows: Sequence[int], level: int) -> str | None:
    if level == 2:
        order = np.array(rows, dtype=np.int64)
        earliest_later = np.minimum.accumulate(history.return_[order][::-1])[::-1]
        late = np.flatnonzero(earliest_later[1:] < history.call[order[:-1]])
        if len(late):
            return f"{rows[late[0]]} began after one was over that comes later"
    if level >= 1:
        last: dict[int, int] = {}
        for row in rows:
            process, call = int(history.process[row]), int(history.call[row])
            if call < last.get(process, -1) and history.outcome[row] == OK:
                return f"{row} is not in the order of its process"
            last[process] = call
    return None


def _misread(history: History, rows: Sequence[int], initial: Any, null_read: bool) -> str | None:
    store: dict[Any, Any] = {}
    for row in rows:
        operation = history.operation(row)
        known = history.outcome[row] == OK
        for f, key, value in operation.result if known else operation.value:
            key, value = hashable(key), hashable(value)
            if f == "append":
                store.setdefault(key, []).append(value)
            elif f == "w":
                store[key] = value
            elif known and (null_read or value is not None) and not _same(store.get(key, initial), value):
                return f"{row} read {value!r} of {key!r}, which was {store.get(key, initial)!r}"
    return None


def _same(found: Any, value: Any) -> bool:
    if isinstance(found, list):
        return tuple(found) == (value or ())
    return bool(found == value or (found in (None, ()) and value in (None, ())))
