"""Scenarios: what to run, validated whole before anything starts.

A scenario file is YAML (design, section 5). Loading answers every question that can be answered without a cluster:
unknown names with the nearest valid one, wrong units, impossible targets, each with its line. What comes out is
frozen and fully resolved: the same facts go into the run folder's ``scenario.yaml`` and can be loaded again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from checkers.raft.traces import AnyEvent
from faults import FAMILIES
from faults.family import Setup
from harness.documents import Document, load_document
from harness.documents import Path as PlaceInFile
from harness.durations import Duration, format_duration, parse_duration
from harness.errors import UsageError, nearest
from harness.substrates import SUBSTRATES
from harness.systems import SYSTEMS
from harness.targets import check_selector
from harness.workloads import WORKLOADS

SHIPPED = Path(__file__).parent / "scenarios"
NODES_MAX = 15
FREEZE_LIMIT_NS = 600_000_000_000
"""How long a cluster stands still for inspection, unless the scenario says so: 10 minutes."""
FREEZE_LIMIT_NS_MAX = 24 * 3600 * 1_000_000_000


Facts = ConfigDict(frozen=True, extra="forbid", strict=True)


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

LOAD_OPTIONS = ("rate", "concurrency", "keys")

TRIGGER_ALIASES: Mapping[str, Mapping[str, str]] = {
    "became_leader": {"event": "role", "role": "leader"},
    "became_candidate": {"event": "role", "role": "candidate"},
    "voted": {"event": "vote"},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FaultEntry:
    """One entry of ``faults``: exactly one of ``at``, ``every``, ``when`` or ``random`` says when."""

    family: str | None
    parameters: BaseModel | None
    for_ns: int
    at_ns: int | None = None
    every_ns: int | None = None
    when: Trigger | None = None
    random: tuple[str, ...] = ()
    interval_ns: int = 0

    @property
    def families(self) -> tuple[str, ...]:
        """Every family that the entry may inject."""
        return self.random if self.family is None else (self.family,)

    def setup(self, nodes: tuple[str, ...]) -> Setup:
        """What it needs of the cluster; of what is drawn at random, all that may be drawn."""
        if self.family is not None:
            return FAMILIES[self.family].setup(self.parameters)
        wanted, random = Setup(), Random(0)
        for name in self.random:
            for _ in range(SETUP_DRAWS):
                wanted = wanted | FAMILIES[name].setup(FAMILIES[name].draw(random, nodes))
        return wanted


SETUP_DRAWS = 64
"""How often a family that is drawn at random is asked what it may need: parameters are drawn from a few kinds."""


class Head(BaseModel):
    """Everything in a scenario file but faults and the parts that other modules validate."""

    model_config = Facts

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    about: str = ""
    system: str = "raftkv"
    nodes: int = Field(default=5, ge=1, le=NODES_MAX)
    substrate: str = "process"
    time: Duration = 30_000_000_000
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    bug: str | None = None
    announce_bug: str | None = None
    on_violation: Literal["stop", "freeze", "continue"] = "continue"
    freeze_limit: Duration | None = None
    keep_data: bool = False
    operation_timeout: Duration = 5_000_000_000
    recovery: Duration = 10_000_000_000
    ok_min: int = Field(default=100, ge=0)
    lag_max: Duration = 2_000_000_000
    workload: Any = "register"
    options: Any = Field(default_factory=dict)
    faults: Any = Field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """A validated scenario. ``source`` is the resolved document, as plain data, that loads to the same scenario."""

    head: Head
    workload: str
    parameters: BaseModel
    options: BaseModel
    faults: tuple[FaultEntry, ...]
    source: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The scenario's name: a folder of ``runs/``."""
        return self.head.name

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes: n1, n2, ..."""
        return tuple(f"n{number}" for number in range(1, self.head.nodes + 1))

    @property
    def setup(self) -> Setup:
        """What the cluster must have from its start, so that every fault can be injected."""
        wanted = Setup()
        for entry in self.faults:
            wanted = wanted | entry.setup(self.nodes)
        return wanted

    @property
    def freeze_limit_ns(self) -> int:
        """How long the cluster is frozen at most."""
        return FREEZE_LIMIT_NS if self.head.freeze_limit is None else self.head.freeze_limit

    def to_yaml(self, seed: int | None = None) -> str:
        """The resolved scenario as a file, with the seed that was drawn if it named none."""
        resolved = {**self.source, **({} if seed is None else {"seed": seed})}
        return str(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True))


def shipped_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that ship with Capsize."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def load_scenario(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """A shipped scenario by name, or a file by path, with values from the command line laid over it.

    Raises:
        UsageError: with file, line, value and next step.
    """
    path = SHIPPED / f"{name_or_path}.yaml"
    if not path.is_file() or "/" in name_or_path:
        path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(
            f"scenario {name_or_path!r}: no such file, and none of that name is shipped: "
            f"{nearest(name_or_path, shipped_scenarios())}"
        )
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"scenario {name_or_path!r} cannot be read as a text file: {error}; give a YAML file"
        ) from None
    return parse_scenario(text, str(name_or_path), overrides)


def parse_scenario(text: str, name: str, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """Validates the text of a scenario file.

    Raises:
        UsageError: with file, line, value and next step.
    """
    document = load_document(text, name)
    if not isinstance(document.data, dict):
        raise document.error(
            (), f"a scenario is a mapping (name: ..., faults: ...), not {type(document.data).__name__}"
        )
    data = _overlay(document.data, overrides or {})
    head = _validate(Head, data, document, ())
    _check_names(head, document)
    _check_freeze(head, document)
    system = SYSTEMS[head.system]
    workload, parameters = _workload(head, document)
    options = _validate(system.Options, head.options, document, ("options",))
    nodes = [f"n{number}" for number in range(1, head.nodes + 1)]
    faults = tuple(
        _fault(entry, ("faults", place), document, nodes, head)
        for place, entry in enumerate(_list(head.faults, document))
    )
    return Scenario(
        head=head,
        workload=workload,
        parameters=parameters,
        options=options,
        faults=faults,
        source=_source(head, workload, parameters, options),
    )


def _overlay(data: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Command-line values win; mappings are laid into mappings, and the load's own options into the workload."""
    load = {key: overrides[key] for key in LOAD_OPTIONS if key in overrides}
    merged = _merged(data, {key: value for key, value in overrides.items() if key not in LOAD_OPTIONS})
    workload = merged.get("workload", "register")
    named = {"name": workload} if isinstance(workload, str) else workload
    if isinstance(named, dict):
        before = data.get("workload")
        kept = {"name": before} if isinstance(before, str) and "name" not in named else {}
        merged["workload"] = {"name": "register", **kept, **named, **load}
    return merged


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merged(merged[key], value) if both else value
    return merged


