"""Statistics as tables: whatever nested figures a checker counted, in rows and columns that a person can read."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.lenient import plain
from reports.words import THIN, count, duration

ROWS_MAX = 40
LISTED_MAX = 8
"""Rows of a list without names: such lists are sorted, and their tail is noise."""
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


Row = tuple[str, Mapping[str, Any]]


def tabulate(statistics: Mapping[str, Any]) -> Sequence[Table]:
    """Figures that stand alone first, then one table for each group, however deep it is nested."""
    alone = {name: value for name, value in statistics.items() if not _is_group(value)}
    groups = [(words(name), tuple(_rows("", value))) for name, value in statistics.items() if _is_group(value)]
    return [*([_pairs("", alone)] if alone else []), *(_matrix(title, rows) for title, rows in groups)]


def _is_group(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _rows(path: str, value: Any) -> Iterator[Row]:
    """A row for each object in the group that holds figures; its name is the path to it."""
    if not isinstance(value, Mapping):
        yield from ((str(item.get("id", number)), _flat(item)) for number, item in enumerate(value[:LISTED_MAX], 1))
        return
    figures = {name: item for name, item in value.items() if not _is_group(item) or _is_measured(name, item)}
    if figures and not path and len(figures) == len(value) and not any(map(_is_group, figures.values())):
        yield from ((words(name), {"": item}) for name, item in figures.items())
        return
    if figures:
        yield path, _flat(figures)
    for name, item in value.items():
        if name not in figures:
            yield from _rows(f"{path} {words(name)}".strip(), item)


def _is_measured(name: str, item: Any) -> bool:
    """``latency_ms: {p50, p99}``: the statistics of one measured quantity, which belong into one row."""
    return bool(_UNIT.search(str(name))) and isinstance(item, Mapping) and not any(map(_is_group, item.values()))


def _flat(item: Mapping[str, Any]) -> Mapping[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in item.items():
        if _is_measured(name, value):
            flat |= {f"{name}_{statistic}": figure_ for statistic, figure_ in value.items()}
        elif name != "id":
            flat[str(name)] = value
    return flat


def _matrix(title: str, rows: Sequence[Row]) -> Table:
    columns = list(dict.fromkeys(name for _, item in rows for name in item))
    cells = tuple((name, *(figure(column, item.get(column)) for column in columns)) for name, item in rows[:ROWS_MAX])
    heads = () if columns == [""] else ("", *(words(column) for column in columns))
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
