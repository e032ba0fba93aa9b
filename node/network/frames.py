"""Frames on a TCP connection, between nodes and from clients alike, and how such a connection is made to notice a cut.

A frame: length (u32), CRC-32 (u32), payload, little endian. TCP's own checksum misses one damaged segment in 65 536,
so a byte that was flipped on the way would otherwise be believed.

A cut link loses packets silently, and TCP would wait up to minutes before it gives up; so a connection whose data is
not acknowledged for :data:`UNACKNOWLEDGED_MS_MAX` is ended by the kernel (TCP_USER_TIMEOUT), an idle one by keepalive.
"""

from __future__ import annotations

import socket
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from node.network.fields import field

UNACKNOWLEDGED_MS_MAX = 1500
CONNECT_TIMEOUT_S = 0.6
"""How long a connection attempt may take: less than the kernel waits before it repeats a lost SYN."""
FRAME_BYTES_MAX = 64 << 20
"""Between nodes, and of replies to clients."""
CALLS_BYTES_MAX = 8 << 20
"""Of a frame from a client: twice a batch, and twice the largest call. Whoever may connect may send it, and taking it
apart holds the event loop up.
"""
BATCH_BYTES_MAX = 4 << 20
"""Messages that travel together: see :func:`batch_frames`."""

_FRAME = struct.Struct("<II")


class WireError(ValueError):
    """Bytes from the other side that are nothing of its protocol. The connection can't be trusted any more."""


def encode_frame(payload: bytes) -> bytes:
    """A payload with its length and checksum."""
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


class FrameReader:
    """Puts frames together from a byte stream."""

    def __init__(self, bytes_max: int = FRAME_BYTES_MAX) -> None:
        """``bytes_max``: of one payload."""
        self._bytes_max = bytes_max
        self._rest = bytearray()
        """The beginning of a frame."""
        self._wanted = 0
        """How long the rest must be before a look at it pays."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Payloads that are complete now. Raises :class:`WireError`."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return
            data, self._rest = bytes(self._rest), bytearray()
        start, wanted = 0, _FRAME.size
        while len(data) - start >= _FRAME.size:
            wanted = self._length(data, start)
            if len(data) - start < wanted:
                break
            yield _payload(data, start, start + wanted)
            start, wanted = start + wanted, _FRAME.size
        if start < len(data):
            self._rest, self._wanted = bytearray(data[start:]), wanted

    def _length(self, data: bytes, start: int) -> int:
        length: int = _FRAME.unpack_from(data, start)[0]
        if length > self._bytes_max:
            raise WireError(f"a frame of {length} bytes is beyond the limit of {self._bytes_max}")
        return _FRAME.size + length


def _payload(data: bytes, start: int, end: int) -> bytes:
    payload = data[start + _FRAME.size : end]
    if zlib.crc32(payload) != _FRAME.unpack_from(data, start)[1]:
        raise WireError("a frame's checksum does not match")
    return payload


class Serializable(Protocol):
    """Any message of protobuf."""

    def SerializeToString(self) -> bytes: ...  # noqa: N802  # protobuf's name


_first_field = field(1)


def batch_frames(messages: Iterable[Serializable]) -> Iterator[bytes]:
    """Messages that travel together, in their order: frames of a message whose first field repeats them
    (``kv.proto`` Calls and Replies), none of them larger than :data:`BATCH_BYTES_MAX` unless one message is.
    """
    fields = [_first_field(message.SerializeToString()) for message in messages]
    return (encode_frame(b"".join(batch)) for batch in _batches(fields))


def _batches(fields: Sequence[bytes]) -> Iterable[Sequence[bytes]]:
    if sum(map(len, fields)) <= BATCH_BYTES_MAX:  # as good as always
        return (fields,)
    return _split(fields)


def _split(fields: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    batch: list[bytes] = []
    left = BATCH_BYTES_MAX
    for each in fields:
        if batch and len(each) > left:
            yield batch
            batch, left = [], BATCH_BYTES_MAX
        batch.append(each)
        left -= len(each)
    yield batch


def tune(connection: socket.socket) -> None:
    """Makes a connection prompt, and its end be noticed (see the module)."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS_MAX)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 2)
