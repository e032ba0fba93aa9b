"""What the reads of a log show: lists that must be prefixes of one another.

The text by which the table of values tells lists apart (their JSON) is at hand for every list, so that one is a prefix
of another is a comparison of bytes: a thousand reads of a hundred thousand values take a tenth of a second. Only the
longest list of each key is taken apart.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from checkers.deciders.refusals import Ids
from checkers.history import ABSENT, History
from checkers.values import PLAIN, identity

EMPTY = b"[]"


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What one list is: a read's (``row``) or the initial one (``row`` :data:`ABSENT`), and its JSON."""

    row: int
    values: tuple[Any, ...]
    text: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Disagreement:
    """Two lists that are no prefixes of one another; ``place`` is the first at which they differ."""

    shorter: Seen
    longer: Seen
    place: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Chain:
    """The lists of one key, each a prefix of the next."""

    key: int
    lists: tuple[Seen, ...]

    @property
    def longest(self) -> Seen:
        """The last of them."""
        return self.lists[-1]

    def showing(self, place: int) -> Seen:
        """The shortest list that has a place."""
        return next(seen for seen in self.lists if len(seen.values) > place)


def chains(history: History, reads: Ids, start: Sequence[Any]) -> tuple[list[Chain], dict[int, Disagreement]]:
    """The chain of every key in which something is read, and those that are none."""
    names: list[Hashable] = list(history.values.codes)
    codes = len(names)
    begin = Seen(row=ABSENT, values=tuple(start), text=_text(identity(list(start))))
    pairs = history.key[reads].astype(np.int64) * codes + history.result[reads]
    distinct, first = np.unique(pairs, return_index=True)
    of_key: dict[int, list[Seen]] = {}
    for pair, at in zip(distinct.tolist(), first.tolist(), strict=True):
        key, code = divmod(pair, codes)
        values = history.values.values[code] or ()
        of_key.setdefault(key, []).append(Seen(row=int(reads[at]), values=values, text=_text(names[code])))
    found, wrong = [], {}
    for key, lists in of_key.items():
        ordered = sorted([begin, *lists], key=lambda seen: len(seen.values))
        disagreement = _disagreement(ordered)
        if disagreement is None:
            found.append(Chain(key=key, lists=tuple(ordered)))
        else:
            wrong[key] = disagreement
    return found, wrong


def _text(name: Hashable) -> bytes:
    return EMPTY if name is None else bytes(name)  # type: ignore[call-overload]


def _disagreement(ordered: Sequence[Seen]) -> Disagreement | None:
    for shorter, longer in itertools.pairwise(ordered):
        if not _begins(longer.text, shorter.text):
            place = next(
                at
                for at, (one, other) in enumerate(zip(shorter.values, longer.values, strict=False))
                if identity(one) != identity(other)
            )
            return Disagreement(shorter=shorter, longer=longer, place=place)
    return None


def _begins(longer: bytes, shorter: bytes) -> bool:
    """Is one JSON list a prefix of the other? (What follows a whole value is a comma or the end.)"""
    if shorter == EMPTY:
        return True
    end = len(shorter) - 1
    return longer.startswith(shorter[:-1]) and longer[end : end + 1] in (b",", b"]")


def codes_of(history: History, values: Sequence[Any]) -> Ids:
    """The codes of values, :data:`ABSENT` for those that the history never mentions by themselves."""
    get = history.values.codes.get
    plain = PLAIN.issuperset(map(type, values))
    found = [get(value, ABSENT) for value in (values if plain else map(identity, values))]
    return np.array(found, dtype=np.int64)
