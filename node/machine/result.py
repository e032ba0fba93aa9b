"""What comes of a command, as replies tell it, sessions remember it and traces compare it."""

from __future__ import annotations

import enum
import hashlib
from typing import Any

import msgspec

from node.operations import Value


class ResultKind(enum.IntEnum):
    """What came of a command. The numbers are those of ``kv.proto`` Outcome."""

    OK = 1
    MISMATCH = 2
    SESSION_EXPIRED = 3
    FORGOTTEN = 4
    INVALID = 7
    WRONG_TYPE = 10
    FULL = 11


class Result(msgspec.Struct, frozen=True):
    """``value`` is what an operation tells (:mod:`node.operations`), ``session`` the id of a session just opened,
    ``reads`` what the reads of a transaction found, ``detail`` why nothing happened.
    """

    kind: ResultKind
    value: Value = None
    session: int = 0
    reads: tuple[Value, ...] = ()
    detail: str = ""

    def digest(self) -> str:
        """Sixteen hex digits that tell results apart, for traces."""
        number, value = b"%d %d " % (self.kind, self.session), self.value
        if value is None and not self.reads and not self.detail:
            return digest(number + b"-")
        if isinstance(value, bytes) and not self.reads:
            return digest(number + b"+" + value)
        rest = [plain(value), [plain(read) for read in self.reads], self.detail]
        return digest(number + b"*" + msgspec.msgpack.encode(rest))

    @property
    def weight(self) -> int:
        """How much it costs to remember, in bytes and about."""
        if self.value is None and not self.reads:
            return 0
        return weight(self.value) + sum(map(weight, self.reads))


OK = Result(ResultKind.OK)
INVALID = Result(ResultKind.INVALID, detail="the command can't be understood")
EXPIRED = Result(ResultKind.SESSION_EXPIRED)
FORGOTTEN = Result(ResultKind.FORGOTTEN)


def refused(detail: str) -> Result:
    """Nothing happened, because the outcome would break a limit."""
    return Result(ResultKind.INVALID, detail=detail)


def digest(data: bytes) -> str:
    """Sixteen hex digits, as ``trace.jsonl`` wants them."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def weight(value: Value) -> int:
    """Bytes, and eight for each element."""
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, tuple | frozenset):
        return sum(map(len, value)) + 8 * len(value)
    return 8


def plain(value: Value) -> object:
    """The value as msgpack has it: a set (sorted) or a list becomes a list that begins with its name."""
    if isinstance(value, frozenset):
        return ["set", sorted(value)]
    return ["list", value] if isinstance(value, tuple) else value


def from_plain(value: Any) -> Value:
    """The inverse of :func:`plain`. Raises ValueError for what is none of its results."""
    if value is None or isinstance(value, bytes | int):
        return value
    match value:
        case ["set", [*elements]] if _all_bytes(elements):
            return frozenset(elements)
        case ["list", [*elements]] if _all_bytes(elements):
            return tuple(elements)
    raise ValueError(f"no value: {value!r:.60}")


def _all_bytes(elements: list[Any]) -> bool:
    return all(isinstance(element, bytes) for element in elements)
