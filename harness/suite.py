"""Suites: what a campaign runs. A YAML file of scenarios and seeds.

    name: default
    budget: 2h
    runs:
      - {scenario: default, seeds: 1..20}
      - {scenario: local-read, seeds: [1, 2], set: {bug: local-read}}

``set`` lays values over the scenario as the options of ``capsize run`` do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.documents import Document, load_document
from harness.durations import Duration
from harness.errors import UsageError, nearest
from harness.scenario import load_scenario

SHIPPED = Path(__file__).parent / "suites"
RUNS_MAX = 100_000
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One run of a campaign."""

    scenario: str
    seed: int
    overrides: Mapping[str, Any] = field(default_factory=dict)


class SuiteEntry(BaseModel):
    """One entry of ``runs``."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    scenario: str
    seeds: list[int] | str | int
    set: dict[str, Any] = Field(default_factory=dict)


class SuiteFile(BaseModel):
    """A suite file as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    about: str = ""
    budget: Duration = 7_200_000_000_000
    runs: list[SuiteEntry] = Field(min_length=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Suite:
    """A validated suite: every scenario in it loads. Seeds take turns, so that a short budget still sees every
    scenario.
    """

    name: str
    budget_ns: int
    runs: tuple[PlannedRun, ...]


def shipped_suites() -> tuple[str, ...]:
    """Names of the suites that ship with Capsize."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def load_suite(name_or_path: str) -> Suite:
    """A shipped suite by name, or a file by path.

    Raises:
        UsageError: with file, line, value and next step; also for a scenario in it that does not load.
    """
    path = SHIPPED / f"{name_or_path}.yaml"
    if not path.is_file() or "/" in name_or_path:
        path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(
            f"suite {name_or_path!r}: no such file, and none of that name is shipped: "
            f"{nearest(name_or_path, shipped_suites())}"
        )
    try:
        document = load_document(path.read_text(encoding="utf-8"), name_or_path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"suite {name_or_path!r} cannot be read as a text file: {error}; give a YAML file") from None
    return _suite(document)


def _suite(document: Document) -> Suite:
    try:
        file = SuiteFile.model_validate(document.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise document.error(
            first["loc"], f"{first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
        ) from None
    rows = [
        [_run(entry, seed) for seed in _seeds(entry.seeds, document, place)] for place, entry in enumerate(file.runs)
    ]
    for place, entry in enumerate(file.runs):
        _check_loads(entry, document, place)
    longest = max(len(row) for row in rows)
    runs = [row[turn] for turn in range(longest) for row in rows if turn < len(row)]
    return Suite(name=file.name, budget_ns=file.budget, runs=tuple(runs[:RUNS_MAX]))


def _run(entry: SuiteEntry, seed: int) -> PlannedRun:
    return PlannedRun(scenario=entry.scenario, seed=seed, overrides=entry.set)


def _check_loads(entry: SuiteEntry, document: Document, place: int) -> None:
    try:
        load_scenario(entry.scenario, entry.set)
    except UsageError as error:
        raise document.error(("runs", place), str(error)) from None


def _seeds(seeds: list[int] | str | int, document: Document, place: int) -> list[int]:
    if isinstance(seeds, int):
        return [seeds]
    if isinstance(seeds, list):
        return seeds
    match = _RANGE.fullmatch(seeds)
    if match is None or int(match[1]) > int(match[2]):
        raise document.error(("runs", place, "seeds"), f"{seeds!r} is no range of seeds; write 1..20, or a list [1, 2]")
    return list(range(int(match[1]), min(int(match[2]), int(match[1]) + RUNS_MAX) + 1))
