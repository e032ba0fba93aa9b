"""Which of a finding's operations is the impossible one, and why, in a sentence.

In a set of operations that is impossible as a whole, any of them could be called the wrong one. People ask for the one
that *shows* the fault: the read of what had been replaced, the second compare-and-set that found one value. Checkers
name the roles of their operations in a finding's evidence; for findings without roles only the plain stale read is
recognized, and where neither applies nothing is marked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

from checkers.operation import Operation, Outcome
from checkers.verdict import Finding
from reports.lenient import integer, mapping, sequence
from reports.words import moment, operation_words, value_words

NO_VALUE = object()
"""An operation saw, or left, no value."""

REGISTER_FUNCTIONS = frozenset({"read", "write", "cas"})

IN_ANY_ORDER = "impossible in any order"


@dataclass(frozen=True, slots=True)
class Doomed:
    """The operation that cannot be, and a sentence that says why."""

    operation: Operation
    words: str


def condemn(finding: Finding, operations: Sequence[Operation]) -> Doomed | None:
    """The impossible operation of a finding, None if no single one shows it."""
    by_index = {operation.index: operation for operation in operations}
    named = {name: integer(index) for name, index in mapping(finding.evidence.get("roles")).items()}
    roles = {name: by_index[index] for name, index in named.items() if index is not None and index in by_index}
    if finding.kind in _VERDICTS and roles:
        return _VERDICTS[finding.kind](roles)
    stuck = by_index.get(integer(finding.evidence.get("stuck")) if "stuck" in finding.evidence else None)  # type: ignore[arg-type]
    if stuck is not None:
        return Doomed(stuck, f"{who(stuck)} fits in no place: {IN_ANY_ORDER} of these operations.")
    return _plain_stale_read(operations)


def who(operation: Operation) -> str:
    """An operation in a sentence, with its process."""
    return f"“{operation_words(operation)}” (process {operation.process})"


def observed(operation: Operation) -> Any:
    """The value that an operation saw, as far as its outcome tells; :data:`NO_VALUE` if none."""
    pair = sequence(operation.value)
    if operation.f == "cas" and len(pair) == 2:
        return pair[0]
    if operation.outcome is Outcome.OK and operation.value is None:
        return operation.result
    return NO_VALUE


def written(operation: Operation) -> Any:
    """The value that an operation leaves behind, if it takes effect; :data:`NO_VALUE` if none."""
    pair = sequence(operation.value)
    if operation.f == "cas" and len(pair) == 2:
        return pair[1]
    return NO_VALUE if operation.value is None else operation.value


def precedes(first: Operation, second: Operation) -> bool:
    """Whether the first returned before the second began."""
    return (
        first.return_index is not None and first.outcome is not Outcome.INFO and first.return_index < second.call_index
    )


Roles = Mapping[str, Operation]


def _stale(roles: Roles) -> Doomed | None:
    read = roles.get("began") or roles.get("read")
    if read is None:
        return None
    value = value_words(observed(read))
    once = f"{value} was written only once" if "write" in roles else f"{value} was there only at the beginning"
    said = f"{who(read)} still saw {value}, which had been replaced before it began"
    return Doomed(read, f"{said}: {IN_ANY_ORDER}, because {once}.")


def _consumed(roles: Roles) -> Doomed | None:
    both = [roles[name] for name in ("first", "second") if name in roles]
    if len(both) < 2:
        return None
    earlier, later = sorted(both, key=lambda operation: operation.return_index or operation.call_index)
    value = value_words(observed(later))
    once = f"{value} was written only once" if "write" in roles else f"{value} was there only at the beginning"
    said = f"{who(later)} found {value} again, which “{operation_words(earlier)}” had replaced"
    return Doomed(later, f"{said}: {IN_ANY_ORDER}, because {once}.")


def _from_nowhere(role: str) -> Callable[[Roles], Doomed | None]:
    def judge(roles: Roles) -> Doomed | None:
        operation = roles.get(role)
        if operation is None:
            return None
        value = value_words(observed(operation))
        return Doomed(operation, f"{who(operation)} found {value}, which nobody wrote: {IN_ANY_ORDER}.")

    return judge


def _too_early(roles: Roles) -> Doomed | None:
    read, write = roles.get("read"), roles.get("write")
    if read is None or write is None:
        return None
    began = f"before {who(write)}, the only one that ever wrote it, began at {moment(write.call_ns)}"
    return Doomed(read, f"{who(read)} saw {value_words(observed(read))} {began}: {IN_ANY_ORDER}.")


def _before_origin(roles: Roles) -> Doomed | None:
    began, returned = roles.get("began"), roles.get("returned")
    if began is None or returned is None:
        return None
    return Doomed(returned, f"{who(returned)} was over before {who(began)} began, which it rests on: {IN_ANY_ORDER}.")


def _came_back(roles: Roles) -> Doomed | None:
    last = max((roles[name] for name in ("then", "other then") if name in roles), key=_call, default=None)
    if last is None:
        return None
    seen = observed(last) if observed(last) is not NO_VALUE else written(last)
    once = "because each value was written only once"
    return Doomed(last, f"With {who(last)}, {value_words(seen)} came back: {IN_ANY_ORDER}, {once}.")


def _call(operation: Operation) -> int:
    return operation.call_index


_VERDICTS: Mapping[str, Callable[[Roles], Doomed | None]] = {
    "stale read": _stale,
    "two compare-and-sets consumed one value": _consumed,
    "phantom read": _from_nowhere("read"),
    "phantom compare-and-set": _from_nowhere("cas"),
    "read before write": _too_early,
    "value before its origin": _before_origin,
    "value came back": _came_back,
}
"""How the impossible operation is found in the roles of each kind. In a cycle or a chain no single one is wrong."""


def _plain_stale_read(operations: Sequence[Operation]) -> Doomed | None:
    """The plain stale read, if that is what operations without roles show: ``old`` wrote a value, ``new`` a later one,
    a witness knew the later one, and then somebody read the old one. Says nothing of other data types: what a queue
    gave out is no stale read.
    """
    if any(operation.f not in REGISTER_FUNCTIONS for operation in operations):
        return None
    for read, old, new in permutations(operations, 3):
        seen = observed(read)
        if seen is NO_VALUE or written(old) != seen or not _is_later(old, new, seen):
            continue
        if any(witness is not read and _knows(witness, new) and precedes(witness, read) for witness in operations):
            return Doomed(read, f"{who(read)} began only after that, and still saw the older value.")
    return None


def _is_later(old: Operation, new: Operation, seen: Any) -> bool:
    value = written(new)
    return value is not NO_VALUE and value != seen and precedes(old, new)


def _knows(witness: Operation, new: Operation) -> bool:
    """Whether an operation's return proves that ``new`` took effect."""
    return witness.outcome is Outcome.OK and (witness is new or observed(witness) == written(new))
