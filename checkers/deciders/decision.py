"""What a decider answers: the contract of all polynomial methods.

A decider judges every key of a history whose operations it can judge *exactly*, unknown outcomes included, and names
the others with the reason: those are the search's. It never guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from checkers.history import History
from checkers.verdict import Finding

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """``refused`` and ``deferred`` hold codes of keys (indices into ``history.keys``); all other keys are valid.

    ``findings``: one a refused key, at most :data:`FINDINGS_MAX`. ``deferred``: why the search must judge a key, in
    words that complete "searched because ...".
    """

    findings: tuple[Finding, ...] = ()
    refused: frozenset[int] = frozenset()
    deferred: Mapping[int, str] = field(default_factory=dict)


FINDINGS_MAX = 100
"""Refused keys that are explained; the others are counted."""


class Decider(Protocol):
    """A polynomial method for one data type."""

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:
        """Judges all keys.

        Raises:
            HistoryError: a value that this data type cannot have.
        """

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:
        """A linearization of one accepted key (its ``rows``, ascending) as rows of the history, in order: all completed
        operations, and those ``info`` ones that must have happened. None if the method has none (the search is asked).
        """
