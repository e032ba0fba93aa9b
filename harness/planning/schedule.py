"""Schedules: from a scenario's fault entries and a seed to a list of planned faults. Pure.

Times are planned here; targets such as ``leader`` can only be resolved when a fault begins, from a random stream that
belongs to the fault alone, so that one fault's draw never shifts another's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from pydantic import BaseModel

from faults import FAMILIES
from faults.family import Setup
from harness.errors import UsageError
from harness.planning.draws import Draw
from harness.planning.entries import FaultEntry, Trigger
from harness.planning.scenario import Scenario

FAULTS_MAX = 10_000
FIRING_STRIDE = 100_000
"""What the id of a fault grows by each time that its trigger fires again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFault:
    """A fault with its time (or trigger), not yet with its targets."""

    id: int
    family: str
    parameters: BaseModel
    for_ns: int
    at_ns: int | None = None
    when: Trigger | None = None
    nth: int = 1
    """Which firing of the trigger it waits for, from 1."""
    entry: int | None = None
    """The entry of the scenario's ``faults`` that asked for it: its place in the list, from 0; None: nobody did."""
    drawn: bool = False
    """Whether its family was drawn at random: nobody asked for this very fault, so it may be left out."""

    def stream(self, seed: int, number: int) -> Random:
        """The random stream of one execution (a trigger may fire more than once), its own and nobody else's."""
        return Random(f"fault {number} of {seed}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Swarm:
    """What a run drew from the families of one entry of ``faults``."""

    entry: int
    """Its place in the list, from 0."""
    on: tuple[str, ...]
    off: tuple[str, ...]


SKIPPED_MAX = 4
"""The most firings of a trigger that lead from one fault drawn for it to the next."""
SUBJECT_SHARE = 0.5


def plan_schedule(scenario: Scenario, seed: int) -> tuple[PlannedFault, ...]:
    """Every fault of the scenario, numbered from 1 in order of time; triggered ones last.

    Raises:
        UsageError: more than :data:`FAULTS_MAX`.
    """
    drafts = [
        draft
        for place, entry in enumerate(scenario.faults)
        for draft in _quietened(_expand(entry, place, scenario, seed), scenario)
    ]
    drafts.sort(key=lambda draft: (draft.at_ns is None, draft.at_ns or 0))
    if len(drafts) > FAULTS_MAX:
        raise UsageError(f"{len(drafts)} faults are planned: at most {FAULTS_MAX}; choose a longer interval")
    return tuple(replace(draft, id=number) for number, draft in enumerate(drafts, start=1))


def plan_swarms(scenario: Scenario, seed: int) -> tuple[Swarm, ...]:
    """Which families are on in this run, entry by entry, where that is drawn."""
    return tuple(
        Swarm(
            entry=place,
            on=(on := entry.swarm_on(seed, place)),
            off=tuple(name for name in entry.families if name not in on),
        )
        for place, entry in enumerate(scenario.faults)
        if entry.swarm
    )


def setup_of(schedule: Sequence[PlannedFault]) -> Setup:
    """What the cluster must have from its start, so that every planned fault can be injected; no more than that."""
    wanted = Setup()
    for planned in schedule:
        wanted = wanted | FAMILIES[planned.family].setup(planned.parameters)
    return wanted


def _expand(entry: FaultEntry, place: int, scenario: Scenario, seed: int) -> Iterator[PlannedFault]:
    if entry.family is None:
        yield from _expand_random(entry, place, scenario, seed)
        return
    assert entry.parameters is not None
    planned = PlannedFault(id=0, family=entry.family, parameters=entry.parameters, for_ns=entry.for_ns, entry=place)
    if entry.when is not None:
        yield replace(planned, when=entry.when)
        return
    times = [entry.at_ns] if entry.at_ns is not None else _multiples(entry.every_ns or 0, scenario.head.time)
    for at_ns in times:
        yield replace(planned, at_ns=at_ns)


def _expand_random(entry: FaultEntry, place: int, scenario: Scenario, seed: int) -> Iterator[PlannedFault]:
    random, on = Random(f"entry {place} of {seed}"), entry.swarm_on(seed, place)
    draws = [draw for draw in entry.random if draw.family in on]
    if entry.when is not None:
        yield from _expand_triggered(entry, entry.when, place, random, draws, scenario)
        return
    for at_ns in _multiples(entry.interval_ns, scenario.head.time):
        draw = _choice(draws, random)
        parameters = draw.parameters(random, scenario.nodes, entry.lacking)
        if parameters is not None:
            planned = PlannedFault(id=0, family=draw.family, parameters=parameters, for_ns=entry.for_ns, entry=place)
            yield replace(planned, at_ns=at_ns, drawn=True)


def _expand_triggered(
    entry: FaultEntry,
    trigger: Trigger,
    place: int,
    random: Random,
    draws: Sequence[Draw],
    scenario: Scenario,
) -> Iterator[PlannedFault]:
    """One fault for each time that the trigger may fire. In between some firings are let pass, or everything would
    happen in the first moment; half of those that can hit the node whose event it was do so, unless the scenario says
    whom to hit.
    """
    nth = 0
    for _ in range(trigger.times):
        draw = _choice(draws, random)
        parameters = draw.parameters(random, scenario.nodes, entry.lacking)
        nth += random.randint(1, SKIPPED_MAX)
        if parameters is not None:
            free = isinstance(getattr(parameters, "target", None), str) and "target" not in draw.said
            if free and random.random() < SUBJECT_SHARE:
                parameters = parameters.model_copy(update={"target": "subject"})
            planned = PlannedFault(id=0, family=draw.family, parameters=parameters, for_ns=entry.for_ns, entry=place)
            yield replace(planned, when=trigger.model_copy(update={"times": 1}), nth=nth, drawn=True)


def _choice(draws: Sequence[Draw], random: Random) -> Draw:
    (draw,) = random.choices(draws, [draw.weight for draw in draws])
    return draw


def _quietened(drafts: Iterator[PlannedFault], scenario: Scenario) -> Iterator[PlannedFault]:
    """Those that a quiet phase leaves time for, cut off where it begins; triggers are held back when they fire."""
    quiet = scenario.head.quiet
    for draft in drafts:
        if quiet is None or draft.at_ns is None:
            yield draft
        elif (for_ns := quiet.allowed_ns(draft.at_ns, draft.for_ns)) > 0:
            yield replace(draft, for_ns=for_ns)


def _multiples(period_ns: int, end_ns: int) -> Sequence[int]:
    return range(period_ns, end_ns, period_ns)
