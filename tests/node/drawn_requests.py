"""Requests of any shape, drawn from the protocol's own description: a field that is added to it is drawn, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from node import kv_pb2
from node.machine.limits import ELEMENT_BYTES_MAX, KEY_BYTES_MAX, OWNER_BYTES_MAX, VALUE_BYTES_MAX

Scalars = Mapping[int, st.SearchStrategy[object]]
"""What is drawn for fields that are no messages, by their type."""

_ENDS: Scalars = {
    FieldDescriptor.TYPE_UINT64: st.sampled_from([0, 1, 2, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]),
    FieldDescriptor.TYPE_SINT64: st.sampled_from([-(1 << 63), -1, 0, 1, (1 << 63) - 1]),
    FieldDescriptor.TYPE_ENUM: st.integers(0, 4),
}
"""Numbers are small, or at the ends of what they can be."""

NUMBERS: Scalars = {
    **_ENDS,
    FieldDescriptor.TYPE_STRING: st.sampled_from(["a", "é"]),
    FieldDescriptor.TYPE_BYTES: st.sampled_from([b"", b"x", b"y"]),
}
"""Few keys, so that types and owners meet."""

_LENGTHS = [1, OWNER_BYTES_MAX, KEY_BYTES_MAX, KEY_BYTES_MAX + 1, ELEMENT_BYTES_MAX, VALUE_BYTES_MAX, 9 << 20]
_TEXTS, _BYTES = ([make(length) for length in _LENGTHS] for make in ("x".__mul__, bytes))

SIZES: Scalars = {
    **_ENDS,
    FieldDescriptor.TYPE_STRING: st.sampled_from(_TEXTS),
    FieldDescriptor.TYPE_BYTES: st.sampled_from(_BYTES),
}
"""Texts and bytes are short, at some limit, or beyond every limit."""


def requests(scalars: Scalars) -> st.SearchStrategy[kv_pb2.ExecuteRequest]:
    """Requests that name an operation."""
    return _fields(kv_pb2.ExecuteRequest.DESCRIPTOR, scalars).map(lambda fields: kv_pb2.ExecuteRequest(**fields))


def _fields(kind: Descriptor, scalars: Scalars) -> st.SearchStrategy[dict[str, Any]]:
    """A message as its constructor takes it: any of its fields, and one of each choice."""
    choices = [choice for choice in kind.oneofs if len(choice.fields) > 1]  # one of one is an optional field
    chosen = {field.name for choice in choices for field in choice.fields}
    free = {field.name: _field(field, scalars) for field in kind.fields if field.name not in chosen}
    picks = [st.one_of(*(_only(field, scalars) for field in choice.fields)) for choice in choices]
    return st.tuples(st.fixed_dictionaries({}, optional=free), *picks).map(_merged)


def _only(field: FieldDescriptor, scalars: Scalars) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({field.name: _field(field, scalars)})


def _field(field: FieldDescriptor, scalars: Scalars) -> st.SearchStrategy[Any]:
    one = scalars[field.type] if field.message_type is None else _fields(field.message_type, scalars)
    return st.lists(one, max_size=4) if field.is_repeated else one


def _merged(parts: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    return {name: value for part in parts for name, value in part.items()}
