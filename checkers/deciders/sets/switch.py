"""One value of a set as a switch, plainly: the criterion of :mod:`checkers.deciders.sets.removals` for few operations.

Findings are made small with it, one operation left out after another.
"""

from __future__ import annotations

from collections.abc import Sequence

from checkers.history import NEVER
from checkers.operation import Operation, Outcome

Interval = tuple[int, int]


def impossible(operations: Sequence[Operation], *, began: bool) -> bool:
    """Is there no order of these operations on one value that is added at most once (``began``: never, but there from
    the beginning)?
    """
    adds = [(-2, -1)] if began else [_interval(item) for item in operations if item.f == "add"]
    removes = [_interval(item) for item in operations if item.f == "remove"]
    found = [_interval(item) for item in operations if item.f == "contains" and item.result is True]
    outside = [_interval(item) for item in operations if item.f == "contains" and item.result is False]
    outside += [interval for interval in removes if interval[1] != NEVER]
    needed = [*found, *((call, return_) for call, return_ in adds if return_ != NEVER)]
    if not needed or not adds:
        return bool(found)
    call = adds[0][0]
    until = min(return_ for _, return_ in (*adds, *found))
    if max(call, *(begin for begin, _ in (*outside, (call, call)))) < until:
        return False
    begin = max(call, *(at for at, _ in (*found, (call, call))))
    first = min((at for at, return_ in removes if return_ > begin), default=NEVER)
    gone = max(begin, first)
    return call >= until or first == NEVER or any(at >= until and return_ <= gone for at, return_ in outside)


def _interval(item: Operation) -> Interval:
    ended = item.return_index if item.outcome is Outcome.OK else None
    return item.call_index, NEVER if ended is None else ended
