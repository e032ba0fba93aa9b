"""Why the search refused a key: the few operations that prove it, what the state could be, and the longest partial
order, in words and as data.

The sentence claims two things, both checked: the operations it shows fit no order, and what all other operations of the
key did cannot change that (:mod:`checkers.search.shrinking`).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.history import FAIL, Column, History
from checkers.models.container import Container
from checkers.models.counter import Counter
from checkers.models.key_value import KeyValue
from checkers.models.list_append import ListAppend
from checkers.models.log import Log
from checkers.models.model import UNOBSERVED, Model
from checkers.models.multi_register import MultiRegister
from checkers.models.mutex import Mutex, Owned
from checkers.models.set_ import Set
from checkers.operation import Operation, Outcome
from checkers.search.exploration import Budget, Exploration, search
from checkers.search.problem import problem
from checkers.search.shrinking import WORK_MAX, Core, shrink
from checkers.verdict import LINEARIZABILITY, Finding
from checkers.wording import Wording, capital, listed, place, show

OPERATIONS_SHOWN_MAX = 40
"""Operations of a finding whose impossible part could not be shrunk further: the last ones."""

STATES_NAMED_MAX = 4

COMPANIONS_NAMED_MAX = 3
"""Operations that the stuck one can't stand with, if they are told in the sentence."""

AGAIN_STATES = 2_000
"""Search states for asking what the state could be; if they are not enough, the sentence does not say."""


