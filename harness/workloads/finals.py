"""Final operations, once everything is healed: each node's client changes something of its own, sees it, and then reads
what the load left.

That reads are served shows little: a leader that can commit nothing any more may still serve them. So the changes are
what shows that the system makes progress again (:mod:`checkers.runs.liveness`), and they come first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from checkers.operation import Outcome
from harness.clients import Invocation
from harness.generators import (
    PENDING,
    Completed,
    Context,
    Generator,
    Pending,
    Planned,
    Step,
    any_of,
    chain,
    delay,
    limit,
    on_workers,
    repeat,
    until_ok,
)

CHANGE_NS = 12_000_000_000
"""For how long a change is tried: longer than systems usually have to recover, so that its failure says something."""
FOLLOW_TRIES = 8
READ_TRIES = 20
PAUSE_NS = 100_000_000
"""Between two tries."""


class FinalChange(Struct, frozen=True, gc=False):
    """One client's change, tried until it is ok, and what follows it."""

    change: Callable[[int], Invocation]
    """The change at a time (ns), which makes it one that nobody made before: a try in doubt may have happened."""
    follow: Callable[[Invocation], Invocation]
    """What comes after the change that was ok: it is read, or taken back."""
    end_ns: int | None = None
    changed: Invocation | None = None
    followed: int = 0
    due_ns: int = 0
    asked: bool = False
    over: bool = False

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The change, or what follows it, when the try before it has ended and the pause is over."""
        end_ns = context.time_ns + CHANGE_NS if self.end_ns is None else self.end_ns
        if self.over or (not self.asked and self.changed is None and context.time_ns >= end_ns):
            return None, replace(self, over=True)
        if self.asked or not context.free:
            return PENDING, self
        if context.time_ns < self.due_ns:
            return Pending(self.due_ns), self
        made = self.change(context.time_ns) if self.changed is None else self.follow(self.changed)
        return Planned(context.worker(), made), replace(self, end_ns=end_ns, asked=True)

    def update(self, event: Completed) -> Generator:
        """On to what follows, or to the next try."""
        ok, due_ns = event.completion.outcome is Outcome.OK, event.time_ns + PAUSE_NS
        if self.changed is not None:
            followed = self.followed + 1
            over = ok or followed >= FOLLOW_TRIES
            return replace(self, asked=False, followed=followed, due_ns=due_ns, over=over)
        if ok:
            return replace(self, asked=False, changed=event.invocation)
        return replace(self, asked=False, due_ns=due_ns)


def finals(
    change: Callable[[int, int], Invocation],
    follow: Callable[[Invocation], Invocation],
    reads: Generator | None = None,
    *,
    workers: int,
    nodes: Sequence[Any],
) -> Generator:
    """By one worker of each node: ``change(worker, time in ns)`` until ok, what follows it, and all of ``reads``."""

    def by(worker: int) -> Generator:
        first = FinalChange(partial(change, worker), follow)
        return on_workers([worker], chain([first] if reads is None else [first, reads]))

    return any_of(*map(by, range(min(workers, len(nodes)))))


def each_until_ok(reads: Iterable[Invocation]) -> Generator:
    """These reads, one after the other, each until it is ok, at most :data:`READ_TRIES` times."""
    return chain(until_ok(limit(READ_TRIES, delay(PAUSE_NS, repeat(read)))) for read in reads)


def own_name(prefix: str, worker: int) -> str:
    """What a worker changes in the end, which nobody else touches."""
    return f"{prefix}-final{worker}"
