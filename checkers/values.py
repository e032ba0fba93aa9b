"""Values as small integers: equal values get equal codes, so that checkers compare columns of numbers instead of
objects.

JSON's ``1``, ``true`` and ``1.0`` are three values, though Python calls them equal; and lists and objects cannot be
dictionary keys. So integers, strings and null (nearly all of a history) are looked up as they are, and everything else
under its type and its text.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import msgspec

ABSENT = -1
"""The code of no value at all (a read's argument is null, which *is* a value; a write has no ``expected``)."""

PLAIN = frozenset({int, str, type(None)})
"""Types whose values are told apart by themselves."""


def frozen(value: Any) -> Any:
    """The same value with lists as tuples, all the way down."""
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    return value


def identity(value: Any) -> Hashable:
    """What two values must share to be the same value.

    Raises:
        TypeError: for a value that JSON cannot say.
    """
    if type(value) in PLAIN:
        plain: Hashable = value
        return plain
    return msgspec.json.encode(value, order="deterministic")


class ValueTable:
    """Values by code, and codes by value. Append-only, so that a snapshot may share it."""

    __slots__ = ("codes", "values")

    def __init__(self) -> None:
        self.codes: dict[Hashable, int] = {}
        self.values: list[Any] = []

    def code(self, value: Any) -> int:
        """The code of a value, given out on first sight."""
        key = value if type(value) in PLAIN else identity(value)
        code = self.codes.get(key)
        if code is None:
            code = self.codes[key] = len(self.values)
            self.values.append(frozen(value))
        return code

    def find(self, value: Any) -> int:
        """The code of a value, or :data:`ABSENT` if the history never mentions it."""
        return self.codes.get(identity(value), ABSENT)

    def __len__(self) -> int:
        return len(self.values)
