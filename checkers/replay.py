"""Is an order a linearization? The judge of witnesses: it shares no idea with what finds them, only the data types.

An order of one key is accepted if it holds every completed operation once, each that nobody saw end at most once and no
failed one; if none comes after one that began when it was over (compared with the latest invocation so far, so in one
pass); and if the data type's step is legal all along. Registers are stepped through as columns, all else one by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.history import ABSENT, FAIL, OK, History
from checkers.models.model import Call, Model, Refused
from checkers.models.register import Register
from checkers.operation import Outcome

Rows = npt.NDArray[np.int64]


class ReplayError(Exception):
    """An order that was claimed to be a linearization is none: a defect of the checker that claimed it."""


def replay(history: History, orders: Mapping[int, Rows], model: Model, initial: Any) -> None:
    """Accepts the orders of all keys (by their code).

    Raises:
        ReplayError: one is no linearization, with the reason.
    """
    rows = np.concatenate([np.empty(0, np.int64), *orders.values()]).astype(np.int64)
    keys = np.repeat(np.fromiter(orders, np.int64, len(orders)), [len(order) for order in orders.values()])
    _complete(history, rows, keys)
    _in_time(history, rows, keys)
    if isinstance(model, Register):
        _registers(history, rows, keys, initial, model.null_read)
        return
    for order in orders.values():
        _steps(history, order, model, initial)


def _complete(history: History, rows: Rows, keys: Rows) -> None:
    """Who takes part, and under which key."""
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(history)):
        raise ReplayError("an order holds what is no operation of the history")
    count = np.bincount(rows, minlength=len(history))
    allowed = np.where(history.outcome == FAIL, 0, 1)
    needed = np.where(history.outcome == OK, 1, 0)
    _refuse_first(history, np.flatnonzero(count < needed), "is missing, though it completed")
    _refuse_first(history, np.flatnonzero(count > allowed), "takes effect, though it failed, or more than once")
    _refuse_first(history, rows[history.key[rows] != keys], "stands in the order of another key")


def _in_time(history: History, rows: Rows, keys: Rows) -> None:
    if not len(rows):
        return
    starts = np.flatnonzero(np.diff(keys, prepend=-1))
    part = np.cumsum(np.isin(np.arange(len(rows)), starts)) * (history.events + 2)
    latest = np.maximum.accumulate(history.call[rows] + part) - part
    over = history.return_[rows]
    late = np.flatnonzero((over[1:] < latest[:-1]) & (part[1:] == part[:-1])) + 1
    _refuse_first(history, rows[late], "comes after an operation that began when it was over")


def _registers(history: History, rows: Rows, keys: Rows, initial: Any, null_read: str) -> None:
    """Every observation is of the last value written before it."""
    if not len(rows):
        return
    reads = history.f[rows] == history.function("read")
    place = np.arange(len(rows))
    begin = np.maximum.accumulate(np.where(np.diff(keys, prepend=-1) != 0, place, 0))
    written = np.maximum.accumulate(np.where(reads, -1, place))
    before = np.concatenate(([-1], written[:-1]))
    held = np.where(before >= begin, history.value[rows[before]], history.values.find(initial))
    seen = np.where(reads, history.result[rows], history.expected[rows])
    says = (reads & (history.outcome[rows] == OK)) | (history.expected[rows] != ABSENT)
    if null_read == "unknown":
        says &= ~(reads & (seen == history.values.find(None)))
    _refuse_first(history, rows[says & (seen != held)], "found another value than the order left")


def _steps(history: History, order: Rows, model: Model, initial: Any) -> None:
    state = model.start(initial)
    for row in order.tolist():
        item = history.operation(row)
        known = item.outcome is Outcome.OK
        call = Call(item.f, item.value, item.result if known else None, known, item.process)
        after = model.step(state, call)
        if isinstance(after, Refused):
            _refuse_first(history, np.array([row]), f"is not legal where the order left {model.shown(state)!r}")
        state = after


def _refuse_first(history: History, rows: npt.NDArray[Any], problem: str) -> None:
    if len(rows):
        item = history.operation(int(rows[0]))
        raise ReplayError(
            f"operation {item.index} ({item.f} by process {item.process}) {problem}: the order that was claimed to be "
            "a linearization is none. This is a defect of Capsize; please report it with the history"
        )
