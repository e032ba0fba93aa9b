"""The operations of sets as arrays, with a number for every (key, value): an *element*."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.deciders.refusals import Flags, Ids
from checkers.history import ABSENT, FAIL, NEVER, OK, Column, History, HistoryError
from checkers.values import PLAIN, identity
from checkers.wording import show

BEFORE_ALL = -2
"""The call of what added the initial elements; its return is one later. Positions of operations begin at 0."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """Rows by what they are, ascending, and their elements. ``read`` are the reads that say something.

    ``key`` and ``code`` belong to an element; ``initial`` says whether it was there from the beginning. Elements of
    initial values that no operation of a key names are left out, unless the key has reads. ``more`` are codes of
    initial values that the history never names by themselves.
    """

    history: History
    start: Ids
    more: Mapping[Hashable, int]
    add: Ids
    remove: Ids
    found: Ids
    missed: Ids
    read: Ids
    add_of: Ids
    remove_of: Ids
    found_of: Ids
    missed_of: Ids
    key: Ids
    code: Ids
    initial: Flags

    @staticmethod
    def of(history: History, start: Sequence[Any], null_read: str) -> Columns:
        """The columns, after looking at the results.

        Raises:
            HistoryError: a contains did not return true or false, or a read no list.
        """
        done = history.outcome == OK
        add = _rows(history, "add", history.outcome != FAIL)
        remove = _rows(history, "remove", history.outcome != FAIL)
        contains = _rows(history, "contains", done)
        read = _rows(history, "read", done)
        null = history.values.find(None)
        if null_read == "unknown":
            contains, read = contains[history.result[contains] != null], read[history.result[read] != null]
        found = history.result[contains] == history.values.find(True)
        _validate(history, contains, found, read)
        more = _unnamed(history, start)
        initial = codes_of(history, start, more)
        reading = np.unique(history.key[read]).astype(np.int64)
        rows = np.concatenate((add, remove, contains))
        table = len(history.values) + len(more)
        pairs = history.key[rows].astype(np.int64) * table + history.value[rows]
        shown = (np.repeat(reading, len(initial)) * table) + np.tile(initial, len(reading))
        elements, of = _numbered(np.concatenate((pairs, shown)), len(history.keys) * table)
        of_add, of_remove, of_contains = np.split(of[: len(rows)], (len(add), len(add) + len(remove)))
        return Columns(
            history=history,
            start=initial,
            more=more,
            add=add,
            remove=remove,
            found=contains[found],
            missed=contains[~found],
            read=read,
            add_of=of_add,
            remove_of=of_remove,
            found_of=of_contains[found],
            missed_of=of_contains[~found],
            key=elements // table,
            code=elements % table,
            initial=np.isin(elements % table, initial),
        )

    def __len__(self) -> int:
        return len(self.key)

    def first(self, rows: Ids, of: Ids, column: Column, nothing: int = NEVER) -> Ids:
        """For each element the least of a column among some rows."""
        least = np.full(len(self), nothing, dtype=np.int64)
        np.minimum.at(least, of, column[rows])
        return least

    def last(self, rows: Ids, of: Ids, column: Column, nothing: int = BEFORE_ALL) -> Ids:
        """For each element the greatest."""
        most = np.full(len(self), nothing, dtype=np.int64)
        np.maximum.at(most, of, column[rows])
        return most

    def any(self, of: Ids) -> Flags:
        """Which elements occur among these."""
        flags = np.zeros(len(self), dtype=np.bool_)
        flags[of] = True
        return flags

    def ok(self, rows: Ids) -> Flags:
        """Which of these rows are completed."""
        done: Flags = self.history.outcome[rows] == OK
        return done


def _rows(history: History, f: str, among: Flags) -> Ids:
    return np.flatnonzero(among & (history.f == history.function(f)))


def _validate(history: History, contains: Ids, found: Flags, read: Ids) -> None:
    odd = contains[~found & (history.result[contains] != history.values.find(False))]
    if len(odd):
        step = "It returns true or false (with null-read unknown, null says nothing)."
        _refuse_value(history, int(odd[0]), "contains", step)
    codes = np.unique(history.result[read]).tolist()
    for code in codes:
        if not isinstance(history.values.values[code], tuple | None):
            row = int(read[np.flatnonzero(history.result[read] == code)[0]])
            _refuse_value(history, row, "a read of a set", "It returns the list of its elements.")


def _refuse_value(history: History, row: int, what: str, step: str) -> None:
    value = history.values.values[int(history.result[row])]
    raise HistoryError(history.source, int(history.call[row]) + 1, f"{what} returned {show(value)}", step)


def _numbered(pairs: Ids, range_: int) -> tuple[Ids, Ids]:
    """The distinct ones, and which of them each is; without sorting where the range is small."""
    if range_ > 8 * len(pairs) + 1024:
        distinct, of = np.unique(pairs, return_inverse=True)
        return distinct, of.reshape(-1)
    there = np.zeros(range_, dtype=np.bool_)
    there[pairs] = True
    distinct = np.flatnonzero(there)
    number = np.cumsum(there) - 1
    return distinct, number[pairs]


def _unnamed(history: History, start: Sequence[Any]) -> Mapping[Hashable, int]:
    codes = history.values.codes
    names = [name for name in map(identity, start) if name not in codes]
    return {name: len(codes) + number for number, name in enumerate(names)}


def codes_of(history: History, values: Sequence[Any], more: Mapping[Hashable, int]) -> Ids:
    """The codes of values, :data:`ABSENT` for those that neither the history nor ``more`` has."""
    get = history.values.codes.get
    names = values if PLAIN.issuperset(map(type, values)) else [identity(value) for value in values]
    found = np.array([get(name, ABSENT) for name in names], dtype=np.int64)
    if more:
        found = np.array([more.get(name, code) for name, code in zip(names, found.tolist(), strict=True)], np.int64)
    return found
