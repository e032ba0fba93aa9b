"""The dependency graph of a history: which transaction must come before which, and why.

Nodes 0 ... n-1 are transactions; further nodes are *waypoints*, through which many edges share their way: all readers
of a key's last version precede all who appended to it unseen, and whoever was over precedes whoever began later. An
edge into a waypoint has the kind of the whole; edges out of it are :data:`ONWARD`. So the graph stays linear in the
size of the history, whatever the concurrency, and a path through waypoints is one edge of the history.

Kinds, after Adya: ``ww``: the later overwrote or extended what the earlier wrote. ``wr``: it read what that one wrote.
``rw``: the earlier did not see what the later wrote, and would have had to, had that one come first. ``process``: the
next of the same process. ``realtime``: the one was over before the other began.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from checkers.history import NEVER, History

Column = npt.NDArray[Any]

WW, WR, RW, PROCESS, REALTIME, ONWARD = range(6)
"""Codes of kinds of edges."""

KINDS: Final[Sequence[str]] = ("ww", "wr", "rw", "process", "realtime")
"""Their names."""

NO_VERSION = -1


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dependencies:
    """Edges as columns. ``rows``: the rows of the history that nodes 0 ... n-1 stand for, ascending. ``version``: the
    number of the version that an edge is about (ww: the later one, wr: the one read, rw: the one not seen); where an
    edge has a waypoint, on the edge that leaves it."""

    rows: Column
    nodes: int
    source: Column
    target: Column
    kind: Column
    version: Column

    def __len__(self) -> int:
        return len(self.source)

    def only(self, chosen: Column) -> Dependencies:
        """The same graph with some edges (a mask)."""
        return Dependencies(
            rows=self.rows,
            nodes=self.nodes,
            source=self.source[chosen],
            target=self.target[chosen],
            kind=self.kind[chosen],
            version=self.version[chosen],
        )

    def joined(self, other: Edges) -> Dependencies:
        """With more edges (whose new waypoints count from :attr:`nodes`)."""
        return Dependencies(
            rows=self.rows,
            nodes=other.nodes,
            source=np.concatenate((self.source, *other.source)),
            target=np.concatenate((self.target, *other.target)),
            kind=np.concatenate((self.kind, *other.kind)),
            version=np.concatenate((self.version, *other.version)),
        )

    def counts(self) -> dict[str, int]:
        """Edges of each kind (those out of waypoints are not counted)."""
        return {name: int((self.kind == code).sum()) for code, name in enumerate(KINDS)}


@dataclass(kw_only=True, slots=True)
class Edges:
    """Edges while they are collected."""

    nodes: int
    source: list[Column] = field(default_factory=list)
    target: list[Column] = field(default_factory=list)
    kind: list[Column] = field(default_factory=list)
    version: list[Column] = field(default_factory=list)

    def add(self, source: Column, target: Column, kind: int, version: Column | None = None) -> None:
        """Edges of one kind; those from a node to itself are left out."""
        real = source != target
        self.source.append(np.asarray(source[real], dtype=np.int32))
        self.target.append(np.asarray(target[real], dtype=np.int32))
        self.kind.append(np.full(len(self.source[-1]), kind, dtype=np.int8))
        versions = np.full(len(source), NO_VERSION) if version is None else version
        self.version.append(np.asarray(versions[real], dtype=np.int32))

    def copy(self) -> Edges:
        """The same edges, to which others may be added."""
        lists = (list(column) for column in (self.source, self.target, self.kind, self.version))
        source, target, kind, version = lists
        return Edges(nodes=self.nodes, source=source, target=target, kind=kind, version=version)

    def waypoints(self, count: int) -> int:
        """So many new waypoints; the number of the first."""
        first = self.nodes
        self.nodes += count
        return first


def graph_of(rows: Column, edges: Edges) -> Dependencies:
    """The collected edges as a graph."""
    empty = Dependencies(
        rows=rows,
        nodes=len(rows),
        source=np.empty(0, np.int32),
        target=np.empty(0, np.int32),
        kind=np.empty(0, np.int8),
        version=np.empty(0, np.int32),
    )
    return empty.joined(edges)


def add_process_order(history: History, rows: Column, edges: Edges) -> None:
    """Each process's transactions in the order of their invocations. What ended ``info`` may take effect later than
    what its process did next, if anything."""
    process, call, returned = history.process[rows], history.call[rows], history.return_[rows]
    order = np.lexsort((call, process))
    one, next_ = order[:-1], order[1:]
    follows = (process[one] == process[next_]) & (returned[one] != NEVER)
    edges.add(one[follows], next_[follows], PROCESS)


def add_real_time(history: History, rows: Column, edges: Edges) -> None:
    """Whoever was over before another began precedes it: each completion is a waypoint, in a chain by time, that all
    who begin before the next completion hang on."""
    returned = history.return_[rows]
    over = np.flatnonzero(returned != NEVER)
    over = over[np.argsort(returned[over], kind="stable")]
    if not len(over):
        return
    first = edges.waypoints(len(over))
    moments = first + np.arange(len(over))
    edges.add(over, moments, REALTIME)
    edges.add(moments[:-1], moments[1:], ONWARD)
    last = np.searchsorted(returned[over], history.call[rows]) - 1
    begins = np.flatnonzero(last >= 0)
    edges.add(first + last[begins], begins, ONWARD)


def add_crossing(edges: Edges, readers: tuple[Column, Column], writers: tuple[Column, Column, Column]) -> None:
    """``rw`` from every reader of a key to every writer of it but itself: nodes and keys of the readers; nodes, keys
    and versions of the writers. One waypoint a key, and edges of their own for those who are both."""
    (reader, reader_key), (writer, writer_key, version) = readers, writers
    width = max(edges.nodes, 1)
    both = np.isin(reader_key * width + reader, writer_key * width + writer)
    keys = np.intersect1d(reader_key[~both], writer_key)
    first = edges.waypoints(len(keys))
    if len(keys):
        at = np.minimum(np.searchsorted(keys, reader_key), len(keys) - 1)
        plain = ~both & (keys[at] == reader_key)
        edges.add(reader[plain], first + at[plain], RW)
        at = np.minimum(np.searchsorted(keys, writer_key), len(keys) - 1)
        met = keys[at] == writer_key
        edges.add(first + at[met], writer[met], ONWARD, version[met])
    _add_updaters(edges, (reader[both], reader_key[both]), writers)


def _add_updaters(edges: Edges, updaters: tuple[Column, Column], writers: tuple[Column, Column, Column]) -> None:
    """Who read and wrote a key precedes its other writers. Several such of one key precede each other, which is a cycle
    already: a ring of them says as much as all pairs, and the first has edges to all others."""
    node, key = updaters
    writer, writer_key, version = writers
    order = np.argsort(writer_key, kind="stable")
    starts, ends = (np.searchsorted(writer_key[order], key, side=side) for side in ("left", "right"))
    previous: dict[int, tuple[int, int]] = {}
    first: dict[int, tuple[int, int]] = {}
    for one, k, start, end in zip(node.tolist(), key.tolist(), starts.tolist(), ends.tolist(), strict=True):
        these = order[start:end]
        mine = these[writer[these] == one]
        if k not in first:
            first[k] = previous[k] = (one, int(version[mine[0]]))
            edges.add(np.full(len(these), one), writer[these], RW, version[these])
        elif one != previous[k][0]:
            last, _ = previous[k]
            here = (one, int(version[mine[0]]))
            edges.add(np.array([last, one]), np.array([one, first[k][0]]), RW, np.array([here[1], first[k][1]]))
            previous[k] = here


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Components:
    """Strongly connected components of more than one node: ``label`` per node (-1 if it is on no cycle)."""

    label: Column
    count: int

    def inside(self, graph: Dependencies) -> Column:
        """Which edges lie in one component: each of them is on a cycle, and no other edge is."""
        label = self.label[graph.source]
        found: Column = (label >= 0) & (label == self.label[graph.target])
        return found


def components(nodes: int, source: Column, target: Column) -> Components:
    """The components of a graph that hold cycles (scipy's, in linear time)."""
    if not len(source):
        return Components(label=np.full(nodes, -1, np.int32), count=0)
    from scipy.sparse import coo_matrix  # a quarter of a second that checks of other data types are spared
    from scipy.sparse.csgraph import connected_components

    matrix = coo_matrix((np.ones(len(source), np.int8), (source, target)), shape=(nodes, nodes)).tocsr()
    _, label = connected_components(matrix, directed=True, connection="strong")
    big = np.bincount(label) > 1
    numbers = np.where(big, np.cumsum(big) - 1, -1).astype(np.int32)
    return Components(label=numbers[label], count=int(big.sum()))
