"""Rows of ``capsize list``: runs as cells of text, newest first. The command line makes the table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from reports.catalog import Catalog, Query, RunRow
from reports.verdicts import SIGNS
from reports.words import count

COLUMNS = ("verdict", "scenario", "seed", "started", "took", "ok", "bug", "found", "folder")


def rows(root: Path, limit: int | None = 50) -> Sequence[tuple[str, ...]]:
    """A tuple of cells, one for each of :data:`COLUMNS`, for each of the newest runs under ``root``."""
    if not root.is_dir():
        return ()
    catalog = Catalog(root)
    catalog.refresh()
    return [cells(row) for row in catalog.runs(Query(limit=limit))]


def cells(row: RunRow) -> tuple[str, ...]:
    """One run's cells."""
    return (
        f"{SIGNS[row.validity]} {row.validity if row.validity != 'none' else 'no verdict'}",
        row.scenario,
        row.seed,
        started_words(row.started),
        "–" if row.seconds is None else f"{row.seconds:.0f} s",
        "–" if row.operations_ok is None else count(row.operations_ok),
        row.bug,
        row.kinds,
        row.path,
    )


def started_words(started: str) -> str:
    """``2026-11-20 23:14:05``, of an ISO 8601 time in UTC."""
    return started[:19].replace("T", " ") if len(started) >= 19 and started[10] == "T" else started
