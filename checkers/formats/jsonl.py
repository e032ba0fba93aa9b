"""Our own format: one JSON object a line (``docs/formats.md``).

A run may be killed at any moment, so the last line may be torn; it is cut, and that is noted. Any other line that is
not an event is an error: a checker that skips what it does not understand judges another history than the one that
happened.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from checkers.event import Event, HistoryError, shorten

_FIELDS = "See docs/formats.md for the fields of an event."


def events(source: str, notes: list[str]) -> Iterator[tuple[int, Event]]:
    """The events of a file with their lines, from 1.

    Raises:
        HistoryError: a line other than a torn last one is not an event.
    """
    decode = msgspec.json.Decoder(Event).decode
    with open(source, "rb", buffering=1 << 20) as file:
        for number, line in enumerate(file, 1):
            try:
                yield number, decode(line)
            except msgspec.ValidationError as error:
                raise HistoryError(source, number, f"{error} in {_excerpt(line)}", _FIELDS) from None
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                if line.isspace():
                    continue
                if line.endswith(b"\n"):
                    problem = f"not JSON ({error}): {_excerpt(line)}"
                    raise HistoryError(source, number, problem, "Remove or mend the line.") from None
                notes.append(f"{source}, line {number}: the last line is torn and was cut: {_excerpt(line)}")


def _excerpt(line: bytes) -> str:
    return shorten(line.decode("utf-8", errors="replace").strip())
