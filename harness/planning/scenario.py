"""Scenarios: what to run, validated whole before anything starts.

A scenario file is YAML (design, section 5). Loading answers every question that can be answered without a cluster:
unknown names with the nearest valid one, wrong units, impossible targets, each with its line. What comes out is
frozen and fully resolved: the same facts go into the run folder's ``scenario.yaml`` and can be loaded again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field

from harness.durations import Duration, format_duration
from harness.errors import UsageError, nearest
from harness.nemesis.leaving import Behind
from harness.planning.documents import Document, load_document
from harness.planning.entries import FaultEntry, Frame, parse_entries
from harness.planning.quiet import Quiet
from harness.planning.validation import validated
from harness.substrates import SUBSTRATES
from harness.substrates.ssh_hosts import Hosts
from harness.systems import SYSTEMS
from harness.workloads import WORKLOADS

SHIPPED = Path(__file__).parents[1] / "scenarios"
ZOO = SHIPPED / "zoo"
"""One scenario for each planted bug of ``raftkv``, called as the bug is."""
NODES_MAX = 15
HEALABLE_NODES_MIN = 3
"""From so many nodes on a majority is smaller than the whole."""
FREEZE_LIMIT_NS = 600_000_000_000
"""How long a cluster stands still for inspection, unless the scenario says so: 10 minutes."""
FREEZE_LIMIT_NS_MAX = 24 * 3600 * 1_000_000_000


Facts = ConfigDict(frozen=True, extra="forbid", strict=True)


LOAD_OPTIONS = ("rate", "concurrency", "keys")


class Head(BaseModel):
    """Everything in a scenario file but faults and the parts that other modules validate."""

    model_config = Facts

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")
    about: str = ""
    system: str = "raftkv"
    nodes: int = Field(default=5, ge=1, le=NODES_MAX)
    substrate: str = "process"
    hosts: Hosts | None = None
    """Where nodes run on the substrate ``ssh``; other substrates need none."""
    time: Duration = 30_000_000_000
    seed: int | None = Field(default=None, ge=0, lt=2**63)
    bug: str | None = None
    announce_bug: str | None = None
    on_violation: Literal["stop", "freeze", "continue"] = "continue"
    freeze_limit: Duration | None = None
    keep_data: bool = False
    operation_timeout: Duration = 5_000_000_000
    recovery: Duration = 10_000_000_000
    heal: Literal["all", "majority", "either"] = "all"
    """Whether progress is demanded of the whole cluster only, or of a healed majority first; ``either`` is drawn."""
    behind: Behind | None = None
    """With ``heal: majority`` or ``either``: who is left behind, and how, as far as that is not to be drawn."""
    quiet: Quiet | None = None
    begin: Literal["serving", "started"] = "serving"
    """When load and faults begin: once somebody leads, or as soon as the processes run."""
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
    def even_clocks(self) -> bool:
        """Whether no fault moves a node's monotonic clock: then its traces keep the machine's time."""
        asked = (getattr(entry.parameters, "clock", None) for entry in self.faults)
        said = (draw.said.get("clock") for entry in self.faults for draw in entry.random)
        return "monotonic" not in (*asked, *said)  # families draw it only where that is said

    @property
    def freeze_limit_ns(self) -> int:
        """How long the cluster is frozen at most."""
        return FREEZE_LIMIT_NS if self.head.freeze_limit is None else self.head.freeze_limit

    def to_yaml(self, seed: int | None = None) -> str:
        """The resolved scenario as a file, with the seed that was drawn if it named none."""
        resolved = {**self.source, **({} if seed is None else {"seed": seed})}
        return str(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True))


def shipped_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that ship with Capsize, but for those of the zoo."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def zoo_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that are each made for one planted bug."""
    return tuple(sorted(path.stem for path in ZOO.glob("*.yaml")))


def _shipped(name: str) -> Path | None:
    paths = (folder / f"{name}.yaml" for folder in (SHIPPED, ZOO) if "/" not in name)
    return next((path for path in paths if path.is_file()), None)


