"""Linearizability of a history, key by key: by a polynomial method where one applies, else by search.

A history is linearizable if and only if each key's part is (locality: Herlihy & Wing, 1990), for data types whose keys
are independent. The verdict says which method judged how many keys, and why the polynomial one left keys alone.

Keys for the search take turns (:mod:`checkers.search.turns`). Once a key is refused the verdict is invalid, and keys
that are still open are not searched any longer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.deciders import DECIDERS
from checkers.deciders.decision import Decider
from checkers.history import FAIL, Column, History, HistoryError
from checkers.models import MODELS
from checkers.models.model import Model
from checkers.search.exploration import Budget, Exploration
from checkers.search.problem import Problem, problem
from checkers.search.refusal import refuse, thing
from checkers.search.turns import take_turns
from checkers.verdict import LINEARIZABILITY, Blame, Finding, Result
from checkers.wording import Wording, place

REFUSALS_EXPLAINED_MAX = 5
"""Refused keys that are shrunk and explained; the others are counted."""


def check(
    history: History,
    *,
    model: str = "cas-register",
    initial: Any = None,
    null_read: str = "value",
    budget: Budget | None = None,
    search_only: bool = False,
) -> Result:
    """Is the history linearizable?

    ``initial`` is every key's initial value. ``null_read="unknown"``: a read of null says nothing. ``budget``: its
    states bound the search of each key, its bytes all that are searched at the same time, its seconds all keys
    together. ``search_only`` leaves the log-linear method out (to compare the two).

    Raises:
        ValueError: the model or ``null_read`` is unknown.
        HistoryError: the history has functions or values that the model does not know.
    """
    data_type = _model(model, null_read)
    _validate(history, model, data_type)
    tally = _Tally()
    deferred: Mapping[int, str] = dict.fromkeys(_keys(history), "the model has no polynomial method")
    if search_only:
        deferred = dict.fromkeys(deferred, "only the search was asked")
    elif model in DECIDERS:
        deferred = _decide(DECIDERS[model], history, initial, null_read, tally)
    _search_keys(history, deferred, data_type, initial, budget or Budget(), tally)
    return Result(
        checker=LINEARIZABILITY, findings=tuple(tally.findings), statistics=tally.statistics(history, model, deferred)
    )


@dataclass(kw_only=True, slots=True)
class _Tally:
    """What was found, and how."""

    findings: list[Finding] = field(default_factory=list)
    keys_decided: int = 0
    keys_searched: int = 0
    keys_refused: int = 0
    keys_unknown: int = 0
    states: int = 0

    def statistics(self, history: History, model: str, deferred: Mapping[int, str]) -> Mapping[str, Any]:
        reasons = sorted(set(deferred.values()))
        methods = ["polynomial"] * (self.keys_decided > 0) + ["search"] * (self.keys_searched > 0)
        return {
            "model": model,
            "method": " and ".join(methods) or "none",
            "operations": len(history),
            "operations_failed": int((history.outcome == FAIL).sum()),
            "keys": self.keys_decided + self.keys_searched,
            "keys_decided": self.keys_decided,
            "keys_searched": self.keys_searched,
            "keys_refused": self.keys_refused,
            "keys_unknown": self.keys_unknown,
            "search_states": self.states,
            "searched_because": {reason: sum(why == reason for why in deferred.values()) for reason in reasons},
        }


def _model(name: str, null_read: str) -> Model:
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; use one of: {', '.join(MODELS)}")
    if null_read not in ("value", "unknown"):
        raise ValueError(f"null_read is {null_read!r}; use 'value' (null is a value) or 'unknown' (it says nothing)")
    return MODELS[name](null_read=null_read)


def _validate(history: History, name: str, model: Model) -> None:
    unknown = np.array([function not in model.functions for function in history.functions], dtype=np.bool_)
    wrong = np.flatnonzero(unknown[history.f]) if unknown.any() else np.empty(0, np.int64)
    if len(wrong):
        row = int(wrong[0])
        f, line = history.functions[int(history.f[row])], int(history.call[row]) + 1
        names = ", ".join(sorted(model.functions))
        raise HistoryError(history.source, line, f"the model {name} has no function {f!r}", f"It has: {names}.")


def _keys(history: History) -> list[int]:
    keys: list[int] = np.unique(history.key).tolist()
    return keys


def _decide(decider: Decider, history: History, initial: Any, null_read: str, tally: _Tally) -> Mapping[int, str]:
    decision = decider.decide(history, initial=initial, null_read=null_read)
    tally.keys_decided = len(_keys(history)) - len(decision.deferred)
    tally.keys_refused = len(decision.refused)
    tally.findings.extend(decision.findings)
    return decision.deferred


def _search_keys(
    history: History, keys: Mapping[int, str], model: Model, initial: Any, budget: Budget, tally: _Tally
) -> None:
    rows = _rows_by_key(history, list(keys))
    tally.keys_searched = len(rows)
    turns = take_turns(
        {key: len(these) for key, these in rows.items()},
        lambda key: _problem(history, rows[key], model, initial),
        budget,
        refused=tally.keys_refused > 0,
    )
    tally.states = turns.explored
    for key, found in turns.found.items():
        if found.linearizable is False:
            _refused(history, rows[key], found, model, initial, tally)
    gave_up = {key: found for key, found in turns.found.items() if found.linearizable is None}
    tally.keys_unknown = len(gave_up)
    if not tally.keys_refused:  # else they were left alone because the verdict is known
        tally.findings.extend(_gave_up(history, rows[key], found, model) for key, found in gave_up.items())


def _rows_by_key(history: History, keys: list[int]) -> dict[int, Column]:
    """Rows of each key, in the order of their invocations; one sort for all keys."""
    order = np.argsort(history.key, kind="stable")
    sorted_keys = history.key[order]
    starts, ends = (np.searchsorted(sorted_keys, keys, side=side) for side in ("left", "right"))
    return {key: order[start:end] for key, start, end in zip(keys, starts, ends, strict=True)}


def _problem(history: History, rows: Column, model: Model, initial: Any) -> Problem:
    try:
        return problem(history, rows, model, initial)
    except ValueError as error:
        raise HistoryError(history.source, None, str(error), "Mend the history, or choose another model.") from None


def _refused(history: History, rows: Column, found: Exploration, model: Model, initial: Any, tally: _Tally) -> None:
    tally.keys_refused += 1
    if tally.keys_refused <= REFUSALS_EXPLAINED_MAX:
        tally.findings.append(refuse(history, rows, found, model, initial))


def _gave_up(history: History, rows: Column, found: Exploration, model: Model) -> Finding:
    key = history.keys.values[int(history.key[rows[0]])]
    last = history.operation(found.stuck) if found.stuck is not None else None
    upto = "" if last is None or last.return_ns is None else f" (up to {Wording([last]).ended(last)})"
    where = place(key, thing(model))
    prefix = f"an order of the first {found.reached} completed operations{upto} was found"
    return Finding(
        checker=LINEARIZABILITY,
        kind="budget used up",
        message=f"The search on {where} gave up: {found.reason}; {prefix}, so that part is linearizable.",
        blame=Blame.GAVE_UP,
        key=key,
        evidence={"reached": found.reached, "explored": found.explored, "reason": found.reason},
    )
