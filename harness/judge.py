"""From a run folder to a verdict: every checker that applies, over the files alone, so that judging works again later
with no cluster.

What only the living run could know (exits, recovery, lag) is in ``run.json``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from checkers import History
from checkers import availability as availability_checker
from checkers import statistics as statistics_checker
from checkers.coverage import check_coverage, excuses, worst_lag
from checkers.ledger import keep_ledger
from checkers.liveness import check_liveness
from checkers.logs import check_logs
from checkers.raft import check_traces
from checkers.traces import Trace, TraceError, read_trace
from checkers.verdict import Blame, Finding, Result, Validity, Verdict
from checkers.windows import Window, fault_windows, scheduled_windows
from harness.errors import UsageError
from harness.scenario import Scenario, parse_scenario
from harness.schedule import plan_schedule
from harness.workloads import WORKLOADS
from reports.folder import RunFolder

LOG_LINES_MAX = 2_000_000


def judge(folder: RunFolder) -> Verdict:
    """All checkers over one run.

    Raises:
        UsageError: the folder holds no run that can be judged, with what is missing.
        HistoryError: the history is malformed, with its line.
    """
    facts = read_facts(folder)
    scenario = parse_scenario(_text(folder.scenario), "scenario.yaml")
    history = History.read(folder.history)
    faults = executed_faults(history, _rows(folder.schedule))
    traces, broken = _traces(folder)
    start_ns = int(facts["start_monotonic_ns"])
    results = [
        WORKLOADS[scenario.workload].check(history, scenario.parameters),
        check_traces(traces, one_clock=True, start_monotonic_ns=start_ns) if traces else None,
        *([broken] if broken.findings else []),
        check_logs(_logs(folder), exits=facts.get("exits")),
        _liveness(history, facts, scenario, traces, faults),
        _coverage(history, facts, scenario, traces, faults),
        statistics_checker.measure(history),
        availability_checker.measure(history),
        keep_ledger(history, traces=traces, start_monotonic_ns=start_ns),
        _agreement_with_live(facts),
    ]
    judged = [result for result in results if result is not None]
    return _second_look(Verdict(results=tuple(judged)), facts)


def executed_faults(history: History, rows: Sequence[Mapping[str, Any]]) -> Sequence[Window]:
    """Faults of the schedule, and those in force when the run was killed: only the history tells of them."""
    scheduled = scheduled_windows(rows)
    known = {window.id for window in scheduled}
    return (*scheduled, *(window for window in fault_windows(history.nemesis) if window.id not in known))


def read_facts(folder: RunFolder) -> Mapping[str, Any]:
    """``run.json``.

    Raises:
        UsageError: it is not there, or not JSON.
    """
    try:
        facts: Mapping[str, Any] = orjson.loads(folder.run.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"{folder.run} cannot be read: {error}; give the folder of a run, or a history file") from None
    return facts


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}; give the folder of a run, or a history file") from None


def _rows(path: Path) -> Sequence[Mapping[str, Any]]:
    """The faults as executed; a torn last line (the controller was killed) is left out."""
    rows = []
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            rows.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            break
    return rows


def _traces(folder: RunFolder) -> tuple[Mapping[str, Trace], Result]:
    """Every node's trace; one that cannot be read is a finding, not a failure of the rest."""
    traces: dict[str, Trace] = {}
    findings = []
    for name in folder.node_names():
        if not folder.trace(name).exists():
            continue
        try:
            traces[name] = read_trace(folder.trace(name))
        except TraceError as error:
            findings.append(
                Finding(
                    checker="traces", kind="unreadable trace", message=str(error), blame=Blame.HARNESS, nodes=(name,)
                )
            )
    return traces, Result(checker="traces", findings=tuple(findings))


def _logs(folder: RunFolder) -> Mapping[str, Sequence[str]]:
    logs = {}
    for name in folder.node_names():
        path = folder.node(name) / "node.log"
        if path.exists():
            with path.open(encoding="utf-8", errors="replace") as file:
                logs[name] = list(islice(file, LOG_LINES_MAX))
    return logs


def _liveness(
    history: History,
    facts: Mapping[str, Any],
    scenario: Scenario,
    traces: Mapping[str, Trace],
    faults: Sequence[Window],
) -> Result | None:
    """Progress after healing; no word on it when the run did not get that far."""
    recovery = facts.get("recovery")
    if recovery is None:
        return None
    return check_liveness(
        history,
        healed_ns=recovery["healed_ns"],
        bound_ns=recovery["bound_ns"],
        running=tuple(recovery["last"]),
        target_commit=recovery["target_commit"],
        caught_up_ns=recovery["caught_up_ns"],
        last=recovery["last"],
        starved=_starved(facts, scenario, traces, faults),
    )


