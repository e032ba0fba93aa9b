"""Registers with compare-and-set whose written values are unique: linearizability in O(n log n), all keys at once,
in numpy.

Method: Gibbons & Korach, "Testing Shared Memories", SIAM J. Comput. 26(4), 1997 (known read mapping), extended by
compare-and-set and by operations that nobody saw end. When every value is written at most once, each read names its
write:

1. A read of a value that nobody wrote is impossible.
2. Of the ``info`` writes and compare-and-sets, those took effect whose value is needed: it was read, or a
   compare-and-set
   that took effect expected it. All others are taken as never having happened.
3. A compare-and-set a -> b links a to b. Two that consume one value are impossible; so is a value that no plain write
   leads to. Otherwise the values form chains in which the order is forced: write of v0, reads of v0, a -> b, reads
   of b ...
   An operation of a chain that returned before an earlier one of it began is impossible.
4. A chain is one block (a plain write with its reads is a chain of one). With f its earliest return and s its latest
   invocation, block A must precede block B if and only if f(A) < s(B). A *forward* zone has f < s, a *backward* one
   s < f.
   The history is linearizable if and only if no two forward zones of a key overlap and no backward zone lies inside a
   forward one: a shortest cycle of more than two blocks has no chords, which makes s strictly decrease around it,
   and two
   backward zones cannot form a cycle of two.

Everything is numbered by *value id*: one for each (key, value), so that keys need no loop. Positions of a history are
distinct, which makes all comparisons strict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.history import ABSENT, FAIL, NEVER, OK, Column, History

Ids = npt.NDArray[np.int64]

START = -1
"""The position before all others: when the initial value was "written"."""

CONFLICTS_MAX = 20
"""So many keys are explained; the others are counted."""

PROOFS_MAX = 8
"""So many compare-and-sets are proved to have happened, in so many steps: longer proofs are not read."""

DUPLICATE = "a value is written more than once"
INITIAL_WRITTEN = "the initial value is written"


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """Why one key is refused: rows of the history in their roles, for :mod:`checkers.explanation` to put in words.

    ``path`` holds the compare-and-sets that lead from one role's value to the other's, in order; ``before`` the pairs
    (earlier, later) of rows where the first returned before the second was invoked, on which the argument stands;
    ``proofs`` the operations which show that those of the others that nobody saw end did happen.
    """

    kind: str
    key: int
    roles: Mapping[str, int]
    path: tuple[int, ...] = ()
    before: tuple[tuple[int, int], ...] = ()
    proofs: tuple[int, ...] = ()

    @property
    def rows(self) -> tuple[int, ...]:
        """Every operation that the argument needs, in the order of their invocations."""
        return tuple(sorted({*self.roles.values(), *self.path, *self.proofs}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What the log-linear method says: conflicts (one a key, at most :data:`CONFLICTS_MAX`), and the keys it left
    alone."""

    conflicts: tuple[Conflict, ...]
    refused: frozenset[int]
    deferred: Mapping[int, str]
    operations: int


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


def judge(history: History, *, initial: Any = None, null_read: str = "value") -> Judgement:
    """Judges every key whose written values are unique and differ from the initial one; names the others and why.

    Expects only the functions read, write and cas. ``null_read="unknown"``: a read of null says nothing.
    """
    chosen = _Selection.of(history, initial, null_read)
    register = chosen.register(history)
    operations = len(register.read_row) + len(register.write_row)
    conflicts = _Conflicts(history.key)
    _find_phantom_reads(register, conflicts)
    _find_phantom_consumers(register, register.write_ok, conflicts)
    register = _without_idle_info(conflicts.remaining(register))
    _find_phantom_consumers(register, ~register.write_ok, conflicts)
    register = conflicts.remaining(register)
    blocks = _blocks(register, conflicts, history.events)
    _find_zone_conflicts(register, blocks, conflicts, history.events)
    refused = frozenset(conflicts.keys)
    return Judgement(conflicts=tuple(conflicts.found), refused=refused, deferred=chosen.deferred, operations=operations)


# --- Which operations count, and their values as ids --------------------------------------------------------------


@dataclass(kw_only=True, slots=True)
class _Selection:
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
    def of(history: History, initial: Any, null_read: str) -> _Selection:
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


