"""Our own format: one JSON object a line (``docs/formats.md``).

A run may be killed at any moment, so the last line may be torn; it is cut, and that is noted. Any other line that is
not an event is an error: a checker that skips what it does not understand judges another history than the one that
happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from checkers.blocks import IrregularError
from checkers.event import Event, HistoryError, problem_of, shorten

_FIELDS = "See docs/formats.md for the fields of an event."

BLOCK_BYTES = 1 << 20
"""Lines are decoded so many bytes at a time: the events of one block fit into a processor's cache."""


def events(source: str, notes: list[str]) -> Iterator[tuple[int, Event]]:
    """The events of a file with their lines, from 1.

    Raises:
        HistoryError: a line other than a torn last one is not an event.
    """
    with open(source, "rb", buffering=BLOCK_BYTES) as file:
        for number, line in enumerate(file, 1):
            event = _event(source, number, line, notes)
            if event is not None:
                yield number, event


_decode = msgspec.json.Decoder(Event).decode


def _event(source: str, number: int, line: bytes, notes: list[str]) -> Event | None:
    """The event of a line; None of a blank and of a torn last one."""
    try:
        return _decode(line)
    except msgspec.ValidationError as error:
        raise HistoryError(source, number, f"{problem_of(error)} in {_excerpt(line)}", _FIELDS) from None
    except RecursionError:
        problem = f"nested too deep: {_excerpt(line)}"
        raise HistoryError(source, number, problem, "Record plain JSON values.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if line.isspace():
            return None
        if line.endswith(b"\n"):
            problem = f"not JSON ({error}): {_excerpt(line)}"
            raise HistoryError(source, number, problem, "Remove or mend the line.") from None
        notes.append(f"{source}, line {number}: the last line is torn and was cut: {_excerpt(line)}")
        return None


def _excerpt(line: bytes) -> str:
    return shorten(line.decode("utf-8", errors="replace").strip())


def blocks(source: str, notes: list[str]) -> Iterator[list[Event]]:
    """The events of a file in which every line is one, many at a time; a torn last line is cut and noted.

    Raises:
        IrregularError: a line is no event (:func:`events` says which and why), or blank.
    """
    number, rest = 1, b""
    with open(source, "rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            lines, newline, tail = block.rpartition(b"\n")
            if newline:
                found = _decode_block(rest + lines)
                number += len(found)
                yield found
            rest = tail if newline else rest + tail
    if rest:
        last = _decode_last(source, number, rest, notes)
        yield [last] if last is not None else []


_decode_lines = msgspec.json.Decoder(Event).decode_lines


def _decode_block(lines: bytes) -> list[Event]:
    """The events of lines (without the newline of the last)."""
    if b"\r" in lines:
        lines = lines.replace(b"\r\n", b"\n")
    try:
        found = _decode_lines(lines)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise IrregularError from None
    # The decoder would take several events on a line, and one over several lines. Where all newlines stand between the
    # end of an object and the beginning of another, and there are as many lines as events, each line is an event.
    if lines.count(b"\n") != len(found) - 1 or lines.count(b"}\n{") != len(found) - 1:
        raise IrregularError
    return found


def _decode_last(source: str, number: int, line: bytes, notes: list[str]) -> Event | None:
    try:
        return _event(source, number, line, notes)
    except HistoryError:
        raise IrregularError from None


def lines(events: Iterable[Event]) -> Iterator[bytes]:
    """A history in our own format, numbered anew; fields that say nothing are left out, but for the value."""
    encode = msgspec.json.Encoder().encode
    for index, event in enumerate(events):
        fields = {"index": index, "time": event.time, "process": event.process, "type": event.type, "f": event.f}
        optional = {"key": event.key, "error": event.error, "node": event.node, "attempts": event.attempts}
        more = {name: value for name, value in optional.items() if value is not None}
        yield encode({**fields, "value": event.value, **more, **({"final": True} if event.final else {})}) + b"\n"
