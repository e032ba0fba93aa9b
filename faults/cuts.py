"""Which directions between which endpoints are cut right now, and by how many faults: kept in one place, for
overlapping partitions.

Healing one partition must not be held against a pair that another one still cuts, and a cut must not count as
collateral damage of somebody else's. So every network fault enters its cuts *before* the deed and takes them out
*after* it is undone.
"""

from __future__ import annotations

from collections.abc import Iterable

CLIENT = "client"
"""The endpoint that clients send from: the controller. No node may be called so."""

Pair = tuple[str, str]
"""(source, target): one direction."""


class ActiveCuts:
    """The union of the cuts in force in one cluster."""

    def __init__(self) -> None:
        self._by_holder: dict[str, frozenset[Pair]] = {}
        self._ended: list[frozenset[Pair]] = []
        self._count = 0

    def new_holder(self, kind: str) -> str:
        """A name for one fault's cuts, unique in the cluster and short enough for a firewall chain (28 characters)."""
        self._count += 1
        return f"capsize-{kind[:12]}-{self._count}"

    def enter(self, holder: str, pairs: Iterable[Pair]) -> None:
        """``holder`` is about to cut these pairs."""
        self._by_holder[holder] = frozenset(pairs)

    def leave(self, holder: str) -> None:
        """``holder`` cuts nothing any more. No error if it never did."""
        self._ended.append(self._by_holder.pop(holder, frozenset()))

    def mark(self) -> int:
        """This moment, for :meth:`since`."""
        return len(self._ended)

    def since(self, mark: int) -> frozenset[Pair]:
        """Every direction that some fault has cut at any time since then: a probe that found it closed may have met
        one that came and went while it looked.
        """
        return self.union().union(*self._ended[mark:])

    def union(self, *, besides: str | None = None) -> frozenset[Pair]:
        """Every direction that some fault cuts; but for those that only ``besides`` does."""
        return frozenset(pair for holder, pairs in self._by_holder.items() if holder != besides for pair in pairs)
