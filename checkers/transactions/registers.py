"""rw-register: a read names its write, but nothing says in which order the writes of a key came; that is inferred.

What always holds: the initial value comes before everything that was written, so whoever read it precedes all who wrote
the key (``rw``); and a transaction that read a value comes after its writer (``wr``). Further order among the versions
of a key (``ww`` and ``rw`` edges) comes from assumptions that the user may state, by Elle's names (settings):

- ``wfr_keys``: in a transaction that read one value of a key and then wrote another, the written one comes later;
- ``sequential_keys``: every key, by itself, is sequentially consistent: one process sees its versions in order;
- ``linearizable_keys``: every key, by itself, is linearizable: so do all transactions that do not overlap in time.

Versions that these put in a circle are ``cyclic-versions``. Written values must be new: what was written twice (or is
the initial value) names no writer and is left out of the graph.

Elle takes a read of a value that nobody wrote (its issue 8) as nothing; here it is an anomaly, ``unwritten-read``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.history import NEVER, Column, History
from checkers.models.model import hashable
from checkers.transactions.anomalies import (
    ABORTED,
    CYCLIC_VERSIONS,
    FUTURE,
    INTERMEDIATE,
    INTERNAL,
    LOST_UPDATE,
    UNWRITTEN,
)
from checkers.transactions.demands import Demands, Reads, places
from checkers.transactions.dependencies import RW, WR, WW, Edges, add_crossing, components
from checkers.transactions.lost_updates import lost_updates
from checkers.transactions.micro_operations import Transaction, Transactions
from checkers.transactions.observations import Observations
from checkers.transactions.register_words import RegisterWords
from checkers.transactions.sightings import EXAMPLES_MAX, Sightings
from checkers.values import PLAIN

UNTOLD = -1
"""The version of a read that names none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assumptions:
    """What the user says of the keys."""

    wfr: bool = False
    sequential: bool = False
    linearizable: bool = False


@dataclass(kw_only=True, slots=True)
class Accesses:
    """Writes (the last of each transaction and key is ``final``) and external reads as columns. ``version`` of a read:
    an index into the writes; the number of writes plus the key for the initial value; or :data:`UNTOLD`."""

    keys: dict[Any, int] = field(default_factory=dict)
    write_row: list[int] = field(default_factory=list)
    write_key: list[int] = field(default_factory=list)
    write_value: list[Any] = field(default_factory=list)
    write_final: list[bool] = field(default_factory=list)
    read_row: list[int] = field(default_factory=list)
    read_key: list[int] = field(default_factory=list)
    read_value: list[Any] = field(default_factory=list)
    read_version: list[int] = field(default_factory=list)

    def write(self, row: int, key: int, value: Any) -> None:
        """One more write, final so far."""
        self.write_row.append(row)
        self.write_key.append(key)
        self.write_value.append(value)
        self.write_final.append(True)


def observe(history: History, *, initial: Any, null_read: str, assumptions: Assumptions) -> Observations:
    """Traces every read to the transaction that wrote its value.

    Raises:
        HistoryError: the history is not one of rw-register transactions.
    """
    start = initial if type(initial) in PLAIN else hashable(initial)
    return _Registers(history, Transactions.of(history, "w"), start, null_read == "value", assumptions).observe()


