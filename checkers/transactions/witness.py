"""A serial order on request: what stands behind a verdict of ``valid``, as rows of the history, replayed before it is
given out.
"""

from __future__ import annotations

from typing import Any

from checkers.history import History
from checkers.search.exploration import Budget
from checkers.transactions import consistency
from checkers.transactions.lists import observe as observe_lists
from checkers.transactions.observations import Observations
from checkers.transactions.orders import seek
from checkers.transactions.registers import Assumptions
from checkers.transactions.registers import observe as observe_registers


def order_lists(
    history: History,
    *,
    consistency_model: str = "strict-serializable",
    initial: Any = None,  # noqa: ARG001 (lists begin empty)
    null_read: str = "value",
    budget: Budget | None = None,
) -> tuple[int, ...] | None:
    """Rows of the transactions of list-append that took effect, in an order that explains all reads; none if there is
    none or the budget was used up.

    Raises:
        ValueError: the model does not mean that there is a serial order.
        HistoryError: the history is none of list-append transactions.
    """
    return _order(history, observe_lists(history, null_read=null_read), consistency_model, budget)


def order_registers(
    history: History,
    *,
    consistency_model: str = "strict-serializable",
    initial: Any = None,
    null_read: str = "value",
    budget: Budget | None = None,
) -> tuple[int, ...] | None:
    """The same for rw-register."""
    observations = observe_registers(history, initial=initial, null_read=null_read, assumptions=Assumptions())
    return _order(history, observations, consistency_model, budget)


def _order(
    history: History, observations: Observations, consistency_model: str, budget: Budget | None
) -> tuple[int, ...] | None:
    model = consistency.canonical(consistency_model)
    if model not in consistency.SERIAL:
        raise ValueError(f"{model} has no serial order; ask for one of: {', '.join(consistency.SERIAL)}")
    if observations.sightings.counts:
        return None
    found = seek(history, observations, consistency.SERIAL[model], budget or Budget())
    return found.rows if found.exists else None
