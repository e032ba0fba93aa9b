"""What is wrong with a client's request, found before anything is done about it.

Limits of what one request may say; what only the state can tell (a wrong type, no room) is found when it is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from node import kv_pb2
from node.machine.limits import (
    ELEMENT_BYTES_MAX,
    FENCE_MAX,
    KEY_BYTES_MAX,
    LEASE_MS_MAX,
    OWNER_BYTES_MAX,
    STEPS_MAX,
    TRANSACTION_BYTES_MAX,
    VALUE_BYTES_MAX,
)

CALL_BYTES_MAX = 4 << 20
"""Of one call, fields that nobody knows included, for they go into the log, too: nearly twice the largest valid one."""


def call_fault_of(call: kv_pb2.Call) -> str | None:
    """Whether a call of any kind is too large."""
    size = call.ByteSize()
    return None if size <= CALL_BYTES_MAX else f"a call has at most {CALL_BYTES_MAX} bytes, not {size}"


def fault_of(request: kv_pb2.ExecuteRequest) -> str | None:
    """What is wrong with a request; None if it is fine."""
    operation = request.WhichOneof("operation")
    if operation is None:
        return "the request names no operation that this version knows"
    if operation != "get" and not (request.session and request.sequence) and not _reads_only(request):
        return (
            f"{operation} needs a session and a sequence number from 1 on, not {request.session} and {request.sequence}"
        )
    if operation == "transaction":
        return _transaction_fault(request)
    return _key_fault(request.key) or _FAULTS[operation](request)


def watch_fault_of(request: kv_pb2.WatchRequest) -> str | None:
    """The same for a watch."""
    return None if request.prefix and not request.key else _key_fault(request.key)


def _reads_only(request: kv_pb2.ExecuteRequest) -> bool:
    return request.transaction.HasField("mode")


def _key_fault(key: str) -> str | None:
    if 0 < len(key) <= KEY_BYTES_MAX // 4:  # no character has more than four bytes
        return None
    length = len(key.encode())
    return None if 0 < length <= KEY_BYTES_MAX else f"a key has 1 to {KEY_BYTES_MAX} bytes, not {length}"


def _value_fault(value: bytes) -> str | None:
    return None if len(value) <= VALUE_BYTES_MAX else f"a value has at most {VALUE_BYTES_MAX} bytes, not {len(value)}"


def _element_fault(element: bytes) -> str | None:
    if len(element) <= ELEMENT_BYTES_MAX:
        return None
    return f"an element has at most {ELEMENT_BYTES_MAX} bytes, not {len(element)}"


def _owner_fault(owner: str) -> str | None:
    length = len(owner.encode())
    return None if 0 < length <= OWNER_BYTES_MAX else f"an owner has 1 to {OWNER_BYTES_MAX} bytes, not {length}"


def _lease_fault(lease_ms: int) -> str | None:
    if lease_ms <= LEASE_MS_MAX:
        return None
    return f"a lease lasts at most {LEASE_MS_MAX} ms, or for ever (0), not {lease_ms}"


def _fence_fault(fence: int) -> str | None:
    return None if fence <= FENCE_MAX else f"a fence or token is at most {FENCE_MAX}, not {fence}"


def _put_fault(asked: kv_pb2.ExecuteRequest | kv_pb2.Step) -> str | None:
    """Most writes are this one."""
    put = asked.put
    if len(put.value) <= VALUE_BYTES_MAX and put.fence <= FENCE_MAX:
        return None
    return _value_fault(put.value) or _fence_fault(put.fence)


def _mode_fault(mode: int) -> str | None:
    return None if mode in kv_pb2.ReadMode.values() else f"there is no read mode {mode}"


_Fault = Callable[[kv_pb2.ExecuteRequest], str | None]

_FAULTS: Mapping[str, _Fault] = {
    "get": lambda request: _mode_fault(request.get.mode),
    "put": _put_fault,
    "cas": lambda request: _value_fault(request.cas.value) or _value_fault(request.cas.expected),
    "append": lambda request: _value_fault(request.append.value),
    "delete": lambda _: None,
    "set_add": lambda request: _element_fault(request.set_add.element),
    "set_remove": lambda request: _element_fault(request.set_remove.element),
    "increment": lambda _: None,
    "acquire": lambda request: _owner_fault(request.acquire.owner) or _lease_fault(request.acquire.lease_ms),
    "release": lambda request: _owner_fault(request.release.owner) or _fence_fault(request.release.token),
}


def _transaction_fault(request: kv_pb2.ExecuteRequest) -> str | None:
    transaction, steps = request.transaction, request.transaction.steps
    if request.key:
        return "a transaction has no key of its own: its steps have"
    if not 0 < len(steps) <= STEPS_MAX:
        return f"a transaction has 1 to {STEPS_MAX} steps, not {len(steps)}"
    written = 0
    for number, step in enumerate(steps, start=1):
        which = step.WhichOneof("step")
        fault = _key_fault(step.key) or _STEP_FAULTS[which or ""](step)
        if fault is None and which != "read" and transaction.HasField("mode"):
            fault = f"it is a {which}, but only transactions of nothing but reads have a read mode"
        if fault is not None:
            return f"step {number}: {fault}"
        written += len(step.list_append.element) + len(step.put.value)
    if written > TRANSACTION_BYTES_MAX:
        return f"a transaction writes at most {TRANSACTION_BYTES_MAX} bytes, not {written}"
    return _mode_fault(transaction.mode)


_STEP_FAULTS: Mapping[str, Callable[[kv_pb2.Step], str | None]] = {
    "": lambda _: "it names no operation that this version knows",
    "list_append": lambda step: _element_fault(step.list_append.element),
    "read": lambda _: None,
    "put": _put_fault,
}
