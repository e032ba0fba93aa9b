"""Long fork: two transactions that saw two writes in different orders.

Parallel snapshot isolation allows it, snapshot isolation does not (Sovran, Power, Aguilera & Li, "Transactional storage
for geo-replicated systems", SOSP 2011). After Jepsen's ``long-fork``: every key is written at most once, so a read of
it returned either the initial value or the written one. A transaction that read x as written and y as not yet written
saw the write of x before that of y; one that read them the other way round saw them in the opposite order.

Jepsen compares reads of equal sets of keys, two by two. Here each transaction says, for each pair of keys that it read
differently, which came first; a pair with both answers is a fork. That is linear in the transactions, and needs no
equal sets. With ``group_size`` a read-only transaction that read another number of keys is refused as a mistake of the
recording, as in Jepsen.

Keys that were written more than once say nothing and make a verdict without findings ``unknown``. Reads of values that
nobody wrote are refused if the history has any writes at all.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.guarantees.accusation import SHOWN_MAX, Case, nothing_judged
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.selection import Rows, rows_of
from checkers.guarantees.settings import Settings
from checkers.guarantees.transactions import Step, steps
from checkers.history import OK, History, HistoryError
from checkers.values import identity
from checkers.verdict import Finding, Result
from checkers.wording import show

NAME = "long-fork"


@dataclass(kw_only=True, slots=True)
class _Writes:
    """Who wrote what: content by key. ``writer``: the first transaction that wrote a key."""

    content: dict[Hashable, Hashable] = field(default_factory=dict)
    writer: dict[Hashable, int] = field(default_factory=dict)
    repeated: dict[Hashable, Any] = field(default_factory=dict)
    """Keys that have more than one written value, or more than one writer."""

    def write(self, step: Step, row: int) -> None:
        if step.name in self.writer:
            self.repeated[step.name] = step.key
        self.content.setdefault(step.name, step.content)
        self.writer.setdefault(step.name, row)

    def see(self, step: Step) -> None:
        """A value that was read of a key without a recorded write counts as its write; another one makes two."""
        if self.content.setdefault(step.name, step.content) != step.content and step.name not in self.writer:
            self.repeated[step.name] = step.key


@dataclass(kw_only=True, slots=True)
class _Snapshots:
    """What transactions read from outside: (row, key: step), before any write of their own to the key."""

    rows: list[tuple[int, Mapping[Hashable, Step]]] = field(default_factory=list)

    def add(self, history: History, row: int, done: Iterable[Step], group_size: int | None) -> None:
        reads: dict[Hashable, Step] = {}
        own: set[Hashable] = set()
        for step in done:
            if step.kind == "w":
                own.add(step.name)
            elif step.name not in own:
                reads.setdefault(step.name, step)
        if group_size is not None and reads and not own and len(reads) != group_size:
            line = int(history.call[row]) + 1
            problem = f"a transaction read {len(reads)} keys, the group size is {group_size}"
            raise HistoryError(history.source, line, problem, "Set group_size to what was read, or leave it out.")
        if reads:
            self.rows.append((row, reads))


def judge(history: History, settings: Settings) -> Result:
    """Is there a pair of writes that two transactions saw in different orders?

    Raises:
        HistoryError: a transaction has another form than reads and writes, or other than ``group_size`` keys.
        ValueError: ``group_size`` is no whole number.
    """
    initial = identity(settings.initial)
    attempts = rows_of(history, "txn")
    writes, snapshots = _gather(history, attempts, settings.count("group_size"))
    findings = _phantoms(history, snapshots, writes, initial) if writes.writer else []
    for _, reads in snapshots.rows:
        for step in reads.values():
            if step.content != initial:
                writes.see(step)
    forks = _forks(snapshots, writes, initial)
    findings += [_fork(history, *fork, writes) for fork in forks[:SHOWN_MAX]]
    judged = sum(len(reads.keys() - writes.repeated.keys()) > 1 for _, reads in snapshots.rows)
    if not findings:
        findings += _not_judged(judged, writes)
    statistics = {
        "transactions": len(attempts),
        "snapshots": judged,
        "writes": len(writes.writer),
        "forks": len(forks),
        "keys_written_more_than_once": len(writes.repeated),
    }
    return Result(checker=NAME, findings=tuple(findings), statistics=statistics)


def _gather(history: History, attempts: Rows, group_size: int | None) -> tuple[_Writes, _Snapshots]:
    writes, snapshots = _Writes(), _Snapshots()
    for row in attempts.tolist():
        done = list(steps(history, row))
        for step in done:
            if step.kind == "w":
                writes.write(step, row)
        if history.outcome[row] == OK:
            snapshots.add(history, row, done, group_size)
    return writes, snapshots


def _not_judged(judged: int, writes: _Writes) -> list[Finding]:
    if writes.repeated:
        some = ", ".join(show(key) for key in list(writes.repeated.values())[:SHOWN_MAX])
        reason = f"{len(writes.repeated)} keys were written more than once ({some}), so reads of them tell no order."
        return [nothing_judged(NAME, reason)]
    if not judged:
        return [
            nothing_judged(NAME, "No transaction that ended ok read two keys, so none could see an order of writes.")
        ]
    return []


Fork = tuple[Hashable, Hashable, tuple[int, Step, Step], tuple[int, Step, Step]]
"""Two keys, and for each order of their writes a transaction that saw it: (row, its reads of the two)."""


def _forks(snapshots: _Snapshots, writes: _Writes, initial: Hashable) -> list[Fork]:
    """One for each pair of keys that was seen in both orders."""
    seen: dict[tuple[Hashable, Hashable], tuple[int, Step, Step]] = {}
    forks: dict[tuple[Hashable, Hashable], Fork] = {}
    number: dict[Hashable, int] = {}
    for row, reads in snapshots.rows:
        there = [step for name, step in reads.items() if name not in writes.repeated and step.content != initial]
        absent = [step for name, step in reads.items() if name not in writes.repeated and step.content == initial]
        for first in there:
            for second in absent:
                pair = (first.name, second.name)
                seen.setdefault(pair, (row, first, second))
                if pair[::-1] in seen:
                    one, other = sorted(pair, key=lambda name: number.setdefault(name, len(number)))
                    forks.setdefault((one, other), (one, other, seen[one, other], seen[other, one]))
    return sorted(forks.values(), key=lambda fork: max(fork[2][0], fork[3][0]))


def _fork(
    history: History,
    one: Hashable,
    other: Hashable,
    first: tuple[int, Step, Step],
    second: tuple[int, Step, Step],
    writes: _Writes,
) -> Finding:
    writers = [writes.writer[name] for name in (one, other) if name in writes.writer]
    case = Case(history, [first[0], second[0], *writers])
    told = []
    for row, there, absent in (first, second):
        reader = history.operation(row)
        who = f"{case.words.who(reader)} at {case.words.began(reader)}"
        told.append(
            f"the transaction by {who} read {show(there.key)} as written and {show(absent.key)} as not yet written"
        )
    message = f"Two transactions saw two writes in different orders: {told[0]}; {told[1]}."
    evidence = {"keys": [first[1].key, second[1].key], "readers": [first[0], second[0]], "writers": writers}
    return case.finding(NAME, "long fork", message, **evidence)


def _phantoms(history: History, snapshots: _Snapshots, writes: _Writes, initial: Hashable) -> list[Finding]:
    found: list[Finding] = []
    for row, reads in snapshots.rows:
        for step in reads.values():
            judged = step.content != initial and step.name not in writes.repeated and len(found) < SHOWN_MAX
            if judged and writes.content.get(step.name) != step.content:
                found.append(_phantom(history, row, step))
    return found


def _phantom(history: History, row: int, step: Step) -> Finding:
    case = Case(history, [row])
    reader = case.operations[0]
    who = f"by {case.words.who(reader)} at {case.words.began(reader)}"
    message = f"The transaction {who} read {show(step.value)} from {show(step.key)}, which nobody wrote there."
    return case.finding(NAME, "phantom read", message, readers=[row], keys=[step.key])


LONG_FORK = Guarantee(
    has_initial=True,
    name=NAME,
    judge=judge,
    functions=frozenset({"txn"}),
    summary="transactions over keys written once: no two see two writes in different orders",
    settings={"group_size": "how many keys every read-only transaction reads (default: any number)"},
)
