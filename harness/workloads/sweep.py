"""Final reads of objects that were made while the load went on: nobody knows how many there are, so they are read by
their numbers until several in a row were never written.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.generators import PENDING, Completed, Context, Generator, Pending, Planned, Step

TRIES = 20
PAUSE_NS = 100_000_000
"""Between two tries."""
GIVEN_UP_MAX = 3
"""Objects in a row that a node did not show: it shows none any more."""


def shows_nothing(completion: Completion) -> bool:
    """Whether a read found an object that was never written."""
    return not completion.value


class Sweep(Struct, frozen=True, gc=False):
    """The reads of one worker."""

    read: Callable[[int], Invocation]
    """The read of the object with a number."""
    nothing_max: int
    """So many in a row that show nothing are the end."""
    empty: Callable[[Completion], bool]
    number: int = 0
    nothing: int = 0
    given_up: int = 0
    tries: int = 0
    due_ns: int = 0
    asked: bool = False

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The next object, when the read before it has ended."""
        if self.nothing >= self.nothing_max or self.given_up >= GIVEN_UP_MAX:
            return None, self
        if self.asked or not context.free:
            return PENDING, self
        if context.time_ns < self.due_ns:
            return Pending(self.due_ns), self
        return Planned(context.worker(), self.read(self.number)), replace(self, asked=True)

    def update(self, event: Completed) -> Generator:
        """On to the next object; or, after a pause, the same once more."""
        if event.completion.outcome is Outcome.OK:
            nothing = self.nothing + 1 if self.empty(event.completion) else 0
            return replace(self, number=self.number + 1, nothing=nothing, given_up=0, tries=0, due_ns=0, asked=False)
        if self.tries + 1 < TRIES:
            return replace(self, tries=self.tries + 1, due_ns=event.time_ns + PAUSE_NS, asked=False)
        return replace(self, number=self.number + 1, given_up=self.given_up + 1, tries=0, due_ns=0, asked=False)


def sweep(
    read: Callable[[int], Invocation], *, nothing_max: int, empty: Callable[[Completion], bool] = shows_nothing
) -> Generator:
    """All objects, by one worker."""
    return Sweep(read, nothing_max, empty)
