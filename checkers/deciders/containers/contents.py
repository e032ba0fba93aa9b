"""The operations of containers as arrays: one line a value, with its put and its take.

Left out, with a proof that the verdict stays the same:

- Keys in which a value is put twice (or once, and is there from the beginning): named, for the search.
- ``info`` puts of a value that nobody saw. Where a linearization holds such a put, leave out the put and whatever took
  its value (an ``info`` take): no other operation returned that value, so it was never the one whose turn it was for
  any of them, and without it the turns of the others stay as they are; what was empty stays empty.
- ``info`` peeks: they change nothing.

A null result says that the container was empty, so null, if it is put in (ever so often), is never seen to come out.

An ``info`` put whose value was seen did happen, before it was seen. ``info`` takes are *hidden* takes: each took some
value that nobody was seen to take, or found the container empty, or never happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from checkers.deciders.containers.conflicts import Conflict, Conflicts
from checkers.deciders.containers.timeline import Flags, Ids, Timeline, timeline
from checkers.deciders.containers.vocabulary import Vocabulary
from checkers.history import ABSENT, FAIL, OK, History, HistoryError
from checkers.models.container import elements
from checkers.values import identity

DUPLICATE = "a value is put in more than once"

NOBODY = -1
"""The row of what no operation did: the put of an initial element, the take of a value that nobody was seen to take."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Contents:
    """Values in the order of their puts' calls, key after key; all times are positions of ``timeline``.

    ``put_*`` of the initial elements lie at the beginning, with row :data:`NOBODY`. A value that nobody was seen to
    take has take row :data:`NOBODY` and its take after the end of its key (call and return are the same for all such
    values): the history is linearizable if and only if it is so with all that is left inside taken out after the end.
    Of values whose put nobody saw end the return is the end. ``code`` is the value's code in the history; codes after
    the last are initial elements that nobody mentions.
    """

    history: History
    vocabulary: Vocabulary
    timeline: Timeline
    initial: tuple[Any, ...]
    key: Ids
    code: Ids
    put_row: Ids
    put_call: Ids
    put_return: Ids
    take_row: Ids
    take_call: Ids
    take_return: Ids
    empty_row: Ids
    peek_row: Ids
    peek_value: Ids
    hidden_row: Ids

    @property
    def slots(self) -> int:
        """How many positions there are."""
        return self.timeline.slots

    def value(self, index: int) -> Any:
        """A value as the user wrote it."""
        row = int(self.put_row[index])
        if row != NOBODY:
            return self.history.values.values[int(self.history.value[row])]
        return self.initial[(int(self.put_call[index]) - int(self.timeline.base[self.key[index]])) // 2]

    @property
    def untaken(self) -> Flags:
        """Which values nobody was seen to take."""
        untaken: Flags = self.take_row == NOBODY
        return untaken

    def of_keys(self, keys: Iterable[int]) -> Contents:
        """The contents of some keys only, by their numbers."""
        stays = np.zeros(len(self.timeline.code), dtype=np.bool_)
        stays[list(keys)] = True
        values = stays[self.key]
        number = np.cumsum(values) - 1
        of_row = stays[self.timeline.key]
        peeks = of_row[self.peek_row]
        return replace(
            self,
            **{name: getattr(self, name)[values] for name in _BY_VALUE},
            empty_row=self.empty_row[of_row[self.empty_row]],
            peek_row=self.peek_row[peeks],
            peek_value=number[self.peek_value[peeks]],
            hidden_row=self.hidden_row[of_row[self.hidden_row]],
        )


_BY_VALUE = ("key", "code", "put_row", "put_call", "put_return", "take_row", "take_call", "take_return")


@dataclass(frozen=True, kw_only=True, slots=True)
class Takes:
    """Who took each value (:data:`NOBODY`: nobody), and when: as it was seen, or as somebody supposes."""

    row: Ids
    call: Ids
    return_: Ids

    @staticmethod
    def seen(contents: Contents) -> Takes:
        """As it was seen."""
        return Takes(row=contents.take_row, call=contents.take_call, return_=contents.take_return)

    def replaced(self, values: Ids, row: Ids, call: Ids, return_: Ids) -> Takes:
        """With other takes of some values."""
        columns = []
        for old, new in ((self.row, row), (self.call, call), (self.return_, return_)):
            column = old.copy()
            column[values] = new
            columns.append(column)
        return Takes(row=columns[0], call=columns[1], return_=columns[2])


def contents(
    history: History, vocabulary: Vocabulary, initial: Any, conflicts: Conflicts, deferred: dict[int, str]
) -> Contents:
    """The contents of all keys but those in ``deferred`` (filled here, by key code) and in ``conflicts`` (filled with
    the plainest ones: never put, taken twice, taken before put).

    Raises:
        HistoryError: the initial value is no list.
    """
    try:
        begin = elements(initial, vocabulary.noun)
    except ValueError as error:
        raise HistoryError(history.source, None, str(error), "Write the initial content as a JSON list.") from None
    where = timeline(history, len(begin))
    rows = _Rows.of(history, vocabulary, where, begin)
    twice = np.bincount(rows.put_id, minlength=rows.ids)[rows.put_id] > 1
    twice &= rows.put_code != history.values.find(None)
    duplicated = np.unique(rows.put_key[twice])
    deferred.update(dict.fromkeys(where.code[duplicated].tolist(), DUPLICATE))
    rows = rows.without(where, duplicated)
    _find_never_put(rows, vocabulary, where, conflicts)
    _find_taken_twice(rows, history, vocabulary, where, conflicts)
    rows = rows.without(where, np.array(sorted(conflicts.keys), dtype=np.int64))
    _find_taken_early(rows, history, vocabulary, where, conflicts)
    rows = rows.without(where, np.array(sorted(conflicts.keys), dtype=np.int64))
    return _joined(rows, history, vocabulary, where, begin)


@dataclass(kw_only=True, slots=True)
class _Rows:
    """Puts (initial elements first), takes that returned a value, takes and peeks that found nothing, peeks that
    returned a value, and hidden takes; values by id, one for each (key, value)."""

    put_row: Ids
    put_key: Ids
    put_call: Ids
    put_return: Ids
    put_seen: Flags
    put_code: Ids
    put_id: Ids
    take_row: Ids
    take_id: Ids
    peek_row: Ids
    peek_id: Ids
    empty_row: Ids
    hidden_row: Ids
    ids: int

    @staticmethod
    def of(history: History, vocabulary: Vocabulary, where: Timeline, begin: tuple[Any, ...]) -> _Rows:
        f, outcome = history.f, history.outcome
        happened = outcome != FAIL
        puts = np.flatnonzero((f == history.function(vocabulary.put)) & happened)
        taking = f == history.function(vocabulary.take)
        peeking = f == (ABSENT - 1 if vocabulary.peek is None else history.function(vocabulary.peek))
        null = history.values.find(None)
        known = (taking | peeking) & (outcome == OK)
        found = known & (history.result != null)
        takes, peeks = np.flatnonzero(found & taking), np.flatnonzero(found & peeking)
        lead, keys = len(begin), len(where.code)
        first_key, first_code = np.repeat(np.arange(keys), lead), np.tile(_codes(history, begin), keys)
        first_call = np.repeat(where.base, lead) + 2 * np.tile(np.arange(lead), keys)
        put_key = np.concatenate((first_key, where.key[puts]))
        put_code = np.concatenate((first_code, history.value[puts]))
        codes = (put_code, history.result[takes], history.result[peeks])
        of_key = (put_key, where.key[takes], where.key[peeks])
        (put_id, take_id, peek_id), ids = _numbered(of_key, codes, keys, len(history.values) + lead)
        return _Rows(
            put_row=np.concatenate((np.full(len(first_key), NOBODY), puts)),
            put_key=put_key,
            put_call=np.concatenate((first_call, where.call[puts])),
            put_return=np.concatenate((first_call + 1, where.return_[puts])),
            put_seen=np.concatenate((np.ones(len(first_key), dtype=np.bool_), outcome[puts] == OK)),
            put_code=put_code,
            put_id=put_id,
            take_row=takes,
            take_id=take_id,
            peek_row=peeks,
            peek_id=peek_id,
            empty_row=np.flatnonzero(known & ~found),
            hidden_row=np.flatnonzero(taking & happened & (outcome != OK)),
            ids=ids,
        )

    def without(self, where: Timeline, keys: Ids) -> _Rows:
        """Without some keys."""
        if not len(keys):
            return self
        stays = np.ones(len(where.code), dtype=np.bool_)
        stays[keys] = False
        puts = stays[self.put_key]
        takes, peeks = stays[where.key[self.take_row]], stays[where.key[self.peek_row]]
        return _Rows(
            put_row=self.put_row[puts],
            put_key=self.put_key[puts],
            put_call=self.put_call[puts],
            put_return=self.put_return[puts],
            put_seen=self.put_seen[puts],
            put_code=self.put_code[puts],
            put_id=self.put_id[puts],
            take_row=self.take_row[takes],
            take_id=self.take_id[takes],
            peek_row=self.peek_row[peeks],
            peek_id=self.peek_id[peeks],
            empty_row=self.empty_row[stays[where.key[self.empty_row]]],
            hidden_row=self.hidden_row[stays[where.key[self.hidden_row]]],
            ids=self.ids,
        )


def _codes(history: History, begin: tuple[Any, ...]) -> Ids:
    """Codes of the initial elements; those that the history never mentions get new ones, equal ones the same."""
    fresh: dict[Any, int] = {}
    codes = []
    for item in begin:
        code = history.values.find(item)
        codes.append(fresh.setdefault(identity(item), len(history.values) + len(fresh)) if code == ABSENT else code)
    return np.array(codes, dtype=np.int64)


def _numbered(
    of_key: tuple[Ids, ...], codes: tuple[Ids, ...], keys: int, code_count: int
) -> tuple[tuple[Ids, ...], int]:
    """Ids of (key, code) pairs: by multiplication where that gives few enough, else by sorting."""
    pairs = [key * code_count + code for key, code in zip(of_key, codes, strict=True)]
    total = sum(map(len, pairs))
    if keys * code_count <= 8 * (total + code_count):
        return tuple(pairs), max(1, keys * code_count)
    distinct, ids = np.unique(np.concatenate(pairs), return_inverse=True)
    bounds = np.cumsum([len(part) for part in pairs])[:-1]
    return tuple(np.split(ids.reshape(-1), bounds)), max(1, len(distinct))


def _find_never_put(rows: _Rows, vocabulary: Vocabulary, where: Timeline, conflicts: Conflicts) -> None:
    put = np.zeros(rows.ids, dtype=np.bool_)
    put[rows.put_id] = True
    wrong = np.concatenate((rows.take_row[~put[rows.take_id]], rows.peek_row[~put[rows.peek_id]]))
    for index in conflicts.fresh(where.key[wrong]):
        row = int(wrong[index])
        key = int(where.code[where.key[row]])
        conflicts.found.append(Conflict(kind=vocabulary.never_put, key=key, roles={"take": row}))


def _find_taken_twice(
    rows: _Rows, history: History, vocabulary: Vocabulary, where: Timeline, conflicts: Conflicts
) -> None:
    times = np.bincount(rows.take_id, minlength=rows.ids)
    wrong = rows.take_id[times[rows.take_id] > 1]
    for index in conflicts.fresh(where.key[rows.take_row[times[rows.take_id] > 1]]):
        first, second = (int(row) for row in rows.take_row[rows.take_id == wrong[index]][:2])
        roles = {"first": first, "second": second, **_put_role(rows, int(wrong[index]))}
        conflicts.found.append(Conflict(kind=vocabulary.taken_twice, key=int(history.key[first]), roles=roles))


def _put_role(rows: _Rows, id_: int) -> Mapping[str, int]:
    row = int(rows.put_row[rows.put_id == id_][0])
    return {} if row == NOBODY else {"put": row}


def _find_taken_early(
    rows: _Rows, history: History, vocabulary: Vocabulary, where: Timeline, conflicts: Conflicts
) -> None:
    put_call = np.zeros(rows.ids, dtype=np.int64)
    put_call[rows.put_id] = rows.put_call
    row = np.concatenate((rows.take_row, rows.peek_row))
    id_ = np.concatenate((rows.take_id, rows.peek_id))
    wrong = np.flatnonzero(where.return_[row] < put_call[id_])
    for index in conflicts.fresh(where.key[row[wrong]]):
        take, put = int(row[wrong[index]]), _put_role(rows, int(id_[wrong[index]]))["put"]
        kind = vocabulary.taken_early
        roles = {"take": take, "put": put}
        conflicts.found.append(Conflict(kind=kind, key=int(history.key[take]), roles=roles, before=((take, put),)))


def _joined(rows: _Rows, history: History, vocabulary: Vocabulary, where: Timeline, begin: tuple[Any, ...]) -> Contents:
    take_of = np.full(rows.ids, NOBODY, dtype=np.int64)
    take_of[rows.take_id] = rows.take_row
    peeked = np.zeros(rows.ids, dtype=np.bool_)
    peeked[rows.peek_id] = True
    stays = rows.put_seen | (take_of[rows.put_id] != NOBODY) | peeked[rows.put_id]
    puts = np.flatnonzero(stays)
    if len(where.code) > 1 or begin:
        puts = puts[np.argsort(rows.put_call[puts])]
    id_ = rows.put_id[puts]
    value_of = np.full(rows.ids, NOBODY, dtype=np.int64)
    value_of[id_] = np.arange(len(puts))
    key, take = rows.put_key[puts], take_of[id_]
    after = where.end[key] + 1
    untaken = take == NOBODY
    return Contents(
        history=history,
        vocabulary=vocabulary,
        timeline=where,
        initial=begin,
        key=key,
        code=rows.put_code[puts],
        put_row=rows.put_row[puts],
        put_call=rows.put_call[puts],
        put_return=rows.put_return[puts],
        take_row=take,
        take_call=np.where(untaken, after, where.call[take]) if len(take) else take,
        take_return=np.where(untaken, after + 1, where.return_[take]) if len(take) else take,
        empty_row=rows.empty_row,
        peek_row=rows.peek_row,
        peek_value=value_of[rows.peek_id],
        hidden_row=rows.hidden_row,
    )
