"""Correct histories of transactions: clients on a store that does one transaction at a time, for tests and benchmarks.

Keys are taken as Elle's generator takes them: a few are in use, and each is retired after so many writes. Every written
value is new to its key.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from tests.checkers.simulated import FAILED, Simulated, simulate


@dataclass(kw_only=True)
class Store:
    """``write``: ``append`` (lists) or ``w`` (registers). ``fail``: the share of transactions that certainly fail."""

    write: str = "append"
    keys: int = 10
    writes_per_key: int = 100
    length_max: int = 6
    fail: float = 0.0
    state: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.active = list(range(self.keys))
        self.next_key = self.keys
        self.written = [0] * self.keys

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        """A transaction of one to ``length_max`` micro-operations, half of them reads."""
        return "txn", [self._micro(random_) for _ in range(random_.randint(1, self.length_max))]

    def _micro(self, random_: random.Random) -> list[Any]:
        place = int(random_.random() * self.keys)
        if random_.random() < 0.5:
            return ["r", self.active[place], None]
        self.written[place] += 1
        micro = [self.write, self.active[place], self.written[place]]
        if self.written[place] >= self.writes_per_key:
            self.active[place], self.written[place] = self.next_key, 0
            self.next_key += 1
        return micro

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        """Does all micro-operations at once."""
        # Not of the random stream: which ones fail must not depend on the order in which clients are served.
        if self.fail and (len(self.state) * 7919 + len(value) * 104729 + process) % 1000 < self.fail * 1000:
            return FAILED
        return [self._do(*micro) for micro in value]

    def _do(self, f: str, key: int, value: Any) -> list[Any]:
        if f == "r":
            found = self.state.get(key)
            return [f, key, list(found or ()) if self.write == "append" else found]
        if self.write == "append":
            self.state.setdefault(key, []).append(value)
        else:
            self.state[key] = value
        return [f, key, value]


def simulated(
    random_: random.Random,
    *,
    transactions: int,
    concurrency: int = 20,
    info: float = 0.0,
    ties: float = 0.0,
    **store: Any,
) -> Simulated:
    """A strictly serializable history; ``store``: fields of :class:`Store`."""
    return simulate(Store(**store), random_, operations=transactions, concurrency=concurrency, info=info, ties=ties)
