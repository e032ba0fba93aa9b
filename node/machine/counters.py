"""Counters: a key holds a signed number of 64 bits."""

from __future__ import annotations

from node import kv_pb2
from node.machine.limits import COUNTER_MAX, COUNTER_MIN
from node.machine.result import Result, ResultKind, refused
from node.machine.state import FULL, State, new_weight, wrong_type
from node.serving.events import EventKind

_OVERFLOW = refused("the counter would leave the range of 64 bits")


def increment(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Adds; tells the new number."""
    key, old = request.key, state.get(request.key)
    if old is not None and not isinstance(old, int):
        return wrong_type(key, old, "counter")
    number = (old or 0) + request.increment.delta
    if not COUNTER_MIN <= number <= COUNTER_MAX:
        return _OVERFLOW
    growth = new_weight(key) + 8 if old is None else 0
    if not state.has_room(growth):
        return FULL
    state.put(key, number, growth)
    state.tell(EventKind.PUT, key, number)
    return Result(ResultKind.OK, number)
