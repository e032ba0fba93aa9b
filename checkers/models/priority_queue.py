"""The priority queue."""

from __future__ import annotations

import bisect
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from checkers.models.container import Container, State, elements
from checkers.models.model import Call, Model, hashable, visible


@dataclass(frozen=True, kw_only=True)
class PriorityQueue(Container):
    """insert, poll (removes and returns the smallest) and peek (only returns it); null: it was empty.

    Elements are all numbers, ordered by value, or all strings, ordered by code points. The initial value is a list of
    elements in any order (default: none).
    """

    noun: ClassVar[str] = "priority queue"
    put: ClassVar[str] = "insert"
    take: ClassVar[str] = "poll"
    functions: ClassVar[frozenset[str]] = frozenset({"insert", "poll", "peek"})

    def start(self, initial: Any) -> State:
        """The elements in their order.

        Raises:
            ValueError: it is no list, or elements are neither all numbers nor all strings.
        """
        items = elements(initial, self.noun)
        validate_order(items)
        return tuple(hashable(item) for item in sorted(items, key=priority))

    def added(self, state: State, item: Hashable) -> State:
        """The content with one more element, in its place."""
        place = bisect.bisect_right(state, priority(visible(item)), key=lambda other: priority(visible(other)))
        return (*state[:place], item, *state[place:])

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """Itself, after looking at the elements."""
        validate_order([call.value for call in calls if call.f == self.put])
        return self


def priority(item: Any) -> tuple[bool, Any]:
    """What elements are ordered by; numbers before strings, though they are never mixed."""
    return isinstance(item, str), item


def validate_order(items: Iterable[Any]) -> None:
    """Can the elements be compared with one another?

    Raises:
        ValueError: they are neither all numbers nor all strings, or 1 and 1.0 are among them, which have no order.
    """
    kinds: dict[Any, type] = {}
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | float | str):
            raise ValueError(f"insert of {item!r}: the elements of a priority queue are numbers, or strings")
        if kinds.setdefault(item, type(item)) is not type(item):
            raise ValueError(f"insert of {item!r} as an integer and as a float: equal numbers have no order")
    first = next(iter(kinds), None)
    other = next((item for item in kinds if isinstance(item, str) != isinstance(first, str)), None)
    if other is not None:
        raise ValueError(f"insert of {first!r} and of {other!r}: numbers and strings have no order among them")
