"""A text under a key: get, put, append, delete, cas."""

from __future__ import annotations

import bisect
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from checkers.models.model import REFUSED, UNOBSERVED, Call, Model, Refused, Unvalued, hashable


@dataclass(frozen=True, kw_only=True)
class KeyValue(Unvalued):
    """get, put, append, delete and cas on text; null is absence, and the default initial value.

    Appending to what is absent makes the appended text. (Porcupine's logs begin with ``""``.)
    """

    functions = frozenset({"get", "put", "append", "delete", "cas"})
    null_read: str = "value"
    observed: tuple[str, ...] | None = None

    def start(self, initial: Any) -> Hashable:
        """The text, or null."""
        if not isinstance(initial, str | None):
            raise ValueError(f"the initial value of a kv history is {initial!r}; use a text, or null")
        return initial

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Legal: a get that returned the text, a cas that expected it, all else always."""
        if call.f == "get":
            unknown = not call.known or (call.result is None and self.null_read == "unknown")
            return state if unknown or hashable(call.result) == state else REFUSED
        if call.f == "append":
            return UNOBSERVED if state is UNOBSERVED else self._known((state or "") + call.value)
        if call.f == "cas":
            return self._known(call.value[1]) if call.value[0] == state else REFUSED
        return None if call.f == "delete" else self._known(call.value)

    def _known(self, text: Any) -> Hashable:
        if self.observed is None or not isinstance(text, str):
            return hashable(text)
        place = bisect.bisect_left(self.observed, text)
        beginning = place < len(self.observed) and self.observed[place].startswith(text)
        return text if beginning else UNOBSERVED

    def observation(self, call: Call) -> bool:
        """Gets."""
        return call.f == "get"

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """All texts that are no beginning of a text that some call observes are one: what grows from them is none
        either.
        """
        for call in calls:
            if call.f in ("put", "append") and not isinstance(call.value, str):
                raise ValueError(f"{call.f} of {call.value!r}: the values of a kv history are texts")
            if call.f == "cas" and not all(isinstance(text, str | None) for text in call.value):
                raise ValueError(f"cas of {call.value!r}: the values of a kv history are texts, or null")
        seen = [call.result for call in calls if call.f == "get" and call.known]
        seen += [call.value[0] for call in calls if call.f == "cas"]
        return KeyValue(
            null_read=self.null_read, observed=tuple(sorted(text for text in seen if isinstance(text, str)))
        )
