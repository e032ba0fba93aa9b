"""Append-only logs of values that are appended once: append (which may tell the offset) and read of the whole list.

The lists that were read must be prefixes of one another (and begin with the initial list); then the longest of them
gives the place of every value in it, and whoever appended such a value took that step (info: it did happen). An append
that was told its offset took that step, too. What remains is a matter of numbered steps: :mod:`checkers.deciders.steps`
with reads as sights of their length, and as takers the appends: fixed where the step is known, free (ok) or maybe
(info) where it is not. That is exact: given instants of the steps, with the fixed takers at theirs, put every other
taker's value at its step; each read shows the prefix of its length, because the places of all values in it are fixed.

Keys in which a value is appended twice, or is in the initial list too, are the search's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.deciders.decision import Decision, Rows
from checkers.deciders.log import explanation
from checkers.deciders.log.reads import Chain, Disagreement, chains, codes_of
from checkers.deciders.numbers import numbers
from checkers.deciders.refusals import Flags, Ids, Refusals
from checkers.deciders.steps import Steps, Windows, troubles
from checkers.history import ABSENT, FAIL, INFO, OK, History, HistoryError
from checkers.models.log import Log
from checkers.wording import show

DUPLICATE = "a value is appended more than once"


class LogDecider:
    """append and read of values that are appended once."""

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:
        """See the module."""
        start = _start(history, initial)
        refusals = Refusals(history, "log", initial)
        entries = Entries.of(history, start, null_read)
        places = _Places.of(history, entries)
        _refuse_contents(history, entries, places, refusals)
        steps = _steps(history, entries, places, refusals)
        for trouble in troubles(history, steps, refusals):
            explanation.of_steps(refusals, trouble, entries.chain(trouble.key), entries.offset_of(trouble), len(start))
        return Decision(findings=tuple(refusals.findings), refused=frozenset(refusals.keys), deferred=entries.deferred)

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:
        """The appends in the order of their steps, each read after its last value."""
        part = history.select(rows)
        start = _start(history, initial)
        entries = Entries.of(part, start, null_read)
        if entries.deferred:
            return None
        steps = _steps(part, entries, _Places.of(part, entries), Refusals(part, "log", initial))
        return rows[Windows(part, steps).order()]


def _start(history: History, initial: Any) -> tuple[Any, ...]:
    try:
        Log().start(initial)
    except ValueError as error:
        raise HistoryError(history.source, None, str(error), "Choose another initial value.") from None
    return tuple(initial or ())


@dataclass(frozen=True, kw_only=True, slots=True)
class Entries:
    """Appends and reads that count, of keys that are judged: rows; offsets that were told (:data:`ABSENT`: not)."""

    start: tuple[Any, ...]
    append: Ids
    offset: Ids
    read: Ids
    length: Ids
    chains: Sequence[Chain]
    disagreements: dict[int, Disagreement]
    deferred: dict[int, str] = field(default_factory=dict)

    @staticmethod
    def of(history: History, start: tuple[Any, ...], null_read: str) -> Entries:
        is_read = history.f == history.function("read")
        read = np.flatnonzero(is_read & (history.outcome == OK))
        append = np.flatnonzero(~is_read & (history.outcome != FAIL))
        told = _offsets(history, append)
        lengths = _lengths(history, read)
        if null_read == "unknown":
            says = history.result[read] != history.values.find(None)
            read, lengths = read[says], lengths[says]
        deferred = _duplicates(history, append, start)
        judged = np.ones(len(history.keys), dtype=np.bool_)
        judged[list(deferred)] = False
        stay, stay_read = judged[history.key[append]], judged[history.key[read]]
        found, wrong = chains(history, read[stay_read], start)
        return Entries(
            start=start,
            append=append[stay],
            offset=told[stay],
            read=read[stay_read],
            length=lengths[stay_read],
            chains=found,
            disagreements=wrong,
            deferred=deferred,
        )

    def chain(self, key: int) -> Chain | None:
        """The chain of a key."""
        return next((chain for chain in self.chains if chain.key == key), None)

    def offset_of(self, trouble: Any) -> dict[int, int]:
        """Offsets that were told to the rows of a trouble."""
        rows = np.array([trouble.first, trouble.then, *trouble.known])
        mine = np.flatnonzero(np.isin(self.append, rows) & (self.offset != ABSENT))
        return dict(zip(self.append[mine].tolist(), self.offset[mine].tolist(), strict=True))


def _offsets(history: History, append: Ids) -> Ids:
    """What each append was told."""
    result = history.result[append]
    told = np.where(history.outcome[append] == OK, numbers(history)[result], ABSENT)
    told[result == history.values.find(None)] = ABSENT
    odd = np.flatnonzero((told < 0) & (told != ABSENT) | (told == ABSENT) & _says(history, result))
    if len(odd):
        value = history.values.values[int(result[odd[0]])]
        problem = f"append returned {show(value)}"
        _refuse_value(history, int(append[odd[0]]), problem, "An append returns the offset of its value, or null.")
    return told


def _says(history: History, result: Ids) -> Flags:
    """Which results are there and not null."""
    says: Flags = (result != ABSENT) & (result != history.values.find(None))
    return says


def _lengths(history: History, read: Ids) -> Ids:
    """How long the list of each read is."""
    codes, of_read = np.unique(history.result[read], return_inverse=True)
    lists = [history.values.values[code] for code in codes.tolist()]
    for code, values in zip(codes.tolist(), lists, strict=True):
        if not isinstance(values, tuple | None):
            row = int(read[np.flatnonzero(history.result[read] == code)[0]])
            _refuse_value(
                history, row, f"a read returned {show(values)}", "A log's read returns the list of its values."
            )
    lengths = np.array([len(values or ()) for values in lists], dtype=np.int64)
    return lengths[of_read.reshape(-1)]


def _refuse_value(history: History, row: int, problem: str, step: str) -> None:
    raise HistoryError(history.source, int(history.call[row]) + 1, problem, step)


def _duplicates(history: History, append: Ids, start: tuple[Any, ...]) -> dict[int, str]:
    codes = len(history.values)
    pairs = np.sort(history.key[append].astype(np.int64) * codes + history.value[append])
    again = pairs[1:][pairs[1:] == pairs[:-1]]
    if start:
        again = np.concatenate((again, pairs[np.isin(pairs % codes, codes_of(history, start))]))
    return dict.fromkeys((again // codes).tolist(), DUPLICATE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Places:
    """The values of the longest lists: ``append`` is the place among the appends of who appended each
    (:data:`ABSENT`: nobody), ``chain`` the number of its key's chain, ``place`` where it stands. Initial values are
    left out.
    """

    append: Ids
    chain: Ids
    place: Ids
    codes: Ids
    of_append: Ids

    @staticmethod
    def of(history: History, entries: Entries) -> _Places:
        table = len(history.values)
        codes, chain, place = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        skip = len(entries.start)
        for number, found in enumerate(entries.chains):
            values = found.longest.values[skip:]
            codes.append(codes_of(history, values))
            chain.append(np.full(len(values), number))
            place.append(np.arange(skip, skip + len(values)))
        every, of_chain, where = (np.concatenate(parts) for parts in (codes, chain, place))
        keys = np.array([found.key for found in entries.chains], dtype=np.int64)
        pairs = keys[of_chain] * table + every if len(keys) else every
        appended = history.key[entries.append].astype(np.int64) * table + history.value[entries.append]
        order = np.argsort(appended)
        at = np.minimum(np.searchsorted(appended[order], pairs), max(0, len(order) - 1))
        append = order[at] if len(order) else np.full(len(pairs), ABSENT)
        known = (every != ABSENT) & (append != ABSENT)
        known[known] = appended[append[known]] == pairs[known]
        append = np.where(known, append, ABSENT)
        of_append = np.full(len(entries.append), ABSENT, dtype=np.int64)
        of_append[append[known]] = where[known]
        return _Places(append=append, chain=of_chain, place=where, codes=every, of_append=of_append)


def _refuse_contents(history: History, entries: Entries, places: _Places, refusals: Refusals) -> None:
    """What the lists alone, or with the offsets, show to be impossible."""
    wrong = list(entries.disagreements)
    for at in refusals.fresh(np.array(wrong, dtype=np.int64)):
        explanation.disagreement(refusals, entries.disagreements[wrong[at]])
    keys = np.array([chain.key for chain in entries.chains], dtype=np.int64)
    doubled = _doubled(places)
    for at in refusals.fresh(keys[places.chain[doubled]]):
        chain = entries.chains[int(places.chain[doubled[at]])]
        explanation.duplicate(refusals, chain, int(places.place[doubled[at]]))
    strange = np.flatnonzero(places.append == ABSENT)
    for at in refusals.fresh(keys[places.chain[strange]]):
        chain = entries.chains[int(places.chain[strange[at]])]
        explanation.phantom(refusals, chain, int(places.place[strange[at]]))
    _refuse_offsets(history, entries, places, refusals)
    _refuse_losses(history, entries, places, refusals)


def _doubled(places: _Places) -> Ids:
    """Values that stand in a list a second time, by their place in the row of all."""
    known = np.flatnonzero(places.append != ABSENT)
    _, first = np.unique(places.append[known], return_index=True)
    return np.delete(known, first)


def _refuse_offsets(history: History, entries: Entries, places: _Places, refusals: Refusals) -> None:
    """Offsets at which a list shows another value."""
    keys = history.key[entries.append]
    length = np.zeros(len(history.keys), dtype=np.int64)
    for chain in entries.chains:
        length[chain.key] = len(chain.longest.values)
    told = entries.offset != ABSENT
    elsewhere = (places.of_append != ABSENT) & (places.of_append != entries.offset)
    taken = (places.of_append == ABSENT) & (entries.offset < length[keys]) & (entries.offset >= len(entries.start))
    wrong = np.flatnonzero(told & (elsewhere | taken))
    for at in refusals.fresh(keys[wrong]):
        row, place = int(entries.append[wrong[at]]), int(places.of_append[wrong[at]])
        seen = entries.chain(int(keys[wrong[at]]))
        assert seen is not None
        explanation.offset(refusals, seen, row, int(entries.offset[wrong[at]]), place)


def _refuse_losses(history: History, entries: Entries, places: _Places, refusals: Refusals) -> None:
    """Acknowledged values that no list shows, though a read began after the acknowledgement."""
    latest = np.full(len(history.keys), ABSENT, dtype=np.int64)
    latest[history.key[entries.read]] = entries.read  # rows are in the order of their calls: the last one stays
    keys = history.key[entries.append]
    read = latest[keys]
    after = (read != ABSENT) & (history.return_[entries.append] < history.call[read])
    lost = np.flatnonzero((places.of_append == ABSENT) & after)
    for at in refusals.fresh(keys[lost]):
        explanation.lost(refusals, int(entries.append[lost[at]]), int(read[lost[at]]))


def _steps(history: History, entries: Entries, places: _Places, refusals: Refusals) -> Steps:
    """The log as numbered steps, without the keys that are refused already."""
    skip = len(entries.start)
    standing, stay = refusals.standing(history.key[entries.append]), refusals.standing(history.key[entries.read])
    append = entries.append
    place = np.where(places.of_append != ABSENT, places.of_append, entries.offset)
    fixed = standing & (place != ABSENT)
    loose = standing & (place == ABSENT)
    return Steps(
        sight=entries.read[stay],
        level=entries.length[stay] - skip,
        fixed=append[fixed],
        step=place[fixed] + 1 - skip,
        free=append[loose & (history.outcome[append] == OK)],
        maybe=append[loose & (history.outcome[append] == INFO)],
    )
