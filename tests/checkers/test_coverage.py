"""Claims about runs that proved nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from checkers.raft.traces import Trace, parse_trace
from checkers.runs.coverage import check_coverage, excuses, worst_lag
from checkers.runs.windows import Window, fault_windows, scheduled_windows
from checkers.verdict import Blame, Result, Validity
from tests.checkers.stories import MS, fault, history

OPS = tuple((number, number, number + 1, "ok", "read") for number in range(10))
SECOND = 1000 * MS


def window(**changes: Any) -> Window:
    facts = {"id": 1, "family": "kill", "from_ns": 0, "injected_ns": 1, "to_ns": 2, "bit": True, "healed": True}
    return Window(**{**facts, **changes})


def judge(**changes: Any) -> Result:
    return check_coverage(history(*OPS), **{"ok_min": 10, "faults": [window()], "requested": 1, **changes})


def test_only_what_the_load_did_counts() -> None:
    """Final operations show what a load left: without a load there is nothing to see."""
    told = history(*OPS)
    final = replace(told, final=~told.final.astype(bool))
    assert [finding.kind for finding in check_coverage(final, ok_min=1, faults=[window()], requested=1).findings] == [
        "too few operations"
    ]


def test_reads_of_what_nobody_wrote_prove_nothing() -> None:
    """One acknowledged change is needed where changes were asked for."""
    told = history(*OPS, (20, 30, 31, "info", "write"))
    writes = told.f == told.function("write")
    found = check_coverage(told, ok_min=10, faults=[window()], requested=1, changes=writes).findings
    assert [finding.kind for finding in found] == ["nothing changed"]
    told = history(*OPS, (20, 30, 31, "ok", "write"))
    assert check_coverage(told, ok_min=10, faults=[window()], requested=1, changes=writes).findings == ()
    assert check_coverage(told, ok_min=10, faults=[window()], requested=1, changes=writes & False).findings == ()


def lags(*rows: tuple[float, float | None]) -> Trace:
    """A trace of (second, lag in ms); None is a start."""
    lines = []
    for second, lag in rows:
        base = {"time": int(second * SECOND), "wall": 0, "node": "n1"}
        start = {"event": "start", "term": 0, "last_index": 0, "last_term": 0}
        lines.append(json.dumps({**base, **(start if lag is None else {"event": "lag", "max_ms": lag})}))
    return parse_trace("\n".join(lines).encode(), name="n1", node="n1")


def test_a_run_that_proved_something_is_valid() -> None:
    """Enough successes, every fault proved, nobody starved."""
    result = judge(traces={"n1": lags((0, None), (8, 1.0), (9, 12.0))}, controller_lag_ms=30.0)
    assert result.findings == ()
    assert result.statistics["node_lag_ms"] == {"n1": 12.0}


@pytest.mark.parametrize(
    ("changes", "kind", "blame", "number"),
    [
        ({"ok_min": 11}, "too few operations", Blame.HARNESS, "10"),
        ({"faults": [], "requested": 3}, "no fault executed", Blame.HARNESS, "3"),
        ({"faults": [window(bit=False)]}, "fault did not bite", Blame.HARNESS, "1"),
        ({"faults": [window(bit=None, injected_ns=None, healed=None)]}, "fault did not bite", Blame.HARNESS, "1"),
        ({"faults": [window(healed=False)]}, "healing not verified", Blame.HARNESS, "1"),
        ({"faults": [window(healed=None, to_ns=None)]}, "healing not verified", Blame.HARNESS, "1"),
        (
            {"faults": [window(entry=0, hit_nothing="no message came by")]},
            "fault hit nothing",
            Blame.HARNESS,
            "no message",
        ),
        ({"cut_links": ["n1->n2"]}, "healing not verified", Blame.HARNESS, "n1->n2"),
        ({"controller_lag_ms": 501.0}, "machine starved", Blame.MACHINE, "501"),
        ({"traces": {"n1": lags((0, None), (8, 1.0), (9, 700.0))}}, "machine starved", Blame.MACHINE, "700"),
        ({"gave_up": {"register": "60 s were over"}}, "checker gave up", Blame.GAVE_UP, "60 s"),
    ],
)
def test_unknown(changes: dict[str, Any], kind: str, blame: Blame, number: str) -> None:
    """Each way to prove nothing is one finding that makes the run unknown and says the number."""
    result = judge(**changes)
    (finding,) = result.findings
    assert (finding.kind, finding.blame) == (kind, blame)
    assert number in finding.message
    assert result.validity is Validity.UNKNOWN


def test_a_run_without_requested_faults_needs_none() -> None:
    """No faults asked for, none missed."""
    assert judge(faults=[], requested=0).findings == ()


def test_lag_right_after_a_start_is_a_starts() -> None:
    """Reading a log and importing modules is no starvation."""
    assert worst_lag(lags((0, None), (1, 900.0), (2, 5.0), (8, 5.0), (9, 6.0))) == 6.0


def test_lag_under_a_pause_is_ours_but_other_lag_is_not() -> None:
    """SIGSTOP makes lag: what reaches into a fault's window on that node is excused, nothing else is."""
    trace = lags((0, None), (9, 5.0), (10, 5.0), (14, 4000.0), (19, 5.0), (20, 800.0))
    paused = window(family="pause", from_ns=10 * SECOND, to_ns=14 * SECOND, targets=("n1",))
    spans = excuses([paused], start_monotonic_ns=0, settle_ns=SECOND)
    assert worst_lag(trace, spans["n1"]) == 800.0
    assert worst_lag(trace) == 4000.0
    assert "n2" not in spans
    assert not excuses([window(family="partition", targets=("n1",))], start_monotonic_ns=0)


