"""What requests may say, and that operations and values come through protobuf as they went in."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import kv_pb2
from node.durable.compression import COMMAND_BYTES_MAX
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
from node.network.fields import field
from node.network.frames import FrameReader, encode_frame
from node.network.wire import encode_message
from node.operation_codec import (
    ENCODERS,
    MODES,
    mode_of,
    put_value,
    request_of,
    value_from_proto,
    value_of,
    value_to_proto,
    write_command,
)
from node.operations import (
    Acquire,
    CompareAndSet,
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
from node.raft.messages import AppendEntries, Entry, EntryKind
from node.serving.requests import call_fault_of, fault_of
from tests.node.drawn_requests import SIZES, requests
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
        (CompareAndSet("k", bytes(VALUE_BYTES_MAX + 1), b""), "a value has at most"),
        (Put("k", b"", FENCE_MAX + 1), "a fence or token is at most"),
        (Release("k", "me", FENCE_MAX + 1), "a fence or token is at most"),
        (Transaction((Put("k", b"", FENCE_MAX + 1),)), "step 1: a fence or token"),
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


_unknown = field(15)
"""Of a later version: protobuf keeps it, and writes it into the log."""


@settings(max_examples=100)
@given(requests(SIZES), st.sampled_from([0, 1, 3 << 20, 9 << 20]), st.booleans())
def test_what_is_accepted_fits_a_frame_between_nodes(
    request: kv_pb2.ExecuteRequest, unknown: int, proper: bool
) -> None:
    """Whatever is in its fields, and in those that nobody knows: a command that no follower can take would cost the
    leader its leadership, and one that is too large to be unpacked would be another command.
    """
    request.session = request.sequence = 1
    if proper:
        request.key = "" if request.HasField("transaction") else request.key[:KEY_BYTES_MAX] or "k"
    request.MergeFromString(_unknown(bytes(unknown)) if unknown else b"")
    if call_fault_of(kv_pb2.Call(id=1, execute=request)) is None and fault_of(request) is None:
        command = write_command(request, 1)
        assert len(command) <= COMMAND_BYTES_MAX
        entries = (Entry(1 << 40, 1 << 20, EntryKind.COMMAND, command),)
        append = AppendEntries(
            source="a", target="b", term=1 << 20, prev_index=1, prev_term=1, entries=entries, commit=1, read_round=1
        )
        assert len(list(FrameReader().feed(encode_frame(encode_message(append))))) == 1


@pytest.mark.parametrize(
    "operation",
    [
        CompareAndSet("k" * KEY_BYTES_MAX, bytes(VALUE_BYTES_MAX), bytes(VALUE_BYTES_MAX)),
        Transaction(
            (Put("k" * KEY_BYTES_MAX, bytes(TRANSACTION_BYTES_MAX)), *(Read("l" * KEY_BYTES_MAX),) * (STEPS_MAX - 1))
        ),
    ],
    ids=lambda operation: type(operation).__name__,
)
def test_the_largest_requests_that_are_fine_fit_a_call(operation: Operation) -> None:
    """Each field at its limit."""
    request = written(operation)
    assert (fault_of(request), call_fault_of(kv_pb2.Call(id=1 << 60, execute=request))) == (None, None)


def test_a_transaction_has_no_key_of_its_own() -> None:
    """Nobody reads it, so it could be of any length."""
    request = written(Transaction((Read("k"),)))
    request.key = "k"
    assert "no key of its own" in str(fault_of(request))


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
