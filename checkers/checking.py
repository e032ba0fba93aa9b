"""One door to every checker of client histories: the data type (or property) by the name that users say.

A *check* judges one kind of history. Those in :data:`checkers.models.MODELS` are judged for linearizability; the others
are one-pass or graph checkers of their own. All take the same :class:`Options` and use what concerns them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from checkers import linearizability
from checkers.guarantees import GUARANTEES
from checkers.history import History
from checkers.models import MODELS
from checkers.search.exploration import Budget
from checkers.transactions import TRANSACTIONS
from checkers.verdict import Result


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """What a user may say about a history.

    ``initial``: the initial value (null: the data type's default). ``null_read``: ``"value"``, or ``"unknown"`` if a
    read of null says nothing. ``budget``: of searches. ``search_only``: no polynomial methods (to compare the two).
    ``consistency_model``: what transactions must be, by Elle's names. ``settings``: what single checks ask for besides
    (each documents its own; unknown ones are refused).
    """

    initial: Any = None
    null_read: str = "value"
    budget: Budget | None = None
    search_only: bool = False
    consistency_model: str = "strict-serializable"
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A kind of history: how it is judged, which functions it may have, what it is in one line, and its settings
    (name: what it does)."""

    judge: Callable[[History, Options], Result]
    functions: frozenset[str]
    summary: str
    settings: Mapping[str, str] = field(default_factory=dict)


def _linearizable(model: str, history: History, options: Options) -> Result:
    if options.settings:
        raise ValueError(f"{model} has no setting {next(iter(options.settings))!r}; it has: none")
    return linearizability.check(
        history,
        model=model,
        initial=options.initial,
        null_read=options.null_read,
        budget=options.budget,
        search_only=options.search_only,
    )


def _of_model(name: str) -> Check:
    model = MODELS[name](null_read="value")
    summary = " ".join((type(model).__doc__ or "").split("\n\n")[0].split())
    return Check(judge=partial(_linearizable, name), functions=model.functions, summary=f"linearizable: {summary}")


def _of_guarantee(name: str) -> Check:
    guarantee = GUARANTEES[name]

    def judge(history: History, options: Options) -> Result:
        return guarantee.check(history, options.settings, initial=options.initial, null_read=options.null_read)

    return Check(judge=judge, functions=guarantee.functions, summary=guarantee.summary, settings=guarantee.settings)


def _of_transactions(name: str) -> Check:
    transactions = TRANSACTIONS[name]

    def judge(history: History, options: Options) -> Result:
        return transactions.check(
            history,
            options.settings,
            consistency_model=options.consistency_model,
            initial=options.initial,
            null_read=options.null_read,
            budget=options.budget,
        )

    return Check(
        judge=judge, functions=frozenset({"txn"}), summary=transactions.summary, settings=transactions.settings
    )


CHECKS: Mapping[str, Check] = {
    **{name: _of_model(name) for name in MODELS},
    **{name: _of_guarantee(name) for name in GUARANTEES},
    **{name: _of_transactions(name) for name in TRANSACTIONS},
}
"""Every check by the name that users say (``--model``)."""


def check(history: History, *, model: str = "cas-register", options: Options | None = None, **named: Any) -> Result:
    """Judges a history. ``named`` are fields of :class:`Options`, for those who need few: ``check(history,
    model="register", initial=0)``.

    Raises:
        ValueError: there is no such check, or an option has a value that it can't have.
        HistoryError: the history has functions or values that the check does not know.
    """
    if model not in CHECKS:
        raise ValueError(f"there is no model {model!r}; use one of: {', '.join(CHECKS)}")
    return CHECKS[model].judge(history, options or Options(**named))
