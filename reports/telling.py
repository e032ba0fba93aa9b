"""What a page tells around findings: what was under way, which part of the run shows them, which is read first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

import orjson

from checkers.operation import Operation
from checkers.verdict import Blame, Finding
from reports.contradiction import condemn
from reports.lenient import integer, mapping, sequence
from reports.record import Fault, Record
from reports.testimony import concerned
from reports.words import duration, moment, plural

JUST_BEFORE_NS = 5_000_000_000
"""A fault that ended longer before an operation is not told beside it."""

TOLD_MAX = 6

Span = tuple[int, int]


def arranged(record: Record) -> Sequence[Finding]:
    """The findings in the order in which they are read. Those of one checker that rest on operations: under a fault
    first, then those of the fewest operations, then by time. Of the other kinds of a checker, in their order, the first
    of each, then the rest: one broken write may break the same rule at every later index.
    """
    checkers = list(dict.fromkeys(finding.checker for finding in record.findings))
    kinds = list(dict.fromkeys(finding.kind for finding in record.findings))
    blames = list(dict.fromkeys(finding.blame for finding in record.findings))
    firsts = {(finding.checker, finding.kind): finding for finding in sorted(record.findings, key=_time, reverse=True)}

    def place(finding: Finding) -> tuple[int, ...]:
        first = (blames.index(finding.blame), checkers.index(finding.checker))
        if not finding.operations:
            again = finding is not firsts[finding.checker, finding.kind]
            return (*first, again, kinds.index(finding.kind), _time(finding))
        return (*first, not _under_fault(finding, record.faults), len(finding.operations), _time(finding))

    return sorted(record.findings, key=place)


def _time(finding: Finding) -> int:
    return finding.time_ns or 0


def how_many(record: Record) -> str:
    """How many findings there are, and what their number means; empty where there is nothing to say."""
    system = [finding for finding in record.findings if finding.blame is Blame.SYSTEM]
    keyed = [finding for finding in system if finding.key is not None]
    words = []
    if len(keyed) > 0:
        total = integer(record.statistics.get("linearizability", {}).get("keys"))
        keys = len({str(item.key) for item in keyed})
        on = f"{keys} of {total} keys" if total is not None else plural(keys, "key")
        once = len({(item.checker, str(item.key)) for item in keyed}) == len(keyed)
        rest = "only the first on each key is reported, more may exist" if once else "more may exist"
        words.append(f"{plural(len(keyed), 'finding')} on {on}: {rest}.")
        if len(keyed) > 1:
            words.append("Clearest first: those under a fault, then those of the fewest operations, then by time.")
    counted = mapping(record.statistics.get("raft", {}).get("violations"))
    more = [
        f"{plural(number, 'finding')} of “{kind}”, the first {shown} are shown"
        for kind, value in counted.items()
        if (number := integer(value) or 0) > (shown := sum(item.kind == kind for item in system)) > 0
    ]
    return " ".join([*words, *(f"{one}." for one in more)])


def _under_fault(finding: Finding, faults: Sequence[Fault]) -> bool:
    point = _point(finding)
    return any(_relation(fault, point) == "during" for fault in faults)


def _point(finding: Finding) -> Operation:
    """The operation whose surroundings matter: the impossible one, else the last."""
    doomed = condemn(finding, finding.operations)
    return doomed.operation if doomed else max(finding.operations, key=lambda operation: operation.call_ns)


def _relation(fault: Fault, operation: Operation) -> str:
    """``during``, ``before`` or nothing: how a fault lies to an operation."""
    if fault.begin_ns is None or fault.begin_ns > (operation.return_ns or operation.call_ns):
        return ""
    if fault.end_ns is None or fault.end_ns >= operation.call_ns:
        return "during"
    return "before" if operation.call_ns - fault.end_ns <= JUST_BEFORE_NS else ""


def meanwhile(finding: Finding, faults: Sequence[Fault]) -> Sequence[str]:
    """The faults in force while the impossible operation was under way, and those that had ended shortly before."""
    if not finding.operations:
        return ()
    point = _point(finding)
    what = f"the {'transaction' if point.f == 'txn' else point.f} at {moment(point.call_ns)}"
    said = []
    for fault in faults:
        relation = _relation(fault, point)
        if relation == "during":
            until = f"to {moment(fault.end_ns)}" if fault.end_ns is not None else "on, never healed"
            said.append(f"During {what}: {fault.summary} (from {moment(fault.begin_ns)} {until})")
        elif relation == "before" and fault.end_ns is not None:
            ended = f"this ended {duration(point.call_ns - fault.end_ns)} before {what} began"
            said.append(f"{fault.summary}; {ended}")
    return said[-TOLD_MAX:]


def span(finding: Finding, record: Record, faults: Sequence[Fault]) -> Span | None:
    """The part of the run that shows a finding: its operations, its quoted lines, and the faults between those."""
    times = [time for item in finding.operations for time in (item.call_ns, item.return_ns) if time is not None]
    zero = record.start_monotonic_ns
    lines = [integer(mapping(line).get("monotonic_ns")) for line in sequence(finding.evidence.get("lines"))]
    if zero:
        times += [at - zero for at in lines if at is not None]
    if finding.time_ns is not None:
        times.append(finding.time_ns)
    if not times:
        return None
    first, last = min(times), max(times)
    if not finding.operations:
        for fault in concerned(faults, finding.nodes, first, last):
            first = min(first, fault.begin_ns if fault.begin_ns is not None else first)
            last = max(last, fault.end_ns if fault.end_ns is not None else last)
    return first, last


def attempts(record: Record, findings: Sequence[Finding]) -> Mapping[int, int]:
    """How often the operations of some findings were tried, by the position of their return in the history. The
    checkers' history does not keep it, so the few lines are read again.
    """
    wanted = {item.return_index for finding in findings for item in finding.operations if item.return_index is not None}
    if not wanted or not record.folder.history.is_file():
        return {}
    found: dict[int, int] = {}
    with record.folder.history.open("rb") as file:
        for number, line in enumerate(islice(file, max(wanted) + 1)):
            if number in wanted:
                found |= _tries(number, line)
    return found


def _tries(number: int, line: bytes) -> Mapping[int, int]:
    try:
        row = mapping(orjson.loads(line))
    except orjson.JSONDecodeError:
        return {}
    tries = integer(row.get("attempts"))
    return {number: tries} if row.get("index") == number and tries is not None else {}
