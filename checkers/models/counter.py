"""A counter."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from checkers.models.model import REFUSED, Call, Model, Refused, Unvalued


@dataclass(frozen=True, kw_only=True)
class Counter(Unvalued):
    """add n, increment n that returns the new value (or null: not told), and read.

    What an add's completion carries says nothing. A read of null is one of 0 (a counter that nobody made yet). The
    initial value is a whole number, null 0.
    """

    functions = frozenset({"add", "increment", "read"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """The number."""
        if not (whole(initial) or initial is None):
            raise ValueError(f"the initial value of a counter is {initial!r}; use a whole number")
        return initial or 0

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Legal: a read that returned the number, an increment that returned the new one, an add always."""
        if call.f == "read":
            unknown = not call.known or (call.result is None and self.null_read == "unknown")
            return state if unknown or (call.result or 0) == state else REFUSED
        after: int = state + call.value
        told = call.f == "increment" and call.known and call.result is not None
        return REFUSED if told and call.result != after else after

    def observation(self, call: Call) -> bool:
        """Reads."""
        return call.f == "read"

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """Itself, after looking at the numbers."""
        for call in calls:
            if call.f != "read" and not whole(call.value):
                raise ValueError(f"{call.f} of {call.value!r}: steps of a counter are whole numbers")
            if call.f != "add" and not (whole(call.result) or call.result is None):
                raise ValueError(f"{call.f} returned {call.result!r}: the values of a counter are whole numbers")
        return self


def whole(value: Any) -> bool:
    """Is it a whole number? JSON's true is none."""
    return type(value) is int
