"""Who must come before whom, for all nodes of a graph at once: one number a chain (see
:mod:`checkers.transactions.saturation`). The same source in two speeds: as it is for short histories, compiled for long
ones.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from checkers.history import Column
from checkers.transactions.dependencies import Dependencies

COMPILED_FROM = 20_000
"""So many edges are worth starting numba for (a second, once a process; compiling, once a machine)."""


def before(graph: Dependencies, chain: Column, place: Column, count: int) -> Column | None:
    """For each node and chain: the place of the last one of the chain that must come before the node; 0 if none does.
    None: the graph has a cycle. ``chain`` and ``place`` of each transaction; ``count`` chains."""
    order = np.argsort(graph.source, kind="stable")
    start = np.searchsorted(graph.source[order], np.arange(graph.nodes + 1))
    waiting = np.bincount(graph.target, minlength=graph.nodes)
    known = np.zeros((graph.nodes, count), dtype=np.int32)
    target = graph.target[order].astype(np.int64)
    flow = _compiled() if len(target) >= COMPILED_FROM else _flow
    return known if flow(known, start, target, waiting, chain.astype(np.int64), place.astype(np.int64)) else None


def _flow(known: Column, start: Column, target: Column, waiting: Column, chain: Column, place: Column) -> bool:
    """Nodes in topological order, each telling the next what came before. Is every node reached: is there no cycle?"""
    nodes = len(start) - 1
    order = np.empty(nodes, dtype=np.int64)
    reached = 0
    for node in range(nodes):
        if waiting[node] == 0:
            order[reached] = node
            reached += 1
    done = 0
    while done < reached:
        node = order[done]
        done += 1
        row = known[node].copy()
        if node < len(chain) and place[node] > row[chain[node]]:
            row[chain[node]] = place[node]
        for edge in range(start[node], start[node + 1]):
            next_ = target[edge]
            known[next_] = np.maximum(known[next_], row)
            waiting[next_] -= 1
            if waiting[next_] == 0:
                order[reached] = next_
                reached += 1
    return reached == nodes


@functools.cache
def _compiled() -> Callable[..., Any]:
    import numba  # a second that short histories are spared

    try:
        made: Callable[..., Any] = numba.njit(cache=True)(_flow)
    except RuntimeError:  # no folder to keep it in: compile in every process
        made = numba.njit(_flow)
    return made
