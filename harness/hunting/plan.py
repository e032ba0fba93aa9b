"""What a hunt through the zoo consists of, fixed before it begins.

Every planted bug that a system lists is hunted in two ways. **Own**: the scenario that is called as the bug is, with
the seeds of the plan, one run each. **Blind**: a suite that knows no bug, in its order, until a run is invalid or the
time is used up; the first attempt counts. **Control**: the same scenarios and seeds without any bug, and the first runs
of the suite; each must be valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.durations import Duration
from harness.errors import UsageError, nearest
from harness.planning.documents import load_document
from harness.planning.scenario import load_scenario, zoo_scenarios
from harness.planning.suite import PlannedRun, load_suite
from harness.systems import SYSTEMS
from harness.systems.protocol import PlantedBug

SHIPPED = Path(__file__).parent / "zoo.yaml"
Way = Literal["own", "blind", "control", "blind-control"]
"""How a run belongs to the hunt."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class OwnPlan(_Facts):
    """Runs of a bug's own scenario, with seeds that follow one another."""

    first_seed: int = Field(ge=0, lt=2**62)
    runs: int = Field(ge=1, le=1000)


class BlindPlan(_Facts):
    """Runs of a suite. ``seed_offset`` is added to its seeds, so that a hunt uses others than it was tuned with."""

    suite: str
    seed_offset: int = Field(default=0, ge=0, lt=2**62)
    budget: Duration = 600_000_000_000
    """A hunt for one bug begins no further run after this."""
    control_runs: int = Field(default=30, ge=0)


class ZooPlan(_Facts):
    """The file."""

    own: OwnPlan
    control: OwnPlan
    blind: BlindPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarry:
    """A planted bug, and the system that has it."""

    system: str
    bug: PlantedBug

    @property
    def name(self) -> str:
        """The bug's name."""
        return self.bug.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Trail:
    """Runs that are made one after the other. ``until_found``: the first invalid one ends it; so does ``budget_ns``."""

    way: Way
    bug: str
    """Empty for the control of a suite, which belongs to no bug."""
    runs: tuple[PlannedRun, ...]
    until_found: bool = False
    budget_ns: int | None = None

    @property
    def key(self) -> str:
        """Names it in results."""
        return f"{self.way}/{self.bug}" if self.bug else self.way


def load_plan(path: Path = SHIPPED) -> ZooPlan:
    """The plan of a file.

    Raises:
        UsageError: with file, line, value and next step.
    """
    try:
        document = load_document(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"plan {str(path)!r} cannot be read as a text file: {error}; give a YAML file") from None
    try:
        return ZooPlan.model_validate(document.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = f"{first['input']!r}: {first['msg'].removeprefix('Value error, ')}"
        raise document.error(first["loc"], problem) from None


def quarry(name: str) -> Quarry:
    """A planted bug by its name.

    Raises:
        UsageError: no system has it.
    """
    for one in all_quarry():
        if one.name == name:
            return one
    raise UsageError(f"bug {name!r}: no system can be started with it: {nearest(name, [q.name for q in all_quarry()])}")


def all_quarry() -> Sequence[Quarry]:
    """Every planted bug of every system."""
    return [Quarry(system=system.name, bug=bug) for system in SYSTEMS.values() for bug in system.bugs.values()]


def own_trail(bug: str, plan: ZooPlan) -> Trail:
    """The scenario made for the bug, with it.

    Raises:
        UsageError: there is no such scenario.
    """
    return Trail(way="own", bug=bug, runs=_runs(bug, plan.own, planted(bug)))


def control_trail(bug: str, plan: ZooPlan) -> Trail:
    """The scenario made for the bug, without it."""
    return Trail(way="control", bug=bug, runs=_runs(bug, plan.control, {}))


def blind_trail(bug: str, plan: ZooPlan) -> Trail:
    """The suite that knows no bug, with it; only runs of the bug's system."""
    runs = tuple(_laid_over(run, planted(bug)) for run in blind_runs(plan, quarry(bug).system))
    return Trail(way="blind", bug=bug, runs=runs, until_found=True, budget_ns=plan.blind.budget)


def blind_control_trail(plan: ZooPlan) -> Trail:
    """The first runs of the suite that knows no bug."""
    return Trail(way="blind-control", bug="", runs=tuple(blind_runs(plan)[: plan.blind.control_runs]))


def trails(bugs: Sequence[str], plan: ZooPlan, ways: Sequence[Way]) -> Iterator[Trail]:
    """Everything that a hunt does, in its order."""
    makers = {"own": own_trail, "blind": blind_trail, "control": control_trail}
    for way in ways:
        if way == "blind-control":
            yield blind_control_trail(plan)
        else:
            yield from (makers[way](bug, plan) for bug in bugs)


@cache
def blind_runs(plan: ZooPlan, system: str | None = None) -> Sequence[PlannedRun]:
    """The runs of the plan's suite, in order; only those of this system."""
    systems: dict[str, str] = {}
    return [
        PlannedRun(scenario=run.scenario, seed=run.seed + plan.blind.seed_offset, overrides=run.overrides)
        for run in load_suite(plan.blind.suite).runs
        if system in (None, _system(run, systems))
    ]


def _system(run: PlannedRun, known: dict[str, str]) -> str:
    """Scenarios are loaded once, however many seeds they are run with."""
    name = f"{run.scenario} {run.overrides}"
    if name not in known:
        known[name] = load_scenario(run.scenario, run.overrides).head.system
    return known[name]


def planted(bug: str) -> Mapping[str, Any]:
    """What is laid over a scenario to hunt a bug: it ends where the bug is found."""
    return {"bug": bug, "on_violation": "stop"}


def _runs(scenario: str, own: OwnPlan, overrides: Mapping[str, Any]) -> tuple[PlannedRun, ...]:
    if scenario not in zoo_scenarios():
        raise UsageError(f"bug {scenario!r}: there is no scenario harness/scenarios/zoo/{scenario}.yaml; write one")
    seeds = range(own.first_seed, own.first_seed + own.runs)
    return tuple(PlannedRun(scenario=scenario, seed=seed, overrides=overrides) for seed in seeds)


def _laid_over(run: PlannedRun, overrides: Mapping[str, Any]) -> PlannedRun:
    return PlannedRun(scenario=run.scenario, seed=run.seed, overrides={**run.overrides, **overrides})