def _starved(
    facts: Mapping[str, Any], scenario: Scenario, traces: Mapping[str, Trace], faults: Sequence[Window]
) -> str | None:
    """Whether the machine, not the system, may have been the reason for no progress."""
    bound_ms = scenario.head.lag_max / 1e6
    excused = excuses(faults, start_monotonic_ns=facts["start_monotonic_ns"])
    lags = {name: worst_lag(trace, excused.get(name, ())) for name, trace in traces.items()}
    lags["the controller"] = float(facts.get("lag", {}).get("controller_max_ms", 0.0))
    who, worst_ms = max(lags.items(), key=lambda each: each[1])
    return f"the event loop of {who} lagged {worst_ms:.0f} ms" if worst_ms > bound_ms else None


def _coverage(
    history: History,
    facts: Mapping[str, Any],
    scenario: Scenario,
    traces: Mapping[str, Trace],
    faults: Sequence[Window],
) -> Result:
    links = facts.get("links_after_healing", {})
    timed = [planned for planned in plan_schedule(scenario, int(facts["seed"])) if planned.when is None]
    result = check_coverage(
        history,
        ok_min=scenario.head.ok_min,
        faults=faults,
        requested=len(timed),
        cut_links=[link for link, through in links.items() if not through],
        controller_lag_ms=float(facts.get("lag", {}).get("controller_max_ms", 0.0)),
        controller_lag_ms_max=scenario.head.lag_max / 1e6,
        traces=traces,
        node_lag_ms_max=scenario.head.lag_max / 1e6,
        excused=excuses(faults, start_monotonic_ns=facts["start_monotonic_ns"]),
    )
    extra = tuple(_incomplete(facts, timed, faults))
    return Result(checker=result.checker, findings=(*result.findings, *extra), statistics=result.statistics)


def _incomplete(facts: Mapping[str, Any], timed: Sequence[Any], faults: Sequence[Window]) -> Sequence[Finding]:
    """A run that was cut short says so: faults that never came, a controller that died."""
    if "recovery" not in facts:
        message = (
            "the run did not get to its end (the controller was killed or failed): what is there was judged, "
            "healing was not verified"
        )
        return [Finding(checker="coverage", kind="run cut short", message=message, blame=Blame.HARNESS)]
    executed = {fault.id for fault in faults}
    missed = [planned.id for planned in timed if planned.id not in executed]
    if missed:
        message = f"{len(missed)} of {len(timed)} planned faults never came: the load ended before their time"
        return [
            Finding(
                checker="coverage",
                kind="faults left out",
                message=message,
                blame=Blame.HARNESS,
                evidence={"ids": missed},
            )
        ]
    return []


def _agreement_with_live(facts: Mapping[str, Any]) -> Result:
    """What the streaming checker said last; it may only stop a run, never decide."""
    return Result(checker="streaming", statistics={"verdict": facts.get("live_verdict", "did not run")})


def _second_look(verdict: Verdict, facts: Mapping[str, Any]) -> Verdict:
    """If streaming said invalid and the batch checkers do not, one of them is wrong: unknown, and ours to mend."""
    live = str(facts.get("live_verdict", ""))
    if not live.startswith("invalid") or verdict.validity is Validity.INVALID:
        return verdict
    message = f"the streaming checker said {live!r} and the batch checker did not: a defect of Capsize"
    finding = Finding(checker="streaming", kind="checkers disagree", message=message, blame=Blame.HARNESS)
    return Verdict(results=(*verdict.results, Result(checker="streaming", findings=(finding,))))


def sentence_of(verdict: Verdict, scenario: str, faults: int) -> str:
    """The verdict in one sentence that a person understands."""
    if verdict.findings and verdict.validity is not Validity.VALID:
        first = verdict.findings[0]
        more = len([finding for finding in verdict.findings if finding.blame is first.blame]) - 1
        return first.message + (f" (and {more} more findings)" if more > 0 else "")
    counts = next((result.statistics for result in verdict.results if result.checker == "statistics"), {})
    ok = counts.get("outcomes", {}).get("ok", {}).get("count", 0)
    acknowledged = f"all {ok:,} acknowledged operations"
    proved = "1 fault that is" if faults == 1 else f"{faults} faults that are"
    under = f"under {proved} proved to have bitten" if faults else "without any fault"
    return (
        f"{scenario}: {acknowledged} are consistent with one correct copy of the data, {under}; nothing broke a promise"
    )


def write_verdict(folder: RunFolder, verdict: Verdict) -> str:
    """Writes ``verdict.json`` whole; returns the sentence."""
    facts = read_facts(folder)
    faults = len(scheduled_windows(_rows(folder.schedule)))
    sentence = sentence_of(verdict, str(facts.get("scenario", "run")), faults)
    content = {
        "validity": str(verdict.validity),
        "sentence": sentence,
        "results": [{**asdict(result), "validity": str(result.validity)} for result in verdict.results],
    }
    temporary = folder.verdict.with_suffix(".json.tmp")
    temporary.write_bytes(
        orjson.dumps(
            content, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY, default=str
        )
    )
    os.replace(temporary, folder.verdict)
    return sentence
