"""What the interpreter says to a client, and what a client says back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from checkers.operation import Outcome


class Invocation(Struct, frozen=True, gc=False):
    """An operation about to be invoked. A struct, not a dataclass: it is made on the interpreter's hot path."""

    f: str
    key: Hashable = None
    value: Any = None
    reads: str | None = None
    """How a read is to be made sure of (:data:`harness.workloads.protocol.READS`); None: as the system likes best. It
    is no part of the history: whatever the way, the same answer is due.
    """


class Completion(Struct, frozen=True, gc=False):
    """How an operation ended, as the client's one deciding place maps it (in doubt: ``info``).

    ``value`` replaces the invocation's value in the history (the value read; for writes and compare-and-set, the
    argument again). ``extra`` is added to the history line (node asked, attempts, ...).
    """

    outcome: Outcome
    value: Any = None
    error: str | None = None
    extra: Mapping[str, Any] | None = None


class Client(Protocol):
    """One process's connection to the system. Used by one worker at a time; thrown away after an ``info``."""

    async def invoke(self, invocation: Invocation) -> Completion:
        """Makes one operation happen. Anything it raises is recorded as ``info``; it is cancelled at the operation's
        hard time-out.
        """

    async def close(self) -> None:
        """Releases what it holds. Must not block on the node."""
