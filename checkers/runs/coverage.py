"""No silent pass: a run that proved nothing is unknown, not valid (design, section 6).

Every finding here blames the harness or the machine, never the system, and carries the number that decided. A run that
has one may still be invalid for another reason: what was found stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from checkers.history import OK, Column, History
from checkers.raft.traces import Lag, Start, Trace
from checkers.runs.windows import FREEZE, Window
from checkers.verdict import Blame, Finding, Result

CHECKER = "coverage"

STOPPING = frozenset({"pause", "kill", "power", "resource", "disk", "clock", FREEZE})
"""Families under which a node's own event loop is late because of us."""

SETTLE_NS = 3_000_000_000
"""How long after such a fault, or after its start, a node's lag is still ours: it works off what has piled up."""

Spans = Mapping[str, Sequence[tuple[int, int]]]
"""Per node, spans of its CLOCK_MONOTONIC (ns)."""


def check_coverage(
    history: History,
    *,
    ok_min: int,
    faults: Sequence[Window],
    requested: int,
    came: int | None = None,
    changes: Column | None = None,
    cut_links: Sequence[str] = (),
    controller_lag_ms: float = 0.0,
    controller_lag_ms_max: float = 500.0,
    traces: Mapping[str, Trace] | None = None,
    node_lag_ms_max: float = 500.0,
    excused: Spans | None = None,
    gave_up: Mapping[str, str] | None = None,
) -> Result:
    """Judges whether the run was able to find anything.

    ``faults`` are those executed (:func:`checkers.runs.windows.scheduled_windows`, which also tells of faults that
    found nobody to hit), ``requested`` how many the scenario asked for, ``came`` how many of ``faults`` are of those
    (None: all). ``changes`` is a mask of the operations that change something; final operations do not count: they show
    what a load left, and there has to be one.
    ``cut_links`` are links found cut after healing. Lags are in ms, ``*_max`` the bounds; nodes' lags come from their
    traces, but for what :func:`excuses` says is our doing. ``gave_up``: checkers that ended without an answer, and why.
    """
    load = ~history.final.astype(bool)
    ok = int((load & (history.outcome == OK)).sum())
    lags = {name: worst_lag(trace, (excused or {}).get(name, ())) for name, trace in (traces or {}).items()}
    findings = [
        *_too_few(ok, ok_min),
        *(() if changes is None else _no_change(history, load & changes)),
        *_nothing_injected(len(faults) if came is None else came, requested),
        *(finding for fault in faults for finding in _unproved(fault)),
        *_hit_nothing(faults),
        *_still_cut(cut_links),
        *_starved("the controller", None, controller_lag_ms, controller_lag_ms_max),
        *(finding for node, lag in lags.items() for finding in _starved(node, node, lag, node_lag_ms_max)),
        *(_gave_up(checker, why) for checker, why in (gave_up or {}).items()),
    ]
    statistics = {
        "ok": ok,
        "ok_min": ok_min,
        "faults_requested": requested,
        "faults_executed": len(faults),
        "faults_proved": sum(fault.bit is True for fault in faults),
        "controller_lag_ms": controller_lag_ms,
        "node_lag_ms": lags,
    }
    return Result(checker=CHECKER, findings=tuple(findings), statistics=statistics)


def _blame(kind: str, message: str, blame: Blame = Blame.HARNESS, node: str | None = None, **evidence: Any) -> Finding:
    nodes = () if node is None else (node,)
    return Finding(checker=CHECKER, kind=kind, message=message, blame=blame, nodes=nodes, evidence=evidence)


def _too_few(ok: int, ok_min: int) -> Iterator[Finding]:
    if ok < ok_min:
        message = (
            f"only {ok} operations succeeded; a run proves something from {ok_min} on (ok_min): let it last longer"
        )
        yield _blame("too few operations", message, ok=ok, ok_min=ok_min)


def _no_change(history: History, changes: Column) -> Iterator[Finding]:
    """Reads of a store that nobody has written to are always right."""
    asked = int(changes.sum())
    if asked and not (changes & (history.outcome == OK)).any():
        message = f"none of the {asked} operations that change something was acknowledged: there was nothing to lose"
        yield _blame("nothing changed", message, asked=asked)


