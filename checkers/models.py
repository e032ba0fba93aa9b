"""Data types as the search sees them: an initial state, a step, and what may be said about a call without its state.

A model says what one operation does to a state; it knows nothing of time and processes. States and calls are
hashable, so that the search can number them. To add one, write a class with the members of :class:`Model` and put
it into :data:`MODELS`.
"""

from __future__ import annotations

import bisect
import functools
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, cast


class Refused:
    """What a step returns when the call is not legal in the state."""


class Unobserved:
    """The state of which nothing is ever seen."""

    def __repr__(self) -> str:
        return "a value that nobody saw"


REFUSED: Final = Refused()

NOTHING: Final = Refused()
"""No value: what a call that writes (or observes) nothing produces (or observes). Null is a value."""


UNOBSERVED: Final = Unobserved()
"""Every state that no call of the history can tell from another such state."""


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

    @property
    def functions(self) -> frozenset[str]:
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

    def shown(self, state: Any) -> Any:
        """A state as the user would write it."""

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """The same model for a history of these calls: states that none of them can ever tell apart may be one.

        Raises:
            ValueError: a call is not one of this data type.
        """


@dataclass(frozen=True, kw_only=True)
class Register:
    """read, write, cas. The initial value is null by default."""

    null_read: str = "value"
    functions: frozenset[str] = frozenset({"read", "write", "cas"})
    observed: frozenset[Hashable] | None = None

    def start(self, initial: Any) -> Hashable:
        """Any value."""
        return _hashable(initial)

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

    def shown(self, state: Any) -> Any:
        """The value."""
        return state

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """All values that no call observes are one."""
        return Register(null_read=self.null_read, observed=frozenset(map(self.observes, calls)))


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

    def shown(self, state: Any) -> Any:
        """As it is."""
        return state

    def narrowed(self, calls: Iterable[Call]) -> Model:  # noqa: ARG002
        """Itself: nothing is known of which states look alike."""
        return cast(Model, self)


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

    def shown(self, state: Any) -> Any:
        """An object from names to values."""
        return dict(state)

    def _unknown(self, value: Any) -> bool:
        return value is None and self.null_read == "unknown"

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """Itself, after looking at the shape of the transactions."""
        for call in calls:
            _validate_transaction(call)
        return self

    def observation(self, call: Call) -> bool:
        """Transactions that only read."""
        return call.known and all(step[0] == "r" for step in call.value)


def _validate_transaction(call: Call) -> None:
    for steps in (call.value, call.value if call.result is None else call.result):
        if not isinstance(steps, tuple) or any(len(step) != 3 or step[0] not in ("r", "w") for step in steps):
            raise ValueError(f'transaction {steps!r}: write it as [["r", name, value], ["w", name, value], ...]')
    if call.result is not None and _shape(call.result) != _shape(call.value):
        raise ValueError(f"transaction {call.value!r} completed as another one, {call.result!r}")


def _shape(steps: Any) -> Any:
    """A transaction without what its reads returned."""
    return [(kind, name, None if kind == "r" else value) for kind, name, value in steps]


def _registers(registers: Mapping[str, Any]) -> Hashable:
    return tuple(sorted((name, value) for name, value in registers.items() if value is not None))


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
        return _hashable(initial)

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Legal: a get that returned the text, a cas that expected it, all else always."""
        if call.f == "get":
            unknown = not call.known or (call.result is None and self.null_read == "unknown")
            return state if unknown or _hashable(call.result) == state else REFUSED
        if call.f == "append":
            return UNOBSERVED if state is UNOBSERVED else self._known((state or "") + call.value)
        if call.f == "cas":
            return self._known(call.value[1]) if call.value[0] == state else REFUSED
        return None if call.f == "delete" else self._known(call.value)

    def _known(self, text: Any) -> Hashable:
        if self.observed is None or not isinstance(text, str):
            return _hashable(text)
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
        seen = [call.result for call in calls if call.f == "get" and call.known]
        seen += [call.value[0] for call in calls if call.f == "cas"]
        return KeyValue(
            null_read=self.null_read, observed=tuple(sorted(text for text in seen if isinstance(text, str)))
        )


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


MODELS: Mapping[str, Callable[..., Model]] = {
    "register": functools.partial(Register, functions=frozenset({"read", "write"})),
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
