"""Data types as the search sees them: an initial state, a step, and what may be said about a call without its state.

A model says what one operation does to a state; it knows nothing of time. States and calls are hashable, so that the
search can number them. To add one, write a class with the members of :class:`Model` in a file of its own and put it
into :data:`checkers.models.MODELS`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
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
    ``process`` is given to models that ask for it (:attr:`Model.by_process`). Equal means equal as JSON: Python takes
    ``1``, ``1.0`` and ``true`` for one, and has no hash for objects.
    """

    f: str
    value: Any
    result: Any
    known: bool
    process: int | None = None

    def _identity(self) -> Hashable:
        return self.f, hashable(self.value), hashable(self.result), self.known, self.process

    def __eq__(self, other: object) -> bool:
        """Are they interchangeable?"""
        return isinstance(other, Call) and self._identity() == other._identity()

    def __ne__(self, other: object) -> bool:
        """A tuple has one of its own."""
        return not self == other

    def __hash__(self) -> int:
        """As equality says."""
        return hash(self._identity())


class Model(Protocol):
    """A data type. Each is made with ``null_read``: ``"value"``, or ``"unknown"`` if a read of null says nothing."""

    @property
    def functions(self) -> frozenset[str]:
        """The functions that its histories may use."""

    @property
    def by_process(self) -> bool:
        """Does it matter who calls (locks with owners)?"""

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


class Unvalued:
    """Defaults for types whose state is more than one value."""

    by_process = False

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


def hashable(value: Any) -> Hashable:
    """A value that is hashable, and equal to another one only if JSON says so.

    Lists become tuples. What Python would confuse is tagged with its type, which is nothing that JSON can say: true and
    1.0 are no 1, 0.0 is no -0.0, and no list is an object. :func:`visible` is the way back.
    """
    if isinstance(value, dict):
        return (dict, *sorted((key, hashable(item)) for key, item in value.items()))
    if isinstance(value, bool):
        return bool, value
    if isinstance(value, float):
        return float, repr(value)
    if isinstance(value, tuple | list):
        return tuple(hashable(item) for item in value)
    plain: Hashable = value
    return plain


def visible(value: Any) -> Any:
    """The value that :func:`hashable` made this of, as the user wrote it."""
    if not isinstance(value, tuple):
        return value
    tag = value[0] if value else None
    if tag is dict:
        return {key: visible(item) for key, item in value[1:]}
    if tag is bool:
        return value[1]
    return float(value[1]) if tag is float else [visible(item) for item in value]