def _nothing_injected(came: int, requested: int) -> Iterator[Finding]:
    if requested and not came:
        message = f"none of the {requested} requested faults was executed"
        yield _blame("no fault executed", message, requested=requested)


def _unproved(fault: Window) -> Iterator[Finding]:
    name = f"fault {fault.id} ({fault.summary or fault.family})"
    if fault.bit is not True:
        why = f": {fault.reason}" if fault.reason else ", as far as the harness's own probe could see"
        message = f"{name} did not bite{why}"
        yield _blame("fault did not bite", message, id=fault.id, family=fault.family)
    if fault.injected_ns is not None and fault.healed is not True:
        message = f"{name} was not seen to be healed; what came after it was not judged on a whole cluster"
        yield _blame("healing not verified", message, id=fault.id, family=fault.family)


def _hit_nothing(faults: Sequence[Window]) -> Iterator[Finding]:
    """What a scenario asked for by name and never took hold of anything, however often it was in force. Of what was
    drawn at random nobody expected this very thing.
    """
    for entry in sorted({fault.entry for fault in faults if fault.entry is not None}):
        asked = [fault for fault in faults if fault.entry == entry and fault.bit]
        why = {fault.hit_nothing for fault in asked}
        if asked and None not in why:
            times = f", {len(asked)} times" if len(asked) > 1 else ""
            message = (
                f"{asked[0].summary or asked[0].family} was in force{times}, but hit nothing: {asked[0].hit_nothing}"
            )
            yield _blame("fault hit nothing", message, ids=[fault.id for fault in asked], family=asked[0].family)


def _still_cut(links: Sequence[str]) -> Iterator[Finding]:
    if links:
        message = f"{len(links)} links were still cut after everything had been healed: {', '.join(links)}"
        yield _blame("healing not verified", message, links=list(links))


def _starved(who: str, node: str | None, lag_ms: float, lag_ms_max: float) -> Iterator[Finding]:
    if lag_ms > lag_ms_max:
        message = (
            f"the event loop of {who} was {lag_ms:.0f} ms late, more than the {lag_ms_max:.0f} ms that are allowed: "
            "the machine was too busy for this run; time-outs and slow replies say nothing about the system"
        )
        yield _blame("machine starved", message, Blame.MACHINE, node, lag_ms=lag_ms, lag_ms_max=lag_ms_max)


def _gave_up(checker: str, why: str) -> Finding:
    return _blame("checker gave up", f"the checker {checker} ended without an answer: {why}", Blame.GAVE_UP)


def worst_lag(trace: Trace, excused: Sequence[tuple[int, int]] = ()) -> float:
    """A node's worst event-loop lag in ms, but for lag lines that reach into an excused span or the time after a start.

    A line speaks of the time since the line of its kind before it, and of a lag that may have begun that much earlier.
    """
    worst, since, settled = 0.0, None, 0
    for _, event in trace.select(Start, Lag):
        if isinstance(event, Start):
            since, settled = event.time, event.time + SETTLE_NS
        elif isinstance(event, Lag):
            begin = (event.time - 1_000_000_000 if since is None else since) - int(event.max_ms * 1e6)
            ours = begin < settled or any(begin <= to and event.time >= from_ for from_, to in excused)
            worst = worst if ours else max(worst, event.max_ms)
            since = event.time
    return worst


def excuses(faults: Sequence[Window], *, start_monotonic_ns: int, settle_ns: int = SETTLE_NS) -> Spans:
    """The spans in which a node may be late because a fault stopped or starved it. Only for nodes that share the
    controller's CLOCK_MONOTONIC; a fault that nobody healed excuses the rest of the run."""
    spans: dict[str, list[tuple[int, int]]] = {}
    for fault in faults:
        if fault.family in STOPPING:
            end = 2**62 if fault.to_ns is None else start_monotonic_ns + fault.to_ns + settle_ns
            for node in fault.targets:
                spans.setdefault(node, []).append((start_monotonic_ns + fault.from_ns, end))
    return spans
