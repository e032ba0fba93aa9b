"""Unique ids: no two acknowledged calls of ``generate`` return the same one.

After Jepsen's ``unique-ids``. Calls that nobody saw end returned nothing that could collide.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from checkers.guarantees.accusation import SHOWN_MAX, Case, listed_some, nothing_judged
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.selection import Rows, acknowledged, by_key, key_of, rows_of
from checkers.guarantees.settings import Settings
from checkers.history import History
from checkers.verdict import Finding, Result
from checkers.wording import show

NAME = "unique-ids"


def judge(history: History, settings: Settings) -> Result:  # noqa: ARG001 (there are no settings)
    """Is every id handed out once?"""
    attempts = rows_of(history, "generate")
    generated = acknowledged(history, attempts)
    findings: list[Finding] = []
    repeated: list[Any] = []
    for _, rows in by_key(history, generated):
        for group in _repeated(history, rows):
            repeated.append(history.values.values[int(history.result[group[0]])])
            if len(findings) < SHOWN_MAX:
                findings.append(_duplicate(history, group))
    if not len(generated):
        findings.append(nothing_judged(NAME, "No call of generate ended ok, so there are no ids to compare."))
    statistics: Mapping[str, Any] = {
        "attempts": len(attempts),
        "acknowledged": len(generated),
        "duplicated": len(repeated),
        "duplicates": listed_some(repeated),
    }
    return Result(checker=NAME, findings=tuple(findings), statistics=statistics)


def _repeated(history: History, rows: Rows) -> list[Rows]:
    """The calls that share an id with others, one array an id, in the order of their first calls."""
    codes = history.result[rows]
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]]) if len(rows) else np.empty(0, np.int64)
    groups = [rows[group] for group in np.split(order, starts[1:])] if len(starts) < len(rows) else []
    return sorted((group for group in groups if len(group) > 1), key=lambda group: int(group[0]))


def _duplicate(history: History, group: Rows) -> Finding:
    case = Case(history, group[:SHOWN_MAX].tolist())
    first, second = case.operations[:2]
    times = "both" if len(group) == 2 else f"and {len(group) - 2} more"
    who = [f"{case.words.who(item)} at {case.words.ended(item)}" for item in (first, second)]
    message = f"The id {show(first.result)} was handed out {len(group)} times: to {who[0]} and to {who[1]}"
    message += "." if times == "both" else f" {times}."
    return case.finding(
        NAME,
        "duplicate id",
        message,
        key=key_of(history, int(group[0])),
        id=first.result,
        rows=listed_some(group.tolist()),
    )


UNIQUE_IDS = Guarantee(
    name=NAME,
    judge=judge,
    functions=frozenset({"generate"}),
    summary="ids from generate: no two are equal",
)
