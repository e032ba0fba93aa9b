"""What changes do to keys, as those who watch them are told (:mod:`node.serving.watch`)."""

from __future__ import annotations

import enum

import msgspec

from node.operations import Value


class EventKind(enum.IntEnum):
    """The numbers are those of ``kv.proto`` EventKind."""

    PUT = 0
    """The key holds ``value`` now: a register, a counter, or a lock's token (0: free)."""
    DELETE = 1
    """The key is gone."""
    ADD = 2
    """``value`` (a set or a list) was added to a set, or to the end of a list; the key may be new."""
    REMOVE = 3
    """``value`` was taken out of a set."""


class Event(msgspec.Struct, frozen=True):
    """One change of one key. ``revision`` is the log index of the command that made it; a command has at most one event
    for each key.
    """

    revision: int
    kind: EventKind
    key: str
    value: Value
