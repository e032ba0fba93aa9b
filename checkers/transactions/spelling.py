"""Keys, values and lists of transactions as users wrote them, short enough for a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from checkers.models.model import visible
from checkers.wording import show

ELEMENTS_MAX = 6
"""Elements of a list that are shown around the one that matters."""


def spell(value: Any) -> str:
    """A key (bare if it is text) or a value."""
    value = visible(value)
    return value if isinstance(value, str) else show(value)


def spell_list(elements: Sequence[Any], place: int) -> str:
    """A list; of a long one the part that ends just behind ``place``."""
    if len(elements) <= ELEMENTS_MAX:
        return f"[{' '.join(show(visible(item)) for item in elements)}]"
    end = min(len(elements), max(place + 1, 0) + 1)
    begin = max(0, end - ELEMENTS_MAX + 1)
    shown = " ".join(show(visible(item)) for item in elements[begin:end])
    return f"[{'... ' if begin else ''}{shown}{' ...' if end < len(elements) else ''}]"
