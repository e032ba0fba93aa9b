"""Messages of protobuf as fields of others, put together from bytes.

To put a message into another one, Python's protobuf copies it, and serializing then goes through it again. What shall
only be sent is cheaper serialized once, by itself: a field is its tag, its length and those bytes.
"""

from __future__ import annotations

from collections.abc import Callable

_SHORT_MAX = 0x7F
"""The longest field whose length is one byte."""


def field(number: int) -> Callable[[bytes], bytes]:
    """What makes the serialized message of a field with this number (1 to 15: its tag is one byte) from the message's
    own bytes. Raises ValueError for other numbers.
    """
    if not 1 <= number <= 15:
        raise ValueError(f"a field's number is 1 to 15 here, not {number}: others need longer tags")
    tag = bytes([number << 3 | 2])  # 2: with a length
    heads = [tag + bytes([length]) for length in range(_SHORT_MAX + 1)]

    def encode(message: bytes) -> bytes:
        length = len(message)
        return (heads[length] if length <= _SHORT_MAX else tag + _varint(length)) + message

    return encode


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; all but the last have the eighth set."""
    digits = bytearray()
    while number > _SHORT_MAX:
        digits.append(number & _SHORT_MAX | _SHORT_MAX + 1)
        number >>= 7
    digits.append(number)
    return bytes(digits)