def _number_values(history: History, writes: Ids, reads: Ids, initial: int) -> _Selection:
    codes = len(history.values)
    written = np.bincount(history.value[writes], minlength=codes)
    unique = not (written > 1).any() and (initial == ABSENT or written[initial] == 0)
    # Values that are unique in the whole history need no key in their id: no sorting. A read of a value written under
    # another key is found out by comparing keys (see _unwritten).
    return (_number_unique if unique else _number_by_key)(history, writes, reads, initial)


def _number_unique(history: History, writes: Ids, reads: Ids, initial: int) -> _Selection:
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
    return _Selection(writes=writes, reads=reads, new=new, expected=expected, seen=seen, key=key, initial=is_initial)


def _number_by_key(history: History, writes: Ids, reads: Ids, initial: int) -> _Selection:
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
    return _Selection(
        writes=writes,
        reads=reads,
        new=ids[: len(writes)],
        expected=expected,
        seen=ids[len(writes) : len(writes) + len(reads)],
        key=pairs // codes,
        initial=(pairs % codes) == initial,
        deferred=deferred,
    )


# --- Which info operations happened -------------------------------------------------------------------------------


def _without_idle_info(register: Register) -> Register:
    """Without the info writers whose value nobody needs."""
    if register.write_ok.all():
        return register
    return register.keep(_needed(register)[register.write_new])


def _needed(register: Register) -> npt.NDArray[np.bool_]:
    """Per id: is it the value of an ok write, was it read, or does a compare-and-set that happened expect it?"""
    needed = np.zeros(register.ids, dtype=np.bool_)
    needed[register.write_new[register.write_ok]] = True
    needed[register.read_seen] = True
    if not register.has_cas:
        return needed
    is_cas = register.consumers
    needed[register.write_seen[is_cas & register.write_ok]] = True
    # A compare-and-set that expects what was never there cannot have happened, and must not reach into another key.
    info = np.flatnonzero(is_cas & ~register.write_ok)
    info = info[~_unwritten(register, register.write_seen[info], register.key[register.write_new[info]])]
    return _spread(needed, register.write_new[info], register.write_seen[info])


def _spread(needed: npt.NDArray[np.bool_], new: Ids, seen: Ids) -> npt.NDArray[np.bool_]:
    """Spreads need from the value of an info compare-and-set to the one it expects, by pointer doubling."""
    jump = np.arange(len(needed))
    jump[new] = seen
    source = new
    for _ in range(_rounds(len(new))):
        target = jump[source]
        needed[target[needed[source]]] = True
        # Those whose jump has arrived at the end of the path are done: for every path to the end there is a value at a
        # distance that is a power of two, which arrives in the round where it counts.
        moving = jump[target] != target
        source = source[moving]
        jump[source] = jump[target[moving]]
        if not len(source):
            break
    return needed


def _rounds(length: int) -> int:
    return max(1, length).bit_length() + 1


# --- Conflicts ----------------------------------------------------------------------------------------------------


class _Conflicts:
    """At most one conflict a key: the first found, as later ones may only be its consequences."""

    def __init__(self, key_of_row: Column) -> None:
        self.key_of_row = key_of_row
        self.keys: set[int] = set()
        self.found: list[Conflict] = []

    def remaining(self, register: Register) -> Register:
        """Without the keys that are refused already: what they hold could lead astray."""
        if not self.keys:
            return register
        refused = np.fromiter(self.keys, dtype=np.int64)
        return register.keep(
            ~np.isin(self.key_of_row[register.write_row], refused),
            ~np.isin(self.key_of_row[register.read_row], refused),
        )

    def fresh(self, keys: Ids) -> list[int]:
        """Indices into ``keys`` of the first entry of each key that has no conflict yet; counts those keys as
        refused."""
        distinct, first = np.unique(keys, return_index=True)
        fresh = [
            (int(index), int(key)) for key, index in zip(distinct, first, strict=True) if int(key) not in self.keys
        ]
        self.keys.update(key for _, key in fresh)
        room = max(0, CONFLICTS_MAX - len(self.found))
        return [index for index, _ in sorted(fresh)[:room]]

    def add(
        self,
        register: Register,
        kind: str,
        roles: Mapping[str, int],
        path: tuple[int, ...] = (),
        before: tuple[tuple[int, int], ...] = (),
    ) -> None:
        """Adds the conflict of a fresh key."""
        rows = (*roles.values(), *path)
        conflict = Conflict(
            kind=kind,
            key=int(self.key_of_row[rows[0]]),
            roles=roles,
            path=path,
            before=before,
            proofs=_proofs(register, rows),
        )
        self.found.append(conflict)


