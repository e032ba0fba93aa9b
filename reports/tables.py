"""Statistics as tables: whatever nested figures a checker counted, in rows and columns that a person can read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.lenient import plain
from reports.words import THIN, count, duration

ROWS_MAX = 60
_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9, "seconds": 1e9}
_UNIT = re.compile(r"(?:^|_)(ns|us|ms|s|seconds)(?:_(?:max|min|mean|median|p\d+))?$")
"""Where a name says its unit: at its end, or before the name of a statistic (``gap_ms_max``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """A table with a title (empty for the figures that stand alone). The first column names the row."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


def tabulate(statistics: Mapping[str, Any], title: str = "") -> Sequence[Table]:
    """Figures that stand alone first, then a table for each group."""
    alone = {name: value for name, value in statistics.items() if not _is_group(value)}
    groups = {name: value for name, value in statistics.items() if _is_group(value)}
    tables = [_pairs(title, alone)] if alone else []
    for name, value in groups.items():
        tables.extend(_group(f"{title} {words(name)}".strip(), value))
    return tables


def _is_group(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _group(title: str, value: Any) -> Iterator[Table]:
    if isinstance(value, Mapping) and not all(isinstance(item, Mapping) for item in value.values()):
        yield from tabulate(value, title)
        return
    named = (
        value.items()
        if isinstance(value, Mapping)
        else ((str(item.get("id", number)), item) for number, item in enumerate(value, 1))
    )
    rows = [(str(name), item) for name, item in named]
    if any(isinstance(inner, Mapping) and inner for _, item in rows for inner in item.values()):
        for name, item in rows[:ROWS_MAX]:
            yield from tabulate(item, f"{title}: {name}")
        return
    yield _matrix(title, rows)


def _matrix(title: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Table:
    columns = [name for name in dict.fromkeys(name for _, item in rows for name in item) if name != "id"]
    cells = tuple((name, *(figure(column, item.get(column)) for column in columns)) for name, item in rows[:ROWS_MAX])
    heads = ("", *(words(column) for column in columns))
    return Table(title=title, columns=heads, rows=cells, left_out=max(0, len(rows) - ROWS_MAX))


def _pairs(title: str, values: Mapping[str, Any]) -> Table:
    rows = tuple((words(name), figure(name, value)) for name, value in list(values.items())[:ROWS_MAX])
    return Table(title=title, columns=(), rows=rows, left_out=max(0, len(values) - ROWS_MAX))


def words(name: str) -> str:
    """``longest_gap_ns`` as ``longest gap``, ``gap_ms_max`` as ``gap max``: the unit is in the figure."""
    name = str(name)
    unit = _UNIT.search(name)
    if unit and unit.start() > 0:
        name = name.removesuffix("_per_s") if name.endswith("_per_s") else name[: unit.start()] + name[unit.end(1) :]
    return name.replace("_", " ")


def figure(name: str, value: Any) -> str:
    """A value with its unit, which its name ends in."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _measured(str(name), value)
    if isinstance(value, list | tuple):
        return (
            ", ".join(figure(name, item) if not isinstance(item, Mapping) else plain(item) for item in value[:20])
            or "–"
        )
    return value if isinstance(value, str) else plain(value)


def _measured(name: str, value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    unit = _UNIT.search(name)
    if name.endswith("_per_s"):
        return f"{count(value)}{THIN}/s"
    return duration(value * _NS[unit[1]]) if unit else count(value)
