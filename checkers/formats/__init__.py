"""History formats: each a reader from a file's path to events with their lines. Add one here and in :data:`FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from checkers.event import Event, HistoryError
from checkers.formats import jsonl

Reader = Callable[[str, list[str]], Iterator[tuple[int, Event]]]
"""Takes the path and a list to which it adds notes for the user."""

FORMATS: Mapping[str, Reader] = {"jsonl": jsonl.events}


def reader(name: str, source: str) -> Reader:
    """The reader of a format.

    Raises:
        HistoryError: there is no such format.
    """
    if name not in FORMATS:
        raise HistoryError(source, None, f"there is no history format {name!r}", f"Use one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def detect(source: str) -> str:
    """The format of a file, told by its content."""
    return "jsonl"
