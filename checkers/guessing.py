"""Which data type a history is of, told by its functions and the shapes of its values: a guess, said to be one.

The command prints what was guessed, and where two data types look alike the stricter one is taken: what is linearizable
is all the weaker things too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from checkers.history import OK, History

LOOKED_AT = 1000
"""Values that a guess looks at."""


def guess(history: History) -> str | None:
    """The name of a check (:data:`checkers.checking.CHECKS`), or None if none fits."""
    functions = frozenset(history.functions)
    for known, name in _GUESSES.items():
        if functions <= known:
            return name if isinstance(name, str) else name(history)
    return None


def _results(history: History, f: str) -> Iterator[Any]:
    """What acknowledged calls of a function returned, the first of them, without nulls."""
    rows = np.flatnonzero((history.f == history.function(f)) & (history.outcome == OK))[:LOOKED_AT]
    values = history.values.values
    return (values[code] for code in history.result[rows].tolist() if code >= 0 and values[code] is not None)


def _register(history: History) -> str:
    pairs = [_versioned(result) for result in _results(history, "read")]
    if pairs and all(pairs):
        return "versioned-register"
    reads_maps = any(isinstance(result, dict) for result in _results(history, "read"))
    return "bank" if reads_maps and set(history.functions) <= {"read"} else "cas-register"


def _versioned(result: Any) -> bool:
    return isinstance(result, tuple) and len(result) == 2 and type(result[0]) is int


def _set_or_counter(history: History) -> str:
    if any(isinstance(result, int) for result in _results(history, "read")):
        codes = np.unique(history.value[history.f == history.function("add")]).tolist()
        unit = all(history.values.values[code] == 1 for code in codes)
        return "counter" if unit else "counter-bounds"
    return "set"


def _lock(history: History) -> str:
    return "fenced-lock" if any(type(token) is int for token in _results(history, "acquire")) else "mutex"


def _transactions(history: History) -> str:
    codes = history.value[:LOOKED_AT].tolist()
    steps = [step for code in codes for step in history.values.values[code] or () if isinstance(step, tuple)]
    if any(step and step[0] == "append" for step in steps):
        return "list-append"
    written = [step[1:] for step in steps if step and step[0] == "w"]
    if not written:
        return "long-fork"
    return "rw-register" if len(set(map(str, written))) == len(written) else "multi-register"


_GUESSES: Mapping[frozenset[str], str | Callable[[History], str]] = {
    frozenset({"read", "write", "cas"}): _register,
    frozenset({"read", "transfer"}): "bank",
    frozenset({"add", "read"}): _set_or_counter,
    frozenset({"add", "remove", "contains", "read"}): "set",
    frozenset({"add", "increment", "read"}): "counter",
    frozenset({"enqueue", "dequeue"}): "fifo-queue",
    frozenset({"enqueue", "dequeue", "drain"}): "total-queue",
    frozenset({"push", "pop"}): "stack",
    frozenset({"insert", "poll", "peek"}): "priority-queue",
    frozenset({"acquire", "release"}): _lock,
    frozenset({"append", "read"}): "log",
    frozenset({"get", "put", "append", "delete", "cas"}): "kv",
    frozenset({"generate"}): "unique-ids",
    frozenset({"hashes"}): "replica-hashes",
    frozenset({"watch", "read", "write", "put", "delete", "cas"}): "watch",
    frozenset({"txn"}): _transactions,
}
"""Functions that a history may have, in the order in which they are tried."""
