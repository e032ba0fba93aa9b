"""The operations that Jepsen prints into ``jepsen.log``: process, type, f and value, separated by tabs or blanks.

Lines of an old log (``INFO  jepsen.util - 3  :invoke  :cas  [1 2]``) and of a new one (with date, thread and
``jepsen.util:``) are told by their operations; all other lines of the log are skipped. The lines' own times are those
of writing the log, so the order of the lines is taken as the order. A value such as ``:timed-out`` of what ended
``fail`` or ``info`` is kept as the error. Knossos prints its histories in the same way, without what stands before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from checkers.event import NEMESIS, Event, HistoryError, shorten
from checkers.formats.edn import EdnError, Reader

LINE = re.compile(
    r"(?<![^\s:-])(?P<process>\d{1,18}|:nemesis)\s+:(?P<type>invoke|ok|fail|info)\s+:(?P<f>\S+)(?:\s+(?P<value>\S.*))?$",
    re.ASCII,
)
"""To be searched for: what stands before it is the log's."""


def events(source: str, notes: list[str]) -> Iterator[tuple[int, Event]]:
    """The events of a log with their lines.

    Raises:
        HistoryError: an operation's value is not EDN, or its line is not UTF-8.
    """
    number = 0
    with open(source, "rb") as file:
        for line_number, data in enumerate(file, 1):
            line = data.decode(errors="replace").rstrip("\r\n")
            match = LINE.search(line)
            if match is None:
                continue
            whole = data.endswith(b"\n")
            problem = _problem(data, match)
            if problem and whole:
                raise HistoryError(source, line_number, problem, "Mend the line, or leave it out.")
            if problem:
                notes.append(f"{source}, line {line_number}: the last line is torn and was cut: {shorten(line)}")
                return
            if not whole:
                notes.append(f"{source}, line {line_number}: the last line has no end: its value may be cut")
            yield line_number, _event(number, match)
            number += 1


def _problem(line: bytes, match: re.Match[str]) -> str | None:
    try:
        line.decode()
        list(Reader(match["value"] or "nil"))
    except UnicodeDecodeError as error:
        return f"a byte that is not UTF-8 ({line[error.start]:#04x})"
    except EdnError as error:
        return f"the value is not EDN ({error}): {shorten(match['value'])}"
    return None


def _event(number: int, match: re.Match[str]) -> Event:
    values = [value for _, value in Reader(match["value"] or "nil")]
    value, error = (values[0] if values else None), (values[1] if len(values) > 1 else None)
    if match["type"] in ("fail", "info") and isinstance(value, str) and error is None:
        error = value
    process = NEMESIS if match["process"] == f":{NEMESIS}" else int(match["process"])
    fields: dict[str, Any] = {"process": process, "type": match["type"], "f": match["f"], "time": number}
    return msgspec.convert({**fields, "value": value, "error": error}, Event)
