"""list-append: every read shows the order of all appends before it, so the order of versions is read off, not guessed.

The order of a key's versions is its longest read (Elle, section 3: traceability). A read that is no prefix of it is an
anomaly. Appends that nobody read come after all that was read, in an unknown order that nobody can tell. So

- ``ww``: from each appender to the next, and from the last one read to all unread ones;
- ``wr``: from the appender of a read's last element to the reader;
- ``rw``: from a reader to the appender of the next element, and from the readers of the longest list to all unread
  ones.

**This is exact.** If no value was appended twice, every read is a prefix of its key's longest, all elements were
appended by transactions that did not fail, and no transaction contradicts itself, then *every* order of the
transactions that keeps these edges is a serial order: elements are appended in the order of the longest list, the
unread ones after them, and every reader stands behind the last element that it saw and before all that it did not see.
So a cycle refutes serializability, and no cycle proves it; with real-time (or process) edges besides, strict (or strong
session) serializability. An ``info`` transaction none of whose appends was read can always be left out; if one of them
was read, it took effect, with all of them.

Values that were appended more than once say nothing of their writer: edges over them are left out, which is sound, and
the result is no longer called exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.history import Column, History
from checkers.transactions.anomalies import (
    ABORTED,
    DIRTY_UPDATE,
    DUPLICATE,
    FUTURE,
    INCOMPATIBLE,
    INTERMEDIATE,
    LOST_UPDATE,
    UNWRITTEN,
)
from checkers.transactions.demands import Demands, places
from checkers.transactions.dependencies import RW, WR, WW, Edges, add_crossing
from checkers.transactions.flattening import Elements, FlatLists
from checkers.transactions.list_words import ListWords
from checkers.transactions.lost_updates import lost_updates
from checkers.transactions.micro_operations import Transactions
from checkers.transactions.observations import Observations
from checkers.transactions.sightings import Sightings

NOBODY = -1
"""The writer of an element that cannot be told."""


def observe(history: History, *, null_read: str) -> Observations:
    """Traces every element of every read to the transaction that appended it.

    Raises:
        HistoryError: the history is not one of list-append transactions.
    """
    return _Lists(history, Transactions.of(history, "append"), null_read).observe()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Versions:
    """The elements of all keys' longest lists in one row: key ``k`` has those from ``start[k]`` to ``start[k + 1]``.
    ``writer``: an index into the appends, or :data:`NOBODY`."""

    start: Column
    values: list[Any]
    writer: Column


class _Lists:
    def __init__(self, history: History, transactions: Transactions, null_read: str) -> None:
        self.history = history
        self.transactions = transactions
        self.sightings = Sightings()
        self.flat = FlatLists(null_read=null_read == "value", sightings=self.sightings)
        self.ambiguous: set[tuple[int, Any]] = set()
        self._readers: dict[int, int] = {}

    def observe(self) -> Observations:
        flat, transactions = self.flat, self.transactions
        flat.add_all(transactions.ok_rows.tolist(), transactions.ok)
        longest = self._longest()
        longest.extend([()] * (len(flat.keys) - len(longest)))
        taken = self._include_observed_info(longest)
        self.key_names = list(flat.keys)
        self._check_reads(longest)
        for row, key, elements, value in flat.early:
            if (key, value) not in self.ambiguous:
                self.sightings.add(FUTURE, (row,), self.key_names[key], read=elements, value=value)
        self._to_columns()
        versions = self._trace(longest)
        rows = np.sort(np.concatenate((transactions.ok_rows, np.array(taken, dtype=np.int64))))
        edges = self._edges(rows, versions)
        kinds = self.sightings.counts
        return Observations(
            rows=rows,
            edges=edges,
            version_key=_Keys(self.key_names, versions.start, self.append_key),
            version_value=_Values(versions.values, flat.append_value),
            sightings=self.sightings,
            ambiguous=len(self.ambiguous),
            exact=not self.ambiguous and not kinds,
            words=self._words(versions),
            demands=lambda: self._demands(rows),
        )

    def _demands(self, rows: Column) -> Demands:
        flat = self.flat
        optional = np.setdiff1d(np.array(self._needed_perhaps(), dtype=np.int64), rows)
        every = np.concatenate((rows, optional))
        node = np.full(len(self.history), NOBODY, dtype=np.int64)
        node[every] = np.arange(len(every))
        seen = [elements[:base] for elements, base in zip(flat.read_list, flat.read_base, strict=True)]
        reads = places(len(every), node[np.array(flat.read_row, dtype=np.int64)].tolist(), flat.read_key, seen)
        info = dict(zip(self.transactions.info_rows.tolist(), self.transactions.info, strict=True))
        writes: list[dict[int, tuple[Any, ...]]] = [{} for _ in every]
        appends = zip(node[self.append_row].tolist(), flat.append_key, flat.append_value, strict=True)
        for place, row in enumerate(optional.tolist(), len(rows)):
            for f, name, value in info[row]:
                if f == "append" and name in flat.keys:
                    writes[place][flat.keys[name]] = (*writes[place].get(flat.keys[name], ()), value)
        for place, key, value in appends:
            writes[place][key] = (*writes[place].get(key, ()), value)
        return Demands(
            rows=every,
            optional=len(optional),
            reads=reads,
            writes=[list(added.items()) for added in writes],
            initial=(),
            grows=True,
            returns=False,
            null_read="value" if self.flat.null_read else "unknown",
        )

    def _needed_perhaps(self) -> list[int]:
        """``info`` transactions that appended a value of which nobody knows who appended it."""
        keys = self.flat.keys
        return [
            row
            for row, txn in zip(self.transactions.info_rows.tolist(), self.transactions.info, strict=True)
            if any(f == "append" and (keys.get(name, -1), value) in self.ambiguous for f, name, value in txn)
        ]

    def _words(self, versions: _Versions) -> ListWords:
        known = versions.writer != NOBODY
        rows = np.full(len(known), NOBODY, dtype=np.int64)
        rows[known] = self.append_row[versions.writer[known]]
        return ListWords(
            flat=self.flat, names=self.key_names, start=versions.start, writer_row=rows, values=versions.values
        )

    def _longest(self) -> list[Elements]:
        flat = self.flat
        longest: list[Elements] = [()] * len(flat.keys)
        lengths = [0] * len(flat.keys)
        for key, elements in zip(flat.read_key, flat.read_list, strict=True):
            if len(elements) > lengths[key]:
                lengths[key] = len(elements)
                longest[key] = elements
        return longest

    def _tables(self) -> list[dict[Any, int]]:
        """Per key: the append of each value. What was appended twice is ambiguous."""
        tables: list[dict[Any, int]] = [{} for _ in range(len(self.flat.keys))]
        for append, (key, value) in enumerate(zip(self.flat.append_key, self.flat.append_value, strict=True)):
            if tables[key].setdefault(value, append) != append:
                self.ambiguous.add((key, value))
        return tables

    def _include_observed_info(self, longest: list[Elements]) -> list[int]:
        """Adds the ``info`` transactions of which something was read; returns their rows."""
        flat, info = self.flat, self.transactions.info
        self.tables = self._tables()
        owners: dict[tuple[int, Any], list[int]] = {}
        for number, txn in enumerate(info):
            for f, key, value in txn:
                if f == "append" and key in flat.keys:
                    owners.setdefault((flat.keys[key], value), []).append(number)
        for place, numbers in owners.items():
            if len(numbers) > 1 or place[1] in self.tables[place[0]]:
                self.ambiguous.add(place)
        seen = [(key, value) for key, elements in enumerate(longest) for value in elements] if owners else []
        observed = {owners[place][0] for place in seen if place in owners and place not in self.ambiguous}
        taken = []
        for number in sorted(observed):
            row = int(self.transactions.info_rows[number])
            taken.append(row)
            begin = len(flat.append_row)
            flat.add_appends(row, info[number])
            self._enter(begin, longest)
        # An ambiguous element may be of an info transaction that nothing else proves to have happened.
        for key, value in self.ambiguous:
            if (key, value) in owners:
                self.tables[key].setdefault(value, NOBODY)
        return taken

    def _enter(self, begin: int, longest: list[Elements]) -> None:
        flat = self.flat
        while len(self.tables) < len(flat.keys):
            self.tables.append({})
            longest.append(())
        for append in range(begin, len(flat.append_row)):
            key, value = flat.append_key[append], flat.append_value[append]
            if self.tables[key].setdefault(value, append) != append:
                self.ambiguous.add((key, value))

    def _check_reads(self, longest: list[Elements]) -> None:
        """Every read must be a prefix of its key's longest; those that are not are taken out."""
        flat = self.flat
        wrong = [
            read
            for read, (key, elements) in enumerate(zip(flat.read_key, flat.read_list, strict=True))
            if elements != longest[key][: len(elements)]
        ]
        for read in wrong:
            self._incompatible(read, longest)
        self.kept = np.ones(len(flat.read_row), dtype=bool)
        self.kept[wrong] = False

    def _incompatible(self, read: int, longest: list[Elements]) -> None:
        flat = self.flat
        key, elements = flat.read_key[read], flat.read_list[read]
        reference = longest[key]
        rows = (flat.read_row[read], self._reader(key, reference))
        self.sightings.add(INCOMPATIBLE, rows, self.key_names[key], reads=(elements, reference))
        for value in set(elements) - set(reference):
            if value not in self.tables[key]:
                self._nobody_appended(key, value, flat.read_row[read], elements)
        self._duplicates(key, elements, flat.read_row[read])

    def _to_columns(self) -> None:
        flat = self.flat
        self.append_row = np.array(flat.append_row, dtype=np.int64)
        self.append_key = np.array(flat.append_key, dtype=np.int64)
        self.read_row = np.array(flat.read_row, dtype=np.int64)[self.kept]
        self.read_key = np.array(flat.read_key, dtype=np.int64)[self.kept]
        self.read_base = np.array(flat.read_base, dtype=np.int64)[self.kept]

    def _trace(self, longest: list[Elements]) -> _Versions:
        """The append of each element of each longest list; what has none is reported."""
        start = np.zeros(len(longest) + 1, dtype=np.int64)
        np.cumsum([len(elements) for elements in longest], out=start[1:])
        values: list[Any] = []
        writer: list[int] = []
        for key, elements in enumerate(longest):
            values.extend(elements)
            table = self.tables[key]
            found = [table.get(value) for value in elements]
            if None in found or len(set(elements)) < len(elements):
                found = self._repaired(key, elements, found)
            writer.extend(found)  # type: ignore[arg-type]
        for key in {key for key, _ in self.ambiguous}:
            for place in range(int(start[key]), int(start[key + 1])):
                if (key, values[place]) in self.ambiguous:
                    writer[place] = NOBODY
        return _Versions(start=start, values=values, writer=np.array(writer, dtype=np.int64))

    def _repaired(self, key: int, elements: Elements, found: list[int | None]) -> list[int | None]:
        reader = self._reader(key, elements)
        self._duplicates(key, elements, reader)
        met: set[Any] = set()
        for place, value in enumerate(elements):
            if value in met:
                found[place] = NOBODY
            elif found[place] is None:
                found[place] = NOBODY
                self._nobody_appended(key, value, reader, elements)
            met.add(value)
        return found

    def _reader(self, key: int, elements: Elements) -> int:
        """Whoever read the longest list of a key; found once a key."""
        if key not in self._readers:
            reads = zip(self.flat.read_row, self.flat.read_key, self.flat.read_list, strict=True)
            self._readers[key] = next(row for row, number, read in reads if number == key and read == elements)
        return self._readers[key]

    def _duplicates(self, key: int, elements: Elements, reader: int) -> None:
        if len(set(elements)) == len(elements):
            return
        for value in {value for value in elements if elements.count(value) > 1 and (key, value) not in self.ambiguous}:
            self.sightings.add(DUPLICATE, (reader,), self.key_names[key], read=elements, value=value)

    def _nobody_appended(self, key: int, value: Any, reader: int, elements: Elements) -> None:
        """An element that no transaction appended that may have taken effect: aborted, or made up."""
        name = self.key_names[key]
        failed = self._failed().get((name, value))
        if failed is None:
            self.sightings.add(UNWRITTEN, (reader,), name, read=elements, value=value)
            return
        self.sightings.add(ABORTED, (reader, failed), name, read=elements, value=value)
        place = elements.index(value)
        for later in elements[place + 1 :]:
            append = self.tables[key].get(later, NOBODY)
            if append != NOBODY:
                rows = (self.flat.append_row[append], failed, reader)
                self.sightings.add(DIRTY_UPDATE, rows, name, read=elements, value=value, later=later)
                break

    def _failed(self) -> dict[tuple[Any, Any], int]:
        if not hasattr(self, "_failures"):
            self._failures = {
                (key, value): int(row)
                for row, txn in zip(self.transactions.fail_rows, self.transactions.fail, strict=True)
                for f, key, value in txn
                if f == "append"
            }
        return self._failures

    def _edges(self, rows: Column, versions: _Versions) -> Edges:
        edges = Edges(nodes=len(rows))
        self._node = np.zeros(len(self.history), dtype=np.int32)
        self._node[rows] = np.arange(len(rows))
        known = np.flatnonzero(versions.writer != NOBODY)  # versions of which the writer can be told
        version_key = np.repeat(np.arange(len(versions.start) - 1), np.diff(versions.start))
        writer = np.full(len(versions.writer), -1, dtype=np.int64)
        writer[known] = self._node[self.append_row[versions.writer[known]]]
        same = version_key[known[:-1]] == version_key[known[1:]]
        edges.add(writer[known[:-1]][same], writer[known[1:]][same], WW, known[1:][same])
        self._read_edges(edges, versions, known, writer)
        self._unread_edges(edges, versions, known, writer)
        self._own_order(versions, known, version_key)
        self._intermediate_reads(versions)
        self._lost_updates()
        return edges

    def _read_edges(self, edges: Edges, versions: _Versions, known: Column, writer: Column) -> None:
        reader, end = self._node[self.read_row], versions.start[self.read_key] + self.read_base
        last = end - 1  # the last element that each read saw of others
        some = np.flatnonzero(self.read_base > 0)
        some = some[writer[last[some]] >= 0]
        edges.add(writer[last[some]], reader[some], WR, last[some])
        next_ = np.append(known, len(versions.values))[np.searchsorted(known, end)]
        more = np.flatnonzero(next_ < versions.start[self.read_key + 1])
        edges.add(reader[more], writer[next_[more]], RW, next_[more])

    def _unread_edges(self, edges: Edges, versions: _Versions, known: Column, writer: Column) -> None:
        """Appends that no read shows come after everything that was read of their key."""
        appends = np.flatnonzero(self._unread(versions, known))
        keys = self.append_key[appends]
        appender = self._node[self.append_row[appends]]
        numbers = len(versions.values) + appends  # versions after those read: one an append
        place = np.searchsorted(known, versions.start[keys + 1]) - 1  # the last version whose writer is known
        before = np.flatnonzero((place >= 0) & (known[place] >= versions.start[keys])) if len(known) else place[:0]
        edges.add(writer[known[place[before]]], appender[before], WW, numbers[before])
        # Readers of the longest list (as far as its writers are known) precede them all.
        ends = np.zeros(len(versions.start) - 1, dtype=np.int64)
        np.maximum.at(ends, self._key_of(known, versions), known + 1)
        late = np.flatnonzero(versions.start[self.read_key] + self.read_base >= ends[self.read_key])
        late = late[np.isin(self.read_key[late], keys)]
        readers = self._node[self.read_row[late]]
        add_crossing(edges, (readers, self.read_key[late]), (appender, keys, numbers))

    def _unread(self, versions: _Versions, known: Column) -> Column:
        unread = np.ones(len(self.append_row), dtype=bool)
        unread[versions.writer[known]] = False
        if self.ambiguous:
            places = zip(self.flat.append_key, self.flat.append_value, strict=True)
            unread &= np.array([place not in self.ambiguous for place in places], dtype=bool)
        return unread

    def _own_order(self, versions: _Versions, known: Column, version_key: Column) -> None:
        """Appends of one transaction to one list stand there in the order in which it made them. (If others stand
        between them, that is a cycle.)"""
        append = versions.writer[known]
        same = self.append_row[append[:-1]] == self.append_row[append[1:]]
        same &= (version_key[known[:-1]] == version_key[known[1:]]) & (append[:-1] > append[1:])
        for place in np.flatnonzero(same).tolist():
            key = int(version_key[known[place]])
            elements = tuple(versions.values[int(versions.start[key]) : int(versions.start[key + 1])])
            rows = (self._reader(key, elements), int(self.append_row[append[place]]))
            swapped = tuple(versions.values[int(known[at])] for at in (place + 1, place))
            self.sightings.add(INCOMPATIBLE, rows, self.key_names[key], read=elements, swapped=swapped)

    def _key_of(self, known: Column, versions: _Versions) -> Column:
        found: Column = np.searchsorted(versions.start, known, side="right") - 1
        return found

    def _intermediate_reads(self, versions: _Versions) -> None:
        """A read that ends in an element after which the same transaction appended more to the same list."""
        last = np.zeros(len(self.append_row), dtype=bool)
        place = self.append_row * max(len(self.key_names), 1) + self.append_key
        _, final = np.unique(place[::-1], return_index=True)
        last[len(place) - 1 - final] = True
        if last.all():
            return
        some = np.flatnonzero(self.read_base > 0)
        append = versions.writer[versions.start[self.read_key[some]] + self.read_base[some] - 1]
        wrong = (append != NOBODY) & ~last[append] & (self.append_row[append] != self.read_row[some])
        for read, number in zip(some[wrong].tolist(), append[wrong].tolist(), strict=True):
            key = self.key_names[int(self.read_key[read])]
            rows = (int(self.read_row[read]), int(self.append_row[number]))
            self.sightings.add(INTERMEDIATE, rows, key, value=self.flat.append_value[number])

    def _lost_updates(self) -> None:
        """Several transactions that read the same version of a list and all appended to it."""
        width = max(len(self.key_names), 1)
        wrote = np.isin(self.read_row * width + self.read_key, self.append_row * width + self.append_key)
        rows, keys, bases = (column[wrote] for column in (self.read_row, self.read_key, self.read_base))
        count, examples = lost_updates(rows, keys, bases)
        for update in examples:
            self.sightings.add(LOST_UPDATE, update.rows, self.key_names[update.key], length=update.version)
        self.sightings.more(LOST_UPDATE, count - len(examples))


class _Keys(Sequence[Any]):
    """The key of each version: those that were read, then one an append."""

    def __init__(self, names: list[Any], start: Column, append_key: Column) -> None:
        self._names, self._start, self._append_key = names, start, append_key

    def __len__(self) -> int:
        return int(self._start[-1]) + len(self._append_key)

    def __getitem__(self, number: Any) -> Any:
        read = int(self._start[-1])
        if number >= read:
            return self._names[int(self._append_key[number - read])]
        return self._names[int(np.searchsorted(self._start, number, side="right")) - 1]


class _Values(Sequence[Any]):
    """The value of each version."""

    def __init__(self, read: list[Any], appended: list[Any]) -> None:
        self._read, self._appended = read, appended

    def __len__(self) -> int:
        return len(self._read) + len(self._appended)

    def __getitem__(self, number: Any) -> Any:
        return self._read[number] if number < len(self._read) else self._appended[number - len(self._read)]
