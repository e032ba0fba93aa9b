"""Whether a serial order exists, where the dependency graph alone does not say: saturation, then search, then replay.

An order that was found is replayed on a store before it counts: acceptance has a witness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from checkers.history import NEVER, History
from checkers.search.exploration import Budget
from checkers.transactions.cycles import Cycle, find_cycles
from checkers.transactions.demands import Demands
from checkers.transactions.dependencies import Dependencies, Edges, add_process_order, add_real_time, graph_of
from checkers.transactions.observations import Observations
from checkers.transactions.replay import replay
from checkers.transactions.saturation import saturate
from checkers.transactions.serial import Answer, Puzzle, adjacency, never, solve

FIRST_DEAD_ENDS = 50_000
"""Dead ends without progress after which a first search stops, before anything is derived: enough for nearly every
history of a correct system."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ordering:
    """``exists``: none if nobody knows. ``rows``: the order, if one was found, as rows of the history. ``cycle``: what
    refutes it, if that is a cycle; ``because`` links the edges that were derived (see
    :class:`~checkers.transactions.saturation.Saturated`)."""

    exists: bool | None
    level: int
    rows: tuple[int, ...] = ()
    cycle: Cycle | None = None
    because: Mapping[tuple[int, int, int], int] = field(default_factory=dict)
    derived: int = 0
    looked_at: int = 0


def seek(history: History, observations: Observations, level: int, budget: Budget) -> Ordering:
    """Seeks an order that keeps a level of order (an index into ``anomalies.LEVELS``), for observations that show no
    anomaly that forbids one. The budget's states are candidates that are looked at."""
    limits = Limits.of(budget)
    demands = observations.demands()
    if level < 2:
        # What is strictly serializable is serializable, and real time leaves the fewest orders open.
        strict = _search(history, observations, demands, 2, replace(limits, candidates=limits.candidates // 10))
        if strict.exists:
            return replace(strict, level=level)
    return _search(history, observations, demands, level, limits)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Candidates, and whether time is up."""

    candidates: int
    late: Callable[[], bool]

    @staticmethod
    def of(budget: Budget) -> Limits:
        """From now on."""
        deadline, clock = budget.deadline(), budget.clock
        if deadline is None or clock is None:
            return Limits(candidates=budget.states, late=never)
        return Limits(candidates=budget.states, late=lambda: clock() > deadline)


def _search(history: History, observations: Observations, demands: Demands, level: int, limits: Limits) -> Ordering:
    graph = _graph(history, observations, demands, level)
    at_once = solve(_puzzle(history, graph, demands), limits.candidates, FIRST_DEAD_ENDS, limits.late)
    if at_once.exists:
        return _answered(history, demands, at_once, level, 0)
    because: Mapping[tuple[int, int, int], int] = {}
    if observations.reads is not None:
        saturated = saturate(history, graph, observations.reads, level)
        graph, because = saturated.graph, saturated.because
        if saturated.cyclic:
            cycle = min(find_cycles(graph, level).shown, key=lambda cycle: len(cycle.steps))
            return Ordering(exists=False, level=level, cycle=cycle, because=because, derived=len(because))
    # Where all orders were tried already, saturation was asked for a reason that can be told.
    answer = at_once
    if at_once.exists is None:
        answer = solve(_puzzle(history, graph, demands), limits.candidates, late=limits.late)
    return _answered(history, demands, answer, level, len(because))


def _answered(history: History, demands: Demands, answer: Answer, level: int, derived: int) -> Ordering:
    if not answer.exists:
        return Ordering(exists=answer.exists, level=level, derived=derived, looked_at=answer.looked_at)
    rows = tuple(int(demands.rows[node]) for node in answer.order)
    problem = replay(history, rows, level, demands.initial, demands.null_read)
    if problem is not None:
        raise AssertionError(f"the order that was found does not explain the history: {problem}")
    return Ordering(exists=True, level=level, rows=rows, derived=derived, looked_at=answer.looked_at)


def _graph(history: History, observations: Observations, demands: Demands, level: int) -> Dependencies:
    """The edges of the data, and of the orders of the level, with the optional transactions between the others and the
    waypoints."""
    data, took_effect = observations.edges, len(observations.rows)
    edges = Edges(nodes=data.nodes + demands.optional)
    for source, target, kind, version in zip(data.source, data.target, data.kind, data.version, strict=True):
        edges.source.append(np.where(source < took_effect, source, source + demands.optional).astype(np.int32))
        edges.target.append(np.where(target < took_effect, target, target + demands.optional).astype(np.int32))
        edges.kind.append(kind)
        edges.version.append(version)
    if level >= 1:
        add_process_order(history, demands.rows, edges)
    if level == 2:
        add_real_time(history, demands.rows, edges)
    return graph_of(demands.rows, edges)


def _puzzle(history: History, graph: Dependencies, demands: Demands) -> Puzzle:
    total = len(demands.rows)
    over = history.return_[demands.rows]
    priority = np.where(over == NEVER, NEVER // 2 + history.call[demands.rows], over).tolist()
    return Puzzle(
        transactions=total,
        reads=demands.reads,
        writes=demands.writes,
        after=adjacency(graph.nodes, list(zip(graph.source.tolist(), graph.target.tolist(), strict=True))),
        optional=frozenset(range(total - demands.optional, total)),
        priority=priority,
        initial=demands.initial,
        grows=demands.grows,
        returns=demands.returns,
    )
