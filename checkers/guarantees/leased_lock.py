r"""Locks with leases and fencing tokens, and the registers that they guard.

An ``acquire`` of a lock carries the length of the lease in milliseconds (null: for ever) and returns a fencing token; a
``write`` of a register carries ``[token, value]``, the token of the lock under which it is made. Under a lease a lock
may change hands without a release, so a model of mutual exclusion alone would refuse correct locks. What is promised
instead, and judged:

- **One holder while leases last.** A *section* is an acquire that returned a token, up to the release by the same
  process. It is certainly held from f, the return of the acquire, to s: the call of the release, or the end of the
  lease if that comes first. The lease begins with the *call* of the acquire, for the store can't have heard of it
  before, and is taken as shorter by ``drift``, for clocks differ. If two sections overlap, f(A) < s(B) and f(B) < s(A),
  the lock was held twice. Without leases this is exactly what the owned mutex asks (:mod:`checkers.deciders.locks`).
- **Tokens grow.** Of two acquires of which one returned before the other was called the later one has the greater
  token; so has the later one of two sections that were held one after the other; and none is given twice.
- **Fences hold.** Once a write under a token is known to have happened (acknowledged, or seen by a read that was over),
  no write that begins later under a lower token is accepted, and no read shows one: that is what keeps out a holder
  that slept past its lease.
- **The registers are registers:** linearizable.

All four are closed under prefixes: what is refused stays so, whatever comes later. What fencing does *not* promise is
that no increment is lost: a late holder may write after the next one has read and before it writes. Increments that
were overwritten so are counted (``overwritten``), not refused.

After Kleppmann, "How to do distributed locking" (2016), and the analysis of etcd 3.4.3's locks by Jepsen (2020).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from checkers import linearizability
from checkers.event import shorten
from checkers.guarantees.accusation import SHOWN_MAX, Case, nothing_judged
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.selection import Rows, acknowledged, by_key, having, rows_of
from checkers.guarantees.settings import Settings
from checkers.history import FAIL, OK, History, HistoryError
from checkers.verdict import Finding, Result
from checkers.wording import place, show

NAME = "leased-lock"
DRIFT = 0.1
"""How much shorter than asked a lease may be by the clock of the history, as a share."""
FOR_EVER_NS = 2**62


@dataclass(frozen=True, kw_only=True, slots=True)
class _Section:
    """From an acquire that returned a token to what ended it. Times are ns."""

    acquire: int
    release: int | None
    token: int | None
    """None: it was not told."""
    held_ns: int
    until_ns: int


def judge(history: History, settings: Settings) -> Result:
    """Did the locks keep what they promise?

    Raises:
        HistoryError: a lease or a guarded value is none.
    """
    drift = settings.number("drift")
    share = 1 - (DRIFT if drift is None else min(drift, 1.0))
    locks, guarded = rows_of(history, "acquire", "release"), rows_of(history, "read", "write")
    findings: list[Finding] = []
    counts = {"sections": 0, "held_ms": 0.0, "writes": 0, "refused_writes": 0, "overwritten": 0}
    for code, rows in by_key(history, locks):
        sections = list(_sections(history, rows, share))
        counts["sections"] += len(sections)
        counts["held_ms"] += sum(max(0, min(each.until_ns, FOR_EVER_NS) - each.held_ns) for each in sections) / 1e6
        findings.extend(_of_lock(history, history.keys.values[code], sections))
    for code, rows in by_key(history, guarded):
        findings.extend(_of_register(history, history.keys.values[code], rows, counts))
    registers = linearizability.check(_only(history, "read", "write"), model="register", null_read=settings.null_read)
    if not counts["sections"] and not len(acknowledged(history, guarded)):
        findings.append(nothing_judged(NAME, "No acquire, read or write ended ok, so nothing is known of the locks."))
    statistics = {**counts, "registers": registers.statistics}
    return Result(checker=NAME, findings=(*findings, *registers.findings), statistics=statistics)


def _only(history: History, *functions: str) -> History:
    """The history as if all other operations had failed: rows keep their numbers."""
    mine = having(history, *functions)
    if not mine.any():
        return history.select(mine)
    f = np.where(mine, history.f, history.f[mine][0])
    return replace(history, f=f, outcome=np.where(mine, history.outcome, FAIL))


# Locks.


def _sections(history: History, rows: Rows, share: float) -> Iterator[_Section]:
    """The sections of one lock. Acquires that nobody saw end prove nothing: they may never have happened."""
    open_: dict[int, int] = {}
    ended: dict[int, int] = {}
    for row in rows.tolist():
        process = int(history.process[row])
        if history.functions[int(history.f[row])] == "release":
            if process in open_:
                ended.setdefault(open_[process], row)
        else:
            open_[process] = row
    for row in rows.tolist():
        if history.functions[int(history.f[row])] == "acquire" and history.outcome[row] == OK:
            yield _section(history, row, ended.get(row), share)


def _section(history: History, row: int, release: int | None, share: float) -> _Section:
    lease_ms = history.values.values[int(history.value[row])]
    if lease_ms is not None and (type(lease_ms) is not int or lease_ms < 0):
        problem = f"the value of an acquire is {shorten(lease_ms)}"
        raise HistoryError(history.source, int(history.call[row]) + 1, problem, "It is a lease in ms, or null.")
    token = history.values.values[int(history.result[row])]
    call_ns = int(history.call_ns[row])
    until_ns = call_ns + int(lease_ms * share * 1e6) if lease_ms else FOR_EVER_NS
    if release is not None:
        until_ns = min(until_ns, int(history.call_ns[release]))
    return _Section(
        acquire=row,
        release=release,
        token=token if type(token) is int else None,
        held_ns=int(history.return_ns[row]),
        until_ns=until_ns,
    )


def _of_lock(history: History, key: Any, sections: Sequence[_Section]) -> Iterator[Finding]:
    held = sorted((each for each in sections if each.held_ns < each.until_ns), key=lambda each: each.held_ns)
    yield from list(_without_token(history, key, sections))[:SHOWN_MAX]
    doubled = _overlapping(held)
    yield from (_two_holders(history, key, *pair) for pair in doubled[:SHOWN_MAX])
    if not doubled:  # else they have no order along which tokens could grow
        pairs = [*_not_growing(held), *_not_growing_in_time(history, sections)]
        distinct = dict.fromkeys((first.acquire, second.acquire) for first, second in pairs)
        yield from (_went_back(history, key, *pair) for pair in list(distinct)[:SHOWN_MAX])


def _without_token(history: History, key: Any, sections: Iterable[_Section]) -> Iterator[Finding]:
    for section in sections:
        if section.token is None and history.values.values[int(history.result[section.acquire])] is not None:
            case = Case(history, [section.acquire])
            (one,) = case.operations
            message = f"{case.words.who(one)} acquired {_lock(key)} and was told {show(one.result)}, which is no token."
            yield case.finding(NAME, "no token", message, key=key)


def _overlapping(held: Sequence[_Section]) -> list[tuple[_Section, _Section]]:
    """(section, section that was held before the first one's end), by the beginnings."""
    pairs, longest = [], None
    for section in held:
        if longest is not None and section.held_ns < longest.until_ns:
            pairs.append((longest, section))
        if longest is None or section.until_ns > longest.until_ns:
            longest = section
    return pairs


def _not_growing(held: Sequence[_Section]) -> Iterator[tuple[_Section, _Section]]:
    """Sections, one after the other, with tokens that are not greater."""
    greatest: tuple[int, _Section] | None = None
    for section in held:
        if section.token is None:
            continue
        if greatest is not None and section.token <= greatest[0]:
            yield greatest[1], section
        else:
            greatest = section.token, section


def _not_growing_in_time(history: History, sections: Sequence[_Section]) -> Iterator[tuple[_Section, _Section]]:
    """Acquires that began after one with a token at least as great had returned; and equal tokens, in any order."""
    told = [(each.token, each) for each in sections if each.token is not None]
    by_return = sorted(told, key=lambda each: int(history.return_[each[1].acquire]))
    greatest, over = None, 0
    first_with: dict[int, _Section] = {}
    for token, section in sorted(told, key=lambda each: int(history.call[each[1].acquire])):
        while over < len(by_return) and history.return_[by_return[over][1].acquire] < history.call[section.acquire]:
            greatest = by_return[over] if greatest is None else max(greatest, by_return[over], key=lambda each: each[0])
            over += 1
        same = first_with.setdefault(token, section)
        if greatest is not None and token <= greatest[0]:
            yield greatest[1], section
        elif same is not section:
            yield same, section


def _two_holders(history: History, key: Any, first: _Section, second: _Section) -> Finding:
    ends = [each.release for each in (first, second) if each.release is not None]
    case = Case(history, [first.acquire, second.acquire, *ends])
    one, other = case.operations[:2]
    words = case.words
    message = (
        f"{_lock(key)} was acquired by {words.who(one)} at {words.ended(one)} and by {words.who(other)} at "
        f"{words.ended(other)}, while the first certainly held it: {_why_held(first, case)}."
    )
    roles = {"first": first.acquire, "second": second.acquire}
    return case.finding(NAME, "two holders at once", message, key=key, roles=roles, until_ns=first.until_ns)


def _why_held(section: _Section, case: Case) -> str:
    released = next((item for item in case.operations if item.index == section.release), None)
    if released is not None and released.call_ns == section.until_ns:
        return f"it released it at {case.words.began(released)} at the earliest"
    if section.until_ns == FOR_EVER_NS:
        return "its lease has no end, and it did not release it"
    return f"its lease lasted until {case.words.time(section.until_ns)} at least"


def _went_back(history: History, key: Any, first: int, second: int) -> Finding:
    case = Case(history, [first, second])
    one, other = case.operations
    told = f"{case.words.who(one)} acquired {_lock(key)} under the token {show(one.result)} at {case.words.ended(one)}"
    kind = "token given twice" if one.result == other.result else "token went back"
    message = f"{told}, and {case.words.who(other)}, later, under {show(other.result)} at {case.words.ended(other)}."
    return case.finding(NAME, kind, message, key=key, roles={"first": first, "second": second})


def _lock(key: Any) -> str:
    return "the lock" if key is None else f"the lock {show(key)}"


# What they guard.


def _of_register(history: History, key: Any, rows: Rows, counts: dict[str, Any]) -> Iterator[Finding]:
    """Fences of one register: what was known when, and who wrote or read below it later."""
    writes = rows[history.f[rows] == history.function("write")]
    reads = acknowledged(history, rows[history.f[rows] == history.function("read")])
    tokens = {int(history.value[row]): _token(history, int(row)) for row in writes}
    seen = [(row, int(history.result[row])) for row in reads.tolist() if int(history.result[row]) in tokens]
    done = [(row, int(history.value[row])) for row in acknowledged(history, writes).tolist()]
    counts["writes"] += len(done)
    counts["refused_writes"] += _failed_writes(history, key)
    counts["overwritten"] += _overwritten(history, writes)
    known = sorted(((int(history.return_[row]), tokens[value], row) for row, value in (*seen, *done)))
    later = sorted((int(history.call[row]), tokens[value], row) for row, value in (*seen, *done))
    told, over, highest = 0, 0, None
    for call, token, row in later:
        while over < len(known) and known[over][0] < call:
            if highest is None or known[over][1] > highest[1]:
                highest = known[over]
            over += 1
        if highest is not None and token < highest[1] and told < SHOWN_MAX:
            told += 1
            yield _fence_broken(history, key, highest[2], row, highest[1], token)


def _token(history: History, row: int) -> int:
    value = history.values.values[int(history.value[row])]
    if not isinstance(value, list | tuple) or len(value) != 2 or type(value[0]) is not int:
        problem = f"the value of a write is {shorten(value)}"
        raise HistoryError(history.source, int(history.call[row]) + 1, problem, "It is [fencing token, value].")
    return int(value[0])


def _failed_writes(history: History, key: Any) -> int:
    mine = having(history, "write") & (history.key == history.keys.find(key))
    return int((mine & (history.outcome == FAIL)).sum())


def _overwritten(history: History, writes: Rows) -> int:
    """Of the acknowledged increments, those whose number another one has too: one was made from what the other
    replaced.
    """
    values = [history.values.values[int(code)][1] for code in history.value[acknowledged(history, writes)]]
    return len(values) - len({show(value) for value in values})


def _fence_broken(history: History, key: Any, first: int, second: int, higher: int, lower: int) -> Finding:
    case = Case(history, [first, second])
    one, other = case.operations
    words = case.words
    known = "was written" if one.f == "write" else "was read"
    told = f"Under the token {higher}, {show(one.result)} {known} at {place(key)} by {words.who(one)}"
    who = words.who(other)
    if other.f == "write":
        kind, deed = "overtaken write accepted", f"the write of {show(other.value)} by {who} was accepted under {lower}"
    else:
        kind, deed = "guarded value went back", f"the read by {who} showed {show(other.result)}, written under {lower}"
    message = (
        f"{told}, which was over at {words.ended(one)}; but {deed}, though it began only at {words.began(other)}: a "
        "fence lets no lower token pass."
    )
    return case.finding(NAME, kind, message, key=key, roles={"known": first, "broken": second})


LEASED_LOCK = Guarantee(
    name=NAME,
    judge=judge,
    functions=frozenset({"acquire", "release", "read", "write"}),
    summary="locks with leases and fencing tokens, and the registers that they guard: one holder while leases last, "
    "tokens that grow, fences that hold",
    settings={"drift": "how much shorter than asked a lease may be, as a share (default 0.1)"},
)
