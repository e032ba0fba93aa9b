"""A linearization of a queue that was accepted, made as the proof in :mod:`checkers.deciders.containers.queue` says.

Times are doubled positions, so that the moment between two positions has a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from checkers.deciders.containers.contents import NOBODY, Contents, Takes
from checkers.deciders.containers.coverage import first_gaps, gaps
from checkers.deciders.containers.timeline import Ids


def queue_order(queue: Contents, takes: Takes) -> Ids:
    """Rows of the history in an order that is a linearization, for a history of one key that was accepted."""
    where = queue.timeline
    moments = np.empty(0, dtype=np.int64)
    if len(queue.empty_row):
        before = gaps(queue.put_return, takes.call, queue.slots)
        moments = 2 * first_gaps(before, where.call[queue.empty_row]) + 1
    put_call, put_return = 2 * queue.put_call, 2 * np.minimum(queue.put_return, takes.return_)
    take_call, take_return = 2 * np.maximum(takes.call, queue.put_call), 2 * takes.return_
    if len(moments):
        distinct = np.unique(moments)
        after = np.searchsorted(distinct, put_return)
        low = np.concatenate(([-1], distinct))[after]
        high = np.append(distinct, 2 * queue.slots)[after]
        put_call, take_call = np.maximum(put_call, low), np.maximum(take_call, low)
        take_return = np.minimum(take_return, high)
    order = np.fromiter(_extension(put_call, put_return, take_call, take_return), dtype=np.int64, count=len(put_call))
    put_at = np.maximum.accumulate(put_call[order])
    take_at = np.maximum.accumulate(np.maximum(take_call[order], put_at))
    rank = np.arange(len(order))
    row = np.concatenate((queue.empty_row, queue.put_row[order], takes.row[order]))
    at = np.concatenate((moments, put_at, take_at))
    turn = np.concatenate((np.full(len(moments), -1), 2 * rank, 2 * rank + 1))
    placed = row[np.lexsort((turn, at))]
    linearization: Ids = placed[placed != NOBODY]
    return linearization


def _extension(put_call: Ids, put_return: Ids, take_call: Ids, take_return: Ids) -> Iterator[int]:
    """Values in an order that extends both real-time orders: next is one that neither all the puts nor all the takes of
    those that remain must precede."""
    gates = (_Gate(put_call, put_return), _Gate(take_call, take_return))
    passed = [0] * len(put_call)
    gone = [False] * len(put_call)
    ready: list[int] = []
    for _ in passed:
        for gate in gates:
            for value in gate.open(gone):
                passed[value] += 1
                if passed[value] == len(gates):
                    ready.append(value)
        value = ready.pop()
        gone[value] = True
        yield value


class _Gate:
    """Lets a value through when no remaining one must precede it in one of the two orders."""

    def __init__(self, call: Ids, return_: Ids) -> None:
        self.call: Sequence[int] = call.tolist()
        self.return_: Sequence[int] = return_.tolist()
        self.by_call: Sequence[int] = np.argsort(call, kind="stable").tolist()
        self.by_return: Sequence[int] = np.argsort(return_, kind="stable").tolist()
        self.next_call = self.next_return = 0

    def open(self, gone: Sequence[bool]) -> Iterator[int]:
        while gone[self.by_return[self.next_return]]:
            self.next_return += 1
        earliest = self.return_[self.by_return[self.next_return]]
        while self.next_call < len(self.by_call) and self.call[self.by_call[self.next_call]] <= earliest:
            yield self.by_call[self.next_call]
            self.next_call += 1
