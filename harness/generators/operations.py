"""Generators that make operations; everything else only arranges them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from harness.clients import Invocation
from harness.generators.protocol import PENDING, Completed, Context, Generator, Planned, Step


class Each(Struct, frozen=True, gc=False):
    """``make(0)``, ``make(1)``, ... for ever, each by any free worker. ``make`` must be a pure function."""

    make: Callable[[int], Invocation]
    made: int = 0

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The next operation, if a worker is free."""
        if not context.free:
            return PENDING, self
        return Planned(context.worker(), self.make(self.made)), Each(self.make, self.made + 1)

    def update(self, event: Completed) -> Generator:  # noqa: ARG002
        """Learns nothing."""
        return self


class Listed(Struct, frozen=True, gc=False):
    """The operations of a list, in order, each by any free worker."""

    invocations: Sequence[Invocation]
    place: int = 0

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The next one; None after the last."""
        if self.place >= len(self.invocations):
            return None, self
        if not context.free:
            return PENDING, self
        return Planned(context.worker(), self.invocations[self.place]), Listed(self.invocations, self.place + 1)

    def update(self, event: Completed) -> Generator:  # noqa: ARG002
        """Learns nothing."""
        return self


def each(make: Callable[[int], Invocation]) -> Generator:
    """The operations that a pure function of their number makes, for ever."""
    return Each(make)


def repeat(invocation: Invocation) -> Generator:
    """The same operation for ever."""
    return Each(lambda _: invocation)


def once(invocation: Invocation) -> Generator:
    """One operation, once."""
    return Listed((invocation,))


def listed(invocations: Sequence[Invocation]) -> Generator:
    """These operations, in this order."""
    return Listed(tuple(invocations))
