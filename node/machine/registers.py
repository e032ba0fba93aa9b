"""Registers: a key holds bytes."""

from __future__ import annotations

from node import kv_pb2
from node.machine.limits import VALUE_BYTES_MAX
from node.machine.result import OK, Result, ResultKind, refused
from node.machine.state import FULL, State, fence_growth, new_weight, wrong_type
from node.serving.events import Event, EventKind

_PUT = EventKind.PUT
_TOO_LONG = refused(f"the value would have more than {VALUE_BYTES_MAX} bytes")


def put(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Sets the value, unless a higher fence was shown to the key."""
    key, wanted = request.key, request.put
    fence = wanted.fence
    if not fence:
        return store(state, key, wanted.value)
    highest = state.fence(key)
    if not state.fence_holds(fence, highest):
        return Result(ResultKind.MISMATCH, highest)
    result = store(state, key, wanted.value, fence_growth(key, highest))
    if result is OK:
        state.show_fence(key, fence)
    return result


def cas(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Sets the value if it is what was expected; tells what it is if it isn't."""
    expected = request.cas.expected if request.cas.HasField("expected") else None
    observed = state.get(request.key)
    if observed is not None and not isinstance(observed, bytes):
        return wrong_type(request.key, observed, "register")
    if observed != expected:
        return Result(ResultKind.MISMATCH, observed)
    return store(state, request.key, request.cas.value)


def append(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Makes the value longer."""
    observed = state.get(request.key)
    if observed is not None and not isinstance(observed, bytes):
        return wrong_type(request.key, observed, "register")
    value = (observed or b"") + request.append.value
    return _TOO_LONG if len(value) > VALUE_BYTES_MAX else store(state, request.key, value)


def delete(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Removes the key, whatever it holds."""
    state.delete(request.key)
    return OK


def store(state: State, key: str, value: bytes, more: int = 0) -> Result:
    """Puts the value there if it may be; ``more``: by how much the state grows besides."""
    bucket = state.bucket(key)
    old = bucket.get(key)
    if old is None:
        growth = new_weight(key) + len(value) + more
    elif isinstance(old, bytes):
        growth = len(value) - len(old) + more
    else:
        return wrong_type(key, old, "register")
    if growth > 0 and not state.has_room(growth):
        return FULL
    bucket[key] = value
    state.weight += growth
    state.events.append(Event(state.index, _PUT, key, value))
    return OK