def _validate(model: type[Any], data: Any, document: Document, place: PlaceInFile) -> Any:
    if not isinstance(data, dict):
        raise document.error(place, f"{data!r} is not a mapping of names to values")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise _readable(error, model, document, place) from None


def _readable(error: ValidationError, model: type[BaseModel], document: Document, place: PlaceInFile) -> UsageError:
    first = error.errors(include_url=False)[0]
    where = (*place, *first["loc"])
    if first["type"] == "extra_forbidden":
        return document.error(
            where, f"unknown name {first['loc'][-1]!r}: {nearest(str(first['loc'][-1]), model.model_fields)}"
        )
    if first["type"] == "missing":
        return document.error(where, f"{first['loc'][-1]!r} is missing: add it")
    return document.error(where, f"{first['input']!r}: {first['msg'].removeprefix('Value error, ')}")


def _check_names(head: Head, document: Document) -> None:
    if head.system not in SYSTEMS:
        raise document.error(("system",), f"unknown system {head.system!r}: {nearest(head.system, SYSTEMS)}")
    if head.substrate not in SUBSTRATES:
        raise document.error(
            ("substrate",), f"unknown substrate {head.substrate!r}: {nearest(head.substrate, SUBSTRATES)}"
        )
    for field in ("bug", "announce_bug"):
        bug = getattr(head, field)
        bugs = SYSTEMS[head.system].bugs
        if bug is not None and bug not in bugs:
            raise document.error(
                (field,), f"unknown bug {bug!r} of {head.system}: {nearest(bug, bugs) if bugs else 'it has none'}"
            )


