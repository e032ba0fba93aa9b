"""Conflicts between blocks: forward zones that overlap, and backward zones inside a forward one (see
``register.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from checkers.deciders.register.chains import Blocks
from checkers.deciders.register.conflicts import Conflicts
from checkers.deciders.register.numbering import Ids, Register
from checkers.history import ABSENT


def find_zone_conflicts(register: Register, blocks: Blocks, conflicts: Conflicts, events: int) -> None:
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


def _add_zones(register: Register, blocks: Blocks, conflicts: Conflicts, one: int, other: int) -> None:
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
