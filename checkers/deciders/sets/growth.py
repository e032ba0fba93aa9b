r"""Elements that nobody removes, and reads of everything: keys that only grow.

Any number of adds of one value are one *appearance*: it takes effect at some instant after the first of their calls and
before the first return of an ok one (the add with the first call can be the one that did it; the others change nothing
and may come at any time after). An appearance counts only if it must have happened: an add was ok, or it was seen.

The lists that were read must be totally ordered by inclusion, the initial elements among them. That sorts reads and
appearances into levels: A(1) R(1) A(2) R(2) ..., where R(k) are the reads of the k-th list and A(k) the appearances of
the elements that the k-th list has and the one before has not; what no read shows comes after the last. Every read is
then ordered with every appearance, and a contains with the appearance of its value: a partial order P with no cycle.

*Lemma.* Instants inside the operations' intervals that agree with an acyclic P exist iff call(a) < return(b) for all a
before-or-equal b in P: put each operation b at E(b) = max { call(a) : a before-or-equal b }, in the order of P where
these are equal; E never falls along P, and E(b) < return(b). It is necessary because each instant is after its call.

Here, with F(v) = max (call of the appearance, calls of the contains that missed v), and the running maximum of F over
A(1..k) and of the calls of reads over R(1..k-1):

- E(v) = max (F(v), all of the levels before it) must be less than the first return of an ok add of v and of a contains
  that found it;
- E(read in R(k)) = max (its own call, all of A(1..k), R(1..k-1)) must be less than its return.

Both are one pass over the levels.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np

from checkers.deciders.refusals import Flags, Ids
from checkers.deciders.sets.columns import Columns, codes_of
from checkers.deciders.sets.removals import Removals
from checkers.history import ABSENT

NO_LEVEL = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why the lists of one key cannot be.

    ``what``: ``phantom`` (``read`` shows the code of ``place``, which nobody added), ``twice`` (``read`` shows it
    twice) or ``apart`` (``read`` and ``other``, :data:`ABSENT` for the initial elements, are not included in one
    another: ``element`` is in ``other`` only). ``place`` is where it stands in the list of ``read``.
    """

    what: str
    key: int
    read: int
    other: int = ABSENT
    place: int = ABSENT
    element: int = ABSENT


@dataclass(kw_only=True, slots=True)
class Levels:
    """Levels of elements and of reads (by place in ``columns.read``), counted through all keys; ``last`` is the last
    of each key that has reads. :data:`NO_LEVEL` where there is none.
    """

    element: Ids
    read: Ids
    last: Ids
    faults: list[Fault] = field(default_factory=list)


def levels(columns: Columns, growing: Flags) -> Levels:
    """The levels of the keys that are flagged: those in which something is read and nothing removed."""
    return _Leveller(columns).run(growing)


