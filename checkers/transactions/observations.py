"""What a history of transactions shows: the same for lists and registers, once their values are traced to writers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from checkers.history import Column
from checkers.transactions.demands import Demands, Reads
from checkers.transactions.dependencies import Edges
from checkers.transactions.sightings import Sightings


class Words(Protocol):
    """Says why edges of the data are there."""

    def why(self, kind: int, version: int, source: int, target: int) -> tuple[str, tuple[int, ...]]:
        """A clause with ``{a}`` and ``{b}`` for the two transactions (rows ``source`` and ``target``), true as it
        stands, and further rows that prove it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Observations:
    """``rows``: the transactions that took effect (``ok``, and those ``info`` ones of which something was read): the
    nodes of the graph. ``edges`` of the data between them. Versions are numbered: ``version_key`` and
    ``version_value`` say which key and value each is. ``ambiguous``: how many values were written more than once and
    therefore tell nothing of who wrote them. ``exact``: whether every order that keeps all edges is a serial order; if
    not, ``demands`` says what one must explain, and ``reads`` (registers) who read from whom."""

    rows: Column
    edges: Edges
    version_key: Sequence[Any]
    version_value: Sequence[Any]
    sightings: Sightings
    ambiguous: int
    exact: bool
    words: Words
    demands: Callable[[], Demands]
    reads: Reads | None = None
