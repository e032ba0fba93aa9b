"""Transactions out of a history: tuples of micro-operations ``(f, key, value)``, checked to be such.

Values are compared as Python compares them, which is fast and calls 1, 1.0 and true equal; a history that has booleans,
fractions or objects anywhere is rewritten first, so that values are equal only if JSON says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.event import shorten
from checkers.history import FAIL, INFO, OK, Column, History, HistoryError
from checkers.models.model import hashable

Transaction = Sequence[tuple[str, Any, Any]]

FUNCTION = "txn"
_NOT_PLAIN = (b"true", b"false", b".", b"{")
_STEP = 'Record a list of ["r", key, null], ["{write}", key, value] at invoke, with what was read at ok.'


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Transactions:
    """The transactions of a history by outcome: rows, and the micro-operations of each. What is known of an ``ok`` one
    is its completion; of the others, its invocation (their reads say nothing)."""

    ok_rows: Column
    ok: list[Transaction]
    info_rows: Column
    info: list[Transaction]
    fail_rows: Column
    fail: list[Transaction]

    @staticmethod
    def of(history: History, write: str) -> Transactions:
        """All transactions of a history whose writes are called ``write``.

        Raises:
            HistoryError: an operation is no transaction, or a value no list of micro-operations.
        """
        _check_functions(history)
        values: Sequence[Any] = history.values.values
        tricky = any(mark in code for code in history.values.codes if type(code) is bytes for mark in _NOT_PLAIN)
        columns: list[Any] = []
        for outcome, column in ((OK, history.result), (INFO, history.value), (FAIL, history.value)):
            rows = np.flatnonzero(history.outcome == outcome)
            found = [values[code] for code in column[rows].tolist()]
            _check_shapes(history, rows, found, write, lists=write == "append" and outcome == OK)
            columns.extend((rows, [_told_apart(transaction) for transaction in found] if tricky else found))
        ok_rows, ok, info_rows, info, fail_rows, fail = columns
        return Transactions(ok_rows=ok_rows, ok=ok, info_rows=info_rows, info=info, fail_rows=fail_rows, fail=fail)


def _told_apart(transaction: Transaction) -> Transaction:
    """With keys and values that are hashable, and equal only if JSON says so."""
    return tuple((f, hashable(key), hashable(value)) for f, key, value in transaction)


def _check_functions(history: History) -> None:
    wrong = np.flatnonzero(history.f != history.function(FUNCTION))
    if len(wrong):
        row = int(wrong[0])
        problem = f"the function is {history.functions[int(history.f[row])]!r}, which is no transaction"
        raise HistoryError(history.source, int(history.call[row]) + 1, problem, f"Transactions have f {FUNCTION!r}.")


def _check_shapes(history: History, rows: Column, found: list[Transaction], write: str, *, lists: bool) -> None:
    """One loop that is fast where all is well; the culprit is looked for only if not."""
    names = {"r", write}
    try:
        well = all(type(txn) is tuple for txn in found)
        well = well and all(f in names for txn in found for f, _, _ in txn)
        if lists:
            well = well and all(v is None or type(v) is tuple for txn in found for f, _, v in txn if f == "r")
    except (ValueError, TypeError):
        well = False
    if well:
        return
    for row, txn in zip(rows.tolist(), found, strict=True):
        problem = _problem(txn, names, lists)
        if problem:
            line = int(history.call[row]) + 1
            raise HistoryError(history.source, line, problem, _STEP.format(write=write))


def _problem(txn: Any, names: set[str], lists: bool) -> str | None:
    if not isinstance(txn, tuple):
        return f"a transaction has the value {shorten(txn)}"
    for micro in txn:
        if not isinstance(micro, tuple) or len(micro) != 3:
            return f"a transaction has the micro-operation {shorten(micro)}"
        if not isinstance(micro[0], str) or micro[0] not in names:
            return f"a transaction has a micro-operation called {shorten(micro[0])}"
        if lists and micro[0] == "r" and micro[2] is not None and not isinstance(micro[2], tuple):
            return f"a read of a list returned {shorten(micro[2])}"
    return None
