"""History formats: each a reader from a file's path to events with their lines, and perhaps a writer of such lines.

Add one here and in the tables. Parquet, of operations and not of events, is in :mod:`checkers.formats.parquet`, which
is imported by whoever needs it: it brings a large library.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from checkers.event import Event, HistoryError, shorten
from checkers.formats import edn_history, jepsen_log, jsonl

Reader = Callable[[str, list[str]], Iterator[tuple[int, Event]]]
"""Takes the path and a list to which it adds notes for the user."""

FORMATS: Mapping[str, Reader] = {
    "jsonl": jsonl.events,
    "edn": edn_history.events,
    "jepsen-log": jepsen_log.events,
    "porcupine-kv": edn_history.events,  # one EDN map a line, with :key
}

BLOCKS: Mapping[str, Callable[[str, list[str]], Iterator[list[Event]]]] = {"jsonl": jsonl.blocks}
"""Readers of many events at a time. They raise :class:`checkers.blocks.IrregularError` where the reader of
:data:`FORMATS` has something to say.
"""

WRITERS: Mapping[str, Callable[[Sequence[Event]], Iterator[bytes]]] = {
    "edn": edn_history.lines,
    "jsonl": jsonl.lines,
}
"""Takes the events of a history (which a reader gave) and gives the lines of a file."""

_EDN = re.compile(r"[\s,(\[]*(\{[\s,]*:|#|;|[)\]]\s*$)")

LINES_LOOKED_AT = 1000
HEAD_BYTES = 1 << 20
"""A Jepsen log may begin with much that is no operation."""


def reader(name: str, source: str) -> Reader:
    """The reader of a format.

    Raises:
        HistoryError: there is no such format.
    """
    if name not in FORMATS:
        raise HistoryError(source, None, f"there is no history format {name!r}", f"Use one of: {', '.join(FORMATS)}.")
    return FORMATS[name]


FOREIGN: Mapping[bytes, tuple[str, str]] = {
    b"\x1f\x8b": ("compressed by gzip", "Unpack it first (gunzip)."),
    b"BZh": ("compressed by bzip2", "Unpack it first (bunzip2)."),
    b"\xfd7zXZ": ("compressed by xz", "Unpack it first (unxz)."),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "Unpack it first (unzstd)."),
    b"PK\x03\x04": ("a zip archive", "Unpack it first."),
    b"PAR1": ("a Parquet file", "Histories are exported to Parquet, and read from JSON Lines."),
    b"\xef\xbb\xbf": ("UTF-8 that begins with a byte order mark", "Save it without the mark."),
    b"\xff\xfe": ("UTF-16", "Save it as UTF-8."),
    b"\xfe\xff": ("UTF-16", "Save it as UTF-8."),
}
"""How files begin that are given by mistake: what they are, and what to do."""


def detect(source: str) -> str:
    """The format of a file, told by its first lines.

    Raises:
        HistoryError: the file looks like none of them.
        OSError: the file cannot be read.
    """
    with open(source, "rb") as file:
        start = file.read(HEAD_BYTES)
    for beginning, (what, step) in FOREIGN.items():
        if start.startswith(beginning):
            raise HistoryError(source, 1, f"the file is {what}", step)
    lines = [line.decode("utf-8", errors="replace") for line in start.splitlines()[:LINES_LOOKED_AT]]
    first = next((line.strip() for line in lines if line.strip()), "")
    if not first:
        return "jsonl"  # of a run that was killed before its first operation
    if first[0] not in "{[" and any(jepsen_log.LINE.search(line) for line in lines):
        return "jepsen-log"
    if _EDN.match("\n".join(lines)):
        return "porcupine-kv" if first.startswith("{:") and ":key " in first and ":time" not in first else "edn"
    if first.startswith("{"):
        return "jsonl"
    if first.startswith("["):
        step = "Write one object a line (jq -c '.[]' does), or say the format."
        raise HistoryError(source, 1, f"the file may be a JSON array, and no history: {shorten(first)}", step)
    step = f"Say its format (one of: {', '.join(FORMATS)}), or name a history file."
    raise HistoryError(source, 1, f"the file is no history in a known format: {shorten(first)}", step)