def _check_freeze(head: Head, document: Document) -> None:
    """A limit of what never happens, or one that is no limit."""
    limit = head.freeze_limit
    if limit is None:
        return
    if head.on_violation != "freeze":
        problem = f"{format_duration(limit)} limits a freeze, but on_violation is {head.on_violation!r}"
        raise document.error(("freeze_limit",), f"{problem}: leave it out, or say on_violation: freeze")
    if not 0 < limit <= FREEZE_LIMIT_NS_MAX:
        problem = f"{format_duration(limit)} is no time to look at a frozen cluster"
        raise document.error(("freeze_limit",), f"{problem}: more than nothing, and at most a day (24h)")


def _workload(head: Head, document: Document) -> tuple[str, BaseModel]:
    if not isinstance(head.workload, dict) or "name" not in head.workload:
        raise document.error(("workload",), f"{head.workload!r}: write the workload's name, or a mapping with `name:`")
    name = head.workload["name"]
    if name not in WORKLOADS:
        raise document.error(("workload",), f"unknown workload {name!r}: {nearest(str(name), WORKLOADS)}")
    if name not in SYSTEMS[head.system].workloads:
        raise document.error(
            ("workload",), f"{head.system} has no client for {name!r}: {nearest(name, SYSTEMS[head.system].workloads)}"
        )
    values = {key: value for key, value in head.workload.items() if key != "name"}
    return name, _validate(WORKLOADS[name].Parameters, values, document, ("workload",))


def _list(entries: Any, document: Document) -> Sequence[Any]:
    if not isinstance(entries, list):
        raise document.error(("faults",), f"{entries!r} is not a list of faults (each begins with a dash)")
    return entries


_TIMING = ("at", "every", "when", "random", "for", "interval")


def _fault(entry: Any, place: PlaceInFile, document: Document, nodes: Sequence[str], head: Head) -> FaultEntry:
    if not isinstance(entry, dict):
        raise document.error(
            place, f"{entry!r} is not a fault; write e.g. {{at: 5s, for: 3s, kill: {{target: leader}}}}"
        )
    kinds = [key for key in ("at", "every", "when", "random") if key in entry]
    if len(kinds) != 1:
        raise document.error(
            place, f"a fault has exactly one of at, every, when, random; this one has {', '.join(kinds) or 'none'}"
        )
    timing = {key: _timing(entry, key, place, document) for key in ("at", "every", "for", "interval") if key in entry}
    _check_within(timing, head, place, document)
    if "random" in entry:
        return _random_fault(entry, timing, place, document, head)
    if "for" not in entry:
        raise document.error(place, "a fault says how long it lasts: add `for: 3s`")
    family = _family(entry, place, document)
    trigger = _trigger(entry["when"], (*place, "when"), document) if "when" in entry else None
    parameters = _parameters(family, entry[family], (*place, family), document)
    _check_possible(family, parameters, nodes, (*place, family), document, triggered=trigger is not None)
    return FaultEntry(
        family=family,
        parameters=parameters,
        for_ns=timing["for"],
        at_ns=timing.get("at"),
        every_ns=timing.get("every"),
        when=trigger,
    )


def _timing(entry: Mapping[str, Any], key: str, place: PlaceInFile, document: Document) -> int:
    try:
        return parse_duration(entry[key])
    except ValueError as error:
        raise document.error((*place, key), str(error)) from None


