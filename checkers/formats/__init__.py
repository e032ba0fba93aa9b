"""History formats: each a reader from a file's path to events with their lines. Add one here and in :data:`FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from checkers.event import Event, HistoryError, shorten
from checkers.formats import edn, jepsen_log, jsonl

Reader = Callable[[str, list[str]], Iterator[tuple[int, Event]]]
"""Takes the path and a list to which it adds notes for the user."""

FORMATS: Mapping[str, Reader] = {
    "jsonl": jsonl.events,
    "edn": edn.events,
    "jepsen-log": jepsen_log.events,
    "porcupine-kv": edn.events,  # one EDN map a line, with :key
}

BLOCKS: Mapping[str, Callable[[str, list[str]], Iterator[list[Event]]]] = {"jsonl": jsonl.blocks}
"""Readers of many events at a time. They raise :class:`checkers.blocks.IrregularError` where the reader of
:data:`FORMATS` has something to say.
"""

LINES_LOOKED_AT = 1000
"""A Jepsen log may begin with much that is no operation."""


def reader(name: str, source: str) -> Reader:
    """The reader of a format.

    Raises:
        HistoryError: there is no such format.
    """
    if name not in FORMATS:
        raise HistoryError(source, None, f"there is no history format {name!r}", f"Use one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


def detect(source: str) -> str:
    """The format of a file, told by its first lines.

    Raises:
        HistoryError: the file looks like none of them.
        OSError: the file cannot be read.
    """
    with open(source, "rb") as file:
        lines = [line.decode("utf-8", errors="replace") for line in file.readlines(1 << 16)[:LINES_LOOKED_AT]]
    first = next((line.strip() for line in lines if line.strip()), "")
    if not first:
        return "jsonl"  # of a run that was killed before its first operation
    if any(jepsen_log.LINE.match(line.rstrip("\r\n")) for line in lines) and first[0] not in "{[":
        return "jepsen-log"
    if first.lstrip("[(").lstrip().startswith(("{:", "#", ";")) or first in ("[", "("):
        return "porcupine-kv" if first.startswith("{:") and ":key " in first and ":time" not in first else "edn"
    if first.startswith("{"):
        return "jsonl"
    step = f"Say its format (one of: {', '.join(FORMATS)}), or name a history file."
    raise HistoryError(source, 1, f"the file is no history in a known format: {shorten(first)}", step)
