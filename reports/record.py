"""What a run's folder says, parsed once: the facts that pages, lists and plots are made from.

Everything here is read leniently (:mod:`reports.lenient`): a killed run has half of its files, and a page about it is
worth more than a traceback. What could not be read is in ``problems``, in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checkers.operation import Operation, Outcome
from checkers.verdict import Blame, Finding, Result, Validity, Verdict
from reports.folder import RunFolder
from reports.lenient import integer, mapping, read_lines, read_object, read_yaml, sequence, text, texts

FIRING_STRIDE = 100_000
"""A fault that fired again has its entry's number plus a multiple of this (``harness.nemesis.nemesis`` gives the
numbers).
"""


class Facts(dict[str, Any]):
    """An object of a file in which every name exists: what the file does not say is None."""

    def __missing__(self, _name: str) -> None:
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """What the harness's probe saw."""

    holds: bool
    evidence: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A fault as it was executed. Times are ns of the run; ``begin_ns`` is when injecting began, ``end_ns`` when
    healing had ended.
    """

    number: int
    family: str
    summary: str
    targets: tuple[str, ...]
    parameters: Mapping[str, Any]
    planned_ns: int | None
    for_ns: int | None
    trigger: Any
    begin_ns: int | None
    in_force_ns: int | None
    healing_ns: int | None
    end_ns: int | None
    bit: Proof | None
    healed: Proof | None
    left_out: str = ""
    """Why it was not injected at all, though nothing went wrong: drawn at random, it found nobody to hit."""

    @property
    def label(self) -> str:
        """``4``, and ``4 (2nd time)`` for a fault of a trigger that fired again."""
        again, number = divmod(self.number, FIRING_STRIDE)
        return f"{number} ({ordinal(again + 1)} time)" if again > 0 else str(self.number)


@dataclass(frozen=True, kw_only=True, slots=True)
class Freeze:
    """When the nodes were stopped for a person to look at them; ``to_ns`` None if they never went on."""

    from_ns: int
    to_ns: int | None
    nodes: tuple[str, ...]
    ended_by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A phase of the run; ``end_ns`` None if it never ended."""

    name: str
    begin_ns: int
    end_ns: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A run's folder, parsed. ``validity`` is None when the run has no verdict."""

    folder: RunFolder
    run: Facts
    scenario: Facts
    faults: tuple[Fault, ...]
    phases: tuple[Phase, ...]
    freeze: Freeze | None
    validity: Validity | None
    sentence: str
    findings: tuple[Finding, ...]
    statistics: Mapping[str, Mapping[str, Any]]
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """The scenario's name."""
        return text(self.run.get("scenario")) or text(self.scenario.get("name")) or self.folder.path.parent.name

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes: those that the run started, or else those that left something."""
        named = tuple(text(mapping(node).get("name")) for node in sequence(self.run.get("nodes")))
        return tuple(name for name in named if name) or self.folder.node_names()

    @property
    def start_monotonic_ns(self) -> int:
        """The value of the nodes' clock when the run's time was zero; 0 if they do not share the controller's."""
        if self.run.get("one_clock") is False:
            return 0
        return integer(self.run.get("start_monotonic_ns")) or 0


def read_record(folder: RunFolder) -> Record:
    """Reads everything small in a run's folder (not the history, not the traces). Never fails for what they hold."""
    run, run_problem = read_object(folder.run)
    scenario, scenario_problem = read_yaml(folder.scenario)
    schedule, schedule_problem = read_lines(folder.schedule) if folder.schedule.exists() else ((), None)
    verdict, verdict_problem = read_object(folder.verdict) if folder.verdict.exists() else (None, None)
    results = tuple(_result(mapping(row)) for row in sequence(mapping(verdict).get("results")))
    problems = (run_problem, scenario_problem, schedule_problem, verdict_problem)
    return Record(
        folder=folder,
        run=Facts(mapping(run)),
        scenario=Facts(mapping(scenario)),
        faults=tuple(sorted((_fault(row) for row in schedule), key=_order)),
        phases=tuple(_phases(mapping(run).get("phases"))),
        freeze=_freeze(mapping(mapping(run).get("freeze"))),
        validity=parse_validity(mapping(verdict).get("validity")),
        sentence=text(mapping(verdict).get("sentence")),
        findings=Verdict(results=results).findings,
        statistics={result.checker: result.statistics for result in results if result.statistics},
        problems=tuple(problem for problem in problems if problem is not None),
    )


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``11th``."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th") if number % 100 not in (11, 12, 13) else "th"
    return f"{number}{ending}"


