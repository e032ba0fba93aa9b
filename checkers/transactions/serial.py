"""Is there a serial order? A search over the orders that a dependency graph leaves open.

It builds an order from the front. A transaction may come next if all who must precede it have come and every key is as
it read it. Three rules keep the search narrow; each keeps an order if there is one:

- A transaction that writes nothing comes as soon as it may: put earlier in an order, it changes nothing for the others.
- Where a state of a key never comes back (lists only grow; registers whose values are all new), nobody may write the
  key while somebody is left who read its present state.
- What came before and how the keys are is all that matters for the rest, so no such situation is tried twice (told by
  128 random bits).

Candidates are tried in the order in which they were over: in a history of a correct system that is nearly always right
at once. The budget counts candidates looked at, so a verdict does not depend on the machine; used up, it says unknown.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

CLOCK_EVERY = 1024
"""Choices between two looks at the clock."""

Place = tuple[Any, Hashable]
"""A key and a state of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Puzzle:
    """``reads`` and ``writes`` of each node: keys with the state that it needs, and with what it writes. ``grows``: a
    write adds to a state (lists) instead of replacing it. ``returns``: states may come back. ``after``: whom each node
    must precede. Nodes from ``transactions`` on are waypoints. ``optional`` may be left out. ``priority``: who is tried
    first."""

    transactions: int
    reads: Sequence[Sequence[Place]]
    writes: Sequence[Sequence[Place]]
    after: Sequence[Sequence[int]]
    optional: frozenset[int]
    priority: Sequence[int]
    initial: Hashable
    grows: bool
    returns: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """``order``: nodes, if an order was found. ``exists``: none if the budget was used up first."""

    exists: bool | None
    order: tuple[int, ...] = ()
    looked_at: int = 0


def never() -> bool:
    """Time is no limit."""
    return False


def solve(puzzle: Puzzle, budget: int, dead_ends: int | None = None, late: Callable[[], bool] = never) -> Answer:
    """Searches with a budget of candidates looked at, and (if given) of dead ends met since the order was
    last longer than ever before; and until it is ``late``."""
    return _Search(puzzle, budget, dead_ends, late).run()


@dataclass(slots=True)
class _Choice:
    """Where the order could go on in several ways: how long it was, and what is still to try (last first)."""

    length: int
    left: list[int] = field(default_factory=list)


