"""Registers by version, as far as a history proves it: when a written value was there at the latest, and when it was
overwritten at the latest.

A *version* is what one write (or compare-and-set) left. Times are positions of events:

- a write is **known** at its return; or, if its value was written once, at the first return of a read that showed it
  (a compare-and-set that expected it is such a read), if that is earlier;
- a value is **settled** when every write of it is known: from then on nothing can write it again (if no one knows
  whether an operation that writes it took effect, it never settles; the initial value is settled from the beginning);
- a value that was settled is **overwritten** when a write that began after that is known.

This rests on writes taking effect between invocation and return, one after the other, as they do where a leader orders
them. It rests on nothing about reads, which may be as stale as they like: a read proves only that its value was there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.guarantees.selection import Rows, acknowledged, rows_of
from checkers.history import ABSENT, NEVER, OK, History

Column = npt.NDArray[np.int64]
_NONE = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Observations:
    """What was read: rows (ascending), and the code of the value that each showed."""

    row: Rows
    value: Column


def observations(history: History, null_read: str) -> Observations:
    """Reads that ended ok, and compare-and-sets that ended ok, by the value that they found."""
    reads, swaps = (acknowledged(history, rows_of(history, name)) for name in ("read", "cas"))
    if null_read == "unknown":
        reads = reads[history.result[reads] != history.values.find(None)]
    row = np.concatenate([reads, swaps])
    value = np.concatenate([history.result[reads], history.expected[swaps]]).astype(np.int64)
    order = np.argsort(row, kind="stable")
    return Observations(row=row[order], value=value[order])


@dataclass(frozen=True, kw_only=True, slots=True)
class Registers:
    """All versions of all keys.

    Writes are in the order of (key, invocation). Values are numbered by (key, value): ``pair`` holds the pairs in
    order.
    """

    history: History
    initial: int
    """The initial value's code (:data:`ABSENT`: no operation mentions it)."""
    width: int
    """The base in which a key and a position make one number."""
    write: Rows
    known: Column
    """Position by which the write is known (:data:`NEVER`: it may not have happened)."""
    known_by: Rows
    pair: Column
    """``key * len(values) + value`` of every written value, ascending."""
    pair_of: Column
    """The number of the value that each write wrote."""
    writers: Column
    """How often each value came to be: the initial one once more than it was written."""
    settled: Column
    _call: Column
    _earliest: Column
    """For each write, the least (key, known) of it and all that follow."""

    @staticmethod
    def of(history: History, seen: Observations, initial: Any) -> Registers:
        """Numbers all versions of a history of read, write and cas."""
        writes = rows_of(history, "write", "cas")
        writes = writes[np.argsort(history.key[writes], kind="stable")]
        pair, pair_of = np.unique(_pairs(history, writes, history.value[writes]), return_inverse=True)
        writers = np.bincount(pair_of, minlength=len(pair))
        writers += pair % len(history.values) == history.values.find(initial)  # it was there before anybody wrote it
        known, known_by = _known(history, writes, seen, pair, pair_of, writers)
        settled = np.full(len(pair), _NONE)
        np.maximum.at(settled, pair_of, known)
        width = history.events + 2
        base = history.key[writes].astype(np.int64) * width
        earliest = np.minimum.accumulate((base + np.minimum(known, width - 1))[::-1])[::-1]
        return Registers(
            history=history,
            initial=history.values.find(initial),
            width=width,
            write=writes,
            known=known,
            known_by=known_by,
            pair=pair,
            pair_of=pair_of,
            writers=writers,
            settled=settled,
            _call=base + history.call[writes],
            _earliest=earliest,
        )

    def numbers(self, rows: Rows, values: Column) -> Column:
        """The numbers of values of the keys that the rows have; -1 for what nobody wrote."""
        wanted = _pairs(self.history, rows, values)
        if not len(self.pair):
            return np.full(len(wanted), _NONE)
        place = np.minimum(np.searchsorted(self.pair, wanted), len(self.pair) - 1)
        return np.where(self.pair[place] == wanted, place, _NONE)

    def settled_by(self, rows: Rows, values: Column) -> Column:
        """When each value was settled: -1 for the initial value that nobody wrote, :data:`NEVER` if it was not, or if
        nobody wrote it and it is not the initial one."""
        numbers = self.numbers(rows, values)
        unwritten = np.where((values == self.initial) & (values != ABSENT), _NONE, NEVER)
        if not len(self.pair):
            return unwritten
        return np.where(numbers == _NONE, unwritten, self.settled[numbers])

    def overwritten(self, rows: Rows, settled: Column) -> Column:
        """The position by which something that began after ``settled`` had overwritten it, on the rows' keys
        (:data:`NEVER`: nothing is known to have)."""
        if not len(self.write):
            return np.full(len(rows), NEVER)
        base = self.history.key[rows].astype(np.int64) * self.width
        place = np.searchsorted(self._call, base + np.minimum(settled, self.width - 1), side="right")
        found = self._earliest[np.minimum(place, len(self.write) - 1)] - base
        inside = (place < len(self.write)) & (found < self.width - 1)
        return np.where(inside, found, NEVER)

    def newer(self, rows: Rows, settled: Column, before: Column) -> Column:
        """At least how many writes began after ``settled`` and were known by ``before``, on the rows' keys: those that
        began in between, less all that were still open then."""
        sure = self.known < NEVER
        base = self.history.key[rows].astype(np.int64) * self.width
        calls, key = self._call[sure], self.history.key[self.write[sure]].astype(np.int64) * self.width
        ends = np.sort(key + self.known[sure])
        begun = np.searchsorted(calls, base + before) - np.searchsorted(
            calls, base + np.minimum(settled, before), "right"
        )
        still_open = np.searchsorted(calls, base + before) - np.searchsorted(ends, base + before)
        return np.maximum(begun - still_open, 0)

    def row_known_at(self, positions: Column) -> Rows:
        """The operations whose returns are at these positions and made a write known."""
        order = np.argsort(self.known, kind="stable")
        return self.known_by[order][np.searchsorted(self.known[order], positions)]

    def write_known_at(self, positions: Column) -> Rows:
        """The writes that were known at these positions."""
        order = np.argsort(self.known, kind="stable")
        return self.write[order][np.searchsorted(self.known[order], positions)]


