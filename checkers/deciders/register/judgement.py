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
from dataclasses import dataclass
from typing import Any

from checkers.deciders.register.chains import blocks_of, without_idle_info
from checkers.deciders.register.conflicts import Conflict, Conflicts, find_phantom_consumers, find_phantom_reads
from checkers.deciders.register.numbering import Selection
from checkers.deciders.register.zones import find_zone_conflicts
from checkers.history import History


@dataclass(frozen=True, kw_only=True, slots=True)
class Judgement:
    """What the log-linear method says: conflicts (one a key, at most :data:`CONFLICTS_MAX`), and the keys it left
    alone."""

    conflicts: tuple[Conflict, ...]
    refused: frozenset[int]
    deferred: Mapping[int, str]
    operations: int


def judge(history: History, *, initial: Any = None, null_read: str = "value") -> Judgement:
    """Judges every key whose written values are unique and differ from the initial one; names the others and why.

    Expects only the functions read, write and cas. ``null_read="unknown"``: a read of null says nothing.
    """
    chosen = Selection.of(history, initial, null_read)
    register = chosen.register(history)
    operations = len(register.read_row) + len(register.write_row)
    conflicts = Conflicts(history.key)
    find_phantom_reads(register, conflicts)
    find_phantom_consumers(register, register.write_ok, conflicts)
    register = without_idle_info(conflicts.remaining(register))
    find_phantom_consumers(register, ~register.write_ok, conflicts)
    register = conflicts.remaining(register)
    blocks = blocks_of(register, conflicts, history.events)
    find_zone_conflicts(register, blocks, conflicts, history.events)
    refused = frozenset(conflicts.keys)
    return Judgement(conflicts=tuple(conflicts.found), refused=refused, deferred=chosen.deferred, operations=operations)
