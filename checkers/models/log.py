"""An append-only log."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from checkers.models.model import REFUSED, Call, Model, Refused, Unvalued, hashable, visible


@dataclass(frozen=True, kw_only=True)
class Log(Unvalued):
    """append of a value, and read of everything.

    An append returns the offset of its value (0 is the first place), or null if that is not told. A read returns the
    list (null is the empty one). The initial value is a list, null the empty one.
    """

    functions = frozenset({"append", "read"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """The values in order."""
        if not isinstance(initial, list | tuple | None):
            raise ValueError(f"the initial value of a log is {initial!r}; use a list of its values, or null")
        return tuple(map(hashable, initial or ()))

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Legal: an append that returned no offset or the log's length, a read that returned the log."""
        if call.f == "append":
            fits = not call.known or call.result is None or call.result == len(state)
            return (*state, hashable(call.value)) if fits else REFUSED
        unknown = not call.known or (call.result is None and self.null_read == "unknown")
        return state if unknown or tuple(map(hashable, call.result or ())) == state else REFUSED

    def shown(self, state: Any) -> Any:
        """A list."""
        return visible(state)

    def observation(self, call: Call) -> bool:
        """Reads."""
        return call.f == "read"

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """Itself, after looking at the results."""
        for call in calls:
            if call.f == "append" and not (call.result is None or offset(call.result)):
                raise ValueError(f"append returned {call.result!r}: it returns the offset of its value, or null")
            if call.f == "read" and not isinstance(call.result, tuple | None):
                raise ValueError(f"a read of a log returned {call.result!r}: it returns the list of its values")
        return self


def offset(value: Any) -> bool:
    """Is it a whole number, not below 0? JSON's true is none."""
    return type(value) is int and value >= 0
