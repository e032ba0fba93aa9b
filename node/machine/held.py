"""What a key holds inside the machine, and what clients see of it.

Registers (bytes) and counters (int) are what they are. Sets and lists are changed in place, which is what makes adding
to a long one cheap; so each says to which generation of the state it belongs: after a copy of the state was taken, the
next change works on a clone (:mod:`node.machine.state`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from node.operations import Value


class Set:
    """Elements in the order in which they came: that order is a function of the log, as the order of hashes is not."""

    __slots__ = ("elements", "generation", "weight")

    def __init__(self, elements: dict[bytes, None], generation: int, weight: int) -> None:
        self.elements = elements
        self.generation = generation
        self.weight = weight

    def clone(self, generation: int) -> Set:
        """A copy that may be changed in ``generation``."""
        return Set(self.elements.copy(), generation, self.weight)


class List:
    """Elements in the order of appending."""

    __slots__ = ("elements", "generation", "weight")

    def __init__(self, elements: list[bytes], generation: int, weight: int) -> None:
        self.elements = elements
        self.generation = generation
        self.weight = weight

    def clone(self, generation: int) -> List:
        """A copy that may be changed in ``generation``."""
        return List(self.elements.copy(), generation, self.weight)


class Lock(msgspec.Struct, frozen=True, array_like=True, tag="lock"):
    """Nobody's if ``token`` is 0. ``until_ms`` is the lease's last millisecond, in the machine's time; 0: for ever.

    It belongs to the lease because stamps are rounded down: else an owner that asked late in a millisecond would have
    its lease cut short by a part of one.
    """

    owner: str
    token: int
    until_ms: int

    def token_at(self, now_ms: int) -> int:
        """The holder's fencing token; 0: free."""
        return 0 if self.until_ms and now_ms > self.until_ms else self.token


def bytes_of(text: str) -> int:
    """How long it is, encoded: a character may have four bytes."""
    return len(text) if text.isascii() else len(text.encode())


Held = bytes | int | Set | List | Lock

NAMES: Mapping[type, str] = {bytes: "register", int: "counter", Set: "set", List: "list", Lock: "lock"}
"""What the types are called."""

_WEIGHTS: Mapping[type, Callable[[Held], int]] = {
    bytes: len,  # type: ignore[dict-item]  # of a register
    int: lambda _: 8,
    Set: lambda held: held.weight,  # type: ignore[union-attr]
    List: lambda held: held.weight,  # type: ignore[union-attr]
    Lock: lambda held: bytes_of(held.owner) + 24,  # type: ignore[union-attr]
}


def weight_of(held: Held) -> int:
    """How much it counts against the limits: bytes, about."""
    return _WEIGHTS[type(held)](held)


def value_of(held: Held | None, now_ms: int) -> Value:
    """What clients see."""
    if held is None or isinstance(held, bytes | int):
        return held
    if isinstance(held, Lock):
        return held.token_at(now_ms)
    return tuple(held.elements) if isinstance(held, List) else frozenset(held.elements)
