"""What a generator is: a value that says what to do next.

After Jepsen's pure generators (jepsen ``generator.clj``): ``next`` maps what is known of the workers to an operation
and the generator that remains, ``update`` lets it learn from a completion. Neither changes anything, reads a clock or
draws from a hidden random source, so the same seed against the same completions asks for the same operations, and a
generator can be tried out at no cost: a combinator may ask two and throw one answer away.

Where it departs from Jepsen: a generator does not schedule an operation for a later time; it says :class:`Pending`
*until* that time and is asked again. So an operation is always chosen with the knowledge of the moment at which it is
invoked, and a generator that is asked and not obeyed has lost nothing. Workers are bit sets (plain integers):
restricting them, the commonest thing combinators do, is one ``&``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

from msgspec import Struct

from harness.clients import Completion, Invocation


class Context(Struct, frozen=True, gc=False):
    """What a generator may know. ``free``, ``busy`` and ``scope`` are bit sets of workers.

    A worker that is neither free nor busy is connecting. ``cursor`` is a worker drawn at random (seeded) for this one
    question.
    """

    time_ns: int
    free: int
    """Workers that can take an operation now."""
    busy: int
    """Workers with an operation in flight."""
    scope: int
    """All workers that this generator may use."""
    cursor: int
    processes: Sequence[int]
    """The process number of each worker; changes as processes retire."""
    nodes: Sequence[str]
    """The node to which each worker is pinned."""

    def worker(self) -> int:
        """A free worker: the first at or after the cursor, so that none is preferred. Only while there is one."""
        ahead = self.free >> self.cursor
        if ahead:
            return self.cursor + (ahead & -ahead).bit_length() - 1
        return (self.free & -self.free).bit_length() - 1

    def within(self, workers: int) -> Context:
        """The same moment as seen by a generator that may use these workers only."""
        return Context(
            self.time_ns,
            self.free & workers,
            self.busy & workers,
            self.scope & workers,
            self.cursor,
            self.processes,
            self.nodes,
        )


class Planned(Struct, frozen=True, gc=False):
    """An operation to invoke now, by a worker that is free."""

    worker: int
    invocation: Invocation


class Pending(Struct, frozen=True, gc=False):
    """Nothing now: ask again after the next completion, and at ``until_ns`` at the latest (None: only after a
    completion).
    """

    until_ns: int | None = None


PENDING: Final = Pending()

Step: TypeAlias = Planned | Pending | None
"""What a generator answers. None: nothing any more, whatever happens."""


class Completed(Struct, frozen=True, gc=False):
    """An operation that ended, as generators learn of it."""

    time_ns: int
    worker: int
    process: int
    invocation: Invocation
    completion: Completion


class Generator(Protocol):
    """An immutable plan. A generator sees the completions of its own operations and, inside combinators, may see
    others' too.
    """

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The next step, and the generator that remains once it is taken. With no free worker: pending, or None."""

    def update(self, event: Completed) -> Generator:
        """The generator that knows of this completion."""


def sooner(one: Pending, other: Pending) -> Pending:
    """The earlier of two waits."""
    if one.until_ns is None:
        return other
    return one if other.until_ns is None or one.until_ns <= other.until_ns else other