class _Leveller:
    def __init__(self, columns: Columns) -> None:
        history = columns.history
        self.columns, self.history = columns, history
        self.names: list[Hashable] = list(history.values.codes)
        keys = len(history.keys)
        self.out = Levels(
            element=np.full(len(columns), NO_LEVEL, dtype=np.int64),
            read=np.full(len(columns.read), NO_LEVEL, dtype=np.int64),
            last=np.full(keys, NO_LEVEL, dtype=np.int64),
        )
        self.number = 0
        self.decode = _Decoder(columns)
        self.element = np.full(
            len(history.values) + len(columns.more) + 1, ABSENT, dtype=np.int64
        )  # the last place is for ABSENT
        self.added = columns.any(columns.add_of) | columns.initial
        self.place = np.zeros(len(columns), dtype=np.int64)

    def run(self, growing: Flags) -> Levels:
        columns = self.columns
        order = np.argsort(columns.key, kind="stable") if len(self.history.keys) > 1 else np.arange(len(columns))
        edges = np.searchsorted(columns.key[order], np.arange(len(self.history.keys) + 1))
        reads = np.flatnonzero(growing[self.history.key[columns.read]])
        of_key: dict[int, dict[int, list[int]]] = {}
        codes = self.history.result[columns.read[reads]].tolist()
        for key, code, read in zip(self.history.key[columns.read[reads]].tolist(), codes, reads.tolist(), strict=True):
            of_key.setdefault(key, {}).setdefault(code, []).append(read)
        for key, lists in sorted(of_key.items()):  # the order that levels are compared in (`_ceilings`)
            mine = order[edges[key] : edges[key + 1]]
            self.element[columns.code[mine]] = mine
            fault = self._key(key, lists, mine)
            self.element[columns.code[mine]] = ABSENT
            if fault is not None:
                self._forget(fault, lists, mine)
        return self.out

    def _forget(self, fault: Fault, lists: dict[int, list[int]], mine: Ids) -> None:
        """A key without levels."""
        self.out.faults.append(fault)
        self.out.element[mine] = NO_LEVEL
        for reads in lists.values():
            self.out.read[reads] = NO_LEVEL
        self.number += 1

    def _key(self, key: int, lists: dict[int, list[int]], mine: Ids) -> Fault | None:
        out, values = self.out, self.history.values.values
        initial = mine[self.columns.initial[mine]]
        out.element[initial] = self.number
        size, text, before = len(self.columns.start), b"", ABSENT
        for code in sorted(lists, key=lambda code: len(values[code] or ())):
            reads = lists[code]
            name = self.names[code]
            shown = bytes(name) if isinstance(name, bytes) else b"[]"
            row = int(self.columns.read[reads[0]])
            skip = size if text and _begins(shown, text) else 0
            every = self.element[self.decode(code, skip)]
            fault = self._fault(key, row, before, every, skip, size, mine)
            if fault is not None:
                return fault
            new = every[out.element[every] == NO_LEVEL]
            if len(new):
                self.number += 1
                out.element[new] = self.number
            out.read[reads] = self.number
            size, text, before = len(every) + skip, shown, row
        self.number += 1
        out.last[key] = self.number - 1
        return None

    def _fault(self, key: int, row: int, before: int, every: Ids, skip: int, size: int, mine: Ids) -> Fault | None:
        strange = np.flatnonzero(every == ABSENT)
        strange = strange if len(strange) else np.flatnonzero(~self.added[every])
        if len(strange):
            return Fault(what="phantom", key=key, read=row, place=skip + int(strange[0]))
        self.place[every] = np.arange(len(every))
        known = self.out.element[every] != NO_LEVEL
        twice = np.flatnonzero((self.place[every] != np.arange(len(every))) | (known & (skip > 0)))
        if len(twice):
            return Fault(what="twice", key=key, read=row, place=skip + int(twice[0]))
        if skip == 0 and int(known.sum()) != size:
            old = mine[self.out.element[mine] != NO_LEVEL]
            missing = np.setdiff1d(old, every)
            element = int(missing[0]) if len(missing) else ABSENT
            return Fault(what="apart", key=key, read=row, other=before, element=element)
        return None


def _begins(longer: bytes, shorter: bytes) -> bool:
    """Is one JSON list a prefix of the other? (What follows a whole value is a comma or the end.)"""
    end = len(shorter) - 1
    return shorter != b"[]" and longer.startswith(shorter[:-1]) and longer[end : end + 1] in (b",", b"]")


