"""What queues, stacks and priority queues share: their content as a tuple of elements, and what an element may be."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

from checkers.models.model import REFUSED, Call, Refused, Unvalued, hashable, visible

State = tuple[Hashable, ...]


@dataclass(frozen=True, kw_only=True)
class Container(Unvalued):
    """A container whose content is a tuple of elements. A null result says that it was empty, so a null element never
    comes out; ``null_read`` is about reads, of which it has none.
    """

    noun: ClassVar[str]
    put: ClassVar[str]
    take: ClassVar[str]
    functions: ClassVar[frozenset[str]]
    null_read: str = "value"

    def start(self, initial: Any) -> State:
        """A list of elements, or null for none.

        Raises:
            ValueError: it is no list.
        """
        return tuple(hashable(item) for item in elements(initial, self.noun))

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Taking must return the element whose turn it is, or null if there is none."""
        if call.f == self.put:
            return self.added(state, hashable(call.value))
        if not state:
            return state if not call.known or call.result is None else REFUSED
        item, rest = self.removed(state)
        if call.known and (call.result is None or hashable(call.result) != item):
            return REFUSED
        return rest if call.f == self.take else state

    def added(self, state: State, item: Hashable) -> State:
        """The content with one more element."""
        return (*state, item)

    def removed(self, state: State) -> tuple[Hashable, State]:
        """The element whose turn it is, and the rest."""
        return state[0], state[1:]

    def observation(self, call: Call) -> bool:
        """What found it empty, or only looked."""
        empty = call.f == self.take and call.known and call.result is None
        return empty or call.f not in (self.put, self.take)

    def shown(self, state: Any) -> Any:
        """A list."""
        return [visible(item) for item in state]


def elements(initial: Any, noun: str) -> tuple[Any, ...]:
    """The initial content of a container.

    Raises:
        ValueError: it is no list.
    """
    if initial is None:
        return ()
    if not isinstance(initial, list | tuple) or any(item is None for item in initial):
        raise ValueError(
            f"the initial value of a {noun} is {initial!r}; use a list of its elements (none of them null)"
        )
    return tuple(initial)
