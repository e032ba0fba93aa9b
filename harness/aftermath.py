"""What a run left, read once: its facts, its scenario, its history, the faults as they were executed, the traces.

Read from files alone. What cannot be read and is not needed for a verdict is a finding; what is needed is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from checkers import History
from checkers.history import Column
from checkers.raft.traces import Trace, TraceError, read_trace
from checkers.runs.coverage import Spans, excuses, worst_lag
from checkers.runs.windows import Window, fault_windows, freeze_windows, scheduled_windows
from checkers.verdict import Blame, Finding
from harness.errors import UsageError
from harness.planning.scenario import Scenario, parse_scenario
from harness.workloads import WORKLOADS
from harness.workloads.protocol import changes
from reports.folder import RunFolder

FACTS_NEEDED = ("seed", "start_monotonic_ns", "scenario")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What a run left, read once."""

    facts: Mapping[str, Any]
    """``run.json``"""
    scenario: Scenario
    history: History
    rows: Sequence[Mapping[str, Any]]
    """``schedule.jsonl``"""
    faults: Sequence[Window]
    """Those that were executed."""
    traces: Mapping[str, Trace]
    findings: Sequence[Finding]
    """What could not be read."""

    @property
    def executed(self) -> Sequence[Mapping[str, Any]]:
        """Faults that were injected, as in ``schedule.jsonl``. Of those that were in force when the run was killed, the
        history tells, and not all.
        """
        known = {row["id"] for row in self.rows}
        return (*(row for row in self.rows if row.get("injected_ns")), *map(_row_of, unknown(self.faults, known)))

    @property
    def changes(self) -> Column:
        """A mask of the operations that change something."""
        return changes(self.history, WORKLOADS[self.scenario.workload].changing)

    @property
    def starved(self) -> str | None:
        """Whether the machine, not the system, may be the reason of what did not happen; in words."""
        bound_ms = self.scenario.head.lag_max / 1e6
        lags = {name: worst_lag(trace, self.excused.get(name, ())) for name, trace in self.traces.items()}
        lags["the controller"] = self.controller_lag_ms
        who, worst_ms = max(lags.items(), key=lambda each: each[1])
        return f"the event loop of {who} lagged {worst_ms:.0f} ms" if worst_ms > bound_ms else None

    @property
    def excused(self) -> Spans:
        """When a node's lag is of our own making, by its own clock."""
        spans = (*self.faults, *freeze_windows(self.history.nemesis))
        start_ns, offsets = int(self.facts["start_monotonic_ns"]), self.facts.get("clock_offsets_ns", {})
        excused = dict(excuses(spans, start_monotonic_ns=start_ns))
        for row in self.rows:
            if row.get("resolved", {}).get("clock") == "monotonic":  # what it measures by was moved, and stays so
                begin_ns = start_ns + row["injected_ns"][0] if row["injected_ns"] else start_ns
                excused |= {node: [*excused.get(node, ()), (begin_ns, 2**62)] for node in row["targets"]}
        return {
            node: [(begin + offsets.get(node, 0), end + offsets.get(node, 0)) for begin, end in each]
            for node, each in excused.items()
        }

    @property
    def controller_lag_ms(self) -> float:
        """The worst lag of the controller's event loop."""
        return float(self.facts.get("lag", {}).get("controller_max_ms", 0.0))

    @property
    def cut_links(self) -> Sequence[str]:
        """Links that were still cut when everything was healed."""
        return [link for link, through in self.facts.get("links_after_healing", {}).items() if not through]

    @property
    def healed(self) -> bool:
        """Whether healing was verified: only then may the system be blamed for not recovering."""
        injected = [fault for fault in self.faults if fault.injected_ns is not None]
        return "links_after_healing" in self.facts and not self.cut_links and all(fault.healed for fault in injected)


def read_evidence(folder: RunFolder) -> Evidence:
    """Reads a run's folder.

    Raises:
        UsageError: it holds no run that can be judged.
        HistoryError: the history is malformed.
    """
    facts = read_facts(folder)
    if not folder.history.exists():
        raise UsageError(
            f"{folder.history} does not exist: the run ended before its load began; there is nothing to judge"
        )
    history = History.read(folder.history)
    traces, findings = _traces(folder)
    rows = read_rows(folder.schedule)
    return Evidence(
        facts=facts,
        scenario=parse_scenario(_text(folder.scenario), "scenario.yaml"),
        history=history,
        rows=rows,
        faults=executed_faults(history, rows),
        traces=traces,
        findings=findings,
    )


def executed_faults(history: History, rows: Sequence[Mapping[str, Any]]) -> Sequence[Window]:
    """Faults of the schedule, and those in force when the run was killed: only the history tells of them."""
    scheduled = scheduled_windows(rows)
    return (*scheduled, *unknown(fault_windows(history.nemesis), {row["id"] for row in rows}))


def unknown(windows: Iterable[Window], known: Collection[int]) -> Iterator[Window]:
    """Those without a line in the schedule."""
    return (window for window in windows if window.id not in known)


def _row_of(window: Window) -> Mapping[str, Any]:
    """What is known of a fault that has no line in the schedule."""
    return {
        "id": window.id,
        "family": window.family,
        "summary": window.summary,
        "targets": window.targets,
        "resolved": {},
        "injected_ns": [window.from_ns, window.injected_ns or window.from_ns],
    }


def read_facts(folder: RunFolder) -> Mapping[str, Any]:
    """``run.json``.

    Raises:
        UsageError: it is not there, not JSON, or not a run's.
    """
    try:
        facts = orjson.loads(folder.run.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"{folder.run} cannot be read: {error}; give the folder of a run, or a history file") from None
    if not isinstance(facts, dict) or any(name not in facts for name in FACTS_NEEDED):
        raise UsageError(f"{folder.run} is not a run's: it needs {', '.join(FACTS_NEEDED)}; give the folder of a run")
    return facts


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}; give the folder of a run, or a history file") from None


def read_rows(path: Path) -> Sequence[Mapping[str, Any]]:
    """The faults as executed; a torn last line (the controller was killed) is left out."""
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            break
    return rows


def _traces(folder: RunFolder) -> tuple[Mapping[str, Trace], Sequence[Finding]]:
    """Every node's trace; one that cannot be read is a finding, not a failure of the rest."""
    traces: dict[str, Trace] = {}
    findings = []
    for name in folder.node_names():
        if not folder.trace(name).exists():
            continue
        try:
            traces[name] = read_trace(folder.trace(name))
        except TraceError as error:
            findings.append(harness_finding("unreadable trace", str(error), name))
    return traces, findings


def harness_finding(kind: str, message: str, *nodes: str) -> Finding:
    """That Capsize, and not the system, was at fault."""
    return Finding(checker="evidence", kind=kind, message=message, blame=Blame.HARNESS, nodes=nodes)
