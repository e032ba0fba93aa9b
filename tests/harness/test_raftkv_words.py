"""What is written to raftkv's registers is read as the same numbers, and damage stays damage."""

from __future__ import annotations

from typing import get_args

import pytest

from faults.message import Type
from harness.clients import Invocation
from harness.systems.raftkv_words import decode, operation_of, padded
from node import operations as op
from node.network.interference import TYPES


@pytest.mark.parametrize("size", [1, 2, 64])
def test_padding_is_no_part_of_a_number(size: int) -> None:
    """Leading zeros make entries larger; nobody sees them, and a compare-and-set expects what was written."""
    written = padded(operation_of(Invocation("write", "k1", 17), "me"), size)
    compared = padded(operation_of(Invocation("cas", "k1", (17, 4)), "me"), size)
    fenced = padded(operation_of(Invocation("write", "k1", (3, 17)), "me"), size)
    assert isinstance(written, op.Put)
    assert isinstance(compared, op.CompareAndSet)
    assert isinstance(fenced, op.Put)
    assert len(written.value) == max(2, size)
    assert compared.expected == written.value
    assert (decode(written.value), decode(compared.value), decode(fenced.value)) == (17, 4, [3, 17])


def test_a_number_that_nobody_writes_stays_text() -> None:
    """A bit that turned among the zeros makes no number of a thousand digits: files hold none."""
    assert decode(b"1" + b"0" * 30 + b"17") == "1" + "0" * 30 + "17"
    assert decode(b"00\xb017") == "00\\xb017"


def test_every_message_of_the_node_can_be_interfered_with() -> None:
    """The names that scenarios may use are the node's own."""
    assert set(get_args(Type)) == set(TYPES)
