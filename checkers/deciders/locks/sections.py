r"""Locks of owners: critical sections, which must not overlap; fenced locks: tokens that grow from one to the next.

A process does one thing after another, and only the holder releases, so on one key the ok operations of a process must
be acquire, release, acquire, release ... Each acquire with the release that follows is a *section*. It is certainly
held from f, the return of the acquire, to s, the call of the release (the end of time if there is none), and f < s.

(Where an operation of a process begins at the nanosecond at which its last one ended, the two overlap like any others
that touch: intervals are closed. Keys with such operations are the search's.)

*Unknown outcomes.* An info operation is the last of its process (otherwise the key is the search's). An info acquire
can be taken as never having happened: if it took effect, it was the last of all, because nobody ever released it. An
info release after an acquire can be taken as having happened, at the end if need be: without it nothing could follow.
An info release by who does not hold cannot have happened.

*Theorem.* Linearizable iff the sections [f, s] of a key are disjoint. Section A comes before section B in any order iff
A's release comes before B's acquire. If f(A) < s(B), an operation of A returned before one of B was called, so B cannot
come before A; two overlapping sections would each have to come first. If they are disjoint, order them by f: then
s(A) < f(B), so no operation of B returned before one of A was called. Here f(A) < s(B) also holds, so *that order is
the only one*, and the tokens of a fenced lock have but to grow along it: a token that was told must exceed the last one
told by at least the number of acquires since (those that were not told got one each).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.deciders.decision import Decision, Rows
from checkers.deciders.numbers import NO_NUMBER, NUMBER_MAX, numbers
from checkers.deciders.refusals import OPERATIONS_MAX, Case, Flags, Ids, Refusals, plural
from checkers.history import ABSENT, FAIL, INFO, OK, History, HistoryError
from checkers.models.model import Model
from checkers.models.mutex import FencedLock, OwnedMutex
from checkers.wording import show

WENT_ON = "a process goes on after an operation that nobody saw end"
TOUCH = "an operation of a process begins at the very time at which its last one ended"
LARGE = "fencing tokens are too large for the polynomial method"


@dataclass(frozen=True, kw_only=True)
class SectionsDecider:
    """acquire, and release by the process that acquired; ``fenced``: acquires return tokens."""

    fenced: bool

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:  # noqa: ARG002
        """See the module."""
        holder, last = self._start(history, initial)
        work = _Sections.of(history, holder)
        refusals = Refusals(history, "lock", initial)
        deferred = dict(work.deferred)
        _refuse_disorder(refusals, work)
        _refuse_overlaps(refusals, work, holder)
        if self.fenced:
            tokens, large = _tokens(history, last)
            deferred.update(dict.fromkeys(large, LARGE))
            _refuse_tokens(refusals, work, tokens, last)
        left = {key: why for key, why in deferred.items() if key not in refusals.keys}
        return Decision(findings=tuple(refusals.findings), refused=frozenset(refusals.keys), deferred=left)

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:  # noqa: ARG002
        """Section after section."""
        work = _Sections.of(history.select(rows), self._start(history, initial)[0])
        if work.deferred:
            return None
        both = np.stack((work.acquire, work.release), axis=1).reshape(-1)
        order: Rows = rows[both[both != ABSENT]]
        return order

    def _start(self, history: History, initial: Any) -> tuple[int | None, int | None]:
        """Who holds at the beginning, and the last token."""
        model: Model = FencedLock() if self.fenced else OwnedMutex()
        try:
            state: Any = model.start(initial)
        except ValueError as error:
            raise HistoryError(history.source, None, str(error), "Choose another initial value.") from None
        return state if self.fenced else (state, None)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Sections:
    """Sections in the order of key and f: rows (:data:`ABSENT`: the beginning, or no release), f and s.

    ``wrong``: rows of ok operations out of turn, the first of each process and key, and ``previous`` the operation of
    the same process before them (:data:`ABSENT`: none). Nothing in them belongs to keys that are ``deferred``.
    """

    key: Ids
    acquire: Ids
    release: Ids
    first: Ids
    last: Ids
    wrong: Ids
    previous: Ids
    deferred: Mapping[int, str] = field(default_factory=dict)

    @staticmethod
    def of(history: History, holder: int | None) -> _Sections:
        rows, starts, deferred = _by_process(history)
        acquires = history.f[rows] == history.function("acquire")
        info = history.outcome[rows] == INFO
        group = np.cumsum(starts) - 1
        heads = np.flatnonzero(starts)
        ends = np.concatenate((starts[1:], np.ones(min(1, len(rows)), np.bool_)))
        holds = np.zeros(len(heads), dtype=np.int64)
        if holder is not None:
            holds = ((history.process[rows[heads]] == holder) & ~acquires[heads]).astype(np.int64)
        turn = (np.arange(len(rows)) - heads[group] + holds[group]) % 2 == 0 if len(rows) else acquires
        wrong = np.flatnonzero((turn != acquires) & ~info)
        wrong = wrong[np.unique(group[wrong], return_index=True)[1]]
        before = np.where(starts[wrong], ABSENT, rows[wrong - 1])
        begun = np.flatnonzero(turn & acquires & ~info)
        following = np.minimum(begun + 1, len(rows) - 1)
        closed = ~ends[begun] & ~acquires[following]
        acquire, release = rows[begun], np.where(closed, rows[following], ABSENT)
        key = history.key[acquire].astype(np.int64)
        if holder is not None:
            releases = rows[heads[holds == 1]]
            judged = np.setdiff1d(history.key, list(deferred)).astype(np.int64)
            key, acquire, release = _with_holder(history, judged, (key, acquire, release), releases)
        first = np.where(acquire == ABSENT, -1, history.return_[acquire])
        last = np.where(release == ABSENT, history.events, history.call[release])
        order = np.argsort(key * (history.events + 2) + first)
        return _Sections(
            key=key[order],
            acquire=acquire[order],
            release=release[order],
            first=first[order],
            last=last[order],
            wrong=rows[wrong],
            previous=before,
            deferred=deferred,
        )


def _by_process(history: History) -> tuple[Ids, Flags, Mapping[int, str]]:
    """Rows that may have taken effect, process after process within each key; where a new one begins; and the keys that
    are left out, in which a process is not one thing after another.
    """
    rows = np.flatnonzero(history.outcome != FAIL)
    order = np.lexsort((history.process[rows], history.key[rows]))
    rows = rows[order]
    same = np.zeros(len(rows), dtype=np.bool_)
    same[1:] = (history.key[rows[1:]] == history.key[rows[:-1]]) & (
        history.process[rows[1:]] == history.process[rows[:-1]]
    )
    after = np.flatnonzero(same)
    touching = after[history.return_[rows[after - 1]] > history.call[rows[after]]]
    went_on = history.outcome[rows[touching - 1]] == INFO
    deferred = dict.fromkeys(np.unique(history.key[rows[touching]]).tolist(), TOUCH)
    deferred.update(dict.fromkeys(np.unique(history.key[rows[touching[went_on]]]).tolist(), WENT_ON))
    if deferred:
        stay = ~np.isin(history.key[rows], list(deferred))
        rows, same = rows[stay], same[stay]
    return rows, ~same, deferred


def _with_holder(history: History, keys: Ids, sections: tuple[Ids, Ids, Ids], releases: Ids) -> tuple[Ids, Ids, Ids]:
    """Keys, acquires and releases with the section that was open at the beginning of every key."""
    key, acquire, release = sections
    closed = np.full(len(history.keys), ABSENT, dtype=np.int64)
    closed[history.key[releases]] = releases
    nobody = np.full(len(keys), ABSENT, dtype=np.int64)
    return (
        np.concatenate((key, keys)),
        np.concatenate((acquire, nobody)),
        np.concatenate((release, closed[keys])),
    )


def _refuse_disorder(refusals: Refusals, work: _Sections) -> None:
    """Acquires by who holds already, releases by who does not hold."""
    history = refusals.history
    for at in refusals.fresh(history.key[work.wrong].astype(np.int64)):
        row, before = int(work.wrong[at]), int(work.previous[at])
        acquires = history.functions[int(history.f[row])] == "acquire"
        roles = {"then": row, **({} if before == ABSENT else {"first": before})}
        pairs = [] if before == ABSENT else [(before, row)]
        kind = "acquired twice" if acquires else "release by who does not hold"
        refusals.add(kind, roles, _tell_acquired if acquires else _tell_released, before=pairs)


def _tell_acquired(case: Case) -> str:
    since = f"had acquired it already ({case.by('first')}) and not released it since"
    return f"Process {case['then'].process} acquired {case.where} {case.by('then')}; but it {since}."


def _tell_released(case: Case) -> str:
    never = "had never acquired it"
    if "first" in case:
        never = f"had released it already ({case.by('first')}) and not acquired it since"
    return f"Process {case['then'].process} released {case.where} {case.by('then')}; but it {never}."


def _refuse_overlaps(refusals: Refusals, work: _Sections, holder: int | None) -> None:
    """Two sections at once."""
    same = (work.key[:-1] == work.key[1:]) & (work.last[:-1] > work.first[1:])
    found = np.flatnonzero(same)
    for at in refusals.fresh(work.key[found]):
        one, two = int(found[at]), int(found[at]) + 1
        refusals.add("two holders at once", *_overlap(work, one, two, holder))


def _overlap(work: _Sections, one: int, two: int, holder: int | None) -> tuple[dict[str, int], Callable[[Case], str]]:
    names = {"first": work.acquire[one], "first release": work.release[one]}
    names |= {"second": work.acquire[two], "second release": work.release[two]}

    def tell(case: Case) -> str:
        held = f"Process {holder} held {case.where} from the beginning"
        if "first" in case:
            held = f"Process {case['first'].process} acquired {case.where} {case.by('first')}"
        kept = "never released it"
        if "first release" in case:
            kept = f"began to release it only at {case.words.began(case['first release'])}"
        again = f"process {case['second'].process} had acquired it {case.by('second')}"
        by_then = " by then" if "first release" in case else ""
        left = "never released it either"
        if "second release" in case:
            left = f"began to release it only at {case.words.began(case['second release'])}"
        return f"{held} and {kept}; but {again}{by_then}, and {left}: two holders at once."

    return {name: int(row) for name, row in names.items() if row != ABSENT}, tell


def _tokens(history: History, last: int | None) -> tuple[Ids, Sequence[int]]:
    """The token of each row, and the keys with tokens that numpy cannot hold."""
    rows = np.flatnonzero((history.f == history.function("acquire")) & (history.outcome == OK))
    result = history.result[rows]
    tokens = np.full(len(history), NO_NUMBER, dtype=np.int64)
    tokens[rows] = numbers(history)[result]
    odd = np.flatnonzero((tokens[rows] == NO_NUMBER) & (result != history.values.find(None)))
    if len(odd):
        row = int(rows[odd[0]])
        problem = f"an acquire returned {show(history.values.values[int(history.result[row])])}"
        raise HistoryError(history.source, int(history.call[row]) + 1, problem, "Fencing tokens are whole numbers.")
    large = rows[(np.abs(tokens[rows]) == NUMBER_MAX) & (tokens[rows] != NO_NUMBER)]
    every = history.key if last is not None and abs(last) >= NUMBER_MAX else history.key[large]
    return tokens, np.flatnonzero(np.bincount(every, minlength=1)).tolist()


def _refuse_tokens(refusals: Refusals, work: _Sections, tokens: Ids, last: int | None) -> None:
    """Tokens that do not exceed earlier ones."""
    told = np.flatnonzero(tokens[work.acquire] != NO_NUMBER)
    key, token = work.key[told], tokens[work.acquire[told]]
    follows = np.zeros(len(told), dtype=np.bool_)
    follows[1:] = key[1:] == key[:-1]
    previous = np.where(follows, np.concatenate((told[:1], told[:-1])), np.searchsorted(work.key, key) - 1)
    least = tokens[work.acquire[previous]] if last is None else np.where(follows, tokens[work.acquire[previous]], last)
    wrong = np.flatnonzero((token < least + told - previous) & (follows | (last is not None)))
    for at in refusals.fresh(key[wrong]):
        place = int(wrong[at])
        _explain_token(refusals, work, int(previous[place]) if follows[place] else None, int(told[place]), last)


def _explain_token(refusals: Refusals, work: _Sections, one: int | None, two: int, last: int | None) -> None:
    """``one``: the last section before with a token that was told; None: ``last`` was there at the beginning."""
    begin = one if one is not None else int(np.searchsorted(work.key, work.key[two]))
    between = two - begin - (one is not None)
    roles = {"second": int(work.acquire[two]), **({} if one is None else {"first": int(work.acquire[one])})}
    shown = np.concatenate((work.acquire[begin : two + 1], work.release[begin : two + 1]))

    def tell(case: Case) -> str:
        token = case["second"].result
        before = f"the last token at the beginning was {last}"
        if "first" in case:
            before = f"the one before, {case.by('first')}, got {case['first'].result}"
        untold = f", and {plural(between, 'acquire')} between them got a token that was not told" if between else ""
        order = "" if one is None else " (it was held from the return of its acquire to the call of its release)"
        return f"The acquire of {case.where} {case.by('second')} got token {token}; but {before}{untold}{order}."

    pairs = [(roles["first"], roles["second"])] if one is not None else []
    pairs = [pair for pair in pairs if refusals.history.return_[pair[0]] < refusals.history.call[pair[1]]]
    kind = "token went back"
    if one is not None and refusals.history.result[roles["first"]] == refusals.history.result[roles["second"]]:
        kind = "token given twice"
    refusals.add(kind, roles, tell, before=pairs, also=shown[shown != ABSENT][-OPERATIONS_MAX:].tolist())
