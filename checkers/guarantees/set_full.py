"""A set that is added to and read whole: what became of every element.

After Jepsen's ``set-full``, judged per element and without a model. An element is *known* once an add of it was
acknowledged, or a read that showed it was over, whichever came first. From then on it must be in every read that
begins:

- **lost**: such a read misses it, and no read that ended after that one began shows it;
- **stale**: such a read misses it, but a read that ended later shows it. Allowed with ``linearizable: false``;
- **duplicate**: one read shows it twice (Jepsen counts these but its comparison can never hold, so it reports none);
- **phantom**: a read shows what nobody added, or what was added only after the read was over (Jepsen ignores it);
- **never read**: no read shows it and none that must show it does not. No finding.

Where Jepsen compares the invocations of the last read that shows an element and the last that does not, this compares
when the one *ended* with when the other *began*: of two reads that overlap, either may have come last. The stable
latency of an element is the time from its being known to the beginning of the last read that missed it (0: none did);
the lost latency is the time from its being known to the beginning of the last read that showed it.

All reads are gone through once forward (known, shown) and once backward (which read missed an element last: those that
are in every read from some point on drop out together), so the work is linear in what the reads returned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from checkers.guarantees.accusation import SHOWN_MAX, Case, listed_some, nothing_judged
from checkers.guarantees.contents import Codes, Contents
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.quantiles import quantiles_ms
from checkers.guarantees.selection import Rows, acknowledged, by_key, rows_of
from checkers.guarantees.settings import Settings
from checkers.history import FAIL, NEVER, OK, History
from checkers.verdict import Finding, Result
from checkers.wording import place, show

NAME = "set-full"
_NONE = -1

Column = npt.NDArray[np.int64]


@dataclass(kw_only=True, slots=True)
class _Elements:
    """The elements of one set, one place each, in the order of their value codes. Rows are :data:`_NONE` if there is
    none, positions of events -1."""

    code: Column
    add: Rows
    known: Column
    """Position of the event by which the element was known to be there (:data:`NEVER`: it never was)."""
    known_row: Rows
    shown: Rows
    """The read that showed it and began last."""
    shown_end: Column
    """The last return of a read that showed it."""
    shown_end_row: Rows
    missed: Rows
    """The read that did not show it and began last."""
    twice: Rows
    """A read that showed it more than once."""
    early: Rows
    """A read that showed it and was over before any add of it began."""
    phantoms: list[tuple[int, Codes]] = field(default_factory=list)
    """(read, what it showed that nobody added)."""

    @staticmethod
    def of(history: History, adds: Rows) -> _Elements:
        code, first, place_of = np.unique(history.value[adds], return_index=True, return_inverse=True)
        count = len(code)
        known, known_row = np.full(count, NEVER), np.full(count, _NONE)
        ok = history.outcome[adds] == OK
        latest_first = np.argsort(-history.return_[adds[ok]], kind="stable")  # the earliest is written last
        acks, places = adds[ok][latest_first], place_of[ok][latest_first]
        known[places], known_row[places] = history.return_[acks], acks
        none = [np.full(count, _NONE) for _ in range(6)]
        return _Elements(
            code=code.astype(np.int64),
            add=adds[first],
            known=known,
            known_row=known_row,
            shown=none[0],
            shown_end=none[1],
            shown_end_row=none[2],
            missed=none[3],
            twice=none[4],
            early=none[5],
        )

    def see(self, history: History, row: int, elements: Column) -> None:
        """A read showed these elements (each once)."""
        end = int(history.return_[row])
        self.shown[elements] = row
        news = elements[end < self.known[elements]]
        self.known[news], self.known_row[news] = end, row
        later = elements[end > self.shown_end[elements]]
        self.shown_end[later], self.shown_end_row[later] = end, row
        self.early[elements[history.call[self.add[elements]] > end]] = row

    def miss(self, reads: Rows, seen: list[Column]) -> None:
        """Finds the last read that missed each element, from the elements that each read showed."""
        stamp = np.full(len(self.code), _NONE)
        shown_since = np.arange(len(self.code))
        for number in range(len(reads) - 1, -1, -1):
            if not len(shown_since):
                return
            stamp[seen[number]] = number
            here = stamp[shown_since] == number
            self.missed[shown_since[~here]] = reads[number]
            shown_since = shown_since[here]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Fate:
    """What became of the elements of one set: places of those lost, stale, ..."""

    lost: Column
    stale: Column
    stable: Column
    never_read: Column
    recovered: Column
    stable_ns: Column
    lost_ns: Column

    @staticmethod
    def of(history: History, elements: _Elements) -> _Fate:
        missed_call = np.where(elements.missed == _NONE, _NONE, history.call[elements.missed])
        broken = missed_call > elements.known
        shown = elements.shown != _NONE
        lost = broken & (elements.shown_end < missed_call)
        stable = shown & ~lost
        known_ns = history.return_ns[elements.known_row]
        missed_ns = np.where(broken, history.call_ns[elements.missed] - known_ns, 0)
        shown_ns = np.where(shown, history.call_ns[elements.shown] - known_ns, 0)
        return _Fate(
            lost=np.flatnonzero(lost),
            stale=np.flatnonzero(broken & ~lost),
            stable=np.flatnonzero(stable),
            never_read=np.flatnonzero(~shown & ~lost),
            recovered=np.flatnonzero(shown & (history.outcome[elements.add] != OK)),
            stable_ns=np.maximum(missed_ns, 0)[stable],
            lost_ns=np.maximum(shown_ns, 0)[lost],
        )


@dataclass(kw_only=True, slots=True)
class _Tally:
    """What was found in all sets together."""

    findings: list[Finding] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    names: dict[str, list[Any]] = field(default_factory=dict)
    stable_ns: list[Column] = field(default_factory=list)
    lost_ns: list[Column] = field(default_factory=list)

    def count(self, kind: str, codes: Codes, contents: Contents, key: Any) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + len(codes)
        known = self.names.setdefault(kind, [])
        for code in listed_some(codes.tolist())[: 100 - len(known)]:
            value = contents.value(code)
            known.append(value if key is None else [key, value])


def judge(history: History, settings: Settings) -> Result:
    """What became of every element of every set.

    Raises:
        HistoryError: a read returned something that is no list.
    """
    linearizable = settings.flag("linearizable", True)
    adds, reads = rows_of(history, "add"), acknowledged(history, rows_of(history, "read"))
    if settings.null_read == "unknown":
        reads = reads[history.result[reads] != history.values.find(None)]
    reads_of, adds_of = dict(by_key(history, reads)), dict(by_key(history, adds))
    contents, tally = Contents(history), _Tally()
    lookup = np.full(contents.size, _NONE)
    for key in sorted({*reads_of, *adds_of}):
        none = np.empty(0, np.int64)
        elements = _Elements.of(history, adds_of.get(key, none))
        _go_through(history, contents, elements, reads_of.get(key, none), lookup)
        _account(history, contents, elements, key, linearizable, tally)
    if not tally.findings and not tally.counts.get("stable"):
        tally.findings.append(nothing_judged(NAME, _why_nothing(adds, reads)))
    return Result(checker=NAME, findings=tuple(tally.findings), statistics=_statistics(history, adds, reads, tally))


def _go_through(history: History, contents: Contents, elements: _Elements, reads: Rows, lookup: Column) -> None:
    """Forward and backward through the reads of one set. ``lookup`` is all :data:`_NONE`, and so again at the end."""
    lookup[elements.code] = np.arange(len(elements.code))
    stamp = np.full(len(elements.code), _NONE)
    seen: list[Column] = []
    for row in reads.tolist():
        codes = contents.of(row)
        places = lookup[codes] if not len(codes) or codes.max() < contents.size else _places(lookup, codes)
        if (places < 0).any():
            elements.phantoms.append((row, codes[places < 0]))
            places = places[places >= 0]
        numbers = np.arange(len(places))
        stamp[places] = numbers
        again = stamp[places] != numbers
        if again.any():
            elements.twice[places[again]] = row
            places = places[~again]
        elements.see(history, row, places)
        seen.append(places)
    elements.miss(reads, seen)
    lookup[elements.code] = _NONE


def _places(lookup: Column, codes: Codes) -> Column:
    inside = codes < len(lookup)
    return np.where(inside, lookup[np.where(inside, codes, 0)], _NONE)


def _account(
    history: History, contents: Contents, elements: _Elements, key: int, linearizable: bool, tally: _Tally
) -> None:
    case = _SetCase(history, contents, elements, history.keys.values[key])
    fate = _Fate.of(history, elements)
    twice, early = (np.flatnonzero(column != _NONE) for column in (elements.twice, elements.early))
    phantoms = np.unique(np.concatenate([codes for _, codes in elements.phantoms] or [np.empty(0, np.int64)]))
    for kind, places in (
        *(("lost", fate.lost), ("stale", fate.stale), ("stable", fate.stable), ("never read", fate.never_read)),
        *(("recovered", fate.recovered), ("duplicate", twice), ("shown before its add", early)),
    ):
        tally.count(kind, elements.code[places], contents, case.key)
    tally.count("phantom", phantoms, contents, case.key)
    tally.stable_ns.append(fate.stable_ns)
    tally.lost_ns.append(fate.lost_ns)
    kinds = [(case.lost, fate.lost), (case.stale, fate.stale if linearizable else fate.stale[:0])]
    for tell, places in (*kinds, (case.duplicate, twice), (case.early, early)):
        tally.findings.extend(tell(place_) for place_ in places[:SHOWN_MAX].tolist())
    tally.findings.extend(case.phantoms())


class _SetCase:
    """The sentences about one set."""

    def __init__(self, history: History, contents: Contents, elements: _Elements, key: Any) -> None:
        self.history, self.contents, self.elements, self.key = history, contents, elements, key
        self.where = "the set" if key is None else place(key)

    def element(self, place_: int) -> Any:
        return self.contents.value(int(self.elements.code[place_]))

    def lost(self, place_: int) -> Finding:
        case, known, missed = self._missing(place_)
        message = f"{known}, but {missed}, nor does any read that ended after that one began."
        return self._finding(case, "lost", message, place_)

    def stale(self, place_: int) -> Finding:
        case, known, missed = self._missing(place_)
        later = self.history.operation(int(self.elements.shown_end_row[place_]))
        message = (
            f"{known}, but {missed}; the read by {case.words.who(later)} that ended at {case.words.ended(later)} does."
        )
        return self._finding(case, "stale", message, place_)

    def _missing(self, place_: int) -> tuple[Case, str, str]:
        elements = self.elements
        rows = [elements.add, elements.known_row, elements.missed, elements.shown_end_row]
        case = Case(self.history, [int(column[place_]) for column in rows if column[place_] != _NONE])
        known, missed = (self.history.operation(int(column[place_])) for column in (rows[1], rows[2]))
        how = "was in the read by" if known.f == "read" else "was acknowledged to"
        told = f"Element {show(self.element(place_))} of {self.where} {how} {case.words.who(known)}"
        at = f"at {case.words.ended(known)}" if known.f != "read" else f"that ended at {case.words.ended(known)}"
        absent = f"the read by {case.words.who(missed)} that began at {case.words.began(missed)} does not show it"
        return case, f"{told} {at}", absent

    def duplicate(self, place_: int) -> Finding:
        row = int(self.elements.twice[place_])
        case = Case(self.history, [int(self.elements.add[place_]), row])
        read = self.history.operation(row)
        times = int((self.contents.of(row) == self.elements.code[place_]).sum())
        message = (
            f"The read of {self.where} by {case.words.who(read)} at {case.words.began(read)} shows element "
            f"{show(self.element(place_))} {times} times; a set has it once."
        )
        return self._finding(case, "duplicate", message, place_, times=times)

    def early(self, place_: int) -> Finding:
        add, row = int(self.elements.add[place_]), int(self.elements.early[place_])
        case = Case(self.history, [add, row])
        read, first = self.history.operation(row), self.history.operation(add)
        message = (
            f"The read of {self.where} by {case.words.who(read)} that ended at {case.words.ended(read)} shows element "
            f"{show(self.element(place_))}, which nobody began to add before {case.words.began(first)}."
        )
        return self._finding(case, "shown before its add", message, place_)

    def phantoms(self) -> Iterator[Finding]:
        """One finding for each of the first elements that nobody added."""
        told: set[int] = set()
        for row, codes in self.elements.phantoms:
            for code in codes.tolist():
                if code not in told and len(told) < SHOWN_MAX:
                    told.add(code)
                    yield self._phantom(row, code)

    def _phantom(self, row: int, code: int) -> Finding:
        history, value = self.history, self.contents.value(code)
        adds = (history.f == history.function("add")) & (history.value == code)
        failed = np.flatnonzero(adds & (history.outcome == FAIL) & (history.key == history.key[row]))
        why = "which nobody added"
        if len(failed):
            why = "though every add of it certainly failed"
        case = Case(history, [row, *failed[:1].tolist()])
        read = history.operation(row)
        who = f"by {case.words.who(read)} at {case.words.began(read)}"
        message = f"The read of {self.where} {who} shows element {show(value)}, {why}."
        return case.finding(NAME, "phantom", message, key=self.key, element=value, read=row)

    def _finding(self, case: Case, kind: str, message: str, place_: int, **facts: Any) -> Finding:
        columns = {"add": "add", "known": "known_row", "missed": "missed", "shown": "shown_end_row"}
        roles = {name: int(getattr(self.elements, column)[place_]) for name, column in columns.items()}
        present = {name: row for name, row in roles.items() if row != _NONE}
        return case.finding(NAME, kind, message, key=self.key, element=self.element(place_), roles=present, **facts)


def _why_nothing(adds: Rows, reads: Rows) -> str:
    if not len(reads):
        return "No read ended ok, so nothing is known of what the set held."
    if not len(adds):
        return "Nothing was added, so no read could have missed anything."
    return "No read showed any element, and none had to: nothing is known of what the set held."


def _statistics(history: History, adds: Rows, reads: Rows, tally: _Tally) -> Mapping[str, Any]:
    kinds = ("stable", "lost", "stale", "never read", "recovered", "duplicate", "phantom", "shown before its add")
    empty = [np.empty(0, np.int64)]
    return {
        "adds": len(adds),
        "adds_acknowledged": int((history.outcome[adds] == OK).sum()),
        "reads": len(reads),
        **{kind.replace(" ", "_"): tally.counts.get(kind, 0) for kind in kinds},
        "elements": {kind: tally.names[kind] for kind in kinds[1:] if tally.names.get(kind)},
        "stable_latency_ms": quantiles_ms(np.concatenate(tally.stable_ns or empty)),
        "lost_latency_ms": quantiles_ms(np.concatenate(tally.lost_ns or empty)),
    }


SET_FULL = Guarantee(
    name=NAME,
    judge=judge,
    functions=frozenset({"add", "read"}),
    summary="a set that is added to and read whole: elements lost, stale, duplicate or out of nowhere",
    settings={"linearizable": "whether a stale read is refused (default true)"},
)
