"""A witness of an acceptance: for each key an order in which its operations could have taken effect one at a time.

Whoever found the history linearizable is asked for the order (the polynomial methods construct one, the search has
walked one), and then :mod:`checkers.replay` goes through it with code of its own. An order that it refuses is our
defect, and is raised, never returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.deciders import DECIDERS
from checkers.deciders.idle import with_idle
from checkers.deciders.register.decider import RegisterDecider
from checkers.history import OK, History, HistoryError
from checkers.models import MODELS
from checkers.models.model import Model
from checkers.replay import Rows, replay
from checkers.search.exploration import Budget
from checkers.search.problem import Problem, problem
from checkers.search.turns import take_turns


@dataclass(frozen=True, kw_only=True, slots=True)
class Witness:
    """``orders``: rows of the history by the code of their key (an index into ``history.keys.values``). Operations that
    nobody saw end are in it if they took effect; failed ones are not.
    """

    orders: Mapping[int, Rows]

    def lines(self, history: History) -> Iterator[Mapping[str, Any]]:
        """One JSON object a key: ``key`` and ``order``, the numbers of its operations (0: the first invoked)."""
        for key, order in self.orders.items():
            yield {"key": history.keys.values[key], "order": order.tolist()}


def witness(
    history: History,
    *,
    model: str = "cas-register",
    initial: Any = None,
    null_read: str = "value",
    budget: Budget | None = None,
) -> Witness | None:
    """The orders of an accepted history, replayed. None if it is refused, or ``budget`` was not enough for a key.

    Raises:
        ValueError: the model is no data type whose histories have orders, or an option has a value it can't have.
        HistoryError: the history has functions or values that the model does not know.
        ReplayError: an order was found that is none; a defect.
    """
    data_type = _model(history, model, null_read)
    rows = _rows_by_key(history)
    orders = _constructed(history, rows, model, initial, null_read)
    if orders is None:
        return None
    searched = _searched(history, {key: rows[key] for key in rows if key not in orders}, data_type, initial, budget)
    if searched is None:
        return None
    orders.update(searched)
    replay(history, orders, data_type, initial)
    return Witness(orders=dict(sorted(orders.items())))


def _model(history: History, name: str, null_read: str) -> Model:
    if name not in MODELS:
        raise ValueError(f"{name!r} has no orders to show; use one of: {', '.join(MODELS)}")
    if null_read not in ("value", "unknown"):
        raise ValueError(f"null_read is {null_read!r}; use 'value' (null is a value) or 'unknown' (it says nothing)")
    model = MODELS[name](null_read=null_read)
    unknown = sorted({history.functions[code] for code in np.unique(history.f).tolist()} - model.functions)
    if unknown:
        step = f"It has: {', '.join(sorted(model.functions))}."
        raise HistoryError(history.source, None, f"the model {name} has no function {unknown[0]!r}", step)
    return model


def _rows_by_key(history: History) -> dict[int, Rows]:
    keys, starts = np.unique(history.key[np.argsort(history.key, kind="stable")], return_index=True)
    parts = np.split(np.argsort(history.key, kind="stable"), starts[1:])
    return dict(zip(keys.tolist(), parts, strict=False))


def _constructed(
    history: History, rows: Mapping[int, Rows], name: str, initial: Any, null_read: str
) -> dict[int, Rows] | None:
    """The orders that the polynomial method makes; None if it refuses a key."""
    decider = DECIDERS.get(name)
    if decider is None:
        return {}
    decision = decider.decide(history, initial=initial, null_read=null_read)
    if decision.refused:
        return None
    decided = {key: part for key, part in rows.items() if key not in decision.deferred}
    if isinstance(decider, RegisterDecider) and decided:
        return _registers(history, decider, decided, initial, null_read)
    orders = {key: decider.order(history, part, initial=initial, null_read=null_read) for key, part in decided.items()}
    if null_read == "unknown":
        orders = {key: _with_silent(history, rows[key], order) for key, order in orders.items()}
    return {key: order for key, order in orders.items() if order is not None}


def _with_silent(history: History, rows: Rows, order: Rows | None) -> Rows | None:
    """The order with the operations that returned null, which say nothing: methods leave them out."""
    if order is None:
        return None
    null = history.result[rows] == history.values.find(None)
    return with_idle(history, order, np.setdiff1d(rows[(history.outcome[rows] == OK) & null], order))


def _registers(
    history: History, decider: RegisterDecider, rows: Mapping[int, Rows], initial: Any, null_read: str
) -> dict[int, Rows]:
    """All keys at once, as that method makes them."""
    every = np.sort(np.concatenate(list(rows.values())))
    order = decider.order(history, every, initial=initial, null_read=null_read)
    if order is None:
        return {}
    keys, starts = np.unique(history.key[order], return_index=True)
    found = dict(zip(keys.tolist(), np.split(order, starts[1:]), strict=False))  # no keys: one empty part
    return {key: found.get(key, np.empty(0, np.int64)) for key in rows}


def _searched(
    history: History, rows: Mapping[int, Rows], model: Model, initial: Any, budget: Budget | None
) -> dict[int, Rows] | None:
    """The orders that the search walked; None if it refuses a key or gives one up."""

    def prepare(key: int) -> Problem:
        try:
            return problem(history, rows[key], model, initial)
        except ValueError as error:
            raise HistoryError(history.source, None, str(error), "Mend the history, or choose another model.") from None

    found = take_turns({key: len(part) for key, part in rows.items()}, prepare, budget or Budget()).found
    if any(not found[key].linearizable for key in rows):
        return None
    return {key: np.array(found[key].order, dtype=np.int64) for key in rows}
