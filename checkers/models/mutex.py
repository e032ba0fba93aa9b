"""Locks."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from checkers.models.model import REFUSED, Call, Refused, Unvalued


@dataclass(frozen=True, kw_only=True)
class Mutex(Unvalued):
    """acquire and release by whoever; the state is whether it is held.

    The initial value is ``unlocked`` (or null), or ``locked``.
    """

    functions = frozenset({"acquire", "release"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """Is it held?"""
        if initial not in (None, "unlocked", "locked"):
            raise ValueError(f"the initial value of a mutex is {initial!r}; use 'unlocked' or 'locked'")
        return bool(initial == "locked")

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Only a free mutex can be acquired, only a held one released."""
        acquires: bool = call.f == "acquire"
        return REFUSED if state == acquires else acquires

    def observation(self, call: Call) -> bool:  # noqa: ARG002
        """None: both functions change the state."""
        return False

    def produces(self, call: Call) -> Hashable:
        """Held after acquire, free after release."""
        return bool(call.f == "acquire")

    def observes(self, call: Call) -> Hashable:
        """Free before acquire, held before release."""
        return bool(call.f != "acquire")

    def shown(self, state: Any) -> Any:
        """In words."""
        return "locked" if state else "unlocked"

    def valued(self) -> bool:
        """Yes: acquire is a compare-and-set from free to held."""
        return True
