"""Many keys, one budget: which search judges a key when, and for how long.

Keys take turns with budgets that grow, so that one hard key does not hide an easy violation in another. In the first
turns each is searched in plain Python, which decides most keys before the compiled search would be loaded (about 0.4 s
of imports); keys of many operations, and all later turns, are searched compiled, :data:`WORKERS` keys at a time, each
with its share of the memory. A key that is alone has nobody to hide: it begins with the larger of the plain turns. One
that ran out of memory has no further turn: more states would not help it. Both searches make the same moves, so which
one judged can't be told from the answer.

The answer does not depend on the threads: in a turn, keys count in their order. Once one is refused, those after it
stay as the turn before left them, and what is still searched is cancelled. (Seconds, if a budget has any, do depend on
the machine.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from checkers.search import exploration
from checkers.search.exploration import Budget, Exploration
from checkers.search.problem import Problem

PLAIN_STATES = (1_000, 10_000)
"""Search states of a key's first turns, besides two for each of its operations."""

GROWTH = 8

WORKERS = 2
"""Keys that are searched at the same time. No machine's number of cores: it decides how memory is shared, and so what
is decided.
"""

COMPILED_FROM = 25_000
"""Operations of a key from which the compiled search is loaded at once (measured: where both take the same time)."""

Prepare = Callable[[int], Problem]


@dataclass(kw_only=True)
class Turns:
    """What became of each key: ``found`` holds the last answer of each; ``explored`` sums the search states."""

    found: dict[int, Exploration] = field(default_factory=dict)
    explored: int = 0


def explore(
    problem: Problem, budget: Budget, deadline: float | None = None, *, compiled: bool | None = None
) -> Exploration:
    """One problem by one search; by default the compiled one if it is already worth its loading."""
    if compiled if compiled is not None else len(problem.row) >= COMPILED_FROM:
        from checkers.search.compiled import search  # numba: not to be imported before it is needed

        return search(problem, budget, deadline)
    return exploration.search(problem, budget, deadline)


def take_turns(sizes: Mapping[int, int], prepare: Prepare, budget: Budget, *, refused: bool = False) -> Turns:
    """Searches all keys (number of operations by key) until each is decided, one is refused and others gave up, or the
    budget is used up. ``refused``: one was already, so that each has one turn only.
    """
    deadline = budget.deadline()
    turns = Turns()
    open_ = list(sizes)
    plain = list(PLAIN_STATES if len(sizes) > 1 else PLAIN_STATES[-1:])
    states = plain.pop(0)
    alone = True
    while open_:
        allowed = {key: replace(budget, states=min(budget.states, states + 2 * sizes[key])) for key in open_}
        answers = _alone(allowed, prepare, deadline) if alone else _together(allowed, prepare, deadline)
        for key, found in answers:
            turns.found[key] = found
            turns.explored += found.explored
        open_ = [key for key in open_ if turns.found[key].linearizable is None and not turns.found[key].out_of_memory]
        refused = refused or any(found.linearizable is False for found in turns.found.values())
        last = all(allowed[key].states == budget.states for key in open_)
        if refused or last or (deadline is not None and budget.clock is not None and budget.clock() > deadline):
            break
        alone = bool(plain)
        states = plain.pop(0) if plain else states * GROWTH
    return turns


def _alone(
    allowed: Mapping[int, Budget], prepare: Prepare, deadline: float | None
) -> Iterator[tuple[int, Exploration]]:
    """One after the other, all of them."""
    for key, budget in allowed.items():
        yield key, explore(prepare(key), budget, deadline)


def _together(
    allowed: Mapping[int, Budget], prepare: Prepare, deadline: float | None
) -> Iterator[tuple[int, Exploration]]:
    """Side by side, in order, up to the first that is refused."""
    from checkers.search.compiled import search

    stop = threading.Event()
    workers = min(WORKERS, len(allowed))

    def judge(key: int) -> Exploration:
        budget = allowed[key]
        budget = replace(budget, bytes=budget.bytes // workers)
        return search(prepare(key), budget, deadline, cancelled=stop.is_set)

    with ThreadPoolExecutor(max_workers=workers) as pool:
        futures = {key: pool.submit(judge, key) for key in allowed}
        try:
            for key, future in futures.items():
                found = future.result()
                yield key, found
                if found.linearizable is False:
                    return
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