def _check_within(timing: Mapping[str, int], head: Head, place: PlaceInFile, document: Document) -> None:
    if timing.get("at", 0) >= head.time:
        raise document.error(
            (*place, "at"),
            f"{format_duration(timing['at'])} is not before the end of the load ({format_duration(head.time)})",
        )
    for key in ("every", "for", "interval"):
        if key in timing and timing[key] <= 0:
            raise document.error((*place, key), "must be longer than nothing")
    for key in ("every", "interval"):
        if timing.get(key, 0) >= head.time:
            problem = f"{format_duration(timing[key])} is not shorter than the load ({format_duration(head.time)})"
            raise document.error((*place, key), f"{problem}: the fault would never come")


def _random_fault(
    entry: Mapping[str, Any], timing: Mapping[str, int], place: PlaceInFile, document: Document, head: Head
) -> FaultEntry:
    names = entry["random"]
    unknown = [key for key in entry if key not in _TIMING]
    if unknown:
        raise document.error(
            (*place, unknown[0]), f"unknown name {unknown[0]!r} beside `random`: {nearest(unknown[0], _TIMING)}"
        )
    if not isinstance(names, list) or not names:
        raise document.error((*place, "random"), f"{names!r} is not a list of fault families")
    for name in names:
        if name not in FAMILIES:
            raise document.error((*place, "random"), f"unknown fault {name!r}: {nearest(str(name), FAMILIES)}")
    interval = timing.get("interval", min(6_000_000_000, head.time // 3))
    return FaultEntry(
        family=None, parameters=None, random=tuple(names), interval_ns=interval, for_ns=timing.get("for", interval // 2)
    )


def _family(entry: Mapping[str, Any], place: PlaceInFile, document: Document) -> str:
    names = [key for key in entry if key not in _TIMING]
    for name in names:
        if name not in FAMILIES:
            raise document.error((*place, name), f"unknown fault {name!r}: {nearest(name, FAMILIES)}")
    if len(names) != 1:
        raise document.error(
            place,
            f"a fault names exactly one family; this one has {', '.join(names) or 'none'}: {nearest('', FAMILIES)}",
        )
    return names[0]


def _trigger(data: Any, place: PlaceInFile, document: Document) -> Trigger:
    trigger: Trigger = _validate(Trigger, data, document, place)
    if (trigger.event is None) == (trigger.log is None):
        raise document.error(
            place, "a trigger has exactly one of `event` (of a trace) and `log` (a pattern in the log)"
        )
    if trigger.log is not None:
        _check_pattern(trigger.log, (*place, "log"), document)
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
    parameters: BaseModel = _validate(FAMILIES[family].Parameters, data if data is not None else {}, document, place)
    return parameters


def _check_possible(
    family: str, parameters: BaseModel, nodes: Sequence[str], place: PlaceInFile, document: Document, *, triggered: bool
) -> None:
    """Refuses what could never be injected: a dry run of the pure resolution with some targets."""
    selector = getattr(parameters, "target", None)
    try:
        if selector is not None:
            check_selector(selector, nodes, triggered=triggered)
        named = [selector] if isinstance(selector, str) else list(selector or ())
        targets = tuple(node for node in nodes if node in named) or tuple(nodes[:1])
        FAMILIES[family].resolve(parameters, targets=targets, nodes=tuple(nodes), random=Random(0))
    except ValueError as error:
        raise document.error((*place, "target") if selector is not None else place, str(error)) from None


def _source(head: Head, workload: str, parameters: BaseModel, options: BaseModel) -> dict[str, Any]:
    plain = head.model_dump(mode="json", exclude_none=True)
    plain["workload"] = {"name": workload, **parameters.model_dump(mode="json", exclude_none=True)}
    plain["options"] = options.model_dump(mode="json", exclude_none=True)
    return plain
