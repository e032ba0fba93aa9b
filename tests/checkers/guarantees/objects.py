"""Objects that simulated clients call, for the guarantees that the data types of ``tests.checkers.things`` lack."""

from __future__ import annotations

import random
from typing import Any

from tests.checkers.simulated import FAILED
from tests.checkers.things import Fresh, Register


class TotalQueue(Fresh):
    """enqueue, dequeue of any element (null: empty), and drain."""

    def __init__(self, first: int = 1, drains: float = 0.1) -> None:
        super().__init__(first)
        self.state: list[int] = []
        self.drains = drains

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        self.random = random_
        if random_.random() < self.drains:
            return "drain", None
        return ("enqueue", self.fresh()) if random_.random() < 0.5 else ("dequeue", None)

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "enqueue":
            self.state.append(value)
            return value
        if f == "drain":
            left, self.state = self.state, []
            return left
        return self.state.pop(self.random.randrange(len(self.state))) if self.state else None


class Bank:
    """Transfers that fail where money lacks, and reads of all balances."""

    def __init__(self, accounts: int = 4, each: int = 10) -> None:
        self.state = {f"a{number}": each for number in range(accounts)}

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        if random_.random() < 0.5:
            return "read", None
        one, other = random_.sample(sorted(self.state), 2)
        return "transfer", {"from": one, "to": other, "amount": random_.randint(1, 8)}

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "read":
            return dict(self.state)
        if self.state[value["from"]] < value["amount"]:
            return FAILED
        self.state[value["from"]] -= value["amount"]
        self.state[value["to"]] += value["amount"]
        return value


class Ids(Fresh):
    """generate."""

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return "generate", None

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        return self.fresh()


class Snapshots:
    """Transactions that write one fresh key, or read some of the last keys."""

    def __init__(self, group: int = 3) -> None:
        self.state: dict[int, int | None] = {}
        self.next = 0
        self.group = group

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        if random_.random() < 0.4:
            self.next += 1
            return "txn", [["w", self.next, 1]]
        first = max(0, self.next - random_.randint(0, 3))
        keys = list(range(first, first + self.group))
        random_.shuffle(keys)
        return "txn", [["r", key, None] for key in keys]

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        for kind, key, written in value:
            if kind == "w":
                self.state[key] = written
        return [[kind, key, self.state.get(key)] for kind, key, _ in value]


class Steps:
    """A counter with steps of any size, negative ones too if ``falls``."""

    def __init__(self, *, falls: bool = True) -> None:
        self.state, self.falls = 0, falls

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return ("read", None) if random_.random() < 0.5 else ("add", random_.randint(-3 if self.falls else 0, 9))

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "read":
            return self.state
        self.state += value
        return value


class Versioned(Register):
    """A register whose results are [version, value]."""

    def __init__(self, first: int = 1) -> None:
        super().__init__(first)
        self.version = 0

    def apply(self, process: int, f: str, value: Any) -> Any:
        before = self.state
        result = super().apply(process, f, value)
        if result is FAILED or f == "cas":
            self.version += result is not FAILED
            return result
        self.version += f == "write"
        assert f == "read" or before != self.state
        return [self.version, self.state]
