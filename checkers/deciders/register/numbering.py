"""The operations of registers as arrays, with their values numbered: one *value id* for each (key, value).

So all keys are judged at once, without a loop over keys or operations. Keys in which a value is written twice, or the
initial one is written, are left out and named.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.history import ABSENT, FAIL, OK, History

Ids = npt.NDArray[np.int64]

DUPLICATE = "a value is written more than once"
INITIAL_WRITTEN = "the initial value is written"


@dataclass(frozen=True, kw_only=True, slots=True)
class Register:
    """The operations that count, split into writers and reads, and the values that they write and see as ids.

    ``*_row`` are rows of the history, ascending. For writers ``seen`` is the id a compare-and-set expects,
    :data:`ABSENT`
    for plain writes. ``writer`` maps an id to its writer's place among the writers, :data:`ABSENT` if nobody writes it.
    """

    write_row: Ids
    write_new: Ids
    write_seen: Ids
    write_call: Ids
    write_return: Ids
    write_ok: npt.NDArray[np.bool_]
    read_row: Ids
    read_seen: Ids
    read_call: Ids
    read_return: Ids
    key: Ids
    initial: npt.NDArray[np.bool_]
    writer: Ids
    has_cas: bool

    @property
    def ids(self) -> int:
        """How many value ids there are."""
        return len(self.writer)

    @property
    def consumers(self) -> npt.NDArray[np.bool_]:
        """Which writers are compare-and-sets."""
        consumers: npt.NDArray[np.bool_] = self.write_seen != ABSENT
        return consumers

    def keep(self, writes: npt.NDArray[np.bool_], reads: npt.NDArray[np.bool_] | None = None) -> Register:
        """The same with some writers (and reads) only; ids stay."""
        columns = {name: getattr(self, name)[writes] for name in _WRITE_COLUMNS}
        if reads is not None:
            columns.update({name: getattr(self, name)[reads] for name in _READ_COLUMNS})
        writer = np.full(self.ids, ABSENT, dtype=np.int64)
        writer[columns["write_new"]] = np.arange(len(columns["write_new"]))
        return replace(self, writer=writer, **columns)


_WRITE_COLUMNS = ("write_row", "write_new", "write_seen", "write_call", "write_return", "write_ok")
_READ_COLUMNS = ("read_row", "read_seen", "read_call", "read_return")


@dataclass(kw_only=True, slots=True)
class Selection:
    """Rows of writers and reads, and the numbering of (key, value)."""

    writes: Ids
    reads: Ids
    new: Ids
    expected: Ids
    seen: Ids
    key: Ids
    initial: npt.NDArray[np.bool_]
    deferred: dict[int, str] = field(default_factory=dict)

    @staticmethod
    def of(history: History, initial: Any, null_read: str) -> Selection:
        read = history.f == history.function("read")
        reads = read & (history.outcome == OK)
        if null_read == "unknown":
            reads &= history.result != history.values.find(None)
        writes = np.flatnonzero(~read & (history.outcome != FAIL))
        initial_code = history.values.find(initial)
        return _number_values(history, writes, np.flatnonzero(reads), initial_code)

    def register(self, history: History) -> Register:
        writer = np.full(len(self.key), ABSENT, dtype=np.int64)
        writer[self.new] = np.arange(len(self.writes))
        return Register(
            write_row=self.writes,
            write_new=self.new,
            write_seen=self.expected,
            write_call=history.call[self.writes],
            write_return=history.return_[self.writes],
            write_ok=history.outcome[self.writes] == OK,
            read_row=self.reads,
            read_seen=self.seen,
            read_call=history.call[self.reads],
            read_return=history.return_[self.reads],
            key=self.key,
            initial=self.initial,
            writer=writer,
            has_cas=bool((self.expected != ABSENT).any()),
        )


def _number_values(history: History, writes: Ids, reads: Ids, initial: int) -> Selection:
    codes = len(history.values)
    written = np.bincount(history.value[writes], minlength=codes)
    unique = not (written > 1).any() and (initial == ABSENT or written[initial] == 0)
    # Values that are unique in the whole history need no key in their id: no sorting. A read of a value written under
    # another key is found out by comparing keys (see _unwritten).
    return (_number_unique if unique else _number_by_key)(history, writes, reads, initial)


def _number_unique(history: History, writes: Ids, reads: Ids, initial: int) -> Selection:
    codes, keys = len(history.values), len(history.keys)
    new = history.value[writes].astype(np.int64)
    expected = history.expected[writes].astype(np.int64)
    seen = history.result[reads].astype(np.int64)
    if initial != ABSENT:
        seen = np.where(seen == initial, codes + history.key[reads], seen)
        expected = np.where(expected == initial, codes + history.key[writes], expected)
    key = np.concatenate((np.full(codes, ABSENT, dtype=np.int64), np.arange(keys)))
    key[new] = history.key[writes]
    is_initial = np.arange(codes + keys) >= codes
    return Selection(writes=writes, reads=reads, new=new, expected=expected, seen=seen, key=key, initial=is_initial)


def _number_by_key(history: History, writes: Ids, reads: Ids, initial: int) -> Selection:
    codes = len(history.values) + 1
    of_write = history.key[writes].astype(np.int64) * codes
    of_read = history.key[reads].astype(np.int64) * codes
    written = of_write + history.value[writes]
    pairs, count = np.unique(written, return_counts=True)
    deferred = dict.fromkeys((pairs[count > 1] // codes).tolist(), DUPLICATE)
    if initial != ABSENT:
        deferred.update(dict.fromkeys((pairs[pairs % codes == initial] // codes).tolist(), INITIAL_WRITTEN))
    left_alone = np.zeros(len(history.keys), dtype=np.bool_)
    left_alone[list(deferred)] = True
    stay_w, stay_r = ~left_alone[history.key[writes]], ~left_alone[history.key[reads]]
    writes, reads, of_write, of_read = writes[stay_w], reads[stay_r], of_write[stay_w], of_read[stay_r]
    is_cas = history.expected[writes] != ABSENT
    expected = np.where(is_cas, of_write + history.expected[writes], ABSENT)
    every = np.concatenate((of_write + history.value[writes], of_read + history.result[reads], expected[is_cas]))
    pairs, ids = np.unique(every, return_inverse=True)
    ids = ids.reshape(-1)
    expected[is_cas] = ids[len(writes) + len(reads) :]
    return Selection(
        writes=writes,
        reads=reads,
        new=ids[: len(writes)],
        expected=expected,
        seen=ids[len(writes) : len(writes) + len(reads)],
        key=pairs // codes,
        initial=(pairs % codes) == initial,
        deferred=deferred,
    )