def test_a_pause_that_nobody_healed_excuses_the_rest() -> None:
    """It may still be going on."""
    paused = window(family="pause", from_ns=SECOND, to_ns=None, targets=("n1",))
    assert worst_lag(lags((-9, None), (50, 9000.0)), excuses([paused], start_monotonic_ns=0)["n1"]) == 0.0


def test_windows_from_fault_events() -> None:
    """Injection begins with the invocation and is over when healing is done; the proofs are the completions'."""
    told = history(*OPS, nemesis=(*fault(1, "kill", 2, 6), *fault(2, "pause", 4, None, proved=False)))
    first, second = fault_windows(told.nemesis)
    assert (first.from_ns, first.injected_ns, first.to_ns) == (2 * MS, 4 * MS, 6 * MS)
    assert (first.family, first.bit, first.healed, first.targets) == ("kill", True, True, ("n1",))
    assert (second.bit, second.healed, second.to_ns) == (False, None, None)


def test_windows_from_the_schedule() -> None:
    """A fault that found nobody to hit is in schedule.jsonl only, and is one that did not bite."""
    row = {"id": 7, "family": "kill", "planned_ns": 5, "injected_ns": [6, 7], "healed_ns": [8, 9], "targets": ["n1"]}
    proved = {**row, "bit": {"holds": True}, "healed": {"holds": True}, "summary": "n1 killed"}
    why = {"holds": False, "evidence": {"reason": "nobody to hit: n1 is held by another fault"}}
    nobody = {**row, "id": 8, "planned_ns": 1, "injected_ns": None, "healed_ns": None, "bit": why}
    first, second = scheduled_windows([proved, nobody])
    assert (first.id, first.from_ns, first.bit) == (8, 1, False)
    assert (second.from_ns, second.injected_ns, second.to_ns, second.healed) == (6, 7, 9, True)
    (finding,) = judge(faults=[first, second]).findings
    assert finding.kind == "fault did not bite"
    assert finding.message == "fault 8 (kill) did not bite: nobody to hit: n1 is held by another fault"


def test_what_is_asked_for_again_and_again_need_not_hit_each_time() -> None:
    """A fault that comes every few seconds proves something if it took hold of something once."""
    idle = window(id=1, entry=0, hit_nothing="no message came by")
    assert judge(faults=[idle, window(id=2, entry=0)]).findings == ()
    (finding,) = judge(faults=[idle, window(id=2, entry=0, hit_nothing="no message came by")]).findings
    assert "2 times" in finding.message
    assert [each.kind for each in judge(faults=[idle, window(id=2, entry=1)]).findings] == ["fault hit nothing"]


def test_nobody_expected_what_was_drawn_to_hit() -> None:
    """A schedule that the seed drew would make runs unknown for nothing."""
    row = {"id": 1, "family": "message", "injected_ns": [1, 2], "healed_ns": [3, 4], "hit_nothing": "none came by"}
    proofs = {"bit": {"holds": True}, "healed": {"holds": True}}
    (drawn,) = scheduled_windows([{**row, **proofs, "entry": 0, "drawn": True}])
    (asked,) = scheduled_windows([{**row, **proofs, "entry": 0, "drawn": False}])
    assert judge(faults=[drawn]).findings == ()
    assert [finding.kind for finding in judge(faults=[asked]).findings] == ["fault hit nothing"]
