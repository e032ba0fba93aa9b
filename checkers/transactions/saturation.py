"""Registers: what one serial order would force beyond the dependency graph, until nothing more follows.

If r read what w wrote to a key, and another transaction v wrote the key too, v comes before w or after r. So

- where v must come before r, it must come before w (``ww``);
- where w must come before v, r must come before v (``rw``).

Each new edge may bring further ones (the constraint solvers of Cobra and PolySI prune in the same way: Tan, Zhao, Mu &
Walfish, "Cobra: Making Transactional Key-Value Stores Verifiably Serializable", OSDI 2020). A cycle then refutes a
serial order, though only under the assumption that there is one: weaker models are not touched.

Who must come before whom is kept as one number a chain of transactions (their places in real time, or in their process;
where neither counts, each is a chain by itself): the last one of the chain that is known to come before. Of each chain
only its last writer of a key matters, since the others come before that one.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from checkers.history import NEVER, Column, History
from checkers.transactions.demands import Reads
from checkers.transactions.dependencies import RW, WW, Dependencies, Edges
from checkers.transactions.precedence import before

CELLS_MAX = 60_000_000
"""Numbers (four bytes each) that are kept; where it would be more, nothing is derived."""

ROUNDS_MAX = 30
CHUNK = 2_000_000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Saturated:
    """The graph with what follows. ``because``: for each edge that was derived, the node that links the two: for ``ww``
    the reader, for ``rw`` the writer of what was read. ``cyclic``: there is no serial order. ``finished``: nothing more
    follows."""

    graph: Dependencies
    because: dict[tuple[int, int, int], int]
    cyclic: bool
    finished: bool


def chains_of(history: History, rows: Column, level: int) -> tuple[Column, int]:
    """A chain for each transaction, such that those of one chain come one after the other; and how many there are."""
    if level == 0:
        return np.arange(len(rows)), len(rows)
    if level == 1:
        unique, chain = np.unique(history.process[rows], return_inverse=True)
        return chain, max(len(unique), 1)
    return _chains_in_time(history.call[rows], history.return_[rows])


def _without_unfinished(chain: Column, count: int, over: Column, nodes: int) -> tuple[Column, int, Column]:
    """Chains of their own for transactions that nobody saw end, where there is room; else those are not kept track of.
    (What they would force is then missed here, and left to the search.)"""
    unfinished = np.flatnonzero(over == NEVER)
    tracked = np.ones(len(chain), dtype=bool)
    if nodes * (count + len(unfinished)) <= CELLS_MAX:
        chain[unfinished] = count + np.arange(len(unfinished))
        return chain, count + len(unfinished), tracked
    tracked[unfinished] = False
    return chain, count, tracked


def _chains_in_time(call: Column, over: Column) -> tuple[Column, int]:
    """As few as there were transactions at one time: each goes on in a chain that is free."""
    chain = np.zeros(len(call), dtype=np.int64)
    free: list[int] = []
    busy: list[tuple[int, int]] = []
    count = 0
    for node in np.argsort(call, kind="stable").tolist():
        if over[node] == NEVER:
            continue
        while busy and busy[0][0] < call[node]:
            free.append(heapq.heappop(busy)[1])
        if free:
            chain[node] = free.pop()
        else:
            chain[node], count = count, count + 1
        heapq.heappush(busy, (int(over[node]), int(chain[node])))
    return chain, max(count, 1)


def saturate(history: History, graph: Dependencies, reads: Reads, level: int) -> Saturated:
    """Derives edges, round by round, until a cycle, or until nothing more follows."""
    chain, count = chains_of(history, graph.rows, level)
    chain, count, tracked = _without_unfinished(chain, count, history.return_[graph.rows], graph.nodes)
    because: dict[tuple[int, int, int], int] = {}
    if graph.nodes * count > CELLS_MAX:
        return Saturated(graph=graph, because=because, cyclic=False, finished=False)
    place = np.where(tracked, _places(history, graph.rows, chain), 0)
    for _ in range(ROUNDS_MAX):
        known = before(graph, chain, place, count)
        if known is None:
            return Saturated(graph=graph, because=because, cyclic=True, finished=True)
        derived = _Round(known, chain, place, count, reads).derive()
        edges = Edges(nodes=graph.nodes)
        new = False
        for kind, table in ((WW, derived[0]), (RW, derived[1])):
            for source, target, _, link in table.tolist():
                because.setdefault((source, target, kind), link)
            edges.add(table[:, 0], table[:, 1], kind, table[:, 2])
            new = new or len(table) > 0
        if not new:
            return Saturated(graph=graph, because=because, cyclic=False, finished=True)
        graph = graph.joined(edges)
    return Saturated(graph=graph, because=because, cyclic=False, finished=False)


def _places(history: History, rows: Column, chain: Column) -> Column:
    """The place of each transaction in its chain, from 1."""
    order = np.lexsort((history.call[rows], chain))
    place = np.zeros(len(rows), dtype=np.int64)
    first = np.append(True, chain[order[1:]] != chain[order[:-1]]) if len(rows) else np.zeros(0, bool)
    number = np.arange(len(rows))
    place[order] = number - np.maximum.accumulate(np.where(first, number, 0)) + 1
    return place


class _Round:
    def __init__(self, before: Column, chain: Column, place: Column, count: int, reads: Reads) -> None:
        self.before, self.chain, self.place, self.count, self.reads = before, chain, place, count, reads
        self.width = int(place.max(initial=0)) + 2
        writer = reads.writer
        spot = (reads.writer_key * count + chain[writer]) * self.width + place[writer]
        self.order = np.argsort(spot, kind="stable")
        self.spots = spot[self.order]

    def derive(self) -> tuple[Column, Column]:
        """New edges of both kinds: source, target, version, link."""
        reads = self.reads
        ww, rw = [np.zeros((0, 4), dtype=np.int64)], [np.zeros((0, 4), dtype=np.int64)]
        step = max(1, CHUNK // max(self.count, 1))
        parts = (slice(begin, begin + step) for begin in range(0, len(reads.reader), step))
        ww.extend(map(self._writers_before_readers, parts))
        parts = (slice(begin, begin + step) for begin in range(0, len(reads.writer), step))
        rw.extend(map(self._readers_before_writers, parts))
        return np.concatenate(ww), np.concatenate(rw)

    def _last_writers(self, node: Column, key: Column) -> tuple[Column, Column]:
        """Pairs (which of the nodes, writer): the last writer of the key in each chain among those before the node."""
        chains = np.arange(self.count)
        spot = (key[:, None] * self.count + chains) * self.width
        found = np.searchsorted(self.spots, spot + self.before[node], side="right") - 1
        hit = (found >= 0) & (self.spots[np.maximum(found, 0)] > spot)
        which, _ = np.nonzero(hit)
        return which, self.order[found[hit]]

    def _precedes(self, one: Column, other: Column) -> Column:
        known: Column = self.before[other, self.chain[one]] >= self.place[one]
        return known

    def _writers_before_readers(self, part: slice) -> Column:
        reads = self.reads
        reader, key, writer = reads.reader[part], reads.reader_key[part], reads.read_writer[part]
        which, found = self._last_writers(reader, key)
        other, target = reads.writer[found], writer[which]
        new = (other != target) & ~self._precedes(other, target)
        version = reads.read_version[part][which]
        return _unique(np.stack((other, target, version, reader[which]), axis=1)[new])

    def _readers_before_writers(self, part: slice) -> Column:
        reads = self.reads
        writer, key = reads.writer[part], reads.writer_key[part]
        which, found = self._last_writers(writer, key)
        # All readers of what each of those wrote.
        version = reads.writer_version[found]
        order = np.argsort(reads.read_version, kind="stable")
        sorted_versions = reads.read_version[order]
        start = np.searchsorted(sorted_versions, version, side="left")
        many = np.searchsorted(sorted_versions, version, side="right") - start
        pair = np.repeat(np.arange(len(version)), many)
        offset = np.arange(len(pair)) - np.repeat(np.cumsum(many) - many, many)
        read = order[start[pair] + offset]
        source, target = reads.reader[read], writer[which[pair]]
        new = (source != target) & ~self._precedes(source, target)
        link = reads.writer[found[pair]]
        number = reads.writer_version[part][which[pair]]
        return _unique(np.stack((source, target, number, link), axis=1)[new])


def _unique(table: Column) -> Column:
    """One edge between two nodes is enough."""
    if not len(table):
        return table
    _, first = np.unique(table[:, :2], axis=0, return_index=True)
    found: Column = table[first]
    return found
