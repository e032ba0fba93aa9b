"""From a run folder to a verdict: every checker that applies, over the files alone, so that judging works again later
with no cluster.

What only the living run could know (exits, recovery, lag) is in ``run.json``.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from checkers.raft.invariants import check_traces
from checkers.runs import availability as availability_checker
from checkers.runs import statistics as statistics_checker
from checkers.runs.convergence import check_convergence
from checkers.runs.coverage import check_coverage
from checkers.runs.ledger import keep_ledger
from checkers.runs.liveness import check_liveness, check_majority
from checkers.runs.logs import PATTERNS, check_logs
from checkers.runs.windows import Window, scheduled_windows
from checkers.verdict import Blame, Finding, Result, Validity, Verdict
from harness.aftermath import Evidence, harness_finding, read_evidence, read_facts, read_rows
from harness.planning.schedule import FIRING_STRIDE, PlannedFault, plan_schedule
from harness.systems import SYSTEMS
from harness.systems.promises import more_than_slow, reported_errors
from harness.weighing import weigh
from harness.workloads import WORKLOADS
from reports.folder import RunFolder

logger = logging.getLogger(__name__)


def judge(folder: RunFolder) -> Verdict:
    """All checkers over one run. One that fails is a finding of its own and takes no other with it.

    Raises:
        UsageError: the folder holds no run that can be judged, with what is missing.
        HistoryError: the history is malformed, with its line.
    """
    evidence = read_evidence(folder)
    scenario, history, facts = evidence.scenario, evidence.history, evidence.facts
    start_ns = int(facts["start_monotonic_ns"])
    checkers: Mapping[str, Callable[[], Result | None]] = {
        "workload": lambda: WORKLOADS[scenario.workload].check(history, scenario.parameters),
        "raft": lambda: (
            check_traces(evidence.traces, one_clock=bool(facts.get("one_clock")), start_monotonic_ns=start_ns)
            if evidence.traces
            else None
        ),
        "logs": lambda: _logs(folder, evidence),
        "majority": lambda: _majority(evidence),
        "liveness": lambda: _liveness(evidence),
        "convergence": lambda: check_convergence(facts["states"]) if facts.get("states") else None,
        "coverage": lambda: _coverage(evidence),
        "evidence": lambda: Result(checker="evidence", findings=(*evidence.findings, *_missing(evidence))),
        "statistics": lambda: statistics_checker.measure(history),
        "availability": lambda: availability_checker.measure(history),
        "ledger": lambda: keep_ledger(
            history, traces=evidence.traces, start_monotonic_ns=start_ns if facts.get("one_clock") else None
        ),
        "streaming": lambda: Result(
            checker="streaming", statistics={"verdict": facts.get("live_verdict", "did not run")}
        ),
    }
    results = {name: _guarded(name, checker) for name, checker in checkers.items()}
    verdict = _second_look(_together(results.values()), _together(results[name] for name in JUDGED_LIVE), facts)
    system = SYSTEMS[scenario.head.system]
    reads = getattr(scenario.parameters, "reads", None)
    return weigh(verdict, evidence.executed, system.promises, scenario.nodes, system.name, reads=reads)


JUDGED_LIVE = ("workload", "raft")
"""What is judged while the run goes on, too: the history and the traces."""


def _together(results: Iterable[Result | None]) -> Verdict:
    return Verdict(results=tuple(result for result in results if result is not None))


def _guarded(name: str, checker: Callable[[], Result | None]) -> Result | None:
    """A checker's result, or the finding that it gave up: unknown, and no loss of what the others found."""
    try:
        return checker()
    except Exception as error:
        logger.exception("checker %s failed", name)
        message = f"the checker {name!r} failed ({type(error).__name__}: {error}): a defect of Capsize"
        finding = Finding(checker=name, kind="checker failed", message=message, blame=Blame.GAVE_UP)
        return Result(checker=name, findings=(finding,))


