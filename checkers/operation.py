"""One client operation, as a row: the form in which findings, pages and models see it.

An operation is invoked and then ends ``ok`` (it happened), ``fail`` (it certainly did not) or ``info`` (nobody knows:
it may take effect at any later time, or never). Checkers that must be fast read the columns of
:class:`checkers.history.History` instead.
"""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any


class Outcome(enum.StrEnum):
    """How an operation ended."""

    OK = "ok"
    FAIL = "fail"
    INFO = "info"


@dataclass(frozen=True, kw_only=True, slots=True)
class Operation:
    """An invocation with its completion.

    ``value`` is the argument (``None`` for a read, ``(expected, new)`` for a compare-and-set); ``result`` is what an
    ``ok`` completion returned. Times are nanoseconds of the run's monotonic clock; ``call_index`` and
    ``return_index`` are places in the history's total order of events, and are what decides real-time order. An
    operation that nobody saw end has ``return_ns = return_index = None``.
    """

    index: int
    process: int
    f: str
    key: Hashable
    value: Any
    result: Any
    outcome: Outcome
    call_index: int
    return_index: int | None
    call_ns: int
    return_ns: int | None
    node: str | None = None
    error: str | None = None
