"""Data types as the search sees them: an initial state, a step, and what may be said about a call without its state.

A model says what one operation does to a state; it knows nothing of time and processes. States and calls are
hashable, so that the search can number them. To add one, write a class with the members of :class:`Model` and put
it into :data:`MODELS`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol


class Refused:
    """What a step returns when the call is not legal in the state."""


REFUSED: Final = Refused()

NOTHING: Final = Refused()
"""No value: what a call that writes (or observes) nothing produces (or observes). Null is a value."""


class Call(NamedTuple):
    """An operation without time and place: calls that are equal are interchangeable.

    ``known`` is whether ``result`` was reported; an ``info`` operation has an unknown result, and a model accepts any.
    """

    f: str
    value: Any
    result: Any
    known: bool


class Model(Protocol):
    """A data type. Each is made with ``null_read``: ``"value"``, or ``"unknown"`` if a read of null says nothing."""

    functions: frozenset[str]
    """The functions that its histories may use."""

    def start(self, initial: Any) -> Hashable:
        """The state in which a key begins, from what the user calls its initial value (null: the model's default)."""

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """The state after a call, or :data:`REFUSED`."""

    def observation(self, call: Call) -> bool:
        """Does the call's *recorded result* prove that it changes no state wherever it is legal? In doubt: no."""

    def produces(self, call: Call) -> Hashable:
        """For types whose whole state is one value: the value that the call writes, else :data:`NOTHING`."""

    def observes(self, call: Call) -> Hashable:
        """For the same types: the value that the state must have for the call to be legal, else :data:`NOTHING`."""

    def valued(self) -> bool:
        """Is the whole state one value, with a call legal if and only if it observes nothing or that value?"""


@dataclass(frozen=True, kw_only=True)
class Register:
    """read, write, cas. The initial value is null by default."""

    functions = frozenset({"read", "write", "cas"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """Any value."""
        return _hashable(initial)

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """A read is legal if it returned the state, a cas if it expected it."""
        observed = self.observes(call)
        if observed is not NOTHING and observed != state:
            return REFUSED
        written = self.produces(call)
        return state if written is NOTHING else written

    def observation(self, call: Call) -> bool:
        """Reads."""
        return call.f == "read"

    def produces(self, call: Call) -> Hashable:
        """What a write or cas writes."""
        if call.f == "write":
            return _hashable(call.value)
        return _hashable(call.value[1]) if call.f == "cas" else NOTHING

    def observes(self, call: Call) -> Hashable:
        """What a read returned or a cas expects."""
        if call.f == "cas":
            return _hashable(call.value[0])
        if call.f == "read" and call.known and not (call.result is None and self.null_read == "unknown"):
            return _hashable(call.result)
        return NOTHING

    def valued(self) -> bool:
        """Yes."""
        return True


class Unvalued:
    """Defaults for types whose state is more than one value."""

    def produces(self, call: Call) -> Hashable:  # noqa: ARG002
        """Nothing that can be told without the state."""
        return NOTHING

    def observes(self, call: Call) -> Hashable:  # noqa: ARG002
        """Nothing that can be told without the state."""
        return NOTHING

    def valued(self) -> bool:
        """No."""
        return False


@dataclass(frozen=True, kw_only=True)
class MultiRegister(Unvalued):
    """Transactions of reads and writes on several registers at once: f ``txn``, value ``[["r", "x", null], ["w",
    "y", 2]]``.

    The initial value is an object from names to values; a name that it lacks begins with null.
    """

    functions = frozenset({"txn"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """Names and values, sorted; names with null are left out."""
        return _registers({name: _hashable(value) for name, value in (initial or {}).items()})

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """All reads legal, all writes done, in the order of the transaction."""
        registers = dict(state)
        for kind, name, value in call.result if call.known and call.result is not None else call.value:
            if kind == "w":
                registers[name] = _hashable(value)
            elif call.known and not self._unknown(value) and registers.get(name) != _hashable(value):
                return REFUSED
        return _registers(registers)

    def _unknown(self, value: Any) -> bool:
        return value is None and self.null_read == "unknown"

    def observation(self, call: Call) -> bool:
        """Transactions that only read."""
        return call.known and all(step[0] == "r" for step in call.value)


def _registers(registers: Mapping[str, Any]) -> Hashable:
    return tuple(sorted((name, value) for name, value in registers.items() if value is not None))


@dataclass(frozen=True, kw_only=True)
class KeyValue(Unvalued):
    """get, put, append, delete and cas on text; null is absence, and the default initial value.

    Appending to what is absent makes the appended text. (Porcupine's logs begin with ``""``.)
    """

    functions = frozenset({"get", "put", "append", "delete", "cas"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """The text, or null."""
        return _hashable(initial)

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Legal: a get that returned the text, a cas that expected it, all else always."""
        if call.f == "get":
            unknown = not call.known or (call.result is None and self.null_read == "unknown")
            return state if unknown or _hashable(call.result) == state else REFUSED
        if call.f == "append":
            return str(call.value) if state is None else str(state + call.value)
        if call.f == "cas":
            return _hashable(call.value[1]) if _hashable(call.value[0]) == state else REFUSED
        return None if call.f == "delete" else _hashable(call.value)

    def observation(self, call: Call) -> bool:
        """Gets."""
        return call.f == "get"


@dataclass(frozen=True, kw_only=True)
class Mutex(Unvalued):
    """acquire and release by whoever; the state is whether it is held. The initial value is ``unlocked`` (or null)
    or ``locked``."""

    functions = frozenset({"acquire", "release"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """Is it held?"""
        if initial not in (None, "unlocked", "locked"):
            raise ValueError(f"the initial value of a mutex is {initial!r}; use 'unlocked' or 'locked'")
        return initial == "locked"

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Only a free mutex can be acquired, only a held one released."""
        acquires = call.f == "acquire"
        return REFUSED if state == acquires else acquires

    def observation(self, call: Call) -> bool:  # noqa: ARG002
        """None: both functions change the state."""
        return False


MODELS: Mapping[str, Callable[..., Model]] = {
    "register": Register,
    "cas-register": Register,
    "multi-register": MultiRegister,
    "kv": KeyValue,
    "mutex": Mutex,
}
"""Every model by the name that users say."""


def _hashable(value: Any) -> Hashable:
    """JSON objects as sorted pairs; all else is hashable already. Keeps true apart from 1, and 1.0 too."""
    if isinstance(value, dict):
        return ("object", *sorted((key, _hashable(item)) for key, item in value.items()))
    if isinstance(value, bool | float):
        return (type(value).__name__, value)
    if isinstance(value, tuple | list):
        return tuple(_hashable(item) for item in value)
    plain: Hashable = value
    return plain
