"""Operations in words: how findings name who did what, when and where, for engineers without theory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from checkers.operation import Operation

VALUE_CHARACTERS_MAX = 60


def show(value: Any) -> str:
    """A value as JSON, cut if it is long."""
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[:VALUE_CHARACTERS_MAX]}..."


def place(key: Any) -> str:
    """The key, or "the register" in a history that has none."""
    return "the register" if key is None else f"key {key if isinstance(key, str) else show(key)}"


def capital(text: str) -> str:
    """With a capital first letter; the rest stays."""
    return text[:1].upper() + text[1:]


class Wording:
    """Names the operations of one finding; times in seconds, with as many decimals as it takes to tell them apart."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        times = [time for item in operations for time in (item.call_ns, item.return_ns) if time is not None]
        distinct = set(times)
        exact = (count for count in range(3, 9) if len({round(time, count - 9) for time in distinct}) == len(distinct))
        self._decimals = next(exact, 9)

    def time(self, ns: int | None) -> str:
        """A time of the run."""
        return "no known time" if ns is None else f"{ns / 1e9:.{self._decimals}f} s"

    def began(self, operation: Operation) -> str:
        """When it was invoked."""
        return self.time(operation.call_ns)

    def ended(self, operation: Operation) -> str:
        """When it returned."""
        return self.time(operation.return_ns)

    def who(self, operation: Operation) -> str:
        """The process, and the node it asked."""
        node = f" on {operation.node}" if operation.node is not None else ""
        return f"process {operation.process}{node}"

    def deed(self, operation: Operation) -> str:
        """What was done, with its value, by whom."""
        return f"{deed(operation)} by {self.who(operation)}"

    def seen(self, operation: Operation) -> str:
        """How the value of an operation came to be known: "17 had been read by ..." or "17 was acknowledged to ..."."""
        value = show(value_of(operation))
        if operation.f == "read":
            return f"{value} had been read by {self.who(operation)} at {self.ended(operation)}"
        return f"{value} was acknowledged to {self.who(operation)} at {self.ended(operation)}"


def deed(operation: Operation) -> str:
    """What was done, with its value."""
    if operation.f == "read":
        return f"the read of {show(operation.result)}" if operation.return_index is not None else "a read"
    if operation.f == "write":
        return f"the write of {show(operation.value)}"
    if operation.f == "cas":
        return f"the compare-and-set {step(operation)}"
    argument = "" if operation.value is None else f"({show(operation.value)})"
    returned = "" if operation.result in (None, operation.value) else f" that returned {show(operation.result)}"
    return f"the {operation.f}{argument}{returned}"


def step(operation: Operation) -> str:
    """A compare-and-set as an arrow."""
    return f"{show(operation.value[0])} → {show(operation.value[1])}"


def value_of(operation: Operation) -> Any:
    """The value that an operation on a register left behind: read, written or set."""
    if operation.f == "read":
        return operation.result
    return operation.value[1] if operation.f == "cas" else operation.value


def arrows(values: Sequence[Any]) -> str:
    """Values that followed one another; the middle of a long chain is left out."""
    shown = [show(value) for value in values]
    if len(shown) > 7:
        shown = [*shown[:3], f"... ({len(shown) - 6} more)", *shown[-3:]]
    return " → ".join(shown)


def listed(items: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
