"""Cycles: which anomalies a dependency graph holds, and for each a short cycle that shows it.

A strongly connected component proves a cycle, so the verdict never waits for a search: components of the edges that an
anomaly may use say whether there is one. The searches below only look for short cycles to show, and have a limit of
edges looked at; what they find first is always found.

- G0: components of ``ww``. G1c: a ``wr`` edge inside a component of ``ww`` and ``wr``.
- G-nonadjacent: components of the *product* graph whose nodes also say whether the last edge was ``rw``, and where an
  ``rw`` edge may not follow another. (A closed walk without adjacent ``rw`` edges holds a simple cycle without them: if
  it meets a node twice, one of the two walks into which it falls has none either.)
- G2-item: an ``rw`` edge inside a component of all edges.
- G-single: an ``rw`` edge from whose end its beginning can be reached without another. Asked for each ``rw`` edge
  inside a component: many at once, as bits that flow through the graph of the other edges, in its topological order.

Paths prefer few transactions; waypoints cost nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from checkers.history import Column
from checkers.transactions.anomalies import G0, G1C, G2_ITEM, G_NONADJACENT, G_SINGLE, LEVELS
from checkers.transactions.dependencies import (
    ONWARD,
    PROCESS,
    REALTIME,
    RW,
    WR,
    WW,
    Components,
    Dependencies,
    components,
)

CYCLES_MAX: Final = 4
"""Cycles shown of one anomaly: one a component."""

STEPS_EASY: Final = 3
"""Steps of a cycle that anybody can follow."""

STARTS_MAX: Final = 48
"""Edges of a component from which a short cycle is looked for."""

STEPS_MAX: Final = 400_000
"""Edges looked at for the cycles of one anomaly, after the first cycle of each component."""

REACH_STEPS_MAX: Final = 8_000_000
"""Edges over which bits flow in the question for G-single, before it is given up (and said so)."""

BITS: Final = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """An edge of a cycle between two nodes that are transactions."""

    source: int
    target: int
    kind: int
    version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Cycle:
    """A named cycle; the first step is the one that names it best."""

    kind: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Cycles:
    """What was found: ``present`` maps each anomaly to the number of components that show it. ``unclear``: anomalies
    that were not looked for to the end."""

    present: dict[str, int]
    shown: tuple[Cycle, ...]
    unclear: tuple[str, ...]


def name_of(steps: Sequence[Step]) -> str:
    """What a cycle is called."""
    kinds = [step.kind for step in steps]
    unseen = kinds.count(RW)
    adjacent = any(one == RW == next_ for one, next_ in zip(kinds, kinds[1:] + kinds[:1], strict=True))
    if unseen == 0:
        shape = G1C if WR in kinds else G0
    elif unseen == 1:
        shape = G_SINGLE
    else:
        shape = G2_ITEM if adjacent else G_NONADJACENT
    return shape + LEVELS[2 if REALTIME in kinds else 1 if PROCESS in kinds else 0]


def find_cycles(graph: Dependencies, levels: int = 2) -> Cycles:
    """All anomalies of the graph, up to a level of order (an index into ``anomalies.LEVELS``)."""
    whole = components(graph.nodes, graph.source, graph.target)
    if not whole.count:
        return Cycles(present={}, shown=(), unclear=())
    search = _Search(graph.only(whole.inside(graph)))
    for level in range(levels + 1):
        search.look(level)
    shown = {cycle.kind: cycle for cycle in search.shown}
    present = {**dict.fromkeys(shown, 1), **search.present}
    return Cycles(present=present, shown=tuple(search.shown), unclear=tuple(search.unclear))


class _Search:
    """One graph without the edges that are on no cycle."""

    def __init__(self, graph: Dependencies) -> None:
        used = np.unique(np.concatenate((graph.source, graph.target)))
        self.names = used  # node of the graph by node of the search
        self.rows = len(graph.rows)
        self.n = len(used)
        self.transaction = (used < len(graph.rows)).tolist()
        self.source = np.searchsorted(used, graph.source)
        self.target = np.searchsorted(used, graph.target)
        self.kind, self.version = graph.kind, graph.version
        self.origin = self._origins()
        self.present: dict[str, int] = {}
        self.shown: list[Cycle] = []
        self.unclear: list[str] = []
        self.steps = 0

    def _origins(self) -> Column:
        """For edges out of waypoints the kind of those that go in (a waypoint has one): what they stand for."""
        into = np.full(self.n, ONWARD, dtype=np.int8)
        entering = self.kind != ONWARD
        into[self.target[entering]] = self.kind[entering]
        waypoint = np.array(self.transaction) == 0
        found = np.where(self.kind == ONWARD, np.where(waypoint[self.source], into[self.source], ONWARD), self.kind)
        # Moments in a chain that nobody's completion enters any more are of real time.
        return np.where(found == ONWARD, REALTIME, found)

    def look(self, level: int) -> None:
        """Every shape at one level; what a lower level has shown is not looked for again, but for shorter cycles."""
        orders = (set(), {PROCESS}, {PROCESS, REALTIME})[level]
        shapes: Sequence[tuple[str, Callable[[str, set[int]], None]]] = (
            (G0, self._closed({WW}, WW)),
            (G1C, self._closed({WW, WR}, WR)),
            (G_SINGLE, self._single),
            (G_NONADJACENT, self._nonadjacent),
            (G2_ITEM, self._closed({WW, WR, RW}, RW)),
        )
        for shape, find in shapes:
            weaker = {shape + LEVELS[lower] for lower in range(level)}
            if not weaker & self.present.keys():
                find(shape + LEVELS[level], orders)
                continue
            shortest = min((len(cycle.steps) for cycle in self.shown if cycle.kind in weaker), default=0)
            if level == len(LEVELS) - 1 and shortest > STEPS_EASY:
                self._look_for_shorter(shape + LEVELS[level], orders, find, shortest)

    def _look_for_shorter(
        self, name: str, orders: set[int], find: Callable[[str, set[int]], None], shortest: int
    ) -> None:
        """With the order of time, a cycle that is long without it is often one of two or three steps."""
        before = len(self.shown)
        find(name, orders)
        self.shown[before:] = [cycle for cycle in self.shown[before:] if len(cycle.steps) < shortest]
        if not any(cycle.kind == name for cycle in self.shown):
            self.present.pop(name, None)

    def _closed(self, data: set[int], through: int) -> Callable[[str, set[int]], None]:
        def find(name: str, orders: set[int]) -> None:
            chosen = self._edges(data | orders)
            found = self._components(chosen)
            inside = chosen[self._inside(found, chosen)]
            starts = inside[self.kind[inside] == through]
            # With waypoints the naming edge may be the one that enters them; it is inside just as well.
            if len(starts):
                self._show(name, starts, found.label[self.source[starts]], data | orders)

        return find

    def _edges(self, kinds: set[int]) -> Column:
        found: Column = np.flatnonzero(np.isin(self.origin, list(kinds)))
        return found

    def _components(self, chosen: Column) -> Components:
        return components(self.n, self.source[chosen], self.target[chosen])

    def _inside(self, found: Components, chosen: Column) -> Column:
        label = found.label[self.source[chosen]]
        inside: Column = (label >= 0) & (label == found.label[self.target[chosen]])
        return inside

    def _single(self, name: str, orders: set[int]) -> None:
        chosen = self._edges({WW, WR, RW} | orders)
        found = self._components(chosen)
        inside = chosen[self._inside(found, chosen)]
        candidates = inside[(self.kind[inside] == RW)]
        others = inside[self.origin[inside] != RW]
        starts, clear = self._returning(candidates, others, inside)
        if not clear:
            self.unclear.append(name)
        if len(starts):
            self._show(name, starts, found.label[self.source[starts]], {WW, WR} | orders)

    def _returning(self, candidates: Column, others: Column, inside: Column) -> tuple[Column, bool]:
        """``rw`` edges from whose end the beginning is reached over other edges: some, if there are any."""
        onward = inside[(self.origin[inside] == RW) & (self.kind[inside] == ONWARD)]
        flow = _Flow(self.n, self.source[others], self.target[others])
        good: list[int] = []
        for begin in range(0, len(candidates), BITS):
            if flow.steps > REACH_STEPS_MAX:
                return np.array(good, dtype=np.int64), bool(good)
            batch = candidates[begin : begin + BITS]
            good.extend(batch[flow.reached(self.source[batch], self._ends(batch, onward))].tolist())
            if len(good) >= STARTS_MAX:
                break
        return np.array(good, dtype=np.int64), True

    def _ends(self, batch: Column, onward: Column) -> list[list[int]]:
        """Where each ``rw`` edge leads: its target, or what lies behind the waypoint."""
        behind: dict[int, list[int]] = {}
        for edge in onward.tolist():
            behind.setdefault(int(self.source[edge]), []).append(int(self.target[edge]))
        return [behind.get(node, []) if not self.transaction[node] else [node] for node in self.target[batch].tolist()]

    def _nonadjacent(self, name: str, orders: set[int]) -> None:
        """The product graph: nodes n + v are v just after an ``rw`` edge."""
        chosen = self._edges({WW, WR, RW} | orders)
        unseen = self.origin[chosen] == RW
        enters = unseen & (self.kind[chosen] == RW)
        passes = unseen & (self.kind[chosen] == ONWARD)  # behind a waypoint: still just after the rw edge
        plain = chosen[~unseen]
        source, target = self.source, self.target
        sources = (source[plain], source[plain] + self.n, source[chosen[enters]], source[chosen[passes]] + self.n)
        targets = (target[plain], target[plain], target[chosen[enters]] + self.n, target[chosen[passes]] + self.n)
        found = components(2 * self.n, np.concatenate(sources), np.concatenate(targets))
        starts = chosen[enters]
        label = found.label[source[starts]]
        inside = (label >= 0) & (label == found.label[target[starts] + self.n])
        if inside.any() and not any(G_SINGLE + level in self.present for level in LEVELS):
            self._show(name, starts[inside], label[inside], {WW, WR, RW} | orders, apart=True)

    def _show(self, name: str, starts: Column, label: Column, kinds: set[int], *, apart: bool = False) -> None:
        """A short cycle in each of the first components, through one of the edges given."""
        every = np.unique(label)
        self.present[name] = len(every)
        adjacency = self._adjacency(kinds)
        self.steps = 0
        for component in every[:CYCLES_MAX]:
            edges = starts[label == component]
            best: list[int] | None = None
            for edge in edges[:: max(1, len(edges) // STARTS_MAX)][:STARTS_MAX].tolist():
                path = self._path(edge, adjacency, apart=apart)
                if path is not None and (best is None or self._length(path) < self._length(best)):
                    best = path
                if best is not None and (self.steps > STEPS_MAX or self._length(best) <= 2):
                    break
            if best is not None:
                self._keep(self._cycle(best, apart=apart))
        if not any(cycle.kind == name for cycle in self.shown):
            self.present.pop(name, None)  # only worse ones, which imply it

    def _keep(self, cycle: Cycle) -> None:
        same = [other for other in self.shown if other.kind == cycle.kind]
        if len(same) < CYCLES_MAX and cycle not in same:
            self.shown.append(cycle)
            self.present.setdefault(cycle.kind, 1)

    def _length(self, path: Sequence[int]) -> int:
        return sum(self.transaction[int(self.target[edge])] for edge in path)

    def _adjacency(self, kinds: set[int]) -> tuple[Column, Column]:
        chosen = self._edges(kinds)
        order = chosen[np.argsort(self.source[chosen], kind="stable")]
        return order, np.searchsorted(self.source[order], np.arange(self.n + 1))

    def _path(self, edge: int, adjacency: tuple[Column, Column], *, apart: bool) -> list[int] | None:
        """Edges of a cycle with fewest transactions through an edge: breadth first, waypoints free. ``apart``: no
        ``rw`` follows another, and the last edge is none. Otherwise, where the edge is the only ``rw`` allowed, the
        adjacency has no other (but those out of its waypoint)."""
        goal, begin = int(self.source[edge]), int(self.target[edge])
        after = int(self.kind[edge] == RW) if apart else 0
        came: dict[tuple[int, int], tuple[tuple[int, int], int] | None] = {(begin, after): None}
        queue: deque[tuple[int, int]] = deque([(begin, after)])
        while queue:
            place = queue.popleft()
            node, state = place
            if node == goal and (not apart or state == 0) and place != (begin, after):
                return [edge, *self._back(came, place)]
            for next_, number in self._leaving(place, adjacency, begin, apart=apart):
                if next_ in came:
                    continue
                came[next_] = (place, number)
                if self.transaction[next_[0]]:
                    queue.append(next_)
                else:
                    queue.appendleft(next_)
        return None

    def _leaving(
        self, place: tuple[int, int], adjacency: tuple[Column, Column], begin: int, *, apart: bool
    ) -> Iterator[tuple[tuple[int, int], int]]:
        order, start = adjacency
        node, state = place
        numbers = order[start[node] : start[node + 1]]
        if node == begin and not self.transaction[begin]:
            numbers = self._behind(begin)
        self.steps += len(numbers)
        for number in numbers.tolist():
            if not apart or self.origin[number] != RW:
                yield (int(self.target[number]), 0), number
            elif self.kind[number] == ONWARD or state == 0:
                yield (int(self.target[number]), 1), number

    def _behind(self, waypoint: int) -> Column:
        found: Column = np.flatnonzero(self.source == waypoint)
        return found

    def _back(
        self, came: dict[tuple[int, int], tuple[tuple[int, int], int] | None], place: tuple[int, int]
    ) -> list[int]:
        path: list[int] = []
        step = came[place]
        while step is not None:
            path.append(step[1])
            step = came[step[0]]
        return path[::-1]

    def _cycle(self, path: Sequence[int], *, apart: bool) -> Cycle:
        steps = self._without_waypoints(path)
        if apart:
            steps = _simple(steps)
        return Cycle(kind=name_of(steps), steps=tuple(steps))

    def _without_waypoints(self, path: Sequence[int]) -> list[Step]:
        steps: list[Step] = []
        source, kind = int(self.source[path[0]]), -1
        for edge in path:
            if self.transaction[int(self.source[edge])]:
                source, kind = int(self.source[edge]), int(self.kind[edge])
            target = int(self.target[edge])
            if self.transaction[target]:
                names = int(self.names[source]), int(self.names[target])
                steps.append(Step(source=names[0], target=names[1], kind=kind, version=int(self.version[edge])))
        return steps


def _simple(steps: list[Step]) -> list[Step]:
    """A closed walk without adjacent ``rw`` edges as a cycle without them that meets no node twice."""
    place: dict[int, int] = {}
    for number, step in enumerate(steps):
        if step.source in place:
            inner, outer = steps[place[step.source] : number], steps[: place[step.source]] + steps[number:]
            good = inner if _apart(inner) else outer
            return _simple(good)
        place[step.source] = number
    return steps


def _apart(steps: Sequence[Step]) -> bool:
    kinds = [step.kind for step in steps]
    return not any(one == RW == next_ for one, next_ in zip(kinds, kinds[1:] + kinds[:1], strict=True))


class _Flow:
    """Which nodes reach which, for many starts at once: sets of starts as bits of Python's integers."""

    def __init__(self, nodes: int, source: Column, target: Column) -> None:
        found = components(nodes, source, target)
        # One name for all nodes of a component: they reach each other.
        self.name = np.where(found.label >= 0, nodes + found.label, np.arange(nodes))
        between = self.name[source] != self.name[target]
        source, target = self.name[source[between]], self.name[target[between]]
        self.edges = len(source)
        self.steps = 0
        order = np.argsort(source, kind="stable")
        self.target = target[order].tolist()
        total = nodes + found.count
        self.start = np.searchsorted(source[order], np.arange(total + 1)).tolist()
        self.order = self._topological(total, np.bincount(target, minlength=total).tolist())

    def _topological(self, total: int, waiting: list[int]) -> list[int]:
        order = [node for node in range(total) if not waiting[node] and self.start[node] < self.start[node + 1]]
        for node in order:
            for next_ in self.target[self.start[node] : self.start[node + 1]]:
                waiting[next_] -= 1
                if not waiting[next_]:
                    order.append(next_)
        return order

    def reached(self, goals: Column, starts: list[list[int]]) -> Column:
        """For each pair: is the goal reached from one of the starts?"""
        bits: dict[int, int] = {}
        for number, nodes in enumerate(starts):
            for node in nodes:
                name = int(self.name[node])
                bits[name] = bits.get(name, 0) | (1 << number)
        for node in self.order:
            here = bits.get(node)
            if here:
                for next_ in self.target[self.start[node] : self.start[node + 1]]:
                    bits[next_] = bits.get(next_, 0) | here
        self.steps += self.edges
        names = self.name[goals].tolist()
        return np.array([bool(bits.get(name, 0) >> number & 1) for number, name in enumerate(names)], dtype=bool)
