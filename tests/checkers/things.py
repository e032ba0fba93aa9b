"""The objects that simulated clients call: one a data type, correct by being simple, every written value new."""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from typing import Any

from tests.checkers.simulated import FAILED


class Fresh:
    """Values that are written once: 1, 2, 3 ..."""

    def __init__(self, first: int = 1) -> None:
        self.values = itertools.count(first)

    def fresh(self) -> int:
        return next(self.values)


class Register(Fresh):
    """read, write and cas that finds its value half of the time."""

    def __init__(self, first: int = 1) -> None:
        super().__init__(first)
        self.state: int | None = None

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        f = random_.choices(("read", "write", "cas"), (5, 3, 2))[0]
        if f == "cas":
            return f, [self.state if random_.random() < 0.7 else self.fresh(), self.fresh()]
        return f, None if f == "read" else self.fresh()

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "read":
            return self.state
        if f == "cas":
            if self.state != value[0]:
                return FAILED
            self.state = value[1]
        else:
            self.state = value
        return value


class PlainRegister(Register):
    """read and write only."""

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return ("read", None) if random_.random() < 0.5 else ("write", self.fresh())


class FifoQueue(Fresh):
    """enqueue and dequeue; null is empty."""

    names = ("enqueue", "dequeue")

    def __init__(self, first: int = 1) -> None:
        super().__init__(first)
        self.state: deque[int] = deque()

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        puts = random_.random() < (0.5 if len(self.state) < 8 else 0.35)
        return (self.names[0], self.fresh()) if puts else (self.names[1], None)

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == self.names[0]:
            self.put(value)
            return value
        return self.take() if self.state else None

    def put(self, value: int) -> None:
        self.state.append(value)

    def take(self) -> int:
        return self.state.popleft()


class Stack(FifoQueue):
    """push and pop; null is empty."""

    names = ("push", "pop")

    def take(self) -> int:
        return self.state.pop()


class PriorityQueue(FifoQueue):
    """insert (values in random order) and poll of the smallest; null is empty."""

    names = ("insert", "poll")

    def __init__(self, first: int = 1) -> None:
        super().__init__(first)
        self.heap: list[int] = []
        self.state = self.heap  # type: ignore[assignment]

    def fresh(self) -> int:
        number = super().fresh()
        return (number * 7919 + 13) % 100_003

    def put(self, value: int) -> None:
        heapq.heappush(self.heap, value)

    def take(self) -> int:
        return heapq.heappop(self.heap)


class Set(Fresh):
    """add, remove and contains; each value is added once and removed at most once."""

    def __init__(self, first: int = 1) -> None:
        super().__init__(first)
        self.state: set[int] = set()
        self.added: list[int] = []
        self.removable: list[int] = []

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        f = random_.choices(("add", "remove", "contains"), (3, 1, 4))[0]
        if f == "remove" and self.removable:
            return f, self.removable.pop(random_.randrange(len(self.removable)))
        if f == "contains" and self.added:
            return f, random_.choice(self.added[-8:])
        value = self.fresh()
        self.added.append(value)
        return "add", value

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "contains":
            return value in self.state
        if f == "add":
            self.state.add(value)
            self.removable.append(value)
        else:
            self.state.discard(value)
        return value


class GrowOnlySet(Fresh):
    """add, and read of everything."""

    def __init__(self, first: int = 1) -> None:
        super().__init__(first)
        self.state: list[int] = []

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return ("read", None) if random_.random() < 0.4 else ("add", self.fresh())

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "read":
            return list(self.state)
        self.state.append(value)
        return value


class Counter:
    """add 1, and read."""

    def __init__(self) -> None:
        self.state = 0

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return ("read", None) if random_.random() < 0.5 else ("add", 1)

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "add":
            self.state += 1
            return value
        return self.state


class Log(Fresh):
    """append, which tells the offset, and read of everything."""

    def __init__(self, first: int = 1) -> None:
        super().__init__(first)
        self.state: list[int] = []

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return ("read", None) if random_.random() < 0.4 else ("append", self.fresh())

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "read":
            return list(self.state)
        self.state.append(value)
        return len(self.state) - 1


class FencedLock:
    """acquire, which tells a token that grows, and release by the holder; both fail where they are not legal."""

    def __init__(self) -> None:
        self.holder: int | None = None
        self.token = 0

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:
        holds = self.holder == process
        return ("release" if holds or random_.random() < 0.1 else "acquire"), None

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "acquire":
            if self.holder is not None:
                return FAILED
            self.holder = process
            self.token += 1
            return self.token
        if self.holder != process:
            return FAILED
        self.holder = None
        return None


class Mutex(FencedLock):
    """The same without tokens."""

    def apply(self, process: int, f: str, value: Any) -> Any:
        result = super().apply(process, f, value)
        return FAILED if result is FAILED else None


class KeyValue(Fresh):
    """get, put, append and delete of one text."""

    def __init__(self, first: int = 1) -> None:
        super().__init__(first)
        self.state: str | None = None

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        f = random_.choices(("get", "put", "append"), (5, 1, 4))[0]
        return f, None if f == "get" else f"<{self.fresh()}>"

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        if f == "get":
            return self.state
        self.state = value if f == "put" else (self.state or "") + value
        return value


class ListAppend(Fresh):
    """Transactions of appends and reads over a few lists."""

    def __init__(self, first: int = 1, keys: int = 3) -> None:
        super().__init__(first)
        self.state: dict[int, list[int]] = {key: [] for key in range(keys)}

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        keys = random_.sample(sorted(self.state), random_.randint(1, 2))
        return "txn", [["r", key, None] if random_.random() < 0.5 else ["append", key, self.fresh()] for key in keys]

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        done: list[list[Any]] = []
        for kind, key, element in value:
            if kind == "append":
                self.state[key].append(element)
            done.append([kind, key, element if kind == "append" else list(self.state[key])])
        return done


class ReadWrite(Fresh):
    """Transactions of reads and writes over a few registers; a write reads first, so that versions are in order."""

    def __init__(self, first: int = 1, keys: int = 3) -> None:
        super().__init__(first)
        self.state: dict[int, int | None] = dict.fromkeys(range(keys))

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        steps: list[list[Any]] = []
        for key in random_.sample(sorted(self.state), random_.randint(1, 2)):
            steps.append(["r", key, None])
            if random_.random() < 0.5:
                steps.append(["w", key, self.fresh()])
        return "txn", steps

    def apply(self, process: int, f: str, value: Any) -> Any:  # noqa: ARG002
        done: list[list[Any]] = []
        for kind, key, written in value:
            if kind == "w":
                self.state[key] = written
            done.append([kind, key, self.state[key]])
        return done