class _Decoder:
    """Lists as codes of their values. Lists of plain numbers, the usual case, without a look-up for each."""

    def __init__(self, columns: Columns) -> None:
        self.history, self.more = columns.history, columns.more
        self.numbers = np.empty(0, np.int64)
        self.codes = np.empty(0, np.int64)

    def __call__(self, code: int, skip: int) -> Ids:
        values = (self.history.values.values[code] or ())[skip:]
        if len(values) < 64:
            return codes_of(self.history, values, self.more)
        if set(map(type, values)) != {int}:
            return codes_of(self.history, values, self.more)
        try:
            numbers = np.array(values, dtype=np.int64)
        except OverflowError:
            return codes_of(self.history, values, self.more)
        return self._of_numbers(numbers)

    def _of_numbers(self, numbers: Ids) -> Ids:
        if not len(self.codes):
            self._learn()
        low, high = int(self.numbers[0]), int(self.numbers[-1])
        if high - low < 16 * len(self.numbers) + 1024:
            table = self._table(low, high)
            inside = (numbers >= low) & (numbers <= high)
            return np.where(inside, table[np.where(inside, numbers - low, 0)], ABSENT)
        at = np.minimum(np.searchsorted(self.numbers, numbers), len(self.numbers) - 1)
        return np.where(self.numbers[at] == numbers, self.codes[at], ABSENT)

    def _learn(self) -> None:
        """Numbers of the history, sorted, and their codes."""
        most = 2**63
        table = self.history.values.values
        known = [(value, code) for code, value in enumerate(table) if type(value) is int and -most <= value < most]
        known += [(name, code) for name, code in self.more.items() if type(name) is int and -most <= name < most]
        pairs = np.array(sorted(known) or [(0, ABSENT)], dtype=np.int64)
        self.numbers, self.codes = pairs[:, 0].copy(), pairs[:, 1].copy()
        self._dense: Ids | None = None

    def _table(self, low: int, high: int) -> Ids:
        if self._dense is None:
            self._dense = np.full(high - low + 1, ABSENT, dtype=np.int64)
            self._dense[self.numbers - low] = self.codes
        return self._dense


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """F (``own``) and E of every element, E of every read (positions moved by key times ``span``, and by 2), and which
    are impossible. ``counts``: the elements that appeared for certain and are never removed; ``wrong_alone``: for
    reasons of their own.
    """

    span: int
    counts: Flags
    own: Ids
    earliest: Ids
    read_earliest: Ids
    wrong_alone: Flags
    wrong: Flags
    wrong_read: Flags

    @staticmethod
    def of(columns: Columns, removals: Removals, ranks: Levels) -> Growth:
        history = columns.history
        span = history.events + 4
        move = columns.key * span + 2
        own = np.maximum(removals.added, columns.last(columns.missed, columns.missed_of, history.call))
        counts = (removals.needed | (ranks.element != NO_LEVEL)) & ~removals.removed & ~removals.phantom
        own = np.where(counts, own, -2) + move
        read_key = history.key[columns.read].astype(np.int64)
        ceiling = _ceilings(columns, ranks, own, counts, read_key, span)
        rank = np.where(ranks.element == NO_LEVEL, ranks.last[columns.key] + 1, ranks.element)
        placed = ranks.last[columns.key] != NO_LEVEL
        earliest = np.where(placed & counts, np.maximum(own, ceiling[np.where(placed, 2 * rank, 0)]), own)
        levelled = ranks.read != NO_LEVEL
        read_call = history.call[columns.read] + read_key * span + 2
        before = ceiling[np.where(levelled, 2 * ranks.read + 1, 0)]
        read_earliest = np.where(levelled, np.maximum(read_call, before), read_call)
        until = np.minimum(removals.until, history.events) + move
        read_until = history.return_[columns.read] + read_key * span + 2
        return Growth(
            span=span,
            counts=counts,
            own=own,
            earliest=earliest,
            read_earliest=read_earliest,
            wrong_alone=counts & (own >= until),
            wrong=counts & (earliest >= until),
            wrong_read=read_earliest >= read_until,
        )


def _ceilings(columns: Columns, ranks: Levels, own: Ids, counts: Flags, read_key: Ids, span: int) -> Ids:
    """The running maximum before A(0), R(0), A(1), R(1), ...: at 2k for the elements of level k, at 2k + 1 for its
    reads. Keys stand one after another; an earlier key's positions are all less.
    """
    levels_ = int(max(ranks.last.max(initial=NO_LEVEL), ranks.element.max(initial=0), ranks.read.max(initial=0))) + 2
    highest = np.full(2 * levels_ + 1, -1, dtype=np.int64)
    inside = counts & (ranks.element != NO_LEVEL)
    np.maximum.at(highest, 2 * ranks.element[inside] + 1, own[inside])
    levelled = ranks.read != NO_LEVEL
    calls = columns.history.call[columns.read] + read_key * span + 2
    np.maximum.at(highest, 2 * ranks.read[levelled] + 2, calls[levelled])
    return np.maximum.accumulate(highest)
