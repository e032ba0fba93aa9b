"""The queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from checkers.models.container import Container


@dataclass(frozen=True, kw_only=True)
class FifoQueue(Container):
    """enqueue and dequeue, first in, first out; a dequeue of null found it empty.

    The initial value is the list of elements, the one that leaves first first (default: none).
    """

    noun: ClassVar[str] = "queue"
    put: ClassVar[str] = "enqueue"
    take: ClassVar[str] = "dequeue"
    functions: ClassVar[frozenset[str]] = frozenset({"enqueue", "dequeue"})
