"""Why the search refused a key: the small impossible part, what the state could be, and the longest partial order, in
words.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from checkers.history import Column, History
from checkers.models.model import UNOBSERVED, Model
from checkers.operation import Operation, Outcome
from checkers.search.exploration import Budget, Exploration, search
from checkers.search.problem import problem
from checkers.search.shrinking import TRIAL_STATES, shrink
from checkers.verdict import LINEARIZABILITY, Finding
from checkers.wording import Wording, capital, place, show

OPERATIONS_SHOWN_MAX = 40
"""Operations of a finding whose impossible part could not be shrunk further: the last ones."""

STATES_NAMED_MAX = 4


def refuse(history: History, rows: Column, found: Exploration, model: Model, initial: Any) -> Finding:
    """The finding for a key (its rows, ascending) that the search refused."""
    assert found.stuck is not None
    core = shrink(history, rows, found.stuck, model, initial)
    again = search(
        problem(core.history, core.rows, model, initial, narrow=False), Budget(states=TRIAL_STATES), prune=False
    )
    final = again if again.linearizable is False else found
    operations = [history.operation(int(row)) for row in core.rows]
    key = history.keys.values[int(history.key[rows[0]])]
    stuck = history.operation(final.stuck if final.stuck is not None else found.stuck)
    return Finding(
        checker=LINEARIZABILITY,
        kind="no order possible",
        message=_sentence(operations, stuck, final, key, initial, model, final is again),
        key=key,
        operations=tuple(operations[-OPERATIONS_SHOWN_MAX:]),
        nodes=tuple(sorted({item.node for item in operations if item.node is not None})),
        time_ns=stuck.return_ns,
        evidence={
            "stuck": stuck.index,
            "possible_states": [_state(state, model) for state in final.states[:STATES_NAMED_MAX]],
            "longest_order": [int(row) for row in found.order[-OPERATIONS_SHOWN_MAX:]],
            "longest_order_length": len(found.order),
            "impossible_operations": len(operations),
            "initial": initial,
        },
    )


def _sentence(
    operations: Sequence[Operation],
    stuck: Operation,
    found: Exploration,
    key: Any,
    initial: Any,
    model: Model,
    complete: bool,
) -> str:
    words = Wording(operations)
    count = len(operations)
    alone = (
        f"nobody who could have made this possible did anything before, and {place(key)} began with {show(initial)}."
    )
    if count == 1:
        return f"{capital(words.deed(stuck))} on {place(key)} at {words.began(stuck)} is impossible by itself: {alone}"
    these = f"these {count} operations"
    told = (
        f"{capital(words.deed(stuck))} on {place(key)} ({words.began(stuck)} to {words.ended(stuck)}) fits no order of"
    )
    order = f"{told} {these} that keeps to their times and begins with {show(initial)}"
    hidden = [item for item in operations if item.outcome is Outcome.INFO]
    maybe = " (those that nobody saw end may have happened or not)" if hidden else ""
    possible = _possible(found.states, key, model) if complete else ""
    return f"{order}{maybe}{possible}."


def _possible(states: Sequence[Hashable], key: Any, model: Model) -> str:
    named = [_named(state, model) for state in states[:STATES_NAMED_MAX]]
    more = f" (or one of {len(states) - len(named)} more)" if len(states) > len(named) else ""
    return f": in each of them {place(key)} holds {' or '.join(named)}{more} when it must take effect"


def _named(state: Hashable, model: Model) -> str:
    return str(UNOBSERVED) if state is UNOBSERVED else show(_state(state, model))


def _state(state: Hashable, model: Model) -> Any:
    return str(UNOBSERVED) if state is UNOBSERVED else model.shown(state)
