"""Entries of a scenario's ``faults``: what is injected, and which of ``at``, ``every``, ``when`` and ``random`` says
when. Validated as far as that goes without a cluster; each error names the line, the value and the next step.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, get_args

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from checkers.raft.traces import AnyEvent
from faults import FAMILIES
from faults.family import Storage
from harness.durations import Duration, format_duration, parse_duration
from harness.errors import nearest
from harness.planning.documents import Document
from harness.planning.documents import Path as PlaceInFile
from harness.planning.draws import Draw, parse_draws
from harness.planning.dry_runs import check_target, why_never
from harness.planning.quiet import Quiet
from harness.planning.validation import validated

INTERVAL_NS = 6_000_000_000
"""Between two faults that are drawn at random, unless the scenario says so (and is long enough)."""


TRIGGERED_NS = 1_000_000_000
"""How long a fault that is drawn at random and injected by a trigger lasts, unless the scenario says so."""


class Trigger(BaseModel):
    """Fires on a line of a node's trace (``event`` and any of its fields) or a pattern in its log (``log``, a regular
    expression).
    """

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)

    event: str | None = None
    log: str | None = None
    times: int = Field(default=1, ge=1, le=1000)
    after: Duration = 0


EVENT_FIELDS: Mapping[str, tuple[str, ...]] = {
    kind.__struct_config__.tag: tuple(field.name for field in msgspec.structs.fields(kind))
    for kind in AnyEvent.__args__
}
"""Events of a trace and their fields (docs/formats.md)."""

TRIGGER_ALIASES: Mapping[str, Mapping[str, str]] = {
    "became_leader": {"event": "role", "role": "leader"},
    "became_candidate": {"event": "role", "role": "candidate"},
    "voted": {"event": "vote"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultEntry:
    """One entry of ``faults``: exactly one of ``at``, ``every``, ``when`` or ``random`` says when; or ``random`` says
    what, and ``when`` says when.
    """

    family: str | None
    parameters: BaseModel | None
    for_ns: int
    at_ns: int | None = None
    every_ns: int | None = None
    when: Trigger | None = None
    random: tuple[Draw, ...] = ()
    """Families to draw from."""
    swarm: bool = False
    """Whether each run draws first which of the families are on."""
    lacking: frozenset[str] = frozenset()
    """Storage that cannot be had: what would need it is not drawn."""
    interval_ns: int = 0

    @property
    def families(self) -> tuple[str, ...]:
        """Every family that the entry may inject."""
        return tuple(draw.family for draw in self.random) if self.family is None else (self.family,)

    def without(self, families: Collection[str], storage: Collection[str] = ()) -> FaultEntry:
        """The same, with fewer families to draw from, and nothing that needs this storage."""
        kept = tuple(draw for draw in self.random if draw.family not in families)
        return replace(self, random=kept, lacking=self.lacking | frozenset(storage))

    def to_source(self) -> dict[str, Any]:
        """A random entry's own words in a scenario file; ``lacking`` only where something is."""
        lacking = {"lacking": sorted(self.lacking)} if self.lacking else {}
        return {"random": {draw.family: draw.to_source() for draw in self.random}, **lacking}

    def swarm_on(self, seed: int, place: int) -> tuple[str, ...]:
        """The families that are on in the run of this seed: each with an even chance, and at least one (swarm testing:
        Groce et al., ISSTA 2012: what is left out lets what is in go further). Pure.
        """
        names = self.families
        if not self.swarm:
            return names
        random = Random(f"swarm {place} of {seed}")
        chosen = [name for name in names if random.random() < 0.5]
        return tuple(chosen) or (random.choice(names),)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """What an entry has to fit into."""

    document: Document
    nodes: Sequence[str]
    time_ns: int
    quiet: Quiet | None
    traces: bool = True
    """Whether the system writes traces, which ``event`` listens to."""


def parse_entries(entries: Any, frame: Frame) -> tuple[FaultEntry, ...]:
    """The entries of a scenario's ``faults``.

    Raises:
        UsageError: with file, line, value and next step.
    """
    if not isinstance(entries, list):
        raise frame.document.error(("faults",), f"{entries!r} is not a list of faults (each begins with a dash)")
    return tuple(_entry(entry, ("faults", place), frame) for place, entry in enumerate(entries))


