"""The register, with or without compare-and-set."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

from checkers.models.model import NOTHING, REFUSED, UNOBSERVED, Call, Model, Refused, hashable, visible


@dataclass(frozen=True, kw_only=True)
class Register:
    """read, write, cas. The initial value is null by default."""

    null_read: str = "value"
    functions: frozenset[str] = frozenset({"read", "write", "cas"})
    by_process: bool = False
    observed: frozenset[Hashable] | None = None

    def start(self, initial: Any) -> Hashable:
        """Any value."""
        return hashable(initial)

    def step(self, state: Hashable, call: Call) -> Hashable | Refused:
        """A read is legal if it returned the state, a cas if it expected it."""
        observed = self.observes(call)
        if observed is not NOTHING and observed != state:
            return REFUSED
        written = self.produces(call)
        if written is NOTHING:
            return state
        seen: Hashable = written if self.observed is None or written in self.observed else UNOBSERVED
        return seen

    def observation(self, call: Call) -> bool:
        """Reads."""
        return call.f == "read"

    def produces(self, call: Call) -> Hashable:
        """What a write or cas writes."""
        if call.f == "write":
            return hashable(call.value)
        return hashable(call.value[1]) if call.f == "cas" else NOTHING

    def observes(self, call: Call) -> Hashable:
        """What a read returned or a cas expects."""
        if call.f == "cas":
            return hashable(call.value[0])
        if call.f == "read" and call.known and not (call.result is None and self.null_read == "unknown"):
            return hashable(call.result)
        return NOTHING

    def valued(self) -> bool:
        """Yes."""
        return True

    def shown(self, state: Any) -> Any:
        """The value."""
        return visible(state)

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """All values that no call observes are one."""
        return Register(null_read=self.null_read, observed=frozenset(map(self.observes, calls)))
