"""The table of a hunt as plain data: what the page, ``zoo.json`` and the Markdown page are made from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.hunting.hunt import Book, ended
from harness.hunting.plan import Quarry, ZooPlan, blind_control_trail, blind_trail, control_trail, own_trail
from harness.hunting.score import blind_score, control_score, own_score, state_of
from harness.unattended import RunResult

OWN_FOUND_SHARE = 0.8
"""A row counts as found by its own scenario from 4 of 5 runs on."""
EXAMPLES = ("example", "blind_example")
"""A run that found it, by its own scenario and blind."""


def table(bugs: Sequence[Quarry], plan: ZooPlan, book: Book, facts: Mapping[str, Any]) -> dict[str, Any]:
    """All rows and totals. ``facts``: date, command, revision and the like; taken over as they are."""
    rows = [_row(quarry, plan, book) for quarry in bugs]
    controls = [result for quarry in bugs for result in book.of(control_trail(quarry.name, plan))]
    controls += book.of(blind_control_trail(plan))
    control = control_score(controls)
    return {
        **facts,
        "plan": plan.model_dump(),
        "rows": rows,
        "control": {
            "runs": control.runs,
            "verdicts": dict(control.verdicts),
            "not_valid": [_told(result) for result in controls if state_of(result) != "valid"],
        },
        "totals": {
            "rows": len(rows),
            "own_hunted": sum(row["own"]["runs"] > 0 for row in rows),
            "own_found": sum(row["own_found"] for row in rows),
            "blind_hunted": sum(row["blind"]["ended"] for row in rows),
            "blind_found": sum(row["blind"]["found"] for row in rows),
            "alarms": len(control.alarms),
        },
    }


def _row(quarry: Quarry, plan: ZooPlan, book: Book) -> dict[str, Any]:
    bug, runs = quarry.bug, book.of(own_trail(quarry.name, plan))
    blind = blind_trail(quarry.name, plan)
    tries = book.of(blind)
    own = own_score(runs)
    control = control_score(book.of(control_trail(quarry.name, plan)))
    return {
        "row": bug.row,
        "name": bug.name,
        "system": quarry.system,
        "what": bug.what,
        "source": bug.source,
        "observer": bug.observer,
        "own": asdict(own),
        "own_found": own.runs > 0 and own.found >= OWN_FOUND_SHARE * own.runs,
        "blind": asdict(blind_score(tries, ended=bool(tries) and ended(blind, tries))),
        "control": {"runs": control.runs, "verdicts": dict(control.verdicts)},
        "example": _example(runs),
        "blind_example": _example(tries),
    }


def _example(results: Sequence[RunResult]) -> dict[str, Any] | None:
    """A run that found it, to look at."""
    return next((_told(result) for result in results if result.validity == "invalid"), None)


def _told(result: RunResult) -> dict[str, Any]:
    return {
        "scenario": result.scenario,
        "seed": result.seed,
        "state": state_of(result),
        "said": result.error or result.sentence,
        "folder": result.folder,
    }


def linked(data: Mapping[str, Any], runs_root: Path, folder: Path) -> dict[str, Any]:
    """The same with ``href`` from a page in ``folder`` to the pages of runs."""

    def link(told: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        if told is None:
            return None
        page = runs_root / (told["folder"] or "nowhere") / "report.html"
        return {**told, "href": os.path.relpath(page, folder) if page.is_file() else ""}

    control = {**data["control"], "not_valid": [link(told) for told in data["control"]["not_valid"]]}
    return {
        **data,
        "rows": [{**row, **{key: link(row.get(key)) for key in EXAMPLES}} for row in data["rows"]],
        "control": control,
    }