_KINDS = ("at", "every", "when", "random")
_TIMING = (*_KINDS, "for", "interval", "swarm", "lacking")
_RANDOM_ONLY = ("interval", "swarm", "lacking")


def _entry(entry: Any, place: PlaceInFile, frame: Frame) -> FaultEntry:
    document = frame.document
    if not isinstance(entry, dict):
        raise document.error(
            place, f"{entry!r} is not a fault; write e.g. {{at: 5s, for: 3s, kill: {{target: leader}}}}"
        )
    kinds = [key for key in _KINDS if key in entry]
    if len(kinds) != 1 and kinds != ["when", "random"]:
        raise document.error(
            place, f"a fault has exactly one of at, every, when, random; this one has {', '.join(kinds) or 'none'}"
        )
    timing = {key: _timing(entry, key, place, frame) for key in ("at", "every", "for", "interval") if key in entry}
    _check_within(timing, place, frame)
    if "random" in entry:
        return _random_fault(entry, timing, place, frame)
    for key in _RANDOM_ONLY:
        if key in entry:
            raise document.error((*place, key), f"{key!r} belongs to `random`: leave it out, or draw at random")
    if "for" not in entry:
        raise document.error(place, "a fault says how long it lasts: add `for: 3s`")
    family = _family(entry, place, frame)
    trigger = _trigger(entry["when"], (*place, "when"), frame) if "when" in entry else None
    parameters = _parameters(family, entry[family], (*place, family), document)
    _check_possible(family, parameters, (*place, family), frame, triggered=trigger is not None)
    return FaultEntry(
        family=family,
        parameters=parameters,
        for_ns=timing["for"],
        at_ns=timing.get("at"),
        every_ns=timing.get("every"),
        when=trigger,
    )


def _timing(entry: Mapping[str, Any], key: str, place: PlaceInFile, frame: Frame) -> int:
    try:
        return parse_duration(entry[key])
    except ValueError as error:
        raise frame.document.error((*place, key), str(error)) from None


def _check_within(timing: Mapping[str, int], place: PlaceInFile, frame: Frame) -> None:
    document, end = frame.document, format_duration(frame.time_ns)
    if timing.get("at", 0) >= frame.time_ns:
        at = format_duration(timing["at"])
        problem = f"{at} is not before the end of the load ({end}): move it, or make `time` longer"
        raise document.error((*place, "at"), problem)
    for key in ("every", "for", "interval"):
        if key in timing and timing[key] <= 0:
            raise document.error((*place, key), "must be longer than nothing")
    for key in ("every", "interval"):
        if timing.get(key, 0) >= frame.time_ns:
            problem = f"{format_duration(timing[key])} is not shorter than the load ({end})"
            raise document.error((*place, key), f"{problem}: the fault would never come")
    if "at" in timing and frame.quiet is not None:
        _check_loud(timing["at"], timing.get("for", 1), place, frame)


def _check_loud(at_ns: int, for_ns: int, place: PlaceInFile, frame: Frame) -> None:
    """A fault at a fixed time must not be swallowed by a quiet phase."""
    assert frame.quiet is not None
    if frame.quiet.allowed_ns(at_ns, for_ns) < for_ns:
        phase = f"every {format_duration(frame.quiet.every)} it is quiet for {format_duration(frame.quiet.length)}"
        raise frame.document.error(
            (*place, "at"), f"{format_duration(at_ns)} runs into a quiet phase ({phase}): move it, or make it shorter"
        )


