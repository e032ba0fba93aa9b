"""What makes a container's key impossible: one conflict a key, as rows of the history in their roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.deciders.containers.timeline import Ids
from checkers.deciders.decision import FINDINGS_MAX


@dataclass(frozen=True, kw_only=True, slots=True)
class Stay:
    """A value that was certainly inside for a while, and the rows that show it.

    ``put``: who put it in (None: it was there from the beginning). ``shown``: whose return shows that it was in (None:
    from the beginning). ``left``: whose call is the first moment at which it may have left (None: it never did).
    ``untaken``: nobody was seen to take it, and ``left`` is the first take of unknown result that it may have been
    taken by. Then ``takers`` are the earlier ones, and ``others`` the puts of as many values which nobody was seen to
    take either and which had been put in before: whatever the takers took, one of all these values was left.
    """

    value: Any
    put: int | None
    take: int | None
    shown: int | None
    left: int | None
    untaken: bool = False
    takers: tuple[int, ...] = ()
    others: tuple[int | None, ...] = ()

    @property
    def rows(self) -> tuple[int, ...]:
        """Every operation that it rests on."""
        every = (self.put, self.take, self.shown, self.left, *self.takers, *self.others)
        return tuple(row for row in every if row is not None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Conflict:
    """Why one key is refused. ``before``: pairs (earlier, later) of rows where the first returned before the second was
    invoked, on which the argument stands. ``stays``: values that were inside, one after another.
    """

    kind: str
    key: int
    roles: Mapping[str, int]
    before: tuple[tuple[int, int], ...] = ()
    stays: tuple[Stay, ...] = ()

    @property
    def rows(self) -> tuple[int, ...]:
        """Every operation that the argument needs, in the order of their invocations."""
        rows = {*self.roles.values()}
        for stay in self.stays:
            rows.update(stay.rows)
        return tuple(sorted(rows))


def covering(stays: tuple[Stay, ...], begins: int, ends: int) -> tuple[tuple[int, int], ...]:
    """The facts of time by which the stays cover everything from the call of one row to the return of another."""
    lefts, shown = [begins, *(stay.left for stay in stays)], [*(stay.shown for stay in stays), ends]
    return tuple((a, b) for a, b in zip(shown, lefts, strict=True) if a is not None and b is not None)


@dataclass(kw_only=True, slots=True)
class Conflicts:
    """At most one conflict a key: the first found, as later ones may only be its consequences. ``keys``: numbers of the
    refused keys.
    """

    keys: set[int] = field(default_factory=set)
    found: list[Conflict] = field(default_factory=list)

    def fresh(self, keys: Ids) -> list[int]:
        """Indices into ``keys`` of the first entry of each key that has no conflict yet, as many as may be explained;
        counts all those keys as refused.
        """
        if not len(keys):
            return []
        distinct, first = np.unique(keys, return_index=True)
        fresh = [
            (int(index), int(key)) for key, index in zip(distinct, first, strict=True) if int(key) not in self.keys
        ]
        self.keys.update(key for _, key in fresh)
        room = max(0, FINDINGS_MAX - len(self.found))
        return [index for index, _ in sorted(fresh)[:room]]
