"""What a user may set for one check: typed, with a default each, and refused by name if it has a value that it can't
have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.event import shorten


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The settings that were given for the check named ``check``. ``initial``: the initial value of registers."""

    check: str
    values: Mapping[str, Any] = field(default_factory=dict)
    initial: Any = None
    null_read: str = "value"

    def flag(self, name: str, default: bool) -> bool:
        """True or false.

        Raises:
            ValueError: it is neither.
        """
        value = self.values.get(name, default)
        if not isinstance(value, bool):
            raise self._error(name, value, "true or false")
        return value

    def number(self, name: str) -> float | None:
        """A number that is not negative, or None if it was not given.

        Raises:
            ValueError: it is something else.
        """
        value = self.values.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0):
            raise self._error(name, value, "a number from 0 on")
        return value

    def count(self, name: str) -> int | None:
        """A whole number that is not negative, or None if it was not given.

        Raises:
            ValueError: it is something else.
        """
        value = self.values.get(name)
        if value is not None and (type(value) is not int or value < 0):
            raise self._error(name, value, "a whole number from 0 on")
        return value

    def names(self, name: str) -> tuple[str, ...] | None:
        """A list of names (numbers count as their digits), or None if it was not given.

        Raises:
            ValueError: it is no list.
        """
        value = self.values.get(name)
        if value is None:
            return None
        if not isinstance(value, list | tuple) or not all(isinstance(item, str | int) for item in value):
            raise self._error(name, value, "a list of names")
        return tuple(map(str, value))

    def _error(self, name: str, value: Any, wanted: str) -> ValueError:
        return ValueError(f"{self.check}: the setting {name} is {shorten(value)}; use {wanted}")