def _proofs(register: Register, rows: tuple[int, ...]) -> tuple[int, ...]:
    """What shows that the info compare-and-sets among some rows happened, unless the rows show it themselves."""
    writes = np.flatnonzero(np.isin(register.write_row, rows))
    reads = np.flatnonzero(np.isin(register.read_row, rows))
    ok = writes[register.write_ok[writes]]
    shown = {*register.read_seen[reads].tolist(), *register.write_seen[ok].tolist()}
    open_ = [int(place) for place in writes[register.consumers[writes] & ~register.write_ok[writes]]]
    proofs: list[int] = []
    for _ in range(2 * len(open_)):
        proved = [place for place in open_ if int(register.write_new[place]) in shown]
        shown.update(int(register.write_seen[place]) for place in proved)
        open_ = [place for place in open_ if place not in proved]
        if not open_ or len(proofs) > PROOFS_MAX:
            break
        if not proved:
            proofs.extend(_why_happened(register, open_[0]))
            shown.add(int(register.write_new[open_[0]]))
    return tuple(dict.fromkeys(proofs))


def _why_happened(register: Register, place: int) -> tuple[int, ...]:
    """Rows that prove that an info compare-and-set happened: a read of its value, or what consumed it, and so on."""
    rows: list[int] = []
    while not register.write_ok[place] and len(rows) < PROOFS_MAX:
        value = register.write_new[place]
        reads = np.flatnonzero(register.read_seen == value)
        if len(reads):
            return (*rows, int(register.read_row[reads[0]]))
        place = int(np.flatnonzero(register.write_seen == value)[0])
        rows.append(int(register.write_row[place]))
    return tuple(rows)


def _unwritten(register: Register, seen: Ids, key: Ids) -> npt.NDArray[np.bool_]:
    """Which of these observations are of values that nobody wrote under their key."""
    written = (register.writer[seen] != ABSENT) & (register.key[seen] == key)
    unwritten: npt.NDArray[np.bool_] = ~(written | register.initial[seen])
    return unwritten


def _find_phantom_reads(register: Register, conflicts: _Conflicts) -> None:
    reads = np.flatnonzero(_unwritten(register, register.read_seen, conflicts.key_of_row[register.read_row]))
    rows = register.read_row[reads]
    for index in conflicts.fresh(conflicts.key_of_row[rows]):
        conflicts.add(register, "phantom read", {"read": int(rows[index])})


def _find_phantom_consumers(register: Register, among: npt.NDArray[np.bool_], conflicts: _Conflicts) -> None:
    """Compare-and-sets that happened but expect what nobody wrote."""
    cas = np.flatnonzero(register.consumers & among)
    if not len(cas):
        return
    bad = cas[_unwritten(register, register.write_seen[cas], register.key[register.write_new[cas]])]
    rows = register.write_row[bad]
    for index in conflicts.fresh(conflicts.key_of_row[rows]):
        conflicts.add(register, "phantom compare-and-set", {"cas": int(rows[index])})


