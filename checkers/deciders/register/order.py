"""A linearization of registers whose written values are unique: blocks in the order of their zones, in O(n log n).

The construction behind the judgement (:mod:`checkers.deciders.register.judgement`). Of a block, let f be the earliest
return and s the latest invocation; A must precede B if and only if f(A) < s(B). In an accepted key no forward zones
[f, s] overlap and no backward zone [s, f] lies inside a forward one. So give each block a time: a forward one its f; a
backward one its s, or, if that lies in a forward zone, the moment after that zone (which is still before its f, or it
would lie inside). Sorted by these times the blocks are in order. For let f(A) < s(B):

- both forward: the zones are disjoint, so A's is first;
- A forward: B's time is at least s(B) > f(A) and outside A's zone, so it is after it;
- B forward: A's time is at most f(A) < s(B) and outside B's zone, so it is before it;
- both backward: A's time is at most f(A), B's at least s(B).

Inside a block the order is forced: value after value along its chain, each value's writer, then its reads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.deciders.decision import Rows
from checkers.deciders.register.chains import Blocks, blocks_of, without_idle_info
from checkers.deciders.register.conflicts import Conflicts
from checkers.deciders.register.numbering import Ids, Register, Selection
from checkers.history import OK, History


def order(history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:
    """A linearization of some accepted keys (all their ``rows``, ascending): rows, key after key.

    None if the method leaves one of the keys alone. What it returns for keys that were refused is no linearization.
    """
    part = history.select(rows)
    chosen = Selection.of(part, initial, null_read)
    if chosen.deferred:
        return None
    register = without_idle_info(chosen.register(part))
    blocks = blocks_of(register, Conflicts(part.key), part.events)
    found = _sorted(register, blocks, part.events)
    found = found[np.argsort(part.key[found], kind="stable")]
    return rows[_with_silent_reads(part, found)]


def _sorted(register: Register, blocks: Blocks, events: int) -> Rows:
    """Rows by their block's time, then by block, by place of the value in its chain, writers first, by invocation."""
    time = np.zeros(register.ids, dtype=np.int64)
    time[blocks.root] = _times(register, blocks, events)
    root, place = np.arange(register.ids), np.zeros(register.ids, dtype=np.int64)
    root[blocks.chain] = blocks.chain_root
    place[blocks.chain] = np.arange(len(blocks.chain))
    block = time[root] * register.ids + root
    value = np.concatenate((register.write_new, register.read_seen))
    reads = np.arange(len(value)) >= len(register.write_new)
    row = np.concatenate((register.write_row, register.read_row))
    # Rows of writers and of reads are ascending, and the sort is stable: equal ones stay in the order of invocation.
    return row[np.lexsort((2 * place[value] + reads, block[value]))]


def _times(register: Register, blocks: Blocks, events: int) -> Ids:
    """Twice the position (odd: the moment after it) at which each block stands; 0 is before all events."""
    first, last = blocks.earliest_return, blocks.latest_call
    time = 2 * (np.minimum(first, last) + 1)
    # Keys are laid end to end on one line, as in the judgement.
    line = register.key[blocks.root] * (events + 2) + 1
    forward = np.flatnonzero(first < last)
    forward = forward[np.argsort(line[forward] + first[forward])]
    backward = np.flatnonzero(first > last)
    if not len(forward):
        return time
    before = np.searchsorted((line + first)[forward], (line + last)[backward]) - 1
    zone = forward[np.maximum(before, 0)]
    inside = (before >= 0) & (line[zone] == line[backward]) & (last[backward] < last[zone])
    time[backward[inside]] = 2 * (last[zone[inside]] + 1) + 1
    return time


def _with_silent_reads(part: History, found: Rows) -> Rows:
    """Adds completed reads that say nothing, each at its invocation: every other operation takes effect at the latest
    invocation up to it in the order.
    """
    silent: npt.NDArray[np.bool_] = part.outcome == OK
    silent[found] = False
    added = np.flatnonzero(silent)
    if not len(added):
        return found
    line = part.key.astype(np.int64) * (part.events + 1)
    effect = np.maximum.accumulate((line + part.call)[found])
    every = np.concatenate((found, added))
    return every[np.argsort(np.concatenate((effect, (line + part.call)[added])), kind="stable")]
