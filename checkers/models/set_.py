"""A set of values."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from checkers.models.model import REFUSED, Call, Model, Refused, Unvalued, hashable, visible


@dataclass(frozen=True, kw_only=True)
class Set(Unvalued):
    """add, remove and contains of a value, read of everything.

    Adding what is there, and removing what is not, changes nothing; what their completions carry says nothing. contains
    returns true or false; a read returns the elements as a list in any order, each once (null is the empty set). The
    initial value is a list, null the empty one.
    """

    functions = frozenset({"add", "remove", "contains", "read"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """The elements."""
        if not isinstance(initial, list | tuple | None):
            raise ValueError(f"the initial value of a set is {initial!r}; use a list of its elements, or null")
        return frozenset(map(hashable, initial or ()))

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Legal: a contains or a read that returned what is there, all else always."""
        there: frozenset[Hashable] = state
        if call.f == "add":
            return there | {hashable(call.value)}
        if call.f == "remove":
            return there - {hashable(call.value)}
        if not call.known or (call.result is None and self.null_read == "unknown"):
            return there
        if call.f == "contains":
            return there if call.result is (hashable(call.value) in there) else REFUSED
        elements = call.result or ()
        same = len(elements) == len(there) and frozenset(map(hashable, elements)) == there
        return there if same else REFUSED

    def observation(self, call: Call) -> bool:
        """contains and reads."""
        return call.f in ("contains", "read")

    def shown(self, state: Any) -> Any:
        """A list, sorted by what its elements look like."""
        return [visible(item) for item in sorted(state, key=repr)]

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """Itself, after looking at the results."""
        for call in calls:
            said = isinstance(call.result, bool) or (call.result is None and self.null_read == "unknown")
            if call.f == "contains" and call.known and not said:
                raise ValueError(f"contains returned {call.result!r}: it returns true or false")
            if call.f == "read" and not isinstance(call.result, tuple | None):
                raise ValueError(f"a read of a set returned {call.result!r}: it returns a list of its elements")
        return self
