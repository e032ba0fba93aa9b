"""The vDSO as bytes, and what is found in processes: without touching any."""

from __future__ import annotations

import os
import platform
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.clocks.vdso import _mapping, asks_vdso, image
from faults.clocks.vdso_image import (
    HEAD_SIZE,
    JUMP,
    MAGIC,
    MARK,
    NAMES,
    RATE_ONE,
    TOKEN,
    ImageError,
    Offset,
    Offsets,
    image_of,
)

on_x86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="the vDSO is rewritten on x86-64 only")
NUMBERS = st.integers(-(2**62), 2**62)


@on_x86
def test_the_jumps_lead_into_the_room_behind_the_functions() -> None:
    """Each of the three functions begins with a jump to one of ours; nothing else of the old code is changed."""
    found = image()
    assert set(found.functions) == set(NAMES)
    begin, end = _mapping(os.getpid())
    block = found.block(Offsets(), 7)
    assert found.room + len(block) <= end - begin
    for place, jump in found.jumps().items():
        (distance,) = struct.unpack("<i", jump[1:])
        assert len(jump) == JUMP
        assert 0 <= place + JUMP + distance - found.room < len(block)
    assert {place: len(code) for place, code in found.original().items()} == dict.fromkeys(found.jumps(), JUMP)


@on_x86
def test_the_block_says_whose_it_is() -> None:
    """The mark, and the token behind the numbers."""
    block = image().block(Offsets(realtime=Offset(ns=5)), 77)
    assert block[MARK : MARK + len(MAGIC)] == MAGIC
    assert struct.unpack_from("<Q", block, TOKEN) == (77,)
    assert HEAD_SIZE == TOKEN + 8


@on_x86
def test_a_vdso_without_room_is_refused() -> None:
    """With the reason, as is what is no such object at all."""
    content = image().content
    with pytest.raises(ImageError, match="no room"):
        image_of(content[: image().room + 64])
    with pytest.raises(ImageError, match="not a 64-bit object"):
        image_of(bytes(8192))
    with pytest.raises(ImageError, match="no function __vdso_time"):
        image_of(content.replace(b"__vdso_time", b"__vdso_tame"))


@given(numbers=st.tuples(*[NUMBERS] * 6))
def test_offsets_survive_a_slot(numbers: tuple[int, ...]) -> None:
    """What is packed for a process is read back the same."""
    ns, epoch_ns, rate = numbers[:3]
    first = Offset(ns=ns, epoch_ns=epoch_ns, rate=rate)
    ns, epoch_ns, rate = numbers[3:]
    offsets = Offsets(realtime=first, monotonic=Offset(ns=ns, epoch_ns=epoch_ns, rate=rate))
    assert Offsets.unpack(offsets.pack()) == offsets


def test_a_drift_gains_its_rate() -> None:
    """A tenth of a second in one, at 10 %; nothing at its epoch."""
    offset = Offset(ns=7, epoch_ns=10**15, rate=round(0.1 * RATE_ONE))
    assert offset.at(10**15) == 7
    assert offset.at(10**15 + 10**9) == pytest.approx(10**8 + 7, abs=1)


@on_x86
def test_this_interpreter_asks_the_vdso() -> None:
    """Its C library looks for it by name."""
    assert asks_vdso(os.getpid()) is True