class _Registers:
    def __init__(
        self, history: History, transactions: Transactions, initial: Any, null_read: bool, assumptions: Assumptions
    ) -> None:
        self.history = history
        self.transactions = transactions
        self.initial = initial
        self.null_read = null_read
        self.assumptions = assumptions
        self.sightings = Sightings()
        self.accesses = Accesses()
        self.ambiguous: set[tuple[int, Any]] = set()
        self.phantoms: dict[tuple[int, Any], int] = {}

    def observe(self) -> Observations:
        transactions, accesses = self.transactions, self.accesses
        for row, txn in zip(transactions.ok_rows.tolist(), transactions.ok, strict=True):
            self._add(row, txn)
        taken = self._include_observed_info()
        self.names = list(accesses.keys)
        self._trace()
        rows = np.sort(np.concatenate((transactions.ok_rows, np.array(taken, dtype=np.int64))))
        self._to_columns(rows)
        edges = self._edges(rows)
        initial = [self.initial] * len(self.names)
        return Observations(
            rows=rows,
            edges=edges,
            version_key=[self.names[key] for key in accesses.write_key] + self.names,
            version_value=accesses.write_value + initial,
            sightings=self.sightings,
            ambiguous=len(self.ambiguous),
            exact=False,
            words=RegisterWords(accesses=accesses, names=self.names, initial=self.initial, because=self.because),
            demands=lambda: self._demands(rows),
            reads=self._reads(),
        )

    def _demands(self, rows: Column) -> Demands:
        accesses = self.accesses
        optional = np.setdiff1d(np.array(self._needed_perhaps(), dtype=np.int64), rows)
        every = np.concatenate((rows, optional))
        node = np.full(len(self.history), -1, dtype=np.int64)
        node[every] = np.arange(len(every))
        reads = places(len(every), node[self.read_row].tolist(), accesses.read_key, accesses.read_value)
        last = np.flatnonzero(self.final).tolist()
        columns = ([column[write] for write in last] for column in (accesses.write_key, accesses.write_value))
        writes = places(len(every), node[self.write_row[last]].tolist(), *columns)
        info = dict(zip(self.transactions.info_rows.tolist(), self.transactions.info, strict=True))
        for place, row in enumerate(optional.tolist(), len(rows)):
            final = {accesses.keys[name]: value for f, name, value in info[row] if f == "w" and name in accesses.keys}
            writes[place].extend(final.items())
        return Demands(
            rows=every,
            optional=len(optional),
            reads=reads,
            writes=writes,
            initial=self.initial,
            grows=False,
            returns=bool(self.ambiguous),
            null_read="value" if self.null_read else "unknown",
        )

    def _needed_perhaps(self) -> list[int]:
        """``info`` transactions that wrote a value of which nobody knows who wrote it."""
        keys = self.accesses.keys
        return [
            row
            for row, txn in zip(self.transactions.info_rows.tolist(), self.transactions.info, strict=True)
            if any(f == "w" and (keys.get(name, -1), value) in self.ambiguous for f, name, value in txn)
        ]

    def _reads(self) -> Reads:
        written = (self.read_version >= 0) & (self.read_version < self.writes)
        version = self.read_version[written]
        last = np.flatnonzero(self.final)
        return Reads(
            writer=self.node[self.write_row[last]],
            writer_key=self.write_key[last],
            writer_version=last,
            reader=self.node[self.read_row[written]],
            reader_key=self.read_key[written],
            read_writer=self.node[self.write_row[version]],
            read_version=version,
        )

    def _add(self, row: int, txn: Transaction) -> None:
        """Each key as the transaction must see it: what it wrote or read last."""
        known: dict[int, Any] = {}
        own: dict[int, int] = {}
        external: dict[int, Any] = {}
        for f, name, value in txn:
            key = self.accesses.keys.setdefault(name, len(self.accesses.keys))
            if f == "w":
                if key in own:
                    self.accesses.write_final[own[key]] = False
                own[key] = len(self.accesses.write_row)
                self.accesses.write(row, key, value)
                known[key] = value
            elif value is not None or self.null_read:
                if key not in known:
                    external[key] = known[key] = value
                elif known[key] != value:
                    self.sightings.add(INTERNAL, (row,), name, read=value, expected=known[key])
        for key, value in external.items():
            self.accesses.read_row.append(row)
            self.accesses.read_key.append(key)
            self.accesses.read_value.append(value)

    def _include_observed_info(self) -> list[int]:
        accesses, info = self.accesses, self.transactions.info
        self.table: dict[tuple[int, Any], int] = {}
        self._enter(0)
        owners: dict[tuple[int, Any], list[int]] = {}
        for number, txn in enumerate(info):
            for f, name, value in txn:
                if f == "w" and name in accesses.keys:
                    owners.setdefault((accesses.keys[name], value), []).append(number)
        self.ambiguous.update(
            place
            for place, numbers in owners.items()
            if len(numbers) > 1 or place in self.table or place[1] == self.initial
        )
        seen = zip(accesses.read_key, accesses.read_value, strict=True) if owners else ()
        observed = {owners[place][0] for place in seen if place in owners and place not in self.ambiguous}
        taken = []
        for number in sorted(observed):
            begin, row = len(accesses.write_row), int(self.transactions.info_rows[number])
            taken.append(row)
            self._add(row, [micro for micro in info[number] if micro[0] == "w"])
            self._enter(begin)
        return taken

    def _enter(self, begin: int) -> None:
        accesses = self.accesses
        for write in range(begin, len(accesses.write_row)):
            place = accesses.write_key[write], accesses.write_value[write]
            if self.table.setdefault(place, write) != write or place[1] == self.initial:
                self.ambiguous.add(place)

    def _trace(self) -> None:
        accesses = self.accesses
        writes = len(accesses.write_row)
        for row, key, value in zip(accesses.read_row, accesses.read_key, accesses.read_value, strict=True):
            version = UNTOLD
            if (key, value) in self.ambiguous:
                pass
            elif value == self.initial:
                version = writes + key
            elif (key, value) in self.table:
                version = self.table[key, value]
                self._check_read(row, version)
            else:
                # A version of its own, so that lost updates of it are seen.
                version = self.phantoms.setdefault((key, value), writes + len(self.names) + len(self.phantoms))
                self._nobody_wrote(row, key, value)
            accesses.read_version.append(version)

    def _check_read(self, row: int, version: int) -> None:
        accesses = self.accesses
        writer, key = accesses.write_row[version], accesses.write_key[version]
        value = accesses.write_value[version]
        if writer == row:
            self.sightings.add(FUTURE, (row,), self.names[key], read=value, value=value)
        elif not accesses.write_final[version]:
            self.sightings.add(INTERMEDIATE, (row, writer), self.names[key], value=value)

    def _nobody_wrote(self, row: int, key: int, value: Any) -> None:
        if not hasattr(self, "_failures"):
            self._failures = {
                (name, written): int(failed)
                for failed, txn in zip(self.transactions.fail_rows, self.transactions.fail, strict=True)
                for f, name, written in txn
                if f == "w"
            }
        failed = self._failures.get((self.names[key], value))
        if failed is None:
            self.sightings.add(UNWRITTEN, (row,), self.names[key], read=value, value=value)
        else:
            self.sightings.add(ABORTED, (row, failed), self.names[key], read=value, value=value)

    def _to_columns(self, rows: Column) -> None:
        accesses = self.accesses
        self.node = np.full(len(self.history), -1, dtype=np.int64)
        self.node[rows] = np.arange(len(rows))
        self.writes = len(accesses.write_row)
        self.write_row = np.array(accesses.write_row, dtype=np.int64)
        self.write_key = np.array(accesses.write_key, dtype=np.int64)
        self.final = np.array(accesses.write_final, dtype=bool)
        self.read_row = np.array(accesses.read_row, dtype=np.int64)
        self.read_key = np.array(accesses.read_key, dtype=np.int64)
        self.read_version = np.array(accesses.read_version, dtype=np.int64)

    def _edges(self, rows: Column) -> Edges:
        edges = Edges(nodes=len(rows))
        reader = self.node[self.read_row]
        written = (self.read_version >= 0) & (self.read_version < self.writes)
        version = self.read_version[written]
        edges.add(self.node[self.write_row[version]], reader[written], WR, version)
        first = (self.read_version >= self.writes) & (self.read_version < self.writes + len(self.names))
        numbers = np.flatnonzero(self.final)
        writers = (self.node[self.write_row[numbers]], self.write_key[numbers], numbers)
        add_crossing(edges, (reader[first], self.read_key[first]), writers)
        self._add_version_order(edges)
        told = self.read_version >= 0
        width = max(len(self.names), 1)
        wrote = told & np.isin(self.read_row * width + self.read_key, self.write_row * width + self.write_key)
        count, examples = lost_updates(self.read_row[wrote], self.read_key[wrote], self.read_version[wrote])
        for update in examples:
            self.sightings.add(LOST_UPDATE, update.rows, self.names[update.key], version=update.version)
        self.sightings.more(LOST_UPDATE, count - len(examples))
        return edges

    def _add_version_order(self, edges: Edges) -> None:
        """Edges from what the user assumes of the versions of each key."""
        self.because: dict[tuple[int, int], str] = {}
        for one, two, why in self._version_order():
            if one != two:
                self.because.setdefault((one, two), why)
        if not self.because:
            return
        pairs = np.array(sorted(self.because), dtype=np.int64)
        self._cyclic_versions(pairs)
        earlier, later = pairs[:, 0], pairs[:, 1]
        written = later < self.writes
        both = written & (earlier < self.writes)
        nodes = self.node[self.write_row[later[both]]]
        edges.add(self.node[self.write_row[earlier[both]]], nodes, WW, later[both])
        readers: dict[int, list[int]] = {}
        for row, version in zip(self.read_row.tolist(), self.read_version.tolist(), strict=True):
            readers.setdefault(version, []).append(int(self.node[row]))
        crossing = [
            (reader, int(self.node[self.write_row[two]]), two)
            for one, two in pairs[written].tolist()
            for reader in readers.get(one, ())
        ]
        if crossing:
            table = np.array(crossing, dtype=np.int64)
            edges.add(table[:, 0], table[:, 1], RW, table[:, 2])

    def _cyclic_versions(self, pairs: Column) -> None:
        total = self.writes + len(self.names)
        ids = np.concatenate((pairs, self._initial_first(pairs)))
        found = components(total, ids[:, 0], ids[:, 1])
        for number in range(min(found.count, EXAMPLES_MAX)):
            members: list[int] = np.flatnonzero(found.label == number).tolist()
            key = self._version_key(members[0])
            inside = [(one, two) for one, two in ids.tolist() if found.label[one] == number == found.label[two]]
            why = [self.because.get(pair, "the initial value comes first") for pair in inside]
            rows = tuple(sorted({self.accesses.write_row[version] for version in members if version < self.writes}))
            values = tuple(self._version_value(version) for version in members)
            self.sightings.add(CYCLIC_VERSIONS, rows, self.names[key], versions=values, why=tuple(why))
        self.sightings.more(CYCLIC_VERSIONS, max(0, found.count - EXAMPLES_MAX))

    def _initial_first(self, pairs: Column) -> Column:
        versions = np.unique(pairs)
        written = versions[versions < self.writes]
        found: Column = np.stack((self.writes + self.write_key[written], written), axis=1)
        return found

    def _version_key(self, version: int) -> int:
        return self.accesses.write_key[version] if version < self.writes else version - self.writes

    def _version_value(self, version: int) -> Any:
        return self.accesses.write_value[version] if version < self.writes else self.initial

    def _version_order(self) -> Iterator[tuple[int, int, str]]:
        if self.assumptions.wfr:
            yield from self._read_then_written()
        if self.assumptions.sequential or self.assumptions.linearizable:
            for touches in self._touches().values():
                if self.assumptions.sequential:
                    yield from _in_process(touches)
                if self.assumptions.linearizable:
                    yield from _in_time(touches)

    def _traced(self, version: int) -> bool:
        return UNTOLD < version < self.writes + len(self.names)

    def _last_writes(self) -> Mapping[tuple[int, int], int]:
        writes = zip(self.accesses.write_row, self.accesses.write_key, strict=True)
        return {place: write for write, place in enumerate(writes) if self.accesses.write_final[write]}

    def _read_then_written(self) -> Iterator[tuple[int, int, str]]:
        last = self._last_writes()
        reads = zip(self.accesses.read_row, self.accesses.read_key, self.accesses.read_version, strict=True)
        for row, key, version in reads:
            if self._traced(version) and (row, key) in last:
                yield version, last[row, key], "one transaction read the one and then wrote the other"

    def _touches(self) -> Mapping[int, list[_Touch]]:
        """Per key, in the order of their invocations: the transactions that read or wrote it."""
        first: dict[tuple[int, int], int] = {}
        reads = zip(self.accesses.read_row, self.accesses.read_key, self.accesses.read_version, strict=True)
        for row, key, version in reads:
            if self._traced(version):
                first[row, key] = version
        last = self._last_writes()
        found: dict[int, list[_Touch]] = {}
        history = self.history
        for row, key in sorted({*first, *last}):
            begin, end = first.get((row, key)), last.get((row, key))
            touch = _Touch(
                process=int(history.process[row]),
                call=int(history.call[row]),
                over=int(history.return_[row]),
                first=begin if begin is not None else end,  # type: ignore[arg-type]
                last=end if end is not None else begin,  # type: ignore[arg-type]
            )
            found.setdefault(key, []).append(touch)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Touch:
    """One transaction at one key: the version that it met first and the one that it left."""

    process: int
    call: int
    over: int
    first: int
    last: int


def _in_process(touches: Sequence[_Touch]) -> Iterator[tuple[int, int, str]]:
    before: dict[int, _Touch] = {}
    for touch in touches:
        if touch.process in before:
            why = f"process {touch.process} met them in this order, and keys are sequential"
            yield before[touch.process].last, touch.first, why
        if touch.over != NEVER:
            before[touch.process] = touch


def _in_time(touches: Sequence[_Touch]) -> Iterator[tuple[int, int, str]]:
    """The frontier: transactions that are over and that no other one that is over began after."""
    frontier: list[_Touch] = []
    events = sorted(
        [(touch.call, 0, number) for number, touch in enumerate(touches)]
        + [(touch.over, 1, number) for number, touch in enumerate(touches) if touch.over != NEVER]
    )
    for _, over, number in events:
        touch = touches[number]
        if over:
            frontier = [other for other in frontier if other.over > touch.call]
            frontier.append(touch)
        else:
            for other in frontier:
                yield other.last, touch.first, "in time, one was there before the other, and keys are linearizable"
