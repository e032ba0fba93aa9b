"""Which directions between which endpoints are shaped right now, and by which fault: one at a time.

Two faults may be aimed at different nodes and yet meet on the link between these. Such a link belongs to the fault
that came first, until it is healed; the later one leaves it alone and says so. So neither means (a band of a queueing
discipline, a queue of a firewall) ever has to be stacked, and healing one fault cannot disturb another.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from faults.cuts import Pair


@dataclass(slots=True)
class ShapedLinks:
    """Of one cluster."""

    _holder_of: dict[Pair, str] = field(default_factory=dict)
    _turns: defaultdict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    netem_refused: dict[str, str | None] = field(default_factory=dict)
    """Nodes whose kernel was asked for netem: why it has none, or None. A kernel does not change while a run lasts."""

    def take(self, holder: str, pairs: Iterable[Pair]) -> tuple[Pair, ...]:
        """Takes the links that are free; returns them."""
        free = tuple(pair for pair in pairs if self._holder_of.get(pair, holder) == holder)
        self._holder_of.update(dict.fromkeys(free, holder))
        return free

    def leave(self, holder: str) -> None:
        """Gives them back. No error if it has none."""
        self._holder_of = {pair: name for pair, name in self._holder_of.items() if name != holder}

    def union(self) -> frozenset[Pair]:
        """Every direction that some fault shapes."""
        return frozenset(self._holder_of)

    def turn(self, node: str) -> asyncio.Lock:
        """Held by whoever changes a node's queueing disciplines: the root belongs to all links together."""
        return self._turns[node]
