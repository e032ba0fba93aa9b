"""Linearizability of any model by search: Wing & Gong's search with Lowe's memory and just-in-time order, one key at a
time.

Sources: Wing & Gong, "Testing and Verifying Concurrent Objects" (1993); Lowe, "Testing for linearizability" (2017).

Operations are satisfied in the order of their returns. A search state is (the next return k, the open operations that
were linearized ahead of it, how many info operations of each kind were used, the model's state): its size depends on
the concurrency, never on the length of the history. Operation k is linearized either at once, or after some open ones
that make it legal; nothing else is ever linearized, since whatever can wait may wait.

Only these short cuts are taken; each is sound:

- An operation whose recorded result proves that it changes no state wherever it is legal (an ok read) is linearized as
  soon as it is open and legal: taking it earlier in a valid order never breaks the order. Never an info operation, nor
  a write that happens to find its own value.
- Equal open operations are interchangeable: only the one that returns first is tried.
- Equal info operations too: they are counted. Using fewer leaves more: a search state is dropped if one with the same
  k, the same operations ahead and the same model state was seen that had used no more of any kind.
- An info operation that leaves the state as it is, is not tried: leaving it out gives the same order.
- For types whose state is one value: where open operations need a value more often than what is left can make it
  (:mod:`checkers.search.supply`, with the proof), no order exists from here; and an info operation whose value nothing
  that is left observes is not tried (if an order used it, whatever followed it observed nothing, and is as legal
  without it).
- States that no call of the history can tell apart, now or later, are one (:meth:`checkers.models.Model.narrowed`).

The budget is checked inside the loop, in search states (which bound memory) and, with a clock, in seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

from checkers.models.model import NOTHING
from checkers.search.problem import ILLEGAL, Problem
from checkers.search.supply import Supply

Path = tuple[Any, int]
"""A linearization as a linked list, last row first, so that search states share their beginnings: (path or None, row).
"""

STATE_BYTES, MODEL_STATE_BYTES, TRANSITION_BYTES = 150, 300, 120
"""What a search state, a model's state and a known transition are taken to need here (measured, all together: 56 to 73
bytes a search state of a register, 514 of a queue whose every state is new; this says 150 and 727). What is in a
model's state comes on top (``Transitions.held``).
"""

NO_MEMORY = "MB were not enough"

CLOCK_EVERY = 1024
"""Search states between two looks at the clock and the memory."""

CANCELLED = "another key was refused meanwhile"


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much a search may use: search states, bytes of memory, and seconds of the clock that comes with them.

    Without a clock a search is bounded by states and bytes alone, and its verdict does not depend on the machine. The
    bytes are what the search itself takes, besides the history and the interpreter.
    """

    states: int = 20_000_000
    bytes: int = 1_500_000_000
    seconds: float | None = None
    clock: Callable[[], float] | None = None

    def deadline(self) -> float | None:
        """The clock's value at which to stop."""
        if self.seconds is None:
            return None
        if self.clock is None:
            raise ValueError("a budget of seconds needs a clock: Budget(seconds=..., clock=time.monotonic)")
        return self.clock() + self.seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class Exploration:
    """What a search found.

    ``linearizable`` is None if the budget ran out, for the ``reason``. ``order`` holds rows: a linearization, or the
    longest partial one that was found. ``reached`` returns were satisfied by it. ``stuck`` is the row of the operation
    that comes next; if refused, of one such that no order satisfies all returns up to its own (what returns later, or
    begins later, is not needed for the refusal). ``states``, if refused: the model states of the search states that got
    furthest; with ``prune=False`` those in which ``stuck`` would have had to be legal.
    """

    linearizable: bool | None
    order: tuple[int, ...]
    reached: int
    explored: int
    stuck: int | None = None
    states: tuple[Hashable, ...] = ()
    reason: str | None = None

    @property
    def out_of_memory(self) -> bool:
        """Whether it gave up for want of memory: another turn with more states would end the same way."""
        return self.reason is not None and NO_MEMORY in self.reason


