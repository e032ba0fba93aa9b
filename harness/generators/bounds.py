"""Generators that end others: after a number of operations, after a time, after a success."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from checkers.operation import Outcome
from harness.generators.protocol import Completed, Context, Generator, Pending, Planned, Step, sooner


class Limit(Struct, frozen=True, gc=False):
    """At most so many operations of another."""

    inner: Generator
    remaining: int

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The inner one's step while there is a remainder."""
        if self.remaining <= 0:
            return None, self
        step, inner = self.inner.next(context)
        return step, Limit(inner, self.remaining - (type(step) is Planned))

    def update(self, event: Completed) -> Generator:
        """Passes on."""
        inner = self.inner.update(event)
        return self if inner is self.inner else Limit(inner, self.remaining)


class TimeLimit(Struct, frozen=True, gc=False):
    """Another for a time that begins when it is first asked; the operations in flight then are nobody's any more."""

    inner: Generator
    for_ns: int
    end_ns: int | None = None

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The inner one's step until the time is over."""
        end_ns = context.time_ns + self.for_ns if self.end_ns is None else self.end_ns
        if context.time_ns >= end_ns:
            return None, TimeLimit(self.inner, self.for_ns, end_ns)
        step, inner = self.inner.next(context)
        if type(step) is Pending:
            step = sooner(step, Pending(end_ns))
        return step, TimeLimit(inner, self.for_ns, end_ns)

    def update(self, event: Completed) -> Generator:
        """Passes on."""
        inner = self.inner.update(event)
        return self if inner is self.inner else TimeLimit(inner, self.for_ns, self.end_ns)


class UntilOk(Struct, frozen=True, gc=False):
    """Another until one of its own operations ends ok. ``asked`` are the workers that have one of them in flight."""

    inner: Generator
    asked: int = 0
    done: bool = False

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The inner one's step; None once one was ok."""
        if self.done:
            return None, self
        step, inner = self.inner.next(context)
        asked = self.asked | 1 << step.worker if type(step) is Planned else self.asked
        if step is None and asked:
            return Pending(), UntilOk(inner, asked)  # the last ones may still succeed
        return step, UntilOk(inner, asked)

    def update(self, event: Completed) -> Generator:
        """Notes success of an operation that was ours, not a neighbour's."""
        inner = self.inner.update(event)
        bit = 1 << event.worker
        if not self.asked & bit:
            return self if inner is self.inner else replace(self, inner=inner)
        return UntilOk(inner, self.asked & ~bit, self.done or event.completion.outcome is Outcome.OK)


def limit(operations: int, inner: Generator) -> Generator:
    """At most so many operations."""
    return Limit(inner, operations)


def time_limit(for_ns: int, inner: Generator) -> Generator:
    """For so long from the first time it is asked."""
    return TimeLimit(inner, for_ns)


def until_ok(inner: Generator) -> Generator:
    """Until one of its operations ends ok."""
    return UntilOk(inner)
