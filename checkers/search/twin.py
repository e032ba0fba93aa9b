"""The dumb twin of the linearizability checkers: every order that real time allows, tried one by one.

Shipped so that tests of the fast checkers, here and elsewhere, can compare against something that is plainly right. It
shares no idea with them: no order of trying, no memory, no short cut. For up to about eight operations.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from checkers.models.model import REFUSED, Call, Refused
from checkers.operation import Operation, Outcome


def linearizable(
    operations: Sequence[Operation], step: Callable[[Any, Call], Hashable | Refused], initial: Hashable
) -> bool:
    """Can the operations of one key be put in an order that respects real time and the step function?

    Failed operations are left out; ``info`` ones may be left out or put anywhere after their invocation.
    """
    candidates = [operation for operation in operations if operation.outcome is not Outcome.FAIL]
    return _extend(candidates, step, initial)


def _extend(remaining: list[Operation], step: Callable[[Any, Call], Hashable | Refused], state: Any) -> bool:
    if all(operation.outcome is Outcome.INFO for operation in remaining):
        return True
    for number, operation in enumerate(remaining):
        if any(_precedes(other, operation) for other in remaining):
            continue
        after = step(state, call_of(operation))
        if after is not REFUSED and _extend(remaining[:number] + remaining[number + 1 :], step, after):
            return True
    return False


def _precedes(earlier: Operation, later: Operation) -> bool:
    returned = earlier.return_index
    return earlier.outcome is Outcome.OK and returned is not None and returned < later.call_index


def call_of(operation: Operation) -> Call:
    """What the model sees of an operation."""
    known = operation.outcome is Outcome.OK
    return Call(operation.f, operation.value, operation.result if known else None, known, operation.process)
