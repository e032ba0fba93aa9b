"""The columns of a history: their codes, their types, and how the columns of *events* become columns of *operations*.

A history of a million operations comes as two million events. Pairing each completion with its invocation is a stable
sort by process: in it every invocation stands right before its completion, or is the last event of its process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.values import ABSENT

Column = npt.NDArray[Any]

OK, FAIL, INFO = 0, 1, 2
"""Codes of the ``outcome`` column."""

INVOKE = 3
"""The kind of an event that is no completion; completions have their outcome as kind."""

KINDS: Mapping[str, int] = {"ok": OK, "fail": FAIL, "info": INFO, "invoke": INVOKE}

NEVER = int(np.iinfo(np.int64).max)
"""The return position of an operation that may still take effect at the end of the history."""

COLUMNS = (
    *("process", "f", "key", "value", "expected", "result", "outcome"),
    *("call", "return_", "call_ns", "return_ns", "node", "error", "final"),
)
"""The columns of a history, in the order in which a builder keeps them."""

DTYPES: Mapping[str, npt.DTypeLike] = {
    **dict.fromkeys(COLUMNS, np.int64),
    **dict.fromkeys(("f", "key", "value", "expected", "result", "error", "node"), np.int32),
    "outcome": np.int8,
    "final": np.bool_,
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EventColumns:
    """Events of processes in the order of the file (fault events are left out; ``place`` counts them).

    ``kind`` is one of :data:`KINDS`. A completion's ``key`` is :data:`ABSENT` if it does not repeat it; ``value`` is
    :data:`ABSENT` where it says nothing about the operation, ``expected`` for all but compare-and-sets.
    """

    place: Column
    kind: Column
    process: Column
    time: Column
    f: Column
    key: Column
    value: Column
    expected: Column
    node: Column
    error: Column
    final: Column


def pair(events: EventColumns) -> dict[str, Column] | None:
    """The columns of the operations; None if these events are no history.

    That is: a process invokes while its operation is open, or completes none, or another than it invoked.
    """
    order = np.argsort(_narrow(events.process), kind="stable")
    completes = events.kind[order] != INVOKE
    open_before = np.zeros(len(order), dtype=np.bool_)
    open_before[1:] = ~completes[:-1] & (np.diff(events.process[order]) == 0)
    if not np.array_equal(completes, open_before):
        return None
    ends = np.flatnonzero(completes)
    return _operations(events, order[ends - 1], order[ends])


def _narrow(process: Column) -> Column:
    """The same numbers in 16 bits if they fit: numpy then sorts ten times as fast."""
    small = len(process) > 0 and process.min() >= 0 and process.max() < 1 << 16
    return process.astype(np.uint16) if small else process


def _operations(events: EventColumns, calls: Column, completions: Column) -> dict[str, Column] | None:
    """``calls`` and ``completions`` are the places of the pairs among ``events``."""
    repeated = events.key[completions]
    if ((repeated != ABSENT) & (repeated != events.key[calls])).any():
        return None
    if (events.f[completions] != events.f[calls]).any():
        return None
    invoked = events.kind == INVOKE
    row = (np.cumsum(invoked) - 1)[calls]
    columns = {name: getattr(events, name)[invoked] for name in ("process", "f", "key", "value", "expected")}
    count = len(columns["process"])
    columns |= {"call": events.place[invoked], "call_ns": events.time[invoked]}
    columns |= {name: np.full(count, ABSENT, dtype=np.int64) for name in ("result", "return_ns", "error")}
    columns |= {"outcome": np.full(count, INFO), "return_": np.full(count, NEVER)}
    columns |= {"node": events.node[invoked], "final": events.final[invoked]}
    outcome = events.kind[completions]
    returned = outcome != INFO
    columns["outcome"][row] = outcome
    columns["return_"][row[returned]] = events.place[completions[returned]]
    columns["return_ns"][row] = events.time[completions]
    columns["result"][row] = np.where(outcome == OK, events.value[completions], ABSENT)
    columns["error"][row] = events.error[completions]
    columns["node"][row] = np.where(events.node[completions] != ABSENT, events.node[completions], events.node[calls])
    columns["final"][row] |= events.final[completions]
    return {name: columns[name].astype(DTYPES[name], copy=False) for name in COLUMNS}


def order_ties(columns: dict[str, Column]) -> None:
    """Moves invocations before completions where times are equal; all else keeps the order of the file."""
    call, return_ = columns["call"], columns["return_"]
    returned = return_ != NEVER
    place = np.concatenate((call, return_[returned]))
    time = np.concatenate((columns["call_ns"], columns["return_ns"][returned]))
    completion = np.arange(len(place)) >= len(call)
    order = np.lexsort((place, completion, time))
    # The places that operations hold are dealt out anew among them; fault events and info lines keep theirs.
    position = np.empty(len(place), dtype=np.int64)
    position[order] = np.sort(place)
    columns["call"] = position[: len(call)]
    columns["return_"] = return_.copy()
    columns["return_"][returned] = position[len(call) :]
