"""Findings of guarantees: the operations that prove it, a sentence, and evidence as plain JSON.

A read of a million elements would be a finding that nobody can open, so long results are told by their length: the
element in question is in the sentence and in the evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from checkers.history import History
from checkers.operation import Operation, Outcome
from checkers.verdict import Blame, Finding
from checkers.wording import Wording

SHOWN_MAX = 5
"""Findings of one kind that are told in full; the others are counted in the statistics."""

LISTED_MAX = 100
"""Elements of one kind that the statistics list."""

RESULT_ITEMS_MAX = 50


class Case:
    """Some rows of a history, as operations with the words for them."""

    def __init__(self, history: History, rows: Iterable[int]) -> None:
        self.operations = tuple(_abridged(history.operation(int(row))) for row in dict.fromkeys(rows))
        self.words = Wording(self.operations)

    def finding(self, checker: str, kind: str, message: str, *, key: Any = None, **evidence: Any) -> Finding:
        """The finding that these operations prove."""
        ended = [
            item.return_ns for item in self.operations if item.outcome is Outcome.OK and item.return_ns is not None
        ]
        return Finding(
            checker=checker,
            kind=kind,
            message=message,
            key=key,
            operations=self.operations,
            nodes=tuple(sorted({item.node for item in self.operations if item.node is not None})),
            time_ns=max(ended, default=None),
            evidence=evidence,
        )


def _abridged(operation: Operation) -> Operation:
    result = operation.result
    if isinstance(result, tuple | dict) and len(result) > RESULT_ITEMS_MAX:
        return replace(operation, result=f"({len(result)} elements)")
    return operation


def nothing_judged(checker: str, reason: str) -> Finding:
    """That the history could not have broken the guarantee, so that it proves nothing: ``unknown``."""
    return Finding(checker=checker, kind="nothing to judge", message=reason, blame=Blame.HARNESS)


def listed_some(values: Sequence[Any]) -> list[Any]:
    """The first of many, for statistics."""
    return list(values[:LISTED_MAX])
