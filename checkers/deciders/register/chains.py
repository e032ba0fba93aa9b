"""Blocks of operations whose order is forced: a write with its reads, and chains of compare-and-sets with theirs.

Also which operations that nobody saw end did happen. Paths of compare-and-sets are followed by pointer doubling: after
each round every value points twice as far back, so a chain of a million takes twenty rounds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from checkers.deciders.register.conflicts import Conflicts, unwritten
from checkers.deciders.register.numbering import Ids, Register
from checkers.history import ABSENT, NEVER

START = -1
"""The position before all others: when the initial value was "written"."""


def without_idle_info(register: Register) -> Register:
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
    info = info[~unwritten(register, register.write_seen[info], register.key[register.write_new[info]])]
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


def blocks_of(register: Register, conflicts: Conflicts, events: int) -> Blocks:
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


def _find_reads_before_writes(register: Register, bounds: _Bounds, conflicts: Conflicts) -> None:
    wrong = np.flatnonzero((bounds.read_first < bounds.write_call) & (bounds.write_call != NEVER))
    for index in conflicts.fresh(register.key[wrong]):
        value = wrong[index]
        read = _row_returning_at(register, value, bounds.read_first[value])
        write = int(register.write_row[register.writer[value]])
        conflicts.add(register, "read before write", {"read": read, "write": write}, before=((read, write),))


def _row_returning_at(register: Register, value: int, position: int) -> int:
    reads = np.flatnonzero(register.read_seen == value)
    return int(register.read_row[reads[register.read_return[reads] == position][0]])


def _find_two_consumers(register: Register, conflicts: Conflicts) -> None:
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


def _chains(register: Register, conflicts: Conflicts) -> tuple[Ids, Ids]:
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


def _find_cycles(register: Register, parent: Ids, active: Ids, conflicts: Conflicts) -> None:
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
    register: Register, bounds: _Bounds, order: Ids, root: Ids, conflicts: Conflicts, events: int
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
    register: Register, conflicts: Conflicts, values: Ids, early_reads: int, late_reads: int, bounds: _Bounds
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
