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
from harness.errors import UsageError
from harness.scenario import FaultEntry, Scenario, Trigger

FAULTS_MAX = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedFault:
    """A fault with its time (or trigger), not yet with its targets."""

    id: int
    family: str
    parameters: BaseModel
    for_ns: int
    at_ns: int | None = None
    when: Trigger | None = None

    def stream(self, seed: int, number: int) -> Random:
        """The random stream of one execution (a trigger may fire more than once), its own and nobody else's."""
        return Random(f"fault {number} of {seed}")


def plan_schedule(scenario: Scenario, seed: int) -> tuple[PlannedFault, ...]:
    """Every fault of the scenario, numbered from 1 in order of time; triggered ones last.

    Raises:
        UsageError: more than :data:`FAULTS_MAX`.
    """
    drafts = [
        draft
        for place, entry in enumerate(scenario.faults)
        for draft in _expand(entry, scenario, Random(f"entry {place} of {seed}"))
    ]
    drafts.sort(key=lambda draft: (draft.at_ns is None, draft.at_ns or 0))
    if len(drafts) > FAULTS_MAX:
        raise UsageError(f"{len(drafts)} faults are planned: at most {FAULTS_MAX}; choose a longer interval")
    return tuple(replace(draft, id=number) for number, draft in enumerate(drafts, start=1))


def _expand(entry: FaultEntry, scenario: Scenario, random: Random) -> Iterator[PlannedFault]:
    if entry.family is None:
        yield from _expand_random(entry, scenario, random)
        return
    assert entry.parameters is not None
    if entry.when is not None:
        yield PlannedFault(id=0, family=entry.family, parameters=entry.parameters, for_ns=entry.for_ns, when=entry.when)
        return
    times = [entry.at_ns] if entry.at_ns is not None else _multiples(entry.every_ns or 0, scenario.head.time)
    for at_ns in times:
        yield PlannedFault(id=0, family=entry.family, parameters=entry.parameters, for_ns=entry.for_ns, at_ns=at_ns)


def _expand_random(entry: FaultEntry, scenario: Scenario, random: Random) -> Iterator[PlannedFault]:
    for at_ns in _multiples(entry.interval_ns, scenario.head.time):
        family = random.choice(entry.random)
        parameters = FAMILIES[family].draw(random, scenario.nodes)
        yield PlannedFault(id=0, family=family, parameters=parameters, for_ns=entry.for_ns, at_ns=at_ns)


def _multiples(period_ns: int, end_ns: int) -> Sequence[int]:
    return range(period_ns, end_ns, period_ns)
