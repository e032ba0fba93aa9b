"""Suites: what a campaign runs. A YAML file of scenarios and seeds.

    name: default
    budget: 2h
    runs:
      - {scenario: default, seeds: 1..20}
      - {scenario: local-read, seeds: [1, 2], set: {bug: local-read}}

``set`` lays values over the scenario as ``capsize run --set`` does; dots reach into mappings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.durations import Duration
from harness.errors import UsageError, nearest
from harness.planning.documents import Document, load_document, nested
from harness.planning.scenario import Scenario, load_scenario

SHIPPED = Path(__file__).parents[1] / "suites"
RUNS_MAX = 100_000
SEED_END = 2**63
_RANGE = re.compile(r"([0-9]{1,20})\.\.([0-9]{1,20})")


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
    rows = [_entry(entry, document, place) for place, entry in enumerate(file.runs)]
    if sum(map(len, rows)) > RUNS_MAX:
        raise document.error(("runs",), f"more than {RUNS_MAX:,} runs: no campaign ends that; take fewer seeds")
    longest = max(len(row) for row in rows)
    runs = [row[turn] for turn in range(longest) for row in rows if turn < len(row)]
    return Suite(name=file.name, budget_ns=file.budget, runs=tuple(runs))


def _entry(entry: SuiteEntry, document: Document, place: int) -> list[PlannedRun]:
    seeds = _seeds(entry.seeds, document, place)
    try:
        overrides = nested(entry.set, "set")
        load_unattended(entry.scenario, overrides)
    except UsageError as error:
        raise document.error(("runs", place), str(error)) from None
    return [PlannedRun(scenario=entry.scenario, seed=seed, overrides=overrides) for seed in seeds]


def load_unattended(name_or_path: str, overrides: Mapping[str, Any]) -> Scenario:
    """A scenario for a run that nobody watches.

    Raises:
        UsageError: it does not load, or it would wait for a person.
    """
    scenario = load_scenario(name_or_path, overrides)
    if scenario.head.on_violation == "freeze":
        problem = (
            f"scenario {name_or_path!r} has on_violation 'freeze', which waits for a person to look at the cluster"
        )
        raise UsageError(f"{problem}: in a campaign nobody does; write on_violation: stop, or continue")
    return scenario


def _seeds(seeds: list[int] | str | int, document: Document, place: int) -> Sequence[int]:
    where = ("runs", place, "seeds")
    several = _range(seeds, document, where) if isinstance(seeds, str) else [seeds] if isinstance(seeds, int) else seeds
    if not several:
        raise document.error(where, "the list is empty: no run would be made; write 1..20, or a list [1, 2]")
    for seed in (several[0], several[-1]) if isinstance(several, range) else several:
        if not 0 <= seed < SEED_END:
            raise document.error(where, f"{seed} is no seed: it is a number from 0 to {SEED_END - 1}")
    return several


def _range(text: str, document: Document, where: tuple[str | int, ...]) -> range:
    match = _RANGE.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise document.error(where, f"{text!r} is no range of seeds; write 1..20, or a list [1, 2]")
    if int(match[2]) - int(match[1]) >= RUNS_MAX:
        raise document.error(where, f"{text!r} are too many seeds: at most {RUNS_MAX:,} runs")
    return range(int(match[1]), int(match[2]) + 1)
