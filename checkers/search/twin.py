"""The dumb twin of the linearizability checkers: every order that real time allows, tried one by one.

Shipped so that tests of the fast checkers, here and elsewhere, can compare against something that is plainly right. It
shares no idea with them: no order of trying, no memory, no short cut. For up to about eight operations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from typing import Any

from checkers.models.model import REFUSED, Call, Refused
from checkers.operation import Operation, Outcome


def linearizable(
    operations: Sequence[Operation],
    step: Callable[[Any, Call], Hashable | Refused],
    initial: Hashable,
    optional: Collection[int] = (),
) -> bool:
    """Can the operations of one key be put in an order that respects real time and the step function?

    Failed operations are left out; ``info`` ones may be left out or put anywhere after their invocation; ``optional``
    ones (by their index) may be left out, or keep to their time and result.
    """
    candidates = [operation for operation in operations if operation.outcome is not Outcome.FAIL]
    return _extend(candidates, step, initial, frozenset(optional))


def _extend(
    remaining: list[Operation],
    step: Callable[[Any, Call], Hashable | Refused],
    state: Any,
    optional: frozenset[int],
) -> bool:
    if all(operation.outcome is Outcome.INFO or operation.index in optional for operation in remaining):
        return True
    for number, operation in enumerate(remaining):
        if any(_precedes(other, operation) for other in remaining if other.index not in optional):
            continue
        after = step(state, call_of(operation))
        others = [other for other in remaining[:number] + remaining[number + 1 :] if not _precedes(other, operation)]
        if after is not REFUSED and _extend(others, step, after, optional):
            return True
    return False


def _precedes(earlier: Operation, later: Operation) -> bool:
    returned = earlier.return_index
    return earlier.outcome is Outcome.OK and returned is not None and returned < later.call_index


def call_of(operation: Operation) -> Call:
    """What the model sees of an operation."""
    known = operation.outcome is Outcome.OK
    return Call(operation.f, operation.value, operation.result if known else None, known, operation.process)