def _pairs(history: History, rows: Rows, values: npt.NDArray[Any]) -> Column:
    pairs: Column = history.key[rows].astype(np.int64) * len(history.values) + values
    return pairs


def _known(
    history: History, writes: Rows, seen: Observations, pair: Column, pair_of: Column, writers: Column
) -> tuple[Column, Rows]:
    """When each write is known, and by which operation."""
    known = np.where(history.outcome[writes] == OK, history.return_[writes], NEVER)
    known_by = np.where(history.outcome[writes] == OK, writes, _NONE)
    wanted = _pairs(history, seen.row, seen.value)
    if not len(pair) or not len(wanted):
        return known, known_by
    place = np.minimum(np.searchsorted(pair, wanted), len(pair) - 1)
    single = (pair[place] == wanted) & (writers[place] == 1)
    write_of = np.empty(len(pair), np.int64)
    write_of[pair_of] = np.arange(len(writes))
    rows, which = seen.row[single], write_of[place[single]]
    possible = history.return_[rows] > history.call[writes[which]]
    rows, which = rows[possible], which[possible]
    last_first = np.argsort(-history.return_[rows], kind="stable")
    rows, which = rows[last_first], which[last_first]
    first, by = np.full(len(writes), NEVER), np.full(len(writes), _NONE)
    first[which], by[which] = history.return_[rows], rows
    earlier = first < known
    return np.where(earlier, first, known), np.where(earlier, by, known_by)