def search(
    problem: Problem,
    budget: Budget,
    deadline: float | None = None,
    *,
    prune: bool = True,
    cancelled: Callable[[], bool] = lambda: False,
) -> Exploration:
    """Explores until a linearization is found, none can exist, or the budget is used up.

    ``prune=False`` goes on where nothing can come of it, so that the ``states`` of a refusal are all there are.
    ``cancelled`` is asked now and then whether the answer is still wanted.
    """
    return _Search(problem, budget, deadline, prune, cancelled).run()


class _Search:
    """The depth-first search and what it remembers."""

    def __init__(
        self,
        problem: Problem,
        budget: Budget,
        deadline: float | None,
        prune: bool,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.cancelled = cancelled
        self.problem = problem
        self.prune = prune
        self.budget = budget
        self.deadline = deadline
        self.step = problem.transitions.step
        self.seen: dict[int, int | list[int]] = {}
        self.width = max((slot.bit_length() for slot in problem.slot), default=0)
        self.best = -1
        self.best_path: Path | None = None
        self.best_states: set[int] = set()
        self.last_observed = problem.last_observed()
        self.backtracked = False
        self.supply: Supply | None = None

    def run(self) -> Exploration:
        total = len(self.problem.row)
        states, valued = self.budget.states, self.prune and self.problem.model.valued()
        stack: list[tuple[int, int, int, int, Path | None]] = [(0, 0, 0, 0, None)]
        frames: list[Iterator[tuple[int, int, int, int, Path | None]]] = []
        transitions, room = self.problem.transitions, self.budget.bytes
        explored = 0
        state: tuple[int, int, int, int, Path | None] | None = stack[0]
        while True:
            if state is not None:
                number, ahead, used, model_state, path = self._settle(*state)
                self._note(number, model_state, path)
                if number == total:
                    return self._result(True, explored)
                if self._is_new(number, ahead, used, model_state):
                    explored += 1
                    if explored > states or not explored % CLOCK_EVERY or transitions.held > room:
                        gave_up = self._gave_up(explored)
                        if gave_up:
                            return self._result(None, explored, gave_up)
                    if not (self.backtracked and valued and self._short(number, ahead, used, model_state)):
                        frames.append(self._moves(number, ahead, used, model_state, path))
            if not frames:
                return self._result(False, explored)
            state = next(frames[-1], None)
            if state is None:
                frames.pop()
                self.backtracked = True

    def _gave_up(self, explored: int) -> str | None:
        """Why to stop here, if so."""
        if explored > self.budget.states:
            return f"{self.budget.states} search states were not enough"
        held = self.problem.transitions.held
        if explored % CLOCK_EVERY and held <= self.budget.bytes:
            return None
        model_bytes = MODEL_STATE_BYTES * len(self.problem.transitions.states) + held
        table_bytes = TRANSITION_BYTES * len(self.problem.transitions) + 8 * self.problem.listed
        if explored * STATE_BYTES + model_bytes + table_bytes > self.budget.bytes:
            return f"{self.budget.bytes / 1e6:.0f} {NO_MEMORY}"
        if self._late():
            return f"{self.budget.seconds} s were not enough"
        return CANCELLED if self.cancelled() else None

    def _late(self) -> bool:
        return self.deadline is not None and self.budget.clock is not None and self.budget.clock() > self.deadline

    def _settle(
        self, number: int, ahead: int, used: int, state: int, path: Path | None
    ) -> tuple[int, int, int, int, Path | None]:
        """Linearizes open observations that are legal, and passes over returns that are satisfied."""
        problem, step = self.problem, self.step
        slot, kind, observation = problem.slot, problem.kind, problem.transitions.observation
        total = len(slot)
        while number < total:
            for other in problem.pending(number):
                if observation[kind[other]] and not ahead & slot[other] and step(state, kind[other]) == state:
                    ahead |= slot[other]
                    path = (path, problem.row[other])
            if not ahead & slot[number]:
                break
            ahead &= ~slot[number]
            number += 1
        return number, ahead, used, state, path

    def _note(self, number: int, state: int, path: Path | None) -> None:
        if number > self.best:
            self.best, self.best_path = number, path
            self.best_states = set()
        if number == self.best:
            self.best_states.add(state)

    def _is_new(self, number: int, ahead: int, used: int, state: int) -> bool:
        """Remembers a search state, unless one at least as good was seen."""
        place = (state << 32 | number) << self.width | ahead
        seen = self.seen.get(place)
        if seen is None:
            self.seen[place] = used
            return True
        guard = self.problem.guard
        if isinstance(seen, int):
            if ((used | guard) - seen) & guard == guard:
                return False
            self.seen[place] = [seen, used]
            return True
        for fewer in seen:
            if ((used | guard) - fewer) & guard == guard:
                return False
        seen.append(used)
        return True

    def _moves(
        self, number: int, ahead: int, used: int, state: int, path: Path | None
    ) -> Iterator[tuple[int, int, int, int, Path | None]]:
        """The search states that follow: operation k itself, then what makes it legal, then other open ones, then
        infos.
        """
        problem, step = self.problem, self.step
        kind, slot, row = problem.kind, problem.slot, problem.row
        wanted = kind[number]
        after = step(state, wanted)
        if after != ILLEGAL:
            yield number, ahead | slot[number], used, after, (path, row[number])
        later: list[tuple[int, int, int, int, Path | None]] = []
        tried = {wanted}
        observation = problem.transitions.observation
        for other in problem.pending(number):
            what = kind[other]
            if ahead & slot[other] or what in tried or observation[what]:
                continue
            tried.add(what)
            after = step(state, what)
            if after != ILLEGAL:
                following = (number, ahead | slot[other], used, after, (path, row[other]))
                if step(after, wanted) != ILLEGAL:
                    yield following
                else:
                    later.append(following)
        yield from later
        yield from self._info_moves(number, ahead, used, state, path)

    def _info_moves(
        self, number: int, ahead: int, used: int, state: int, path: Path | None
    ) -> Iterator[tuple[int, int, int, int, Path | None]]:
        produces = self.problem.transitions.produces
        later = []
        for info in self.problem.infos:
            count = used >> info.shift & info.mask
            if count >= len(info.rows) or info.available[count] > number:
                continue
            made = produces[info.kind]
            if self.prune and made is not NOTHING and self.last_observed.get(made, -1) < number:
                continue
            after = self.step(state, info.kind)
            if after in (ILLEGAL, state):
                continue
            following = (number, ahead, used + (1 << info.shift), after, (path, info.rows[count]))
            if self.step(after, self.problem.kind[number]) != ILLEGAL:
                yield following
            else:
                later.append(following)
        yield from later

    def _short(self, number: int, ahead: int, used: int, state: int) -> bool:
        """Is there proof that nothing comes of this search state? Asked from the first dead end on."""
        if self.supply is None:
            self.supply = Supply(self.problem)
        return self.supply.short(number, ahead, used, state)

    def _result(self, linearizable: bool | None, explored: int, reason: str | None = None) -> Exploration:
        order: list[int] = []
        path = self.best_path
        while path is not None:
            order.append(path[1])
            path = path[0]
        refused = linearizable is False
        stuck = max(self.best, self.supply.furthest) if refused and self.supply else self.best
        states = self.problem.transitions.states
        return Exploration(
            linearizable=linearizable,
            order=tuple(reversed(order)),
            reached=self.best,
            explored=explored,
            stuck=self.problem.row[stuck] if stuck < len(self.problem.row) else None,
            states=tuple(states[number] for number in sorted(self.best_states)) if refused else (),
            reason=reason,
        )
