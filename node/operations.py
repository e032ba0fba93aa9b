"""What clients ask of a node, as plain facts. The machine gives each its meaning (:mod:`node.machine`).

Every key holds one value of one type, made by the first operation that touches it: a register (bytes), a set, a
counter, a list or a lock. An operation on a key of another type is refused and changes nothing.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class ReadMode(enum.StrEnum):
    """How a read is made sure of."""

    LINEARIZABLE = "linearizable"
    """Through any node: the leader asks a majority (ReadIndex); a follower asks the leader for its read index, waits
    until it has applied that far, and serves."""
    LEADER = "leader"
    """The same, but only the leader serves; others say who leads."""
    LEASE = "lease"
    """Only the leader serves, without asking anyone while its lease lasts; when it has run out, as LEADER."""
    LOCAL = "local"
    """Whatever the node has applied: may be stale."""


@dataclass(frozen=True, slots=True)
class Get:
    """Reads a key of any type: bytes, a set's elements, a number, a list, a lock's holder."""

    key: str
    mode: ReadMode = ReadMode.LEADER


@dataclass(frozen=True, slots=True)
class Put:
    """Sets a register. With a ``fence``, only if no higher fence was ever shown to this key (fencing tokens); refused,
    it tells the highest.
    """

    key: str
    value: bytes
    fence: int = 0


@dataclass(frozen=True, slots=True)
class CompareAndSet:
    """Sets a register if its value is ``expected`` (None: if it does not exist)."""

    key: str
    expected: bytes | None
    value: bytes


@dataclass(frozen=True, slots=True)
class Append:
    """Appends to a register's bytes, which are empty if it does not exist."""

    key: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes a key of any type."""

    key: str


@dataclass(frozen=True, slots=True)
class SetAdd:
    """Adds an element to a set."""

    key: str
    element: bytes


@dataclass(frozen=True, slots=True)
class SetRemove:
    """Takes an element out of a set."""

    key: str
    element: bytes


@dataclass(frozen=True, slots=True)
class Increment:
    """Adds ``delta`` (64 bits, signed) to a counter, which is 0 if it does not exist; tells the new number."""

    key: str
    delta: int = 1


@dataclass(frozen=True, slots=True)
class Acquire:
    """Takes a lock for ``owner`` if it is free or its lease has run out; tells the fencing token, which is higher than
    any before. By the holder itself: renews the lease, same token. ``lease_ms`` 0: for ever. Refused, it tells the
    holder's token.
    """

    key: str
    owner: str
    lease_ms: int = 0


@dataclass(frozen=True, slots=True)
class Release:
    """Gives a lock back; refused to anyone but its holder (with ``token``: of that token), and then it tells the
    holder's token (0: free).
    """

    key: str
    owner: str
    token: int = 0


@dataclass(frozen=True, slots=True)
class ListAppend:
    """Within a transaction: puts an element at the end of a list."""

    key: str
    element: bytes


@dataclass(frozen=True, slots=True)
class Read:
    """Within a transaction: what the key holds at this point of it."""

    key: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """Several steps over several keys, all at one moment, in order; all or (a wrong type, a fence) none. Tells what the
    reads found, in order. With a ``mode``, which only a transaction of nothing but reads may have, it is done like a
    get, without the log; without, it goes through the log and needs a session, as any write.
    """

    steps: tuple[ListAppend | Read | Put, ...]
    mode: ReadMode | None = None


Operation = (
    Get | Put | CompareAndSet | Append | Delete | SetAdd | SetRemove | Increment | Acquire | Release | Transaction
)

Value = bytes | frozenset[bytes] | int | tuple[bytes, ...] | None
"""What a key can hold, as a client sees it (None: nothing). A lock reads as its holder's fencing token, 0 if free."""
