"""Frames: put together from any pieces, never delivered damaged; batches keep order and size."""

from __future__ import annotations

import contextlib
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node import kv_pb2
from node.network.frames import BATCH_BYTES_MAX, FRAME_BYTES_MAX, FrameReader, WireError, batch_frames, encode_frame


@given(payloads=st.lists(st.binary(max_size=50), max_size=8), cuts=st.lists(st.integers(0, 500), max_size=8))
def test_frames_are_put_together_from_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    """TCP may deliver a stream in any pieces."""
    stream = b"".join(encode_frame(payload) for payload in payloads)
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    reader = FrameReader()
    pieces = [stream[a:b] for a, b in itertools.pairwise(places)]
    assert [payload for piece in pieces for payload in reader.feed(piece)] == payloads


@given(payload=st.binary(min_size=1, max_size=30), place=st.integers(0, 200), flip=st.integers(1, 255))
def test_a_damaged_frame_is_never_delivered(payload: bytes, place: int, flip: int) -> None:
    """A flipped byte gives an error or keeps waiting for more, never another payload."""
    frame = bytearray(encode_frame(payload))
    frame[place % len(frame)] ^= flip
    with contextlib.suppress(WireError):
        assert list(FrameReader().feed(bytes(frame))) == []


def test_a_length_beyond_the_limit_is_refused_at_once() -> None:
    """Nobody waits for, or makes room for, what is never to come."""
    header = (FRAME_BYTES_MAX + 1).to_bytes(4, "little") + bytes(4)
    with pytest.raises(WireError, match="beyond the limit"):
        list(FrameReader().feed(header))
    assert list(FrameReader(2).feed(encode_frame(b"ab"))) == [b"ab"]
    with pytest.raises(WireError, match="3 bytes is beyond the limit of 2"):
        list(FrameReader(2).feed(encode_frame(b"abc")))


@settings(max_examples=20)
@given(sizes=st.lists(st.sampled_from([1, 1 << 10, 1 << 20, BATCH_BYTES_MAX]), max_size=6))
def test_batches_keep_the_order_and_the_limit(sizes: list[int]) -> None:
    """Nothing is lost or moved; only a message that is too large by itself makes a frame that is."""
    replies = [kv_pb2.Reply(value=_ZEROS[size]) for size in sizes]
    payloads = [payload for frame in batch_frames(replies) for payload in FrameReader().feed(frame)]
    groups = [kv_pb2.Replies.FromString(payload).replies for payload in payloads]
    assert [reply for group in groups for reply in group] == replies
    assert all(
        len(group) < 2 or len(payload) <= BATCH_BYTES_MAX for group, payload in zip(groups, payloads, strict=True)
    )


_ZEROS = {size: bytes(size) for size in (1, 1 << 10, 1 << 20, BATCH_BYTES_MAX)}
