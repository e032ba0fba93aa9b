"""Findings held against what the system promised: what came with a fault beyond it is beyond promise, and nobody's
failure; a node that stops itself where it may is within its rights. Pure.

Conservative: in doubt the system is not blamed. A finding that was provable before the first such fault began stays as
it is; one without a time counts as later. Machine findings about a node's end are looked at as well, since who takes
a node's memory away is not surprised when the kernel kills it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from checkers.runs.liveness import DEAD, LEFT_BEHIND
from checkers.runs.logs import CHECKER as LOGS
from checkers.verdict import Blame, Finding, Verdict
from faults import FAMILIES
from harness.systems.promises import Hit, MayStop, Promises

Row = Mapping[str, Any]
"""A line of ``schedule.jsonl``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Beyond:
    """A fault that the system does not promise to survive."""

    number: int
    summary: str
    from_ns: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Right:
    """What gives a node the right to stop."""

    number: int
    summary: str
    node: str
    may_stop: MayStop


def weigh(
    verdict: Verdict,
    rows: Iterable[Row],
    promises: Promises,
    nodes: Sequence[str],
    system: str,
    *,
    reads: str | None = None,
) -> Verdict:
    """The verdict with findings blamed as the system's promises have it; ``rows`` are the faults as executed, ``reads``
    is how the load made sure of its reads.
    """
    injected = sorted((row for row in rows if row.get("injected_ns")), key=lambda row: int(row["injected_ns"][0]))
    beyond = beyond_promise(injected, promises, nodes, system, reads=reads)
    rights = _rights(injected, promises)
    if not beyond and not rights:
        return verdict
    return Verdict(
        results=tuple(
            replace(result, findings=tuple(_weighed(finding, beyond, rights) for finding in result.findings))
            for result in verdict.results
        )
    )


def beyond_promise(
    injected: Sequence[Row], promises: Promises, nodes: Sequence[str], system: str, *, reads: str | None = None
) -> tuple[Beyond, ...]:
    """Of the faults that were injected, in order of time, those that the system does not promise to survive. A fault
    counts that did not bite as far as we saw, too: it may have done something.
    """
    damaged: set[str] = set()
    found = []
    for place, row in enumerate(injected):
        name, targets = str(row["family"]), tuple(row.get("targets") or ())
        if name in FAMILIES and FAMILIES[name].damages:
            damaged.update(targets)
        hit = Hit(
            resolved=row.get("resolved") or {},
            targets=targets,
            nodes=nodes,
            damaged=frozenset(damaged),
            beside=tuple(_in_force(injected[:place], row, nodes)),
            reads=reads,
        )
        why = _why_beyond(name, hit, promises, system)
        if why is not None:
            found.append(Beyond(number=row["id"], summary=_summary(row), from_ns=int(row["injected_ns"][0]), why=why))
    return tuple(found)


def _in_force(earlier: Sequence[Row], row: Row, nodes: Sequence[str]) -> Iterator[Hit]:
    """Faults of the same family that were not healed when this one began."""
    begin_ns = int(row["injected_ns"][0])
    for other in earlier:
        healed = other.get("healed_ns")
        if other["family"] == row["family"] and (healed is None or int(healed[1]) > begin_ns):
            targets = tuple(other.get("targets") or ())
            yield Hit(resolved=other.get("resolved") or {}, targets=targets, nodes=nodes)


def _why_beyond(family: str, hit: Hit, promises: Promises, system: str) -> str | None:
    promise = promises.get(family)
    if promise is None:
        return f"{system} promises nothing about {family}"
    return None if promise.covers(hit) else f"what {system} promises about {family} is: {promise.words}"


def _rights(injected: Sequence[Row], promises: Promises) -> tuple[Right, ...]:
    return tuple(
        Right(number=row["id"], summary=_summary(row), node=node, may_stop=promise.may_stop)
        for row in injected
        if (promise := promises.get(str(row["family"]))) is not None
        and promise.may_stop is not None
        and promise.may_stop.when(row.get("resolved") or {})
        for node in row.get("targets") or ()
    )


def _summary(row: Row) -> str:
    return str(row.get("summary") or row["family"])


def _weighed(finding: Finding, beyond: Sequence[Beyond], rights: Sequence[Right]) -> Finding:
    right = next((right for right in reversed(rights) if _is_its_right(finding, right)), None)
    if right is not None:
        words = f"fault {right.number} ({right.summary}): {right.may_stop.why}"
        return _absolved(finding, f"within its rights after {words}")
    cause = next((each for each in beyond if _may_come_from(finding, each)), None)
    if cause is not None:
        return _absolved(finding, f"beyond promise since fault {cause.number} ({cause.summary}): {cause.why}")
    return finding


def _is_its_right(finding: Finding, right: Right) -> bool:
    """Whether it is nothing but the way in which that node stops, or that it has stopped."""
    may_stop, status = right.may_stop, finding.evidence.get("status")
    if finding.kind == LEFT_BEHIND and finding.nodes == (right.node,):
        return finding.evidence.get("last") == DEAD and "CRASH" in may_stop.kinds
    if finding.checker != LOGS or right.node not in finding.nodes or finding.kind not in may_stop.kinds:
        return False
    return finding.kind != "CRASH" or may_stop.statuses is None or status in may_stop.statuses


def _may_come_from(finding: Finding, cause: Beyond) -> bool:
    later = finding.time_ns is None or finding.time_ns >= cause.from_ns
    return finding.blame is Blame.SYSTEM and later


def _absolved(finding: Finding, why: str) -> Finding:
    return replace(finding, blame=Blame.BEYOND_PROMISE, message=f"{finding.message} [{why}]")