def load_scenario(name_or_path: str, overrides: Mapping[str, Any] | None = None) -> Scenario:
    """A shipped scenario by name, or a file by path, with values from the command line laid over it.

    Raises:
        UsageError: with file, line, value and next step.
    """
    path = _shipped(name_or_path) or Path(name_or_path)
    if not path.is_file():
        raise UsageError(
            f"scenario {name_or_path!r}: no such file, and none of that name is shipped: "
            f"{nearest(name_or_path, shipped_scenarios() + zoo_scenarios())}"
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
    head = validated(Head, data, document, ())
    _check_names(head, document)
    _check_freeze(head, document)
    _check_hosts(head, document)
    system = SYSTEMS[head.system]
    workload, parameters = _workload(head, document)
    options = validated(system.Options, head.options, document, ("options",))
    _check_healing(head, document)
    nodes = [f"n{number}" for number in range(1, head.nodes + 1)]
    frame = Frame(document=document, nodes=nodes, time_ns=head.time, quiet=head.quiet, traces=system.traces)
    faults = parse_entries(head.faults, frame)
    return Scenario(
        head=head,
        workload=workload,
        parameters=parameters,
        options=options,
        faults=faults,
        source=_source(head, workload, parameters, options, faults),
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


def _check_hosts(head: Head, document: Document) -> None:
    """A host for each node, where nodes run on hosts."""
    given = len(head.hosts or ())
    if head.substrate == "ssh" and given < head.nodes:
        raise document.error(
            ("hosts",),
            f"{head.nodes} nodes on {given} hosts: give one to each under `hosts`"
            f" (docs/substrates.md), or run fewer{f', like --nodes {given}' if given else ''}",
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


def _check_healing(head: Head, document: Document) -> None:
    """A majority that is no smaller than the whole, or phases that leave no time for anything."""
    if head.heal != "all" and head.nodes < HEALABLE_NODES_MIN:
        problem = f"{head.heal!r} would leave some nodes behind, but every majority of {head.nodes} is all of them"
        raise document.error(("heal",), f"{problem}: use at least {HEALABLE_NODES_MIN} nodes, or heal: all")
    if head.behind is not None:
        _check_behind(head, head.behind, document)
    if head.quiet is not None and head.quiet.length >= head.quiet.every:
        problem = f"quiet for {format_duration(head.quiet.length)} every {format_duration(head.quiet.every)}"
        raise document.error(("quiet",), f"{problem} leaves no time for faults: make `for` shorter than `every`")


def _check_behind(head: Head, behind: Behind, document: Document) -> None:
    """Nobody stays behind, nobody of that name, too many, or a direction of what has none."""
    if head.heal == "all":
        raise document.error(("behind",), "everything is healed at once: say heal: majority, or leave `behind` out")
    nodes = [f"n{number}" for number in range(1, head.nodes + 1)]
    for name in behind.names:
        if name not in nodes:
            raise document.error(("behind", "target"), f"unknown node {name!r}: {nearest(name, ['leader', *nodes])}")
    if 2 * len(set(behind.names)) >= head.nodes:
        raise document.error(("behind", "target"), f"{', '.join(behind.names)} are no minority of {head.nodes} nodes")
    system = SYSTEMS[head.system]
    if behind.how in ("one-way", "messages") and not system.promises.one_way_progress:
        problem = f"{head.system} promises no progress while nodes are cut off in one direction only"
        raise document.error(("behind", "how"), f"{problem}: use cut or stopped")
    if behind.how == "messages" and "message" not in system.abilities:
        raise document.error(("behind", "how"), f"{head.system} has no hook for single messages: use cut or stopped")
    if behind.direction is not None and behind.how not in ("one-way", "messages"):
        raise document.error(("behind", "direction"), "a direction goes with `how: one-way` or `how: messages`")


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
    parameters = validated(WORKLOADS[name].Parameters, values, document, ("workload",))
    reads, known = getattr(parameters, "reads", None), SYSTEMS[head.system].reads
    if reads is not None and reads not in known:
        problem = f"{head.system} has no {reads} reads: use one of {', '.join(sorted(known))}"
        raise document.error(("workload", "reads"), problem)
    return name, parameters


def _source(
    head: Head, workload: str, parameters: BaseModel, options: BaseModel, faults: tuple[FaultEntry, ...]
) -> dict[str, Any]:
    plain = head.model_dump(mode="json", exclude_none=True, by_alias=True)
    plain["workload"] = {"name": workload, **parameters.model_dump(mode="json", exclude_none=True)}
    plain["options"] = options.model_dump(mode="json", exclude_none=True)
    plain["faults"] = [
        {**entry, "random": list(fault.families)} if entry.get("random") == "all" else entry  # "all" may change
        for entry, fault in zip(plain["faults"], faults, strict=True)
    ]
    return plain
