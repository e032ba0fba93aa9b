"""The operations that Jepsen prints into ``jepsen.log``: process, type, f and value, separated by tabs or blanks.

Lines of an old log (``INFO  jepsen.util - 3  :invoke  :cas  [1 2]``) and of a new one (with date, thread and
``jepsen.util:``) are told by their operations; all other lines of the log are skipped. The lines' own times are those
of writing the log, so the order of the lines is taken as the order. A value such as ``:timed-out`` of what ended
``fail`` or ``info`` is kept as the error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from checkers.event import NEMESIS, Event, HistoryError, shorten
from checkers.formats.edn import EdnError, Reader

LINE = re.compile(
    r"^(?:.*?[\s:-]\s*|\s*)(?P<process>\d{1,18}|:nemesis)\s+:(?P<type>invoke|ok|fail|info)\s+:(?P<f>\S+)(?:\s+(?P<value>\S.*))?$"
)


def events(source: str, notes: list[str]) -> Iterator[tuple[int, Event]]:
    """The events of a log with their lines.

    Raises:
        HistoryError: an operation's value is not EDN, or the log has no operation.
    """
    number = 0
    with open(source, encoding="utf-8", errors="replace") as file:
        for line_number, line in enumerate(file, 1):
            match = LINE.match(line.rstrip("\r\n"))
            if match is None:
                continue
            event = _event(number, match)
            if event is None:
                if line.endswith("\n"):
                    problem = f"the value is not EDN: {shorten(match['value'])}"
                    raise HistoryError(source, line_number, problem, "Mend the line, or leave it out.")
                notes.append(f"{source}, line {line_number}: the last line is torn and was cut: {shorten(line)}")
                return
            yield line_number, event
            number += 1


def _event(number: int, match: re.Match[str]) -> Event | None:
    """The event of a line; None if its value cannot be read."""
    try:
        values = [value for _, value in Reader(match["value"] or "nil")]
    except EdnError:
        return None
    process = NEMESIS if match["process"] == f":{NEMESIS}" else int(match["process"])
    value, error = (values[0] if values else None), (values[1] if len(values) > 1 else None)
    if match["type"] in ("fail", "info") and isinstance(value, str) and error is None:
        error = value
    return Event(process=process, type=match["type"], f=match["f"], value=value, error=error, time=number)
