"""The state as snapshots hold it: deterministic bytes, made piece by piece.

Layout: frames of a length (u32, little endian) and msgpack. The first is a header (:class:`_Header`, whose first field
is the version); then one for each bucket of values that is not empty, ``[bucket, {key: value}]``; then the same for
fences. A register is bytes and a counter a number; of the other types, ``["set", element...]``, ``["list",
element...]``, ``["lock", owner, token, until]``.

Encoding a million keys takes most of a second of processor, in a thread beside the event loop. So it gives up the
interpreter after every frame (:func:`time.sleep` of nothing): the loop waits for tens of microseconds, not for the
five milliseconds after which the interpreter would take turns by itself.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from node.machine.buckets import COUNT
from node.machine.held import Held, List, Lock, Set
from node.machine.result import Result, ResultKind, from_plain, plain
from node.machine.sessions import Session
from node.machine.state import SharedState

VERSION = 3
"""2: keys and owners weighed by their characters, not their bytes."""

_LENGTH = struct.Struct("<I")


class BadStateError(ValueError):
    """Bytes that :meth:`Saved.encode` of this version did not produce."""


class _Session(msgspec.Struct, array_like=True):
    id: int
    sequence: int
    kind: int
    value: Any
    opened: int
    reads: list[Any]
    detail: str


class _Header(msgspec.Struct, array_like=True):
    version: int
    now_ms: int
    weight: int
    values: int
    """How many frames of values follow."""
    fences: int
    sessions: list[_Session]


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """The whole state of one moment, that another thread may encode while the machine goes on."""

    state: SharedState
    sessions: Mapping[int, Session]

    def encode(self) -> bytes:
        """Deterministic bytes of the whole."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """The same, piece by piece."""
        values, fences = _filled(self.state.values), _filled(self.state.fences)
        header = _Header(
            VERSION,
            self.state.now_ms,
            self.state.weight,
            len(values),
            len(fences),
            [_session(number, session) for number, session in self.sessions.items()],
        )
        for content in (header, *values, *fences):
            frame = _ENCODER.encode(content)
            yield _LENGTH.pack(len(frame)) + frame
            time.sleep(0)  # lets the event loop go on


def decode(data: bytes) -> Saved:
    """The inverse of :meth:`Saved.encode`. Raises :class:`BadStateError`."""
    try:
        frames = _frames(memoryview(data))
        header = _header(next(frames, memoryview(b"")))
        values = _buckets(frames, header.values, _from_plain_held)
        fences = _buckets(frames, header.fences, _whole)
        if next(frames, None) is not None:
            raise BadStateError("the snapshot's state goes on behind its end")
        sessions = {one.id: _from_session(one) for one in header.sessions}
    except (msgspec.DecodeError, ValueError, TypeError, IndexError) as error:
        raise (
            error
            if isinstance(error, BadStateError)
            else BadStateError(f"the snapshot's state can't be decoded: {error}")
        ) from None
    state = SharedState(now_ms=header.now_ms, weight=header.weight, values=values, fences=fences)
    return Saved(state=state, sessions=sessions)


def _filled(buckets: Sequence[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    return [(place, bucket) for place, bucket in enumerate(buckets) if bucket]


def _plain_held(held: object) -> list[object]:
    if isinstance(held, Set):
        return ["set", *held.elements]
    if isinstance(held, List):
        return ["list", *held.elements]
    raise TypeError(f"{type(held).__name__} can't be saved")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain_held)
_VERSION = msgspec.msgpack.Decoder(list[Any])
_HEADER = msgspec.msgpack.Decoder(_Header)
_BUCKET = msgspec.msgpack.Decoder(tuple[int, dict[str, Any]])


def _frames(data: memoryview) -> Iterator[memoryview]:
    place = 0
    while place < len(data):
        if place + _LENGTH.size > len(data):
            raise BadStateError("the snapshot's state is cut short")
        (length,) = _LENGTH.unpack_from(data, place)
        place += _LENGTH.size + length
        if place > len(data):
            raise BadStateError("the snapshot's state is cut short")
        yield data[place - length : place]


def _header(frame: memoryview) -> _Header:
    version = next(iter(_VERSION.decode(frame)), None)
    if version != VERSION:
        raise BadStateError(f"the snapshot's state has version {version!r:.20}; this program knows version {VERSION}")
    return _HEADER.decode(frame)


def _buckets(frames: Iterator[memoryview], count: int, check: Callable[[Any], Any]) -> list[dict[str, Any]]:
    buckets: list[dict[str, Any]] = [{} for _ in range(COUNT)]
    for _ in range(count):
        place, bucket = _BUCKET.decode(next(frames, b""))
        for key, value in bucket.items():
            if type(value) is not bytes:
                bucket[key] = check(value)
        buckets[place] = bucket
        time.sleep(0)
    return buckets


def _whole(value: object) -> int:
    if isinstance(value, int):
        return value
    raise BadStateError(f"the snapshot's state holds the fence {value!r:.40}")


def _from_plain_held(value: object) -> Held:
    match value:
        case int():
            return value
        case ["set", *rest]:
            elements = _bytes(rest)
            return Set(dict.fromkeys(elements), 0, _weight(elements))
        case ["list", *rest]:
            elements = _bytes(rest)
            return List(elements, 0, _weight(elements))
        case ["lock", str(owner), int(token), int(until_ms)]:
            return Lock(owner, token, until_ms)
    raise BadStateError(f"the snapshot's state holds a value of no known type: {value!r:.60}")


def _bytes(elements: list[Any]) -> list[bytes]:
    if not all(type(element) is bytes for element in elements):
        raise BadStateError("the snapshot's state holds a collection of something else than bytes")
    return elements


def _weight(elements: list[bytes]) -> int:
    return sum(map(len, elements)) + 8 * len(elements)


def _session(number: int, session: Session) -> _Session:
    result = session.result
    reads = [plain(read) for read in result.reads]
    return _Session(number, session.sequence, result.kind, plain(result.value), result.session, reads, result.detail)


def _from_session(saved: _Session) -> Session:
    reads = tuple(from_plain(read) for read in saved.reads)
    result = Result(ResultKind(saved.kind), from_plain(saved.value), saved.opened, reads, saved.detail)
    return Session(saved.sequence, result)
