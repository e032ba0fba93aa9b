"""Session guarantees: what one client may rely on, whatever others see.

Terry, Demers, Petersen, Spreitzer, Theimer & Welch, "Session guarantees for weakly consistent replicated data" (PDIS
1994). A session is a process (after an ``info`` a client goes on under a new number: a new session), and each guarantee
is judged per key:

- **read your writes**: a read is not older than what its session has written;
- **monotonic reads**: a read is not older than what its session has read;
- **monotonic writes**: a write is not older than what its session has written before;
- **writes follow reads**: a write is not older than what its session has read before.

"Older" is provably older: :mod:`checkers.guarantees.version_order` says by what, and every finding says it again. A
compare-and-set that ended ok read what it expected, then wrote.

Registers have unique written values, or results ``[version, value]`` (``versions``). A history of ``append`` and
``read`` (whole lists) is judged by :mod:`checkers.guarantees.session_logs`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from checkers.guarantees import session_logs
from checkers.guarantees.accusation import SHOWN_MAX, Case, nothing_judged
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.selection import acknowledged, having, key_of, rows_of
from checkers.guarantees.session_logs import KINDS, MR, MW, NAME, RYW, WFR
from checkers.guarantees.settings import Settings
from checkers.guarantees.version_order import Version, Versions, numbered, older, unique_values
from checkers.history import History, HistoryError
from checkers.verdict import Finding, Result
from checkers.wording import place, show


@dataclass(slots=True)
class _Past:
    """What a session has read, or written, of one key: the newest version of each chain, and the two chains whose
    versions began last (two, because a version is compared across chains only with another chain's)."""

    newest: dict[int, tuple[Version, int]] = field(default_factory=dict)
    latest: list[tuple[Version, int]] = field(default_factory=list)

    def add(self, version: Version, row: int) -> None:
        known = self.newest.get(version.chain)
        if known is None or known[0].place < version.place:
            self.newest[version.chain] = (version, row)
        if len(self.latest) == 2 and version.begun <= self.latest[1][0].begun:
            return  # two chains have begun later already
        others = [item for item in self.latest if item[0].chain != version.chain]
        same = [item for item in self.latest if item[0].chain == version.chain]
        best = max([*same, (version, row)], key=lambda item: item[0].begun)
        self.latest = sorted([*others, best], key=lambda item: -item[0].begun)[:2]

    def newer_than(self, version: Version) -> tuple[Version, int] | None:
        """Something in it that is provably newer."""
        same = self.newest.get(version.chain)
        candidates = [*([same] if same else []), *self.latest]
        return next((item for item in candidates if older(version, item[0])), None)


@dataclass(slots=True)
class _Session:
    reads: _Past = field(default_factory=_Past)
    writes: _Past = field(default_factory=_Past)


@dataclass(frozen=True, slots=True)
class _Breach:
    kind: str
    row: int
    version: Version
    before: int
    newer: Version


def judge(history: History, settings: Settings) -> Result:
    """Does every session see its own past?

    Raises:
        HistoryError: appends are mixed with writes, or a read of a log returned no list.
        ValueError: a setting has a value that it can't have.
    """
    with_numbers, real_time = settings.flag("versions", False), settings.flag("real_time", True)
    if having(history, "append").any():
        if having(history, "write", "cas").any():
            problem = "the history is one of a log and of registers at once"
            raise HistoryError(history.source, None, problem, "Judge the data types one by one.")
        return session_logs.judge(history, settings)
    if with_numbers:
        versions = numbered(history, settings.null_read)
    else:
        versions = unique_values(history, settings.initial, settings.null_read, real_time=real_time)
    breaches, judged = _breaches(history, versions)
    counts = Counter(breach.kind for breach in breaches)
    findings: list[Finding] = []
    for kind in KINDS:
        shown = [breach for breach in breaches if breach.kind == kind][:SHOWN_MAX]
        findings.extend(_finding(history, breach, with_numbers) for breach in shown)
    if not judged:
        findings.append(nothing_judged(NAME, session_logs.NOTHING))
    operations = len(acknowledged(history, rows_of(history, "read", "write", "cas")))
    statistics = {
        "operations": operations,
        "operations_with_version": len(versions.found.keys() | versions.left.keys()),
        "sessions": len(set(history.process.tolist())),
        "comparisons": judged,
        "order": "version numbers" if with_numbers else "compare-and-sets, initial value" + ", real time" * real_time,
        **{kind.replace(" ", "_"): counts[kind] for kind in KINDS},
    }
    return Result(checker=NAME, findings=tuple(findings), statistics=statistics)


def _breaches(history: History, versions: Versions) -> tuple[list[_Breach], int]:
    sessions: dict[tuple[int, int], _Session] = {}
    breaches: list[_Breach] = []
    judged = 0
    rows = sorted(versions.found.keys() | versions.left.keys())
    for row in rows:
        session = sessions.setdefault((int(history.process[row]), int(history.key[row])), _Session())
        found, left = versions.found.get(row), versions.left.get(row)
        judged += bool(session.reads.latest or session.writes.latest)
        if found is not None:
            breaches += _compare(RYW, session.writes, found, row)
            breaches += _compare(MR, session.reads, found, row)
            session.reads.add(found, row)
        if left is not None:
            breaches += _compare(MW, session.writes, left, row)
            breaches += _compare(WFR, session.reads, left, row)
            session.writes.add(left, row)
    return breaches, judged


def _compare(kind: str, past: _Past, version: Version, row: int) -> list[_Breach]:
    newer = past.newer_than(version)
    return [] if newer is None else [_Breach(kind, row, version, newer[1], newer[0])]


def _value(history: History, row: int, *, found: bool, numbers: bool) -> Any:
    """What an operation found (read, or expected), or left."""
    f = history.functions[int(history.f[row])]
    code = history.value[row] if not found else history.result[row] if f == "read" else history.expected[row]
    value = history.values.values[int(code)]
    return value[1] if numbers and found and f == "read" else value


def _finding(history: History, breach: _Breach, numbers: bool) -> Finding:
    reads_now, read_before = breach.kind in (RYW, MR), breach.kind in (MR, WFR)
    now = show(_value(history, breach.row, found=reads_now, numbers=numbers))
    before = show(_value(history, breach.before, found=read_before, numbers=numbers))
    proof_rows = [row for row in (breach.version.known_by, breach.newer.begun_by) if row >= 0]
    across = breach.version.chain != breach.newer.chain
    case = Case(history, [breach.before, breach.row, *(proof_rows if across else [])])
    earlier, later = case.operations[:2] if breach.before != breach.row else (case.operations[0],) * 2
    did = "found" if read_before and earlier.f == "cas" else "read" if read_before else "wrote"
    does = ("found" if later.f == "cas" else "read") if reads_now else "wrote"
    key = key_of(history, breach.row)
    message = (
        f"{case.words.who(later).capitalize()} {does} {now} {'from' if reads_now else 'to'} {place(key)} at "
        f"{case.words.began(later)}, after it {did} {before} (over at {case.words.ended(earlier)}); but {now} is "
        f"older: {_proof(history, case, breach, now, before, numbers)}."
    )
    evidence = {"earlier": breach.before, "later": breach.row, "proof": proof_rows if across else []}
    return case.finding(NAME, breach.kind, message, key=key, **evidence)


def _proof(history: History, case: Case, breach: _Breach, now: str, before: str, numbers: bool) -> str:
    version, newer = breach.version, breach.newer
    if version.chain == newer.chain:
        if numbers:
            return f"it is version {version.place}, and {before} is version {newer.place}"
        return f"{before} was made from it, by compare-and-sets that took effect"
    begun = history.operation(newer.begun_by)
    source = begun.value[1] if begun.f == "cas" else begun.value
    begins = f"the write of {show(source)} began at {case.words.began(begun)}"
    if show(source) != before:
        begins += f", and {before} was made from that by compare-and-sets"
    if version.known_by < 0:
        return f"it is the initial value, and {begins}"
    known = history.operation(version.known_by)
    seen = show(history.values.values[version.known_value])
    made = "" if seen == now else f", which was made from {now} by compare-and-sets,"
    return f"{seen}{made} was there by {case.words.ended(known)} ({case.words.who(known)}), before {begins}"


SESSIONS = Guarantee(
    has_initial=True,
    name=NAME,
    judge=judge,
    functions=frozenset({"read", "write", "cas", "append"}),
    summary="session guarantees: read your writes, monotonic reads and writes, writes follow reads",
    settings={
        "versions": "whether results are [version, value] (default false: written values are unique)",
        "real_time": "whether a write that began after another was known counts as newer (default true)",
    },
)
