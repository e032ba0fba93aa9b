"""Values as small integers: equal values get equal codes, so that checkers compare columns of numbers instead of
objects.

JSON's ``1``, ``true`` and ``1.0`` are three values, though Python calls them equal; and lists and objects cannot be
dictionary keys. So integers, strings and null (nearly all of a history) are looked up as they are, and everything else
under its type and its text.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import msgspec

ABSENT = -1
"""The code of no value at all (a read's argument is null, which *is* a value; a write has no ``expected``)."""

PLAIN = frozenset({int, str, type(None)})
"""Types whose values are told apart by themselves."""

DEPTH_MAX = 64
"""Lists and objects nested deeper are no values of a history: nothing real needs it, and pages would break."""


def frozen(value: Any, depth: int = 0) -> Any:
    """The same value with lists as tuples, all the way down.

    Raises:
        TypeError: it is nested deeper than :data:`DEPTH_MAX`.
    """
    if isinstance(value, list | tuple):
        _check_depth(depth)
        return tuple(frozen(item, depth + 1) for item in value)
    if isinstance(value, dict):
        _check_depth(depth)
        return {key: frozen(item, depth + 1) for key, item in value.items()}
    return value


def _check_depth(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise TypeError(f"nested deeper than {DEPTH_MAX}")


def checked(value: Any) -> Any:
    """The value itself, if it can be one of a history's.

    Raises:
        TypeError: JSON cannot say it, or it is nested too deep.
    """
    if type(value) not in PLAIN:
        frozen(value)
        identity(value)
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
        """The code of a value, given out on first sight.

        Raises:
            TypeError: JSON cannot say it, or it is nested too deep.
        """
        key = value if type(value) in PLAIN else identity(value)
        code = self.codes.get(key)
        if code is None:
            kept = frozen(value)
            code = self.codes[key] = len(self.values)
            self.values.append(kept)
        return code

    def code_all(self, values: Sequence[Any]) -> list[int]:
        """The codes of many values, as :meth:`code` gives them, but faster where all are plain."""
        if not PLAIN.issuperset(map(type, values)):
            return [self.code(value) for value in values]
        codes = self.codes
        try:
            return [codes[value] for value in values]
        except KeyError:
            for value in values:
                if value not in codes:
                    codes[value] = len(self.values)
                    self.values.append(value)
        return [codes[value] for value in values]

    def find(self, value: Any) -> int:
        """The code of a value, or :data:`ABSENT` if the history never mentions it."""
        return self.codes.get(identity(value), ABSENT)

    def __len__(self) -> int:
        return len(self.values)