def parse_validity(value: Any) -> Validity | None:
    """One of the three verdicts, or None for anything else."""
    try:
        return Validity(value)
    except ValueError:
        return None


def _result(row: Mapping[str, Any]) -> Result:
    checker = text(row.get("checker"), "?")
    findings = tuple(_finding(mapping(item), checker) for item in sequence(row.get("findings")))
    return Result(checker=checker, findings=findings, statistics=mapping(row.get("statistics")))


def _finding(row: Mapping[str, Any], checker: str) -> Finding:
    operations = (_operation(mapping(item)) for item in sequence(row.get("operations")))
    return Finding(
        checker=text(row.get("checker"), checker),
        kind=text(row.get("kind"), "finding"),
        message=text(row.get("message")),
        blame=_blame(row.get("blame")),
        key=row.get("key"),
        operations=tuple(sorted(operations, key=lambda operation: operation.call_index)),
        nodes=texts(row.get("nodes")),
        time_ns=integer(row.get("time_ns")),
        evidence=mapping(row.get("evidence")),
    )


def _blame(value: Any) -> Blame:
    """An unknown word of blame is nobody's proof against the system: it counts as the harness's."""
    try:
        return Blame(value)
    except ValueError:
        return Blame.HARNESS


def _operation(row: Mapping[str, Any]) -> Operation:
    call_ns = integer(row.get("call_ns")) or 0
    outcome = row.get("outcome")
    return Operation(
        index=integer(row.get("index")) or 0,
        process=integer(row.get("process")) or 0,
        f=text(row.get("f"), "?"),
        key=row.get("key"),
        value=row.get("value"),
        result=row.get("result"),
        outcome=Outcome(outcome) if outcome in ("ok", "fail", "info") else Outcome.INFO,
        call_index=integer(row.get("call_index")) or 0,
        return_index=integer(row.get("return_index")),
        call_ns=call_ns,
        return_ns=integer(row.get("return_ns")),
        node=text(row.get("node")) or None,
        error=text(row.get("error")) or None,
    )


def _order(fault: Fault) -> tuple[int, int]:
    """As they came; one that was left out at its planned time."""
    begin = fault.begin_ns if fault.begin_ns is not None else fault.planned_ns
    return (begin or 0, fault.number)


def _fault(row: Mapping[str, Any]) -> Fault:
    injected, healed = _pair(row.get("injected_ns")), _pair(row.get("healed_ns"))
    family = text(row.get("family"), "?")
    return Fault(
        number=integer(row.get("id")) or 0,
        family=family,
        summary=text(row.get("summary")) or family,
        targets=texts(row.get("targets")),
        parameters=mapping(row.get("parameters")),
        planned_ns=integer(row.get("planned_ns")),
        for_ns=integer(row.get("for_ns")),
        trigger=row.get("trigger"),
        begin_ns=injected[0],
        in_force_ns=injected[1],
        healing_ns=healed[0],
        end_ns=healed[1],
        bit=_proof(row.get("bit")),
        healed=_proof(row.get("healed")),
        left_out=text(row.get("left_out")),
    )


def _pair(value: Any) -> tuple[int | None, int | None]:
    items = sequence(value)
    return (integer(items[0]), integer(items[1])) if len(items) == 2 else (None, None)


def _proof(value: Any) -> Proof | None:
    row = mapping(value)
    return Proof(holds=row.get("holds") is True, evidence=mapping(row.get("evidence"))) if row else None


def _phases(value: Any) -> Iterator[Phase]:
    for row in map(mapping, sequence(value)):
        begin = integer(row.get("begin_ns"))
        if begin is not None:
            yield Phase(name=text(row.get("name"), "?"), begin_ns=begin, end_ns=integer(row.get("end_ns")))


def _freeze(row: Mapping[str, Any]) -> Freeze | None:
    begin = integer(row.get("decided_ns"))
    if begin is None:
        return None
    stopped = mapping(row.get("nodes"))
    nodes = tuple(name for name, node in stopped.items() if mapping(node).get("held_by") == "the freeze")
    return Freeze(
        from_ns=begin, to_ns=integer(row.get("resumed_ns")), nodes=nodes, ended_by=text(row.get("resumed_by"), "nobody")
    )
