"""Transactions of list-append as columns: who appended what, and who read how much of a list from others.

One pass over all micro-operations. What a transaction sees of its own appends is checked on the way and taken off: a
read is *external* if it tells something of other transactions, and ``base`` is how many elements of it are theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from checkers.transactions.anomalies import INTERNAL
from checkers.transactions.micro_operations import Transaction
from checkers.transactions.sightings import Sightings

Elements = tuple[Any, ...]


@dataclass(kw_only=True, slots=True)
class FlatLists:
    """Columns as lists: appends (``append_*``) and external reads (``read_*``); keys are numbered as they come.
    ``early``: reads of elements that the transaction appended only later (row, key, what was read, one of them).
    ``null_read``: does a read of null say that the list was empty?"""

    null_read: bool
    sightings: Sightings
    early: list[tuple[int, int, Elements, Any]] = field(default_factory=list)
    keys: dict[Any, int] = field(default_factory=dict)
    append_row: list[int] = field(default_factory=list)
    append_key: list[int] = field(default_factory=list)
    append_value: list[Any] = field(default_factory=list)
    read_row: list[int] = field(default_factory=list)
    read_key: list[int] = field(default_factory=list)
    read_list: list[Elements] = field(default_factory=list)
    read_base: list[int] = field(default_factory=list)

    def add_all(self, rows: Iterable[int], transactions: Iterable[Transaction]) -> None:
        """Completed transactions, in the order of their rows."""
        keys, null_read = self.keys, self.null_read
        append_row, append_key, append_value = self.append_row, self.append_key, self.append_value
        read_row, read_key, read_list, read_base = self.read_row, self.read_key, self.read_list, self.read_base
        for row, txn in zip(rows, transactions, strict=True):
            if len(txn) > 1 and len({micro[1] for micro in txn}) < len(txn):
                self._add_with_repeated_keys(row, txn)
                continue
            for f, key, value in txn:
                number = keys.get(key)
                if number is None:
                    number = keys[key] = len(keys)
                if f == "append":
                    append_row.append(row)
                    append_key.append(number)
                    append_value.append(value)
                elif value is not None or null_read:
                    elements = value or ()
                    read_row.append(row)
                    read_key.append(number)
                    read_list.append(elements)
                    read_base.append(len(elements))

    def add_appends(self, row: int, txn: Transaction) -> None:
        """A transaction of which only the appends are known."""
        for f, key, value in txn:
            if f == "append":
                self._append(row, self.keys.setdefault(key, len(self.keys)), value)

    def _append(self, row: int, number: int, value: Any) -> None:
        self.append_row.append(row)
        self.append_key.append(number)
        self.append_value.append(value)

    def _read(self, row: int, number: int, elements: Elements, base: int) -> None:
        self.read_row.append(row)
        self.read_key.append(number)
        self.read_list.append(elements)
        self.read_base.append(base)

    def _add_with_repeated_keys(self, row: int, txn: Transaction) -> None:
        """Keeps what the transaction must see of each key: once it has read a list, that list and what it appended."""
        known: dict[int, Elements] = {}
        own: dict[int, list[Any]] = {}
        first: dict[int, Elements] = {}
        for f, key, value in txn:
            number = self.keys.setdefault(key, len(self.keys))
            if f == "append":
                self._append(row, number, value)
                own.setdefault(number, []).append(value)
                if number in known:
                    known[number] = (*known[number], value)
            elif value is not None or self.null_read:
                elements: Elements = value or ()
                if number not in known:
                    mine = tuple(own.get(number, ()))
                    base = len(elements) - len(mine)
                    if base < 0 or elements[base:] != mine:
                        self.sightings.add(INTERNAL, (row,), key, read=elements, expected=mine, ends=True)
                        continue
                    first[number] = elements[:base]
                    self._read(row, number, elements, base)
                elif elements != known[number]:
                    self.sightings.add(INTERNAL, (row,), key, read=elements, expected=known[number], ends=False)
                known[number] = elements
        for number, base_elements in first.items():
            early = set(own.get(number, ())).intersection(base_elements)
            if early:
                self.early.append((row, number, base_elements, min(early, key=base_elements.index)))
