"""Hidden takes of stacks and priority queues: decided from two sides, and by a guess that is verified.

A hidden take (``info``) took some value that nobody was seen to take, or nothing. Which one is a matching that is bound
up with the order of everything else; no polynomial method for it is proved here (for queues there is one: see
:mod:`checkers.deciders.containers.queue`). But of a key with hidden takes these are true:

- If the key is possible with no hidden take at all, it is possible.
- If it is impossible though every value that nobody was seen to take has a taker of its own, free to take effect at any
  moment after the key's first hidden call, it is impossible: any truth is a case of that.
- If it is possible with each hidden take assigned to some value (or unused), it is possible.

The assignment tried is found by looking at what is refused without hidden takes: each refusal asks for a moment at
which some untaken values are gone, so they get that moment as a deadline; the earliest hidden calls go to the earliest
deadlines. A key that is possible with takers of their own, but not by this assignment, is left to the search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from checkers.deciders.containers.conflicts import Conflicts
from checkers.deciders.containers.contents import NOBODY, Contents, Takes
from checkers.deciders.containers.timeline import Flags, Ids

UNASSIGNED = "no assignment of takes of unknown result was found that explains it"
"""Why a key is left to the search."""

ROUNDS_MAX = 40
"""So often deadlines are drawn from refusals."""

WORK_MAX = 5_000_000
"""So many values are looked at in each of these rounds."""

_NEVER = 2**60


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """A slot at which these values should be gone for a refusal to go away."""

    slot: int
    values: Ids


class Refusal(Protocol):
    """What an exact method without hidden takes refused."""

    @property
    def keys(self) -> set[int]:
        """The numbers of the refused keys."""

    def explain(self, conflicts: Conflicts) -> None:
        """Adds conflicts of all of them."""

    def wishes(self, movable: Flags) -> Iterator[Wish]:
        """What would help, among values that may be gone; each takes a time that grows with the history."""


Attempt = Callable[[Contents, Takes], Refusal]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    """Keys left to the search, by number, and the takes by which each other key that is not refused is possible."""

    open_: set[int]
    takes: Takes


def settle(contents: Contents, attempt: Attempt, conflicts: Conflicts) -> Settled:
    """Decides all keys, those with hidden takes as the module says."""
    seen = Takes.seen(contents)
    refusal = attempt(contents, seen)
    doubtful = refusal.keys & set(contents.timeline.key[contents.hidden_row].tolist())
    doubtful &= set(contents.key[contents.untaken].tolist())
    if not doubtful:
        refusal.explain(conflicts)
        return Settled(open_=set(), takes=seen)
    certain = refusal.keys - doubtful
    if certain:
        part = contents.of_keys(certain)
        attempt(part, Takes.seen(part)).explain(conflicts)
    part = contents.of_keys(doubtful)
    generous = attempt(part, _generous(part))
    generous.explain(conflicts)
    doubtful -= generous.keys
    if not doubtful:
        return Settled(open_=set(), takes=seen)
    part = contents.of_keys(doubtful)
    guess = _guessed(part, attempt)
    return Settled(open_=attempt(part, guess).keys, takes=_within(contents, seen, part, guess))


def dealt_in_order(contents: Contents, values: Ids) -> Takes:
    """The i-th hidden take of a key to the i-th of its values; ``values`` are sorted by key."""
    where, key = contents.timeline, contents.key[values]
    hidden = contents.hidden_row[np.argsort(where.call[contents.hidden_row])]
    hidden_key = where.key[hidden]
    first, last = (np.searchsorted(hidden_key, key, side=side) for side in ("left", "right"))
    place = first + np.arange(len(values)) - np.searchsorted(key, key)
    gets = place < last
    taker = hidden[place[gets]]
    return Takes.seen(contents).replaced(values[gets], taker, where.call[taker], where.return_[taker])


def _first_call(contents: Contents) -> tuple[Ids, Ids]:
    """By key: its first hidden take, and its call."""
    where = contents.timeline
    row, call = (np.full(len(where.code), fill, dtype=np.int64) for fill in (NOBODY, _NEVER))
    for hidden in contents.hidden_row[::-1]:  # rows are in the order of their calls
        row[where.key[hidden]], call[where.key[hidden]] = hidden, where.call[hidden]
    return row, call


def _generous(contents: Contents) -> Takes:
    """A taker for every untaken value, from the first hidden call on."""
    untaken = np.flatnonzero(contents.untaken)
    row, call = _first_call(contents)
    key = contents.key[untaken]
    return Takes.seen(contents).replaced(untaken, row[key], call[key], contents.timeline.end[key])


def _guessed(contents: Contents, attempt: Attempt) -> Takes:
    """Hidden takes assigned by deadlines."""
    deadline = np.full(len(contents.key), _NEVER, dtype=np.int64)
    row, call = _first_call(contents)
    takes = Takes.seen(contents)
    for _ in range(ROUNDS_MAX):
        movable = contents.untaken & (deadline == _NEVER)
        before = deadline.copy()
        for wish in islice(attempt(contents, takes).wishes(movable), 1 + WORK_MAX // (1 + len(contents.key))):
            deadline[wish.values] = np.minimum(deadline[wish.values], wish.slot + 1)
        if (deadline == before).all():
            break
        bound = np.flatnonzero(deadline < _NEVER)
        key = contents.key[bound]
        takes = Takes.seen(contents).replaced(bound, row[key], call[key], deadline[bound])
    bound = np.flatnonzero(deadline < _NEVER)
    return dealt_in_order(contents, bound[np.lexsort((deadline[bound], contents.key[bound]))])


def _within(contents: Contents, seen: Takes, part: Contents, guess: Takes) -> Takes:
    """The takes of all keys: guessed for those of ``part``."""
    places = np.flatnonzero(np.isin(contents.key, np.unique(part.key)))
    return seen.replaced(places, guess.row, guess.call, guess.return_)
