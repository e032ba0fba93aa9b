"""Fields put together from bytes are the very bytes that protobuf makes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node import kv_pb2
from node.network.fields import field
from node.operation_codec import request_of, write_command
from node.operations import Put


@given(size=st.sampled_from([0, 1, 100, 126, 127, 128, 129, 16_383, 16_384, 16_385, 3_000_000]))
def test_a_field_is_as_protobuf_makes_it(size: int) -> None:
    """At every length of the length."""
    call = kv_pb2.Call(execute=kv_pb2.ExecuteRequest(put=kv_pb2.Put(value=bytes(size))))
    assert field(1)(call.SerializeToString()) == kv_pb2.Calls(calls=[call]).SerializeToString()


@pytest.mark.parametrize("stamp_ms", [0, 5])
def test_a_write_in_the_log_is_as_protobuf_makes_it(stamp_ms: int) -> None:
    """With a stamp and without."""
    request = request_of(Put("key", b"value"))
    request.session, request.sequence = 300, 7
    command = kv_pb2.Command(write=request, stamp_ms=stamp_ms)
    assert write_command(request, stamp_ms) == command.SerializeToString()


@pytest.mark.parametrize("number", [0, 16])
def test_numbers_with_longer_tags_are_refused(number: int) -> None:
    """They would be put together wrongly."""
    with pytest.raises(ValueError, match="1 to 15"):
        field(number)
