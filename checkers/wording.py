"""Operations in words: how findings name who did what, when and where, for engineers without theory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from checkers.operation import Operation

VALUE_CHARACTERS_MAX = 60


ENDS = 3
"""Items of a long list that are shown on each side."""

MILLISECOND_NS = 1_000_000


def show(value: Any) -> str:
    """A value as JSON; of what is long, the beginning and the end, since that is where long values differ."""
    text = msgspec.json.encode(value).decode()
    if len(text) <= VALUE_CHARACTERS_MAX:
        return text
    if isinstance(value, list | tuple) and len(value) > 2 * ENDS + 1:
        first, last = (msgspec.json.encode(list(items)).decode() for items in (value[:ENDS], value[-ENDS:]))
        short = f"{first[:-1]}, ... {len(value) - 2 * ENDS} more ..., {last[1:]}"
        if len(short) <= 2 * VALUE_CHARACTERS_MAX:
            return short
    return f"{text[: VALUE_CHARACTERS_MAX * 2 // 3]}...{text[-VALUE_CHARACTERS_MAX // 3 :]}"


def place(key: Any, thing: str = "the register") -> str:
    """The key, or what the data type is called in a history that has none."""
    return thing if key is None else f"key {key if isinstance(key, str) else show(key)}"


def capital(text: str) -> str:
    """With a capital first letter; the rest stays."""
    return text[:1].upper() + text[1:]


class Wording:
    """Names the operations of one finding, and their times so that a person can tell them apart: seconds with as many
    decimals as that takes, nanoseconds where there is no millisecond, and the numbers of events where the file has no
    times (their numbers stand for them then, or the file's times are such numbers).
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        operations = tuple(operations)
        distinct = {time for item in operations for time in (item.call_ns, item.return_ns) if time is not None}
        self._numbered = any(distinct) and all(map(_numbered, operations))
        self._short = any(distinct) and max(map(abs, distinct)) < MILLISECOND_NS
        exact = (count for count in range(3, 9) if len({round(time, count - 9) for time in distinct}) == len(distinct))
        self._decimals = next(exact, 9)

    def time(self, ns: int | None) -> str:
        """A time of the run."""
        if ns is None:
            return "no known time"
        if self._numbered:
            return f"event {ns}"
        return f"{ns:,} ns" if self._short else f"{ns / 1e9:.{self._decimals}f} s"

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


def _numbered(operation: Operation) -> bool:
    """Is its time its place in the file?"""
    return operation.call_ns == operation.call_index and operation.return_ns in (None, operation.return_index)


def deed(operation: Operation) -> str:
    """What was done, with its value."""
    f, value, result = operation.f, operation.value, operation.result
    unseen = operation.return_index is None
    if f in TAKERS or f in ("read", "get"):
        return _taken(f, result, unseen)
    if f == "cas":
        return f"the compare-and-set {step(operation)}"
    if f == "txn":
        return f"the transaction ({_steps(value if result is None else result)})"
    argument = "" if value is None else f" of {show(value)}"
    return f"the {f}{argument}{_returned(operation)}"


TAKERS = ("dequeue", "pop", "poll", "peek")
"""Functions whose result of null says that there was nothing."""


def _taken(f: str, result: Any, unseen: bool) -> str:
    if unseen:
        return f"a {f}"
    if f in TAKERS and result is None:
        return f"the {f} that found nothing"
    return f"the {f} of {show(result)}"


def _returned(operation: Operation) -> str:
    """What came back, where that says more than that the operation was done."""
    f, value, result = operation.f, operation.value, operation.result
    if operation.return_index is None or (result is None and f != "contains") or result == value is not True:
        return ""
    if f == "acquire":
        return f" that got token {show(result)}"
    if f == "append" and type(result) is int and type(result) is not type(value):
        return f" at offset {result}"
    if f == "write" and isinstance(result, tuple) and len(result) == 2:
        return f" as version {show(result[0])}"
    return f" that returned {show(result)}"


_STEPS: Mapping[str, str] = {
    "r": "read {value} from {name}",
    "w": "write {value} to {name}",
    "append": "append {value} to {name}",
}

STEPS_SHOWN_MAX = 6


def _steps(steps: Any) -> str:
    """A transaction, step by step."""
    if not isinstance(steps, list | tuple) or not all(
        isinstance(item, list | tuple) and len(item) == 3 for item in steps
    ):
        return show(steps)
    words = [
        _STEPS.get(str(kind), f"{kind} {{value}} at {{name}}").format(value=show(value), name=_name(name))
        for kind, name, value in steps[:STEPS_SHOWN_MAX]
    ]
    more = len(steps) - len(words)
    return "; ".join(words) + (f"; and {more} more" if more else "")


def _name(name: Any) -> str:
    return name if isinstance(name, str) else show(name)


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