# --- Chains and blocks --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """Blocks by their root id, with the earliest return and the latest invocation; ids of chains longer than one in
    order.

    ``chain`` holds ids sorted by chain, then by place in the chain; ``chain_root`` their roots. Both are empty without
    compare-and-set. The bounds of reads and writers by id serve to find the operations that set f and s.
    """

    root: Ids
    earliest_return: Ids
    latest_call: Ids
    chain: Ids
    chain_root: Ids


def _blocks(register: Register, conflicts: _Conflicts, events: int) -> Blocks:
    """The blocks, after looking for conflicts inside them."""
    bounds = _Bounds.of(register)
    _find_reads_before_writes(register, bounds, conflicts)
    root, order = np.empty(0, np.int64), np.empty(0, np.int64)
    first, last = bounds.first(), bounds.last()
    present = (bounds.write_call != NEVER) | (bounds.read_last != START)
    if register.has_cas and register.consumers.any():
        _find_two_consumers(register, conflicts)
        order, root = _chains(register, conflicts)
        _find_disorder(register, bounds, order, root, conflicts, events)
        _merge(first, last, present, order, root)
    first[register.initial] = START
    roots = np.flatnonzero(present)
    return Blocks(root=roots, earliest_return=first[roots], latest_call=last[roots], chain=order, chain_root=root)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bounds:
    """Per id: when its writer ran and the bounds of its reads. A value nobody wrote has ``write_call`` NEVER; the
    initial
    one was written at START, by nobody who returned."""

    write_call: Ids
    write_return: Ids
    read_first: Ids
    read_last: Ids

    @staticmethod
    def of(register: Register) -> _Bounds:
        write_call = np.full(register.ids, NEVER, dtype=np.int64)
        write_call[register.write_new] = register.write_call
        write_return = np.full(register.ids, NEVER, dtype=np.int64)
        write_return[register.write_new] = register.write_return
        read_first = np.full(register.ids, NEVER, dtype=np.int64)
        np.minimum.at(read_first, register.read_seen, register.read_return)
        read_last = np.full(register.ids, START, dtype=np.int64)
        # Rows are in the order of their calls, and of repeated indices numpy keeps the last.
        read_last[register.read_seen] = register.read_call
        return _Bounds(write_call=write_call, write_return=write_return, read_first=read_first, read_last=read_last)

    def first(self) -> Ids:
        return np.minimum(self.write_return, self.read_first)

    def last(self) -> Ids:
        return np.maximum(np.where(self.write_call == NEVER, START, self.write_call), self.read_last)


def _find_reads_before_writes(register: Register, bounds: _Bounds, conflicts: _Conflicts) -> None:
    wrong = np.flatnonzero((bounds.read_first < bounds.write_call) & (bounds.write_call != NEVER))
    for index in conflicts.fresh(register.key[wrong]):
        value = wrong[index]
        read = _row_returning_at(register, value, bounds.read_first[value])
        write = int(register.write_row[register.writer[value]])
        conflicts.add(register, "read before write", {"read": read, "write": write}, before=((read, write),))


def _row_returning_at(register: Register, value: int, position: int) -> int:
    reads = np.flatnonzero(register.read_seen == value)
    return int(register.read_row[reads[register.read_return[reads] == position][0]])


def _find_two_consumers(register: Register, conflicts: _Conflicts) -> None:
    consumers = register.write_seen[register.write_seen != ABSENT]
    count = np.bincount(consumers, minlength=register.ids)
    wrong = np.flatnonzero(count > 1)
    for index in conflicts.fresh(register.key[wrong]):
        value = wrong[index]
        first, second = (int(place) for place in np.flatnonzero(register.write_seen == value)[:2])
        roles = {"first": int(register.write_row[first]), "second": int(register.write_row[second])}
        if register.writer[value] != ABSENT:
            roles["write"] = int(register.write_row[register.writer[value]])
        conflicts.add(register, "two compare-and-sets consumed one value", roles)


def _chains(register: Register, conflicts: _Conflicts) -> tuple[Ids, Ids]:
    """Ids that take part in compare-and-sets, sorted by chain and place in it, and their roots (pointer doubling)."""
    cas = np.flatnonzero(register.write_seen != ABSENT)
    parent = np.arange(register.ids)
    parent[register.write_new[cas]] = register.write_seen[cas]
    jump, depth = parent.copy(), np.zeros(register.ids, dtype=np.int64)
    active = register.write_new[cas]
    depth[active] = 1
    # Asking whether a value was made by a compare-and-set, not whether it points to itself: on a cycle it may do so.
    made = depth > 0
    for _ in range(_rounds(len(active))):
        target = jump[active]
        moving = made[target]
        active, target = active[moving], target[moving]
        if not len(active):
            break
        depth[active] += depth[target]
        jump[active] = jump[target]
    else:
        _find_cycles(register, parent, active, conflicts)
    ids = np.union1d(register.write_new[cas], register.write_seen[cas])
    ids = ids[~np.isin(ids, active)] if len(active) else ids
    order = np.lexsort((depth[ids], jump[ids]))
    return ids[order], jump[ids[order]]


def _find_cycles(register: Register, parent: Ids, active: Ids, conflicts: _Conflicts) -> None:
    """Values that no plain write leads to. ``active`` holds those on a cycle and those made from one."""
    for index in conflicts.fresh(register.key[active]):
        value = int(active[index])
        passed: set[int] = set()
        while value not in passed:
            passed.add(value)
            value = int(parent[value])
        cycle = [value]
        while parent[cycle[-1]] != value:
            cycle.append(int(parent[cycle[-1]]))
        path = tuple(int(register.write_row[register.writer[item]]) for item in reversed(cycle))
        conflicts.add(register, "compare-and-set cycle", {}, path=path)


def _find_disorder(
    register: Register, bounds: _Bounds, order: Ids, root: Ids, conflicts: _Conflicts, events: int
) -> None:
    """Operations of a chain that returned before an earlier one of it began."""
    if not len(order):
        return
    segment = np.cumsum(np.concatenate(([0], root[1:] != root[:-1])))
    segment = np.repeat(segment, 2) * (events + 2)
    # Each value's writer, then its reads. What nobody did has the latest return and the earliest call.
    write_call = np.where(bounds.write_call[order] == NEVER, START, bounds.write_call[order])
    call = np.stack((write_call, bounds.read_last[order]), axis=1).ravel()
    return_ = np.stack((bounds.write_return[order], bounds.read_first[order]), axis=1).ravel()
    latest = np.maximum.accumulate(call + segment) - segment
    latest = np.concatenate(([START], latest[:-1]))
    latest[np.concatenate(([True], segment[1:] != segment[:-1]))] = START
    wrong = np.flatnonzero(return_ < latest)
    for index in conflicts.fresh(register.key[order[wrong // 2]]):
        late = int(wrong[index])
        early = int(np.flatnonzero(call[:late] == latest[late])[-1])
        _add_disorder(register, conflicts, order[early // 2 : late // 2 + 1], early % 2, late % 2, bounds)


def _add_disorder(
    register: Register, conflicts: _Conflicts, values: Ids, early_reads: int, late_reads: int, bounds: _Bounds
) -> None:
    """``values`` lead from the operation that began too late to the one that returned too early."""
    old, new = int(values[0]), int(values[-1])
    write = register.writer[old]
    began = _row_called_at(register, old, int(bounds.read_last[old])) if early_reads else int(register.write_row[write])
    returned = (
        _row_returning_at(register, new, int(bounds.read_first[new]))
        if late_reads
        else int(register.write_row[register.writer[new]])
    )
    path = tuple(int(register.write_row[register.writer[value]]) for value in values[1:])
    roles = {"began": began, "returned": returned}
    if write != ABSENT:
        roles["write"] = int(register.write_row[write])
    kind = "stale read" if early_reads else "value before its origin"
    conflicts.add(register, kind, roles, path=path, before=((returned, began),))


def _row_called_at(register: Register, value: int, position: int) -> int:
    reads = np.flatnonzero(register.read_seen == value)
    return int(register.read_row[reads[register.read_call[reads] == position][0]])


def _merge(first: Ids, last: Ids, present: npt.NDArray[np.bool_], order: Ids, root: Ids) -> None:
    """Makes one block of each chain: bounds go to the root, the other ids are no blocks of their own."""
    if not len(order):
        return
    starts = np.flatnonzero(np.concatenate(([True], root[1:] != root[:-1])))
    heads = root[starts]
    first[heads] = np.minimum.reduceat(first[order], starts)
    last[heads] = np.maximum.reduceat(last[order], starts)
    present[order] = False
    present[heads] = True


# --- Zones --------------------------------------------------------------------------------------------------------


def _find_zone_conflicts(register: Register, blocks: Blocks, conflicts: _Conflicts, events: int) -> None:
    key = register.key[blocks.root] * (events + 2) + 1
    first, last = blocks.earliest_return, blocks.latest_call
    forward = np.flatnonzero(first < last)
    forward = forward[np.argsort(key[forward] + first[forward])]
    left, right = forward[:-1], forward[1:]
    wrong = np.flatnonzero((key[left] == key[right]) & (first[right] < last[left]))
    pairs = [(left[wrong], right[wrong])]
    backward = np.flatnonzero(first > last)
    if len(forward) and len(backward):
        place = np.searchsorted(key[forward] + first[forward], key[backward] + last[backward]) - 1
        around = forward[np.maximum(place, 0)]
        inside = (place >= 0) & (key[around] == key[backward]) & (first[backward] < last[around])
        pairs.append((around[inside], backward[inside]))
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    for index in conflicts.fresh(register.key[blocks.root[one]]):
        _add_zones(register, blocks, conflicts, int(one[index]), int(other[index]))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Member:
    """An operation of a block: its row, when it ran, and the place of its value in the chain."""

    row: int
    call: int
    return_: int
    place: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Chain:
    """A block's values in order, and the operations that matter.

    ``first`` is the operation that returned first: None for the initial value, which was there from the beginning.
    """

    values: Ids
    first: _Member | None
    last: _Member
    write: _Member | None


def _add_zones(register: Register, blocks: Blocks, conflicts: _Conflicts, one: int, other: int) -> None:
    left, right = (_chain(register, blocks, block) for block in (one, other))
    argument = _stale(register, left, right) or _stale(register, right, left) or _alternation(register, left, right)
    kind, roles, path, before = argument
    conflicts.add(register, kind, roles, path=path, before=before)


def _chain(register: Register, blocks: Blocks, block: int) -> _Chain:
    root = int(blocks.root[block])
    values = blocks.chain[blocks.chain_root == root]
    values = values if len(values) else np.array([root])
    place = np.full(register.ids, ABSENT)
    place[values] = np.arange(len(values))
    writes = np.flatnonzero(place[register.write_new] != ABSENT)
    reads = np.flatnonzero(place[register.read_seen] != ABSENT)
    call = np.concatenate((register.write_call[writes], register.read_call[reads]))
    return_ = np.concatenate((register.write_return[writes], register.read_return[reads]))
    row = np.concatenate((register.write_row[writes], register.read_row[reads]))
    where = np.concatenate((place[register.write_new[writes]], place[register.read_seen[reads]]))

    def member(index: int) -> _Member:
        return _Member(row=int(row[index]), call=int(call[index]), return_=int(return_[index]), place=int(where[index]))

    starts = register.initial[root]
    write = None if starts else member(int(np.flatnonzero(writes == register.writer[root])[0]))
    first = None if starts else member(int(np.argmin(return_)))
    return _Chain(values=values, first=first, last=member(int(np.argmax(call))), write=write)


Argument = tuple[str, Mapping[str, int], tuple[int, ...], tuple[tuple[int, int], ...]]


def _stale(register: Register, old: _Chain, new: _Chain) -> Argument | None:
    """The plainest case: a value was there before another was written, the other was seen, then the first was read."""
    if old.last.place > 0 or new.write is None or new.first is None:
        return None
    seen = new.write if new.write.return_ < old.last.call else new.first
    roles = {"read": old.last.row, "newer": new.write.row, "seen": seen.row}
    if old.write is None or old.first is None:
        return "stale read", roles, _path(register, new, seen.place), ((seen.row, old.last.row),)
    there = old.write if old.write.return_ < new.write.call else old.first
    if there.return_ > new.write.call or there.place > 0 or seen.place > 0:
        return None
    roles.update({"there": there.row, "write": old.write.row})
    return "stale read", roles, (), ((there.row, new.write.row), (seen.row, old.last.row))


def _path(register: Register, chain: _Chain, place: int) -> tuple[int, ...]:
    """The compare-and-sets from a chain's root to the value at a place: without its origin it would be a phantom."""
    return tuple(int(register.write_row[register.writer[value]]) for value in chain.values[1 : place + 1])


def _alternation(register: Register, left: _Chain, right: _Chain) -> Argument:
    """Each block was there before an operation of the other began: neither can be wholly before the other."""
    roles: dict[str, int] = {}
    before: list[tuple[int, int]] = []
    for side, first, last in (("", left.first, right.last), ("other ", right.first, left.last)):
        if first is not None:
            roles.update({f"{side}first": first.row, f"{side}then": last.row})
            before.append((first.row, last.row))
    path: list[int] = []
    for name, chain in (("write", left), ("other write", right)):
        if chain.write is not None:
            roles[name] = chain.write.row
        reach = max(member.place for member in (chain.first, chain.last) if member is not None)
        path.extend(_path(register, chain, reach))
    kind = "value came back" if not path else "operation inside a compare-and-set chain"
    return kind, roles, tuple(path), tuple(before)
