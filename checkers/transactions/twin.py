"""The dumb twin of the transaction checkers: every order of the transactions, tried one by one on a store.

Shipped so that tests can compare the checkers with something that is plainly right. It knows nothing of graphs,
versions or unique values. For up to about seven transactions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from checkers.models.model import hashable
from checkers.operation import Operation, Outcome

PROCESS_ORDER, TIME_ORDER = 1, 2
"""Orders that a serial order may have to keep, besides explaining all reads (0: none)."""


def serializable(operations: Sequence[Operation], level: int = 0, initial: Any = None) -> bool:
    """Is there an order in which every completed transaction sees what it saw?

    Failed transactions are left out; ``info`` ones may be left out or put anywhere that the level allows.
    """
    candidates = [operation for operation in operations if operation.outcome is not Outcome.FAIL]
    return _extend(candidates, level, {}, hashable(initial))


def _extend(remaining: list[Operation], level: int, state: Mapping[Any, Any], initial: Any) -> bool:
    if all(operation.outcome is Outcome.INFO for operation in remaining):
        return True
    for number, operation in enumerate(remaining):
        if any(_precedes(other, operation, level) for other in remaining):
            continue
        after = _after(state, operation, initial)
        if after is not None and _extend(remaining[:number] + remaining[number + 1 :], level, after, initial):
            return True
    return False


def _precedes(earlier: Operation, later: Operation, level: int) -> bool:
    if earlier.outcome is not Outcome.OK or earlier.return_index is None:
        return False
    over = level == TIME_ORDER and earlier.return_index < later.call_index
    # A process does one at a time, even where the clock is too coarse to say so.
    return over or (level > 0 and earlier.process == later.process and earlier.call_index < later.call_index)


def _after(state: Mapping[Any, Any], operation: Operation, initial: Any) -> Mapping[Any, Any] | None:
    """The store after a transaction; none if it would have seen something else."""
    store = dict(state)
    known = operation.outcome is Outcome.OK
    for f, key, value in operation.result if known else operation.value:
        key, value = hashable(key), hashable(value)
        if f == "append":
            store[key] = (*store.get(key, ()), value)
        elif f == "w":
            store[key] = value
        elif known and not _sees(store, key, value, initial):
            return None
    return store


def _sees(store: Mapping[Any, Any], key: Any, value: Any, initial: Any) -> bool:
    found = store.get(key, initial)
    return bool(found == value or (not found and not value and isinstance(found or value or (), tuple)))
