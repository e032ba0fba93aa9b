"""What is seen to be wrong without a graph: each a kind of anomaly with the transactions that show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

EXAMPLES_MAX = 10
"""Sightings of one kind that are kept and explained; the others are counted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """``rows`` of the history in the order in which its explanation names them; ``facts`` for the explanation."""

    kind: str
    rows: tuple[int, ...]
    key: Any
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True)
class Sightings:
    """All of them, counted; the first of each kind kept."""

    counts: Counter[str] = field(default_factory=Counter)
    kept: list[Sighting] = field(default_factory=list)

    def add(self, kind: str, rows: tuple[int, ...], key: Any, **facts: Any) -> None:
        """One more."""
        self.counts[kind] += 1
        if self.counts[kind] <= EXAMPLES_MAX:
            self.kept.append(Sighting(kind=kind, rows=rows, key=key, facts=facts))

    def more(self, kind: str, count: int) -> None:
        """So many more of a kind, which are only counted."""
        if count:
            self.counts[kind] += count
