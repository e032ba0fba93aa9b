"""How old the values are that reads return: in milliseconds and in versions, at least.

A read of a value that was provably overwritten before the read began is *stale* by at least the time since then, and by
at least the number of newer writes that were known then (:mod:`checkers.guarantees.overwriting` says what is known
when). Nothing else is claimed: a read of a value that may have been the newest counts as fresh.

This measures; it refuses only what ``bound_ms`` or ``bound_versions`` forbid. A linearizable register has no stale
reads at all (``--model register`` says so, with more power).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.guarantees.accusation import SHOWN_MAX, Case, nothing_judged
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.overwriting import Observations, Registers, observations
from checkers.guarantees.quantiles import NS_PER_MS, quantiles, quantiles_ms
from checkers.guarantees.selection import key_of, rows_of
from checkers.guarantees.settings import Settings
from checkers.history import ABSENT, NEVER, History
from checkers.verdict import Finding, Result
from checkers.wording import place, show

NAME = "staleness"

Column = npt.NDArray[np.int64]


def judge(history: History, settings: Settings) -> Result:
    """How stale are the reads?

    Raises:
        ValueError: a bound is no number.
    """
    bound_ms, bound_versions = settings.number("bound_ms"), settings.count("bound_versions")
    seen = observations(history, settings.null_read)
    is_read = history.f[seen.row] == history.function("read")
    registers = Registers.of(history, seen, settings.initial)
    reads = Observations(row=seen.row[is_read], value=seen.value[is_read])
    settled = registers.settled_by(reads.row, reads.value)
    overwritten = registers.overwritten(reads.row, settled)
    stale = overwritten < history.call[reads.row]
    rows, at = reads.row[stale], overwritten[stale]
    since = registers.row_known_at(at)
    age_ns = np.maximum(history.call_ns[rows] - history.return_ns[since], 0)
    versions = np.maximum(registers.newer(rows, settled[stale], history.call[rows]), 1)
    findings: list[Finding] = []
    beyond = _beyond(age_ns, versions, bound_ms, bound_versions)
    for place_ in beyond[np.argsort(-age_ns[beyond], kind="stable")][:SHOWN_MAX].tolist():
        by = int(registers.write_known_at(at[place_ : place_ + 1])[0])
        findings.append(
            _too_stale(history, int(rows[place_]), by, int(since[place_]), age_ns[place_], int(versions[place_]))
        )
    judged = int((settled < NEVER).sum())
    if not judged:
        findings.append(nothing_judged(NAME, _why_nothing(history, reads)))
    statistics = {
        "reads": len(reads.row),
        "reads_judged": judged,
        "writes": len(registers.write),
        "stale": len(rows),
        "beyond_bound": len(beyond),
        "stale_ms": quantiles_ms(age_ns),
        "stale_versions": quantiles(versions),
        "worst": _worst(history, rows, age_ns, versions),
        "by_node": _by_node(history, reads.row, rows, age_ns),
    }
    return Result(checker=NAME, findings=tuple(findings), statistics=statistics)


def _beyond(age_ns: Column, versions: Column, bound_ms: float | None, bound_versions: int | None) -> Column:
    beyond = np.zeros(len(age_ns), np.bool_)
    if bound_ms is not None:
        beyond |= age_ns > bound_ms * NS_PER_MS
    if bound_versions is not None:
        beyond |= versions > bound_versions
    return np.flatnonzero(beyond)


def _why_nothing(history: History, reads: Observations) -> str:
    if not len(reads.row):
        return "No read ended ok, so no staleness can be measured."
    if not len(rows_of(history, "write", "cas")):
        return "Nothing was written, so no staleness can be measured."
    return "No read returned a value of which it is known when it was there, so no staleness can be measured."


def _worst(history: History, rows: Column, age_ns: Column, versions: Column) -> Mapping[str, Any]:
    if not len(rows):
        return {}
    place_ = int(age_ns.argmax())
    read = history.operation(int(rows[place_]))
    told = {"index": read.index, "process": read.process, "node": read.node, "key": read.key, "value": read.result}
    return {**told, "ms": round(float(age_ns[place_]) / NS_PER_MS, 3), "versions": int(versions[place_])}


def _by_node(history: History, reads: Column, stale: Column, age_ns: Column) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for code, node in enumerate(history.nodes):
        here = history.node[stale] == code
        count = int((history.node[reads] == code).sum())
        if code != ABSENT and count:
            worst = round(float(age_ns[here].max(initial=0)) / NS_PER_MS, 3)
            found[node] = {"reads": count, "stale": int(here.sum()), "stale_ms_max": worst}
    return found


def _too_stale(history: History, row: int, by: int, since: int, age_ns: int, versions: int) -> Finding:
    case = Case(history, [row, by, since])
    read, write, known = (history.operation(item) for item in (row, by, since))
    new = write.value[1] if write.f == "cas" else write.value
    if since == by:
        proof = f"had been overwritten by {show(new)} by {case.words.who(write)} at {case.words.ended(write)}"
    else:
        proof = (
            f"had been overwritten by {show(new)}, which {case.words.who(known)} had seen by {case.words.ended(known)}"
        )
    ms = float(age_ns) / NS_PER_MS
    key = key_of(history, row)
    message = (
        f"The read of {place(key)} by {case.words.who(read)} at {case.words.began(read)} returned {show(read.result)}, "
        f"which {proof}: it is at least {ms:.3f} ms and {versions} {'version' if versions == 1 else 'versions'} stale."
    )
    return case.finding(
        NAME, "too stale", message, key=key, ms=round(ms, 6), versions=versions, read=row, overwritten=by
    )


STALENESS = Guarantee(
    has_initial=True,
    name=NAME,
    judge=judge,
    functions=frozenset({"read", "write", "cas"}),
    summary="how stale reads of registers are, in milliseconds and versions",
    settings={
        "bound_ms": "the staleness from which on a read is refused (default: none is)",
        "bound_versions": "the number of missed versions from which on a read is refused (default: none is)",
    },
)
