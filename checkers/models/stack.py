"""The stack."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

from checkers.models.container import Container, State


@dataclass(frozen=True, kw_only=True)
class Stack(Container):
    """push and pop, last in, first out; a pop of null found it empty.

    The initial value is the list of elements, the lowest first (default: none).
    """

    noun: ClassVar[str] = "stack"
    put: ClassVar[str] = "push"
    take: ClassVar[str] = "pop"
    functions: ClassVar[frozenset[str]] = frozenset({"push", "pop"})

    def removed(self, state: State) -> tuple[Hashable, State]:
        """The top, and what is below."""
        return state[-1], state[:-1]
