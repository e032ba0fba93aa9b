"""Transactions of reads and writes as long fork reads them: the micro-operations of ``txn`` values."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Any, NamedTuple

from checkers.event import shorten
from checkers.history import OK, History, HistoryError
from checkers.values import identity


class Step(NamedTuple):
    """``kind`` is ``r`` or ``w``; ``name`` and ``content`` tell keys and values apart, ``key`` and ``value`` are the
    things themselves."""

    kind: str
    name: Hashable
    key: Any
    content: Hashable
    value: Any


def steps(history: History, row: int) -> Iterator[Step]:
    """The reads and writes of a transaction: as it returned if it is ``ok``, else as it was invoked.

    Raises:
        HistoryError: the value is no list of ``["r", key, value]`` and ``["w", key, value]``.
    """
    code = int(history.result[row]) if history.outcome[row] == OK else int(history.value[row])
    value = history.values.values[code]
    if not isinstance(value, tuple) or not all(map(_is_step, value)):
        line = int(history.call[row]) + 1
        problem = f"a transaction has the value {shorten(value)}"
        raise HistoryError(history.source, line, problem, 'Record [["r", key, null], ["w", key, value], ...].')
    for kind, key, content in value:
        yield Step(kind, (int(history.key[row]), identity(key)), key, identity(content), content)


def _is_step(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 3 and item[0] in ("r", "w")
