"""Results that are lists, as columns of value codes: what sets, queues and logs showed.

A value has one code in the whole history (:mod:`checkers.values`), so that the elements of a read are compared with the
arguments of adds as integers. Elements that no operation has as its argument get codes of their own, from the size of
the history's table on, equal for equal elements.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.event import shorten
from checkers.history import ABSENT, History, HistoryError
from checkers.values import PLAIN, identity

Codes = npt.NDArray[np.int64]


class Contents:
    """Gives the elements of list results as codes."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._codes = history.values.codes
        self._size = len(history.values)
        self._strange: dict[Any, int] = {}
        self._strangers: list[Any] = []

    @property
    def size(self) -> int:
        """Codes from here on are of elements that no operation has as its argument."""
        return self._size

    def value(self, code: int) -> Any:
        """The element that has the code."""
        return self._history.values.values[code] if code < self._size else self._strangers[code - self._size]

    def of(self, row: int, *, null_is_empty: bool = True) -> Codes:
        """The elements that an ``ok`` operation returned, in their order.

        Raises:
            HistoryError: its result is no list.
        """
        items = self._history.values.values[int(self._history.result[row])]
        if items is None and null_is_empty:
            items = ()
        if not isinstance(items, tuple):
            line = int(self._history.call[row]) + 1
            f = self._history.functions[int(self._history.f[row])]
            problem = f"the result of a {f} is {shorten(items)}"
            raise HistoryError(self._history.source, line, problem, f"A {f} returns a list.")
        if set(map(type, items)) <= PLAIN:
            found = np.fromiter(map(self._codes.get, items, repeat(ABSENT)), np.int64, len(items))
        else:
            found = np.fromiter((self._codes.get(identity(item), ABSENT) for item in items), np.int64, len(items))
        for place in np.flatnonzero(found == ABSENT):
            found[place] = self._stranger(items[place])
        return found

    def _stranger(self, item: Any) -> int:
        code = self._strange.setdefault(identity(item), self._size + len(self._strangers))
        if code == self._size + len(self._strangers):
            self._strangers.append(item)
        return code