def refuse(
    history: History, rows: Column, found: Exploration, model: Model, initial: Any, work: int = WORK_MAX
) -> Finding:
    """The finding for a key (its rows, ascending) that the search refused; ``work`` bounds the search for the core."""
    assert found.stuck is not None
    core = shrink(history, rows, found.stuck, model, initial, work)
    case = _Case.of(history, rows, core, model, initial)
    return Finding(
        checker=LINEARIZABILITY,
        kind="no order possible",
        message=case.sentence(),
        key=case.key,
        operations=tuple(case.operations[-OPERATIONS_SHOWN_MAX:]),
        nodes=tuple(sorted({item.node for item in case.operations if item.node is not None})),
        time_ns=case.stuck.return_ns,
        evidence={
            "stuck": case.stuck.index,
            "possible_states": [_state(state, model) for state in case.states[:STATES_NAMED_MAX]],
            "longest_order": [int(row) for row in found.order[-OPERATIONS_SHOWN_MAX:]],
            "longest_order_length": len(found.order),
            "impossible_operations": len(case.operations),
            "initial": initial,
            "core": case.core_evidence(),
        },
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Case:
    """A refused key, its core searched again by itself: ``order`` is the core's longest partial order; ``states`` are
    all that are possible where ``stuck`` does not fit (empty if that was too much work).
    """

    key: Any
    core: Core
    operations: Sequence[Operation]
    others: int
    stuck: Operation
    order: Sequence[int]
    states: Sequence[Hashable]
    model: Model
    initial: Any

    @staticmethod
    def of(history: History, rows: Column, core: Core, model: Model, initial: Any) -> _Case:
        # The operations that are shown, as they were: that is at least as impossible as with some of them weakened.
        prepared = problem(history, core.rows, model, initial, narrow=False)
        again = search(prepared, Budget(states=AGAIN_STATES), prune=False)
        complete = again.linearizable is False
        told = complete and core.whole and again.stuck is not None
        stuck = again.stuck if told and again.stuck is not None else _last(history, core)
        return _Case(
            key=history.keys.values[int(history.key[rows[0]])],
            core=core,
            operations=[history.operation(int(row)) for row in core.rows],
            others=int((history.outcome[rows] != FAIL).sum()) - len(core.rows),
            stuck=history.operation(stuck),
            order=again.order if told else core.order.tolist(),
            states=again.states if told else (),
            model=model,
            initial=initial,
        )

    def core_evidence(self) -> Mapping[str, Any]:
        """The core as rows, for pages and tools."""
        certain = self.core.certain.tolist()
        return {
            "certain": certain[-OPERATIONS_SHOWN_MAX:],
            "optional": self.core.optional.tolist()[-OPERATIONS_SHOWN_MAX:],
            "order": list(self.order[-OPERATIONS_SHOWN_MAX:]),
            "unplaced": sorted(set(certain) - set(self.order))[-OPERATIONS_SHOWN_MAX:],
            "others": self.others,
            "minimal": self.core.minimal,
        }

    def sentence(self) -> str:
        """True as it stands, for readers without theory."""
        words, where, stuck = Wording(self.operations), self.where(), self.stuck
        start = _named(self.model.start(self.initial), self.model)
        if len(self.operations) == 1:
            told = f"{capital(words.deed(stuck))} on {where} at {words.began(stuck)} is impossible by itself"
            if not self.others:
                return f"{told}: {where} began with {start}, and nobody else did anything."
            helps = "nothing that others did before it ended can have made it possible"
            return f"{told}: {where} began with {start}, and {helps}."
        told = f"{capital(words.deed(stuck))} on {where} ({words.began(stuck)} to {words.ended(stuck)}) fits no order"
        times = f"that keeps to their times and begins with {start}"
        if self.core.whole:
            these = f"of these {len(self.operations)} operations"
            return f"{told} {these} {times}{self.maybe()}{self.possible()}.{self.rest()}"
        return f"{told} {times} together with {self.company(words)}, whatever the {self.others:,} others did."

    def company(self, words: Wording) -> str:
        """The other operations of the core."""
        others = [item for item in self.operations if item != self.stuck]
        if len(others) > COMPANIONS_NAMED_MAX:
            return f"these {len(others)} other operations"
        return listed([f"{words.deed(item)} ({words.began(item)} to {words.ended(item)})" for item in others])

    def where(self) -> str:
        """The key, or what the data type is called in a history that has none."""
        return place(self.key, thing(self.model))

    def maybe(self) -> str:
        """What is meant by operations that nobody saw end."""
        hidden = any(item.outcome is Outcome.INFO for item in self.operations)
        return " (those that nobody saw end may have happened or not)" if hidden else ""

    def possible(self) -> str:
        """The states in which the stuck operation would have had to be legal."""
        if not self.states:
            return ""
        named = [_named(state, self.model) for state in self.states[:STATES_NAMED_MAX]]
        more = f" (or one of {len(self.states) - len(named)} more)" if len(self.states) > len(named) else ""
        verb = "is" if isinstance(self.model, Mutex | Owned) else "holds"
        return f": in each of them {self.where()} {verb} {' or '.join(named)}{more} when it must take effect"

    def rest(self) -> str:
        """That no other operation matters."""
        if not self.others:
            return ""
        if self.others == 1:
            return f" What the other operation on {self.where()} did cannot change that."
        return f" Whatever the {self.others:,} other operations on {self.where()} did, it cannot change that."


_THINGS: Mapping[type, str] = {
    Counter: "the counter",
    KeyValue: "the text",
    ListAppend: "the database",
    Log: "the log",
    MultiRegister: "the database",
    Set: "the set",
}
"""What a history without keys is about, where it is not a register, a lock or a container."""


def _last(history: History, core: Core) -> int:
    """The certain operation that returned last: the others fit (or that is not known)."""
    return int(core.certain[np.argmax(history.return_[core.certain])])


def thing(model: Model) -> str:
    """What the data type is called in a history without keys."""
    if isinstance(model, Container):
        return f"the {model.noun}"
    if isinstance(model, Mutex | Owned):
        return "the lock"
    return _THINGS.get(type(model), "the register")


def _named(state: Hashable, model: Model) -> str:
    shown = _state(state, model)
    spoken = state is UNOBSERVED or isinstance(model, Mutex | Owned)
    return str(shown) if spoken else show(shown)


def _state(state: Hashable, model: Model) -> Any:
    return str(UNOBSERVED) if state is UNOBSERVED else model.shown(state)


__all__ = ["OPERATIONS_SHOWN_MAX", "refuse", "thing"]
