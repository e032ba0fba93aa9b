"""Operations and values between Python and protobuf: the one place that knows both (:mod:`node.operations`, kv.proto).

:data:`ENCODERS` has a line for every operation. Clients write requests and read replies with this module; nodes read
requests as protobuf (decoding into Python objects would cost more than most operations do) and write replies with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from node import kv_pb2
from node.network.fields import field
from node.operations import (
    Acquire,
    Append,
    CompareAndSet,
    Delete,
    Get,
    Increment,
    ListAppend,
    Operation,
    Put,
    Read,
    ReadMode,
    Release,
    SetAdd,
    SetRemove,
    Transaction,
    Value,
)
from node.serving.events import Event, EventKind

MODES: Mapping[ReadMode, kv_pb2.ReadMode.ValueType] = {
    ReadMode.LEADER: kv_pb2.LEADER,
    ReadMode.LINEARIZABLE: kv_pb2.LINEARIZABLE,
    ReadMode.LEASE: kv_pb2.LEASE,
    ReadMode.LOCAL: kv_pb2.LOCAL,
}

_Request = kv_pb2.ExecuteRequest


def _put(put: Put, to: _Request) -> None:
    """Field by field: most writes are this one, and it takes a third of the time."""
    to.key = put.key
    to.put.value = put.value
    to.put.fence = put.fence


ENCODERS: Mapping[type, Callable[[Any, _Request], None]] = {
    Put: _put,
    Get: lambda get, to: to.MergeFrom(_Request(key=get.key, get=kv_pb2.Get(mode=MODES[get.mode]))),
    CompareAndSet: lambda cas, to: to.MergeFrom(
        _Request(key=cas.key, cas=kv_pb2.CompareAndSet(expected=cas.expected, value=cas.value))
    ),
    Append: lambda append, to: to.MergeFrom(_Request(key=append.key, append=kv_pb2.Append(value=append.value))),
    Delete: lambda delete, to: to.MergeFrom(_Request(key=delete.key, delete=kv_pb2.Delete())),
    SetAdd: lambda add, to: to.MergeFrom(_Request(key=add.key, set_add=kv_pb2.SetAdd(element=add.element))),
    SetRemove: lambda remove, to: to.MergeFrom(
        _Request(key=remove.key, set_remove=kv_pb2.SetRemove(element=remove.element))
    ),
    Increment: lambda increment, to: to.MergeFrom(
        _Request(key=increment.key, increment=kv_pb2.Increment(delta=increment.delta))
    ),
    Acquire: lambda lock, to: to.MergeFrom(
        _Request(key=lock.key, acquire=kv_pb2.Acquire(owner=lock.owner, lease_ms=lock.lease_ms))
    ),
    Release: lambda lock, to: to.MergeFrom(
        _Request(key=lock.key, release=kv_pb2.Release(owner=lock.owner, token=lock.token))
    ),
    Transaction: lambda transaction, to: to.MergeFrom(
        _Request(
            transaction=kv_pb2.Transaction(
                steps=[_STEPS[type(step)](step) for step in transaction.steps],
                mode=None if transaction.mode is None else MODES[transaction.mode],
            )
        )
    ),
}

_STEPS: Mapping[type, Callable[[Any], kv_pb2.Step]] = {
    ListAppend: lambda step: kv_pb2.Step(key=step.key, list_append=kv_pb2.ListAppend(element=step.element)),
    Read: lambda step: kv_pb2.Step(key=step.key, read=kv_pb2.Read()),
    Put: lambda step: kv_pb2.Step(key=step.key, put=kv_pb2.Put(value=step.value, fence=step.fence)),
}


def put_operation(operation: Operation, to: _Request) -> None:
    """Writes the operation into an empty request. Raises ValueError for a number that protobuf can't hold (beyond 64
    bits) and TypeError for a field of the wrong type.
    """
    ENCODERS[type(operation)](operation, to)


def request_of(operation: Operation) -> _Request:
    """The request, without session and sequence. Raises as :func:`put_operation` does."""
    request = _Request()
    put_operation(operation, request)
    return request


_write_field = field(kv_pb2.Command.WRITE_FIELD_NUMBER)


def write_command(request: _Request, stamp_ms: int) -> bytes:
    """A write as it stands in the log: ``kv.proto`` Command, with the leader's stamp (0: none)."""
    if stamp_ms:
        return kv_pb2.Command(write=request, stamp_ms=stamp_ms).SerializeToString()
    return _write_field(request.SerializeToString())


def mode_of(request: _Request) -> kv_pb2.ReadMode.ValueType | None:
    """How a request wants to be read; None for what must go through the log."""
    which = request.WhichOneof("operation")
    if which == "get":
        return request.get.mode
    if which == "transaction" and request.transaction.HasField("mode"):
        return request.transaction.mode
    return None


def value_to_proto(value: Value) -> kv_pb2.Value:
    """A value of any type; the elements of a set are in no order."""
    if value is None:
        return kv_pb2.Value()
    if isinstance(value, bytes):
        return kv_pb2.Value(register=value)
    if isinstance(value, int):
        return kv_pb2.Value(number=value)
    if isinstance(value, frozenset):
        return kv_pb2.Value(set=kv_pb2.Elements(elements=value))
    return kv_pb2.Value(list=kv_pb2.Elements(elements=value))


def value_from_proto(value: kv_pb2.Value) -> Value:
    """The inverse of :func:`value_to_proto`."""
    which = value.WhichOneof("kind")
    return None if which is None else _VALUES[which](value)


_VALUES: Mapping[str, Callable[[kv_pb2.Value], Value]] = {
    "register": lambda value: value.register,
    "number": lambda value: value.number,
    "set": lambda value: frozenset(value.set.elements),
    "list": lambda value: tuple(value.list.elements),
}


def put_value(reply: kv_pb2.Reply, value: Value) -> None:
    """Writes the value into a reply."""
    if isinstance(value, bytes):
        reply.value = value
    elif value is not None:
        reply.other.CopyFrom(value_to_proto(value))


def value_of(reply: kv_pb2.Reply) -> Value:
    """The inverse of :func:`put_value`."""
    if reply.HasField("value"):
        return reply.value
    return value_from_proto(reply.other) if reply.HasField("other") else None


def reads_of(reply: kv_pb2.Reply) -> tuple[Value, ...]:
    """What the reads of a transaction found."""
    return tuple(value_from_proto(value) for value in reply.reads.values) if reply.HasField("reads") else ()


def event_to_proto(event: Event) -> kv_pb2.Event:
    """One change of a key."""
    return kv_pb2.Event(
        revision=event.revision,
        kind=kv_pb2.EventKind.ValueType(event.kind),
        key=event.key,
        value=None if event.value is None else value_to_proto(event.value),
    )


def event_from_proto(event: kv_pb2.Event) -> Event:
    """The inverse of :func:`event_to_proto`."""
    return Event(event.revision, EventKind(event.kind), event.key, value_from_proto(event.value))