class _Search:
    def __init__(self, puzzle: Puzzle, budget: int, dead_ends: int | None, late: Callable[[], bool]) -> None:
        self.late = late
        self.choices_made = 0
        self.puzzle = puzzle
        self.budget = budget
        self.dead_ends_max = dead_ends if dead_ends is not None else budget
        self.dead_ends = 0
        self.longest = 0
        self.looked_at = 0
        self.state: dict[Any, Hashable] = {}
        self.waiting = [0] * len(puzzle.after)
        for targets in puzzle.after:
            for target in targets:
                self.waiting[target] += 1
        self.readers: dict[Place, int] = {}
        for places in puzzle.reads:
            for place in places:
                self.readers[place] = self.readers.get(place, 0) + 1
        self.required = puzzle.transactions - len(puzzle.optional)
        self.ready: set[int] = set()
        self.quiet: list[int] = []
        self.trail: list[tuple[int, tuple[Place, ...]]] = []
        self.bits = random.Random(0)
        self.names: dict[Hashable, int] = {}
        self.situation = 0
        self.tried: set[int] = set()

    def run(self) -> Answer:
        for node, waiting in enumerate(self.waiting):
            if not waiting:
                self._opened(node)
        choices: list[_Choice] = []
        while True:
            self._go_quietly()
            if not self.required:
                nodes = tuple(node for node, _ in self.trail if node < self.puzzle.transactions)
                return Answer(exists=True, order=nodes, looked_at=self.looked_at)
            if len(self.trail) > self.longest:
                self.longest, self.dead_ends = len(self.trail), 0
            choices.append(_Choice(len(self.trail), self._candidates()))
            while choices and not choices[-1].left:
                choices.pop()
                self.dead_ends += 1
                if choices:
                    self._back_to(choices[-1].length)
            if not choices:
                return Answer(exists=False, looked_at=self.looked_at)
            self.choices_made += 1
            if self.choices_made % CLOCK_EVERY == 0 and self.late():
                return Answer(exists=None, looked_at=self.looked_at)
            if self.looked_at > self.budget or self.dead_ends > self.dead_ends_max:
                return Answer(exists=None, looked_at=self.looked_at)
            self._do(choices[-1].left.pop())

    def _candidates(self) -> list[int]:
        """Writers that may come next, best last; none if this situation was met before."""
        if self.situation in self.tried:
            return []
        self.tried.add(self.situation)
        self.looked_at += len(self.ready) + 1
        found = [node for node in self.ready if self._fits(node) and not self._buries(node)]
        found.sort(key=self.puzzle.priority.__getitem__, reverse=True)
        return found

    def _go_quietly(self) -> None:
        """Waypoints, and whoever writes nothing and may come."""
        while True:
            while self.quiet:
                self._do(self.quiet.pop())
            self.looked_at += len(self.ready)
            fitting = [node for node in self.ready if not self.puzzle.writes[node] and self._fits(node)]
            if not fitting:
                return
            for node in fitting:
                self._do(node)

    def _fits(self, node: int) -> bool:
        state, initial = self.state, self.puzzle.initial
        return all(state.get(key, initial) == needed for key, needed in self.puzzle.reads[node])

    def _buries(self, node: int) -> bool:
        """Would somebody who read the present state of a key never see it again?"""
        if self.puzzle.returns:
            return False
        own = self.puzzle.reads[node]
        for key, _ in self.puzzle.writes[node]:
            place = (key, self.state.get(key, self.puzzle.initial))
            if self.readers.get(place, 0) > (place in own):
                return True
        return False

    def _opened(self, node: int) -> None:
        if node >= self.puzzle.transactions:
            self.quiet.append(node)
        else:
            self.ready.add(node)

    def _do(self, node: int) -> None:
        puzzle = self.puzzle
        before: list[Place] = []
        self.situation ^= self._name(node)
        if node < puzzle.transactions:
            self.ready.discard(node)
            self.required -= node not in puzzle.optional
            for place in puzzle.reads[node]:
                self.readers[place] -= 1
            for key, value in puzzle.writes[node]:
                old = self.state.get(key, puzzle.initial)
                new = (*old, *value) if puzzle.grows else value  # type: ignore[misc]
                before.append((key, old))
                self._become(key, old, new)
        self.trail.append((node, tuple(before)))
        for target in puzzle.after[node]:
            self.waiting[target] -= 1
            if not self.waiting[target]:
                self._opened(target)

    def _become(self, key: Any, old: Hashable, new: Hashable) -> None:
        self.situation ^= self._name((key, old)) ^ self._name((key, new))
        self.state[key] = new

    def _name(self, thing: Hashable) -> int:
        found = self.names.get(thing)
        if found is None:
            found = self.names[thing] = self.bits.getrandbits(128)
        return found

    def _back_to(self, length: int) -> None:
        puzzle = self.puzzle
        while len(self.trail) > length:
            node, before = self.trail.pop()
            for target in puzzle.after[node]:
                if not self.waiting[target]:
                    self.ready.discard(target)
                self.waiting[target] += 1
            if node < puzzle.transactions:
                for key, old in reversed(before):
                    self._become(key, self.state[key], old)
                for place in puzzle.reads[node]:
                    self.readers[place] += 1
                self.required += node not in puzzle.optional
                self.ready.add(node)
            self.situation ^= self._name(node)
        self.quiet.clear()


def adjacency(nodes: int, edges: Sequence[tuple[int, int]]) -> Sequence[Sequence[int]]:
    """Edges as lists of targets by source."""
    found: list[list[int]] = [[] for _ in range(nodes)]
    for source, target in edges:
        found[source].append(target)
    return found
