"""Outcomes and errors as readers should meet them: a compare-and-set that found another value has not failed.

That it says "not equal" is a normal answer, and there are thousands of them; counted as failures, and with the value
that each of them found in its message, they would hide the errors that mean something.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from checkers.history import ABSENT, FAIL, History
from reports.tables import Table
from reports.words import count

NOT_EQUAL = 3
"""Stands beside the history's own codes of outcomes in everything that pages draw."""

ROWS_MAX = 20

_MISMATCH = re.compile(r"(mismatch: the value was ).*", re.DOTALL)
_PLACE = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")


def shown_outcomes(history: History) -> Any:
    """The outcome of each operation as a number, :data:`NOT_EQUAL` for a compare-and-set that found another value."""
    outcome = history.outcome.astype(np.uint8)
    names = list(history.errors)
    mismatches = [code for code, name in enumerate(names) if _MISMATCH.search(str(name))]
    if mismatches:
        outcome[(history.outcome == FAIL) & np.isin(history.error, mismatches)] = NOT_EQUAL
    return outcome


def normalized(error: str) -> str:
    """An error without what differs from one operation to the next."""
    return _PLACE.sub("(address)", _MISMATCH.sub(r"\1N", error))


def error_table(history: History) -> Table | None:
    """How often each error was met, the commonest first; None if there was none."""
    codes = history.error[history.error != ABSENT]
    if not len(codes):
        return None
    found: Counter[str] = Counter()
    for code, number in enumerate(np.bincount(codes, minlength=len(history.errors))):
        if number:
            found[normalized(str(history.errors[code]))] += int(number)
    rows = [(name if len(name) <= 200 else f"{name[:200]}…", count(number)) for name, number in found.most_common()]
    return Table(
        title="errors and refusals",
        columns=("answer", "operations"),
        rows=tuple(rows[:ROWS_MAX]),
        left_out=max(0, len(rows) - ROWS_MAX),
    )


def outcome_words(history: History) -> Sequence[tuple[str, int]]:
    """How many operations ended how, in words; outcomes that did not occur are left out."""
    numbers = np.bincount(shown_outcomes(history), minlength=4) if len(history) else np.zeros(4, int)
    names = {0: "ok", 1: "failed", 2: "unknown", NOT_EQUAL: "not equal"}
    return [(names[code], int(numbers[code])) for code in (0, NOT_EQUAL, 1, 2) if numbers[code]]


def renamed(figures: Any, history: History | None) -> Any:
    """Counted figures with the outcomes in words for readers: the history's "info" is "unknown", and its "fail" is
    "not equal", "failed", or both.
    """
    ended = dict(outcome_words(history)) if history is not None else {}
    failed = " or ".join(name for name in ("not equal", "failed") if name in ended) or "failed"
    return _renamed(figures, {"fail": failed, "info": "unknown"})


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {names.get(str(name), name): _renamed(item, names) for name, item in value.items()}
