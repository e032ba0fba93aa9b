"""The lines of traces and logs that a finding rests on, quoted, so that nobody has to open the files to see them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from checkers.verdict import Finding
from reports.folder import RunFolder
from reports.lenient import integer, mapping, plain, sequence, text

QUOTES_MAX = 12
LINE_MAX = 320


@dataclass(frozen=True, kw_only=True, slots=True)
class Quote:
    """One line: where it stands (``file`` is relative to the run's folder) and what it says. ``time_ns`` is run time,
    if known.
    """

    node: str
    file: str
    line: int | None
    words: str
    time_ns: int | None


def quotes(finding: Finding, folder: RunFolder, start_monotonic_ns: int) -> Sequence[Quote]:
    """The quoted lines of a finding's evidence (``lines``: rows of ``node``, ``line``, maybe ``file``, ``text``)."""
    rows = [mapping(row) for row in sequence(finding.evidence.get("lines"))[:QUOTES_MAX]]
    return [_quote(row, folder, start_monotonic_ns) for row in rows]


def _quote(row: Mapping[str, Any], folder: RunFolder, zero: int) -> Quote:
    node, line = text(row.get("node")), integer(row.get("line"))
    name = text(row.get("file"), "trace.jsonl").rsplit("/", 1)[-1]
    known = node in folder.node_names() and (folder.node(node) / name).is_file()
    said = text(row.get("text")) or (_line(folder, node, name, line) if known and line else "") or plain(row)
    at = integer(row.get("monotonic_ns"))
    return Quote(
        node=node,
        file=f"nodes/{node}/{name}" if known else "",
        line=line,
        words=said if len(said) <= LINE_MAX else f"{said[:LINE_MAX]}…",
        time_ns=None if at is None or not zero else at - zero,
    )


def _line(folder: RunFolder, node: str, name: str, number: int) -> str:
    """One line of a node's file, from 1; empty if it has no such line."""
    with (folder.node(node) / name).open("rb") as file:
        return next(islice(file, number - 1, number), b"")[: LINE_MAX * 4].decode(errors="replace").strip()


def evidence_rows(finding: Finding) -> Iterator[tuple[str, str]]:
    """What else the evidence holds, as name and value. Numbers of operations and relations are for the drawing; what
    is left out here stands in verdict.json.
    """
    for name, value in finding.evidence.items():
        if name in _DRAWN or value in ("", [], {}) or (value is None and name != "initial"):
            continue
        words = "nothing" if value is None else value if isinstance(value, str) else _listed(value)
        yield _NAMES.get(name, name.replace("_", " ")), words


_DRAWN = ("lines", "before", "roles", "path", "stuck", "longest_order", "core")
"""Shown in their own way, or lists of raw numbers."""

_NAMES: Mapping[str, str] = {
    "initial": "value at the beginning",
    "possible_states": "values that were possible then",
    "longest_order_length": "operations that could be put in order",
    "impossible_operations": "operations that are impossible together",
    "last": "last index of its log",
    "missing": "not stored on",
    "before": "before",
    "votes": "voted for",
}


def _listed(value: Any) -> str:
    items = sequence(value)
    plainly = items and all(isinstance(item, str | int | float) for item in items)
    return ", ".join(map(text, items)) if plainly else plain(value, 600)