def _missing(evidence: Evidence) -> Iterator[Finding]:
    """No silent pass: what should be there to be judged, and is not."""
    facts, scenario = evidence.facts, evidence.scenario
    if SYSTEMS[scenario.head.system].traces:
        for node in scenario.nodes:
            if node not in evidence.traces or not evidence.traces[node].events:
                yield harness_finding(
                    "no trace", f"{node} left no trace: the Raft invariants were not judged on it", node
                )
    if "trouble" in facts:
        yield harness_finding("run failed", f"the run failed on its way ({facts['trouble']}); see harness.log")
    elif "recovery" not in facts:
        yield harness_finding(
            "run cut short",
            "the run did not get to its end (the controller was killed): what is there was judged, "
            "healing was not verified",
        )
    raised = sum(part.get("raised", 0) for part in facts.get("interpreter", {}).values())
    if raised:
        yield harness_finding(
            "client raised", f"the client raised an unforeseen error in {raised} operations: they count as info"
        )
    yield from _unread_keys(evidence)
    yield from _uncompared(evidence)


def _uncompared(evidence: Evidence) -> Iterator[Finding]:
    """Replicas that nobody compared may differ: where several have caught up, several must have told their states."""
    states, recovery = evidence.facts.get("states"), evidence.facts.get("recovery", {})
    running = recovery.get("caught_up_ns", ())
    if SYSTEMS[evidence.scenario.head.system].states and states is not None and len(states) < 2 <= len(running):
        told = ", ".join(states) or "none"
        message = f"{len(running)} nodes had caught up, but of their states {told} was told: replicas were not compared"
        yield harness_finding("replicas not compared", message)


def _unread_keys(evidence: Evidence) -> Iterator[Finding]:
    """Final reads are what shows that acknowledged writes were lost: every key that was written must have been read."""
    if "recovery" not in evidence.facts:
        return  # cut short, and said so
    unread, total = WORKLOADS[evidence.scenario.workload].unread(evidence.history)
    if unread:
        yield harness_finding(
            "final reads incomplete", f"{unread} of {total} written keys could not be read after healing"
        )


CALLS_FAIL: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {"disk": reported_errors, "resource": more_than_slow}
"""Families that can make a node's system calls on its data fail, and which of their faults do."""


def _logs(folder: RunFolder, evidence: Evidence) -> Result:
    """The nodes' logs and ends; what a node says of a disk that a fault made fail is no finding."""
    failed = {
        name
        for row in evidence.executed
        if row["family"] in CALLS_FAIL and CALLS_FAIL[row["family"]](row.get("resolved") or {})
        for name in row.get("targets") or ()
    }
    with contextlib.ExitStack() as stack:
        logs = {
            name: stack.enter_context(path.open(encoding="utf-8", errors="replace"))
            for name in folder.node_names()
            if (path := folder.node(name) / "node.log").exists()
        }
        patterns = (*SYSTEMS[evidence.scenario.head.system].log_patterns, *PATTERNS)
        return check_logs(logs, exits=evidence.facts.get("exits"), disks_failed=failed, patterns=patterns)


def _liveness(evidence: Evidence) -> Result | None:
    """Progress after healing; no word on it when the run did not get that far."""
    recovery = evidence.facts.get("recovery")
    if recovery is None:
        return None
    return check_liveness(
        evidence.history,
        healed_ns=recovery["healed_ns"] if evidence.healed else None,
        bound_ns=recovery["bound_ns"],
        running=tuple(recovery["last"]),
        target_commit=recovery["target_commit"],
        caught_up_ns=recovery["caught_up_ns"],
        last=recovery["last"],
        starved=evidence.starved,
        changes=evidence.changes,
    )


def _majority(evidence: Evidence) -> Result | None:
    """Progress of a healed majority, where others were left behind."""
    facts = evidence.facts.get("majority")
    if facts is None:
        return None
    whole = all(facts["links"].values()) and all(
        fault.healed for fault in evidence.faults if fault.to_ns is not None and fault.to_ns <= facts["healed_ns"]
    )
    return check_majority(
        evidence.history,
        left=tuple(facts["left"]),
        words=facts["words"],
        healed_ns=facts["healed_ns"] if whole else None,
        until_ns=facts["until_ns"],
        bound_ns=facts["bound_ns"],
        running=tuple(facts["last"]),
        target_commit=facts["target_commit"],
        caught_up_ns=facts["caught_up_ns"],
        last=facts["last"],
        starved=evidence.starved,
        changes=evidence.changes,
    )


