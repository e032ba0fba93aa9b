"""Keys, values and lists of transactions as users wrote them, short enough for a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers.wording import show

ELEMENTS_MAX = 6
"""Elements of a list that are shown around the one that matters."""


def spell(value: Any) -> str:
    """A key (bare if it is text) or a value."""
    value = original(value)
    return value if isinstance(value, str) else show(value)


def original(value: Any) -> Any:
    """Undoes :func:`checkers.models.model.hashable`."""
    if isinstance(value, tuple):
        if len(value) == 2 and value[0] in ("bool", "float"):
            return value[1]
        if value and value[0] == "object":
            return {pair[0]: original(pair[1]) for pair in value[1:]}
        return [original(item) for item in value]
    return value


def spell_list(elements: Sequence[Any], place: int) -> str:
    """A list; of a long one the part that ends just behind ``place``."""
    if len(elements) <= ELEMENTS_MAX:
        return f"[{' '.join(show(original(item)) for item in elements)}]"
    end = min(len(elements), max(place + 1, 0) + 1)
    begin = max(0, end - ELEMENTS_MAX + 1)
    shown = " ".join(show(original(item)) for item in elements[begin:end])
    return f"[{'... ' if begin else ''}{shown}{' ...' if end < len(elements) else ''}]"
