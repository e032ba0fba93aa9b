"""What requests may say, and that operations and values come through protobuf as they went in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import kv_pb2
from node.machine.limits import (
    ELEMENT_BYTES_MAX,
    LEASE_MS_MAX,
    OWNER_BYTES_MAX,
    STEPS_MAX,
    TRANSACTION_BYTES_MAX,
    VALUE_BYTES_MAX,
)
from node.operation_codec import (
    ENCODERS,
    MODES,
    mode_of,
    put_value,
    request_of,
    value_from_proto,
    value_of,
    value_to_proto,
)
from node.operations import (
    Acquire,
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
from node.serving.requests import fault_of
from tests.node.machine_model import OPERATIONS


def written(operation: Operation) -> kv_pb2.ExecuteRequest:
    request = request_of(operation)
    request.session = request.sequence = 1
    return request


@settings(max_examples=40)
@given(OPERATIONS)
def test_ordinary_requests_are_fine(operation: Operation) -> None:
    """Every operation, with a session; without one, none of those that write."""
    assert fault_of(written(operation)) is None
    assert "needs a session" in str(fault_of(request_of(operation)))


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        (SetAdd("k", bytes(ELEMENT_BYTES_MAX + 1)), "an element has at most"),
        (SetRemove("k", bytes(ELEMENT_BYTES_MAX + 1)), "an element has at most"),
        (Acquire("k", ""), "an owner has 1 to"),
        (Acquire("k", "é" * OWNER_BYTES_MAX), "an owner has 1 to"),
        (Release("k", ""), "an owner has 1 to"),
        (Acquire("k", "me", LEASE_MS_MAX + 1), "a lease lasts at most"),
        (Increment(""), "a key has 1 to"),
        (Transaction(()), "1 to 128 steps, not 0"),
        (Transaction((Read("k"),) * (STEPS_MAX + 1)), "not 129"),
        (Transaction((Read("k"), Read(""))), "step 2: a key has"),
        (Transaction((ListAppend("k", bytes(ELEMENT_BYTES_MAX + 1)),)), "step 1: an element"),
        (Transaction((Put("k", bytes(VALUE_BYTES_MAX + 1)),)), "step 1: a value"),
        (Transaction((Put("k", bytes(TRANSACTION_BYTES_MAX)), Put("l", b"x"))), "a transaction writes at most"),
        (Transaction((Read("k"), Put("k", b"")), ReadMode.LOCAL), "step 2: it is a put"),
    ],
)
def test_what_is_wrong_is_said(operation: Operation, words: str) -> None:
    """With the value that is wrong and the limit."""
    assert words in str(fault_of(written(operation)))


def test_foreign_requests_are_refused() -> None:
    """Another version's: a step, a read mode or an operation that this one does not know."""
    step = kv_pb2.Transaction(steps=[kv_pb2.Step(key="k")])
    assert "names no operation" in str(fault_of(kv_pb2.ExecuteRequest(session=1, sequence=1, transaction=step)))
    mode = kv_pb2.Get.FromString(b"\x10\x09")
    assert "no read mode 9" in str(fault_of(kv_pb2.ExecuteRequest(key="k", get=mode)))
    assert "names no operation" in str(fault_of(kv_pb2.ExecuteRequest(key="k")))


@pytest.mark.parametrize("mode", ReadMode)
def test_reads_say_how_they_want_to_be_made_sure_of(mode: ReadMode) -> None:
    """A get always; a transaction of reads if it names a mode; they need no session. Everything else goes through the
    log.
    """
    assert mode_of(request_of(Get("k", mode))) == MODES[mode]
    assert mode_of(request_of(Transaction((Read("k"),), mode))) == MODES[mode]
    assert fault_of(request_of(Transaction((Read("k"),), mode))) is None
    assert mode_of(request_of(Transaction((Read("k"),)))) is None
    assert mode_of(request_of(Put("k", b""))) is None


def test_the_table_knows_every_operation() -> None:
    """And no more."""
    assert set(ENCODERS) == set(Operation.__args__)


VALUES: st.SearchStrategy[Value] = st.one_of(
    st.none(),
    st.binary(max_size=3),
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.frozensets(st.binary(max_size=3)),
    st.lists(st.binary(max_size=3)).map(tuple),
)


@settings(max_examples=40)
@given(VALUES)
def test_values_come_back(value: Value) -> None:
    """Nothing, the empty value, zero, the empty set and the empty list are told apart, in replies and in reads."""
    reply = kv_pb2.Reply()
    put_value(reply, value)
    read = value_of(kv_pb2.Reply.FromString(reply.SerializeToString()))
    assert (type(read), read) == (type(value), value)
    again = value_from_proto(kv_pb2.Value.FromString(value_to_proto(value).SerializeToString()))
    assert (type(again), again) == (type(value), value)