def _random_fault(entry: Mapping[str, Any], timing: Mapping[str, int], place: PlaceInFile, frame: Frame) -> FaultEntry:
    unknown = [key for key in entry if key not in _TIMING]
    if unknown:
        raise frame.document.error(
            (*place, unknown[0]), f"unknown name {unknown[0]!r} beside `random`: {nearest(unknown[0], _TIMING)}"
        )
    swarm = entry.get("swarm", False)
    if not isinstance(swarm, bool):
        raise frame.document.error((*place, "swarm"), f"{swarm!r} is neither true nor false")
    interval = timing.get("interval", min(INTERVAL_NS, frame.time_ns // 3))
    families = parse_draws(
        entry["random"], tuple(frame.nodes), (*place, "random"), frame.document, triggered="when" in entry
    )
    drawn = FaultEntry(
        family=None,
        parameters=None,
        random=families,
        swarm=swarm,
        lacking=_lacking(entry.get("lacking", []), (*place, "lacking"), frame.document),
        interval_ns=interval,
        for_ns=timing.get("for", interval // 2),
    )
    return _triggered(drawn, families, entry, timing, place, frame) if "when" in entry else drawn


def _triggered(
    drawn: FaultEntry,
    families: tuple[Draw, ...],
    entry: Mapping[str, Any],
    timing: Mapping[str, int],
    place: PlaceInFile,
    frame: Frame,
) -> FaultEntry:
    """Drawn at random, but injected when something happens. Changes of membership take turns and are slow: they are
    not drawn.
    """
    if "interval" in entry:
        raise frame.document.error((*place, "interval"), "the trigger says when: leave `interval` out, or `when`")
    quick = tuple(draw for draw in families if "members" not in FAMILIES[draw.family].claims)
    if not quick:
        raise frame.document.error((*place, "random"), "none of these can be triggered: they change who is a member")
    trigger = _trigger(entry["when"], (*place, "when"), frame)
    return replace(drawn, random=quick, when=trigger, interval_ns=0, for_ns=timing.get("for", TRIGGERED_NS))


def _lacking(names: Any, place: PlaceInFile, document: Document) -> frozenset[str]:
    """Kinds of storage; a run's own scenario.yaml says so, so that the same is drawn again."""
    known = get_args(Storage)
    if not isinstance(names, list) or any(name not in known for name in names):
        raise document.error(place, f"{names!r} is no list of kinds of storage: {', '.join(known)}")
    return frozenset(names)


def _family(entry: Mapping[str, Any], place: PlaceInFile, frame: Frame) -> str:
    names = [key for key in entry if key not in _TIMING]
    for name in names:
        if name not in FAMILIES:
            raise frame.document.error((*place, name), f"unknown fault {name!r}: {nearest(name, FAMILIES)}")
    if len(names) != 1:
        raise frame.document.error(
            place,
            f"a fault names exactly one family; this one has {', '.join(names) or 'none'}: {nearest('', FAMILIES)}",
        )
    return names[0]


def _trigger(data: Any, place: PlaceInFile, frame: Frame) -> Trigger:
    document = frame.document
    trigger: Trigger = validated(Trigger, data, document, place)
    if (trigger.event is None) == (trigger.log is None):
        raise document.error(
            place, "a trigger has exactly one of `event` (of a trace) and `log` (a pattern in the log)"
        )
    if trigger.log is not None:
        _check_pattern(trigger.log, (*place, "log"), document)
    elif not frame.traces:
        raise document.error(
            (*place, "event"), "the system writes no trace, so no event would fire it: use `log`, a pattern in its log"
        )
    else:
        _check_event(trigger, place, document)
    return trigger


def _check_pattern(pattern: str, place: PlaceInFile, document: Document) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise document.error(place, f"{pattern!r} is not a regular expression: {error}") from None


def _check_event(trigger: Trigger, place: PlaceInFile, document: Document) -> None:
    """A misspelt event, or a field that the event has not, would never fire."""
    name = str(trigger.event)
    if name not in TRIGGER_ALIASES and name not in EVENT_FIELDS:
        raise document.error(
            (*place, "event"), f"unknown event {name!r}: {nearest(name, [*TRIGGER_ALIASES, *EVENT_FIELDS])}"
        )
    fields = EVENT_FIELDS[TRIGGER_ALIASES.get(name, {"event": name})["event"]]
    for field in trigger.model_extra or {}:
        if field not in fields:
            raise document.error((*place, field), f"event {name!r} has no field {field!r}: {nearest(field, fields)}")


def _parameters(family: str, data: Any, place: PlaceInFile, document: Document) -> BaseModel:
    parameters: BaseModel = validated(FAMILIES[family].Parameters, data if data is not None else {}, document, place)
    return parameters


def _check_possible(family: str, parameters: BaseModel, place: PlaceInFile, frame: Frame, *, triggered: bool) -> None:
    """Refuses what could never be injected."""
    selector = getattr(parameters, "target", None)
    check_target(selector, frame.nodes, place, frame.document, triggered=triggered)
    problem = why_never(family, parameters, frame.nodes)
    if problem is not None:
        raise frame.document.error(place, problem)