def _coverage(evidence: Evidence) -> Result:
    """Whether the run was able to find anything."""
    planned = plan_schedule(evidence.scenario, int(evidence.facts["seed"]))
    bound_ms = evidence.scenario.head.lag_max / 1e6
    result = check_coverage(
        evidence.history,
        ok_min=evidence.scenario.head.ok_min,
        faults=evidence.faults,
        requested=len(planned),
        came=came(planned, evidence.faults),
        changes=evidence.changes,
        cut_links=evidence.cut_links,
        controller_lag_ms=evidence.controller_lag_ms,
        controller_lag_ms_max=bound_ms,
        traces=evidence.traces,
        node_lag_ms_max=bound_ms,
        excused=evidence.excused,
    )
    left_out = tuple(_left_out(planned, evidence))
    return Result(checker=result.checker, findings=(*result.findings, *left_out), statistics=result.statistics)


def came(planned: Sequence[PlannedFault], executed: Sequence[Window]) -> int:
    """How many of the executed faults were planned: what keeps nodes behind at the end is not."""
    ids = {fault.id for fault in planned}
    return sum(fault.id % FIRING_STRIDE in ids for fault in executed)


def _left_out(planned: Sequence[PlannedFault], evidence: Evidence) -> Iterator[Finding]:
    """Faults that were asked for and never came."""
    executed = {fault.id for fault in evidence.faults} | {row["id"] for row in evidence.rows}
    missed = [fault for fault in planned if fault.id not in executed]
    silent = [fault for fault in missed if fault.when is not None and not fault.drawn]
    timed = [fault for fault in missed if fault.when is None]
    if silent:
        names = ", ".join(f"fault {fault.id} ({fault.family})" for fault in silent)
        yield harness_finding("trigger never fired", f"what should have triggered {names} never happened")
    if timed:
        yield harness_finding(
            "faults left out",
            f"{len(timed)} of {len(planned)} planned faults never came: the load ended before their time",
        )


def _second_look(verdict: Verdict, same: Verdict, facts: Mapping[str, Any]) -> Verdict:
    """If streaming said invalid and the batch checkers of the ``same`` do not, one of them is wrong: unknown, and ours
    to mend. What others found does not explain it: a node's end may be excused.
    """
    live = str(facts.get("live_verdict", ""))
    if not live.startswith("invalid") or same.validity is Validity.INVALID:
        return verdict
    message = f"the streaming checker said {live!r} and the batch checker did not: a defect of Capsize"
    finding = Finding(checker="streaming", kind="checkers disagree", message=message, blame=Blame.HARNESS)
    return Verdict(results=(*verdict.results, Result(checker="streaming", findings=(finding,))))


def sentence_of(verdict: Verdict, scenario: str, faults: int) -> str:
    """The verdict in one sentence that a person understands."""
    if verdict.findings and verdict.validity is not Validity.VALID:
        first = verdict.findings[0]
        more = len([finding for finding in verdict.findings if finding.blame is first.blame]) - 1
        return first.message + (f" (and {more} more finding{'s' if more > 1 else ''})" if more > 0 else "")
    counts = next((result.statistics for result in verdict.results if result.checker == "statistics"), {})
    ok = counts.get("outcomes", {}).get("ok", {}).get("count", 0)
    acknowledged = f"all {ok:,} acknowledged operations"
    proved = "1 fault that is" if faults == 1 else f"{faults} faults that are"
    under = f"under {proved} proved to have bitten" if faults else "without any fault"
    return f"{scenario}: {acknowledged} are consistent with one correct copy of the data, {under}; {_kept(verdict)}"


def _kept(verdict: Verdict) -> str:
    beyond = len([finding for finding in verdict.findings if finding.blame is Blame.BEYOND_PROMISE])
    if not beyond:
        return "nothing broke a promise"
    return (
        f"no promise was broken ({beyond} {'finding is' if beyond == 1 else 'findings are'} beyond what was promised)"
    )


def write_verdict(folder: RunFolder, verdict: Verdict) -> str:
    """Writes ``verdict.json`` whole; returns the sentence."""
    facts = read_facts(folder)
    faults = len(scheduled_windows(read_rows(folder.schedule)))
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
