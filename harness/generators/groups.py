"""Who does what: generators restricted to some workers, a copy for every worker, groups of workers set aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from harness.generators.protocol import Completed, Context, Generator, Pending, Planned, Step, sooner


def worker_set(workers: Iterable[int]) -> int:
    """The bit set of these workers."""
    bits = 0
    for worker in workers:
        bits |= 1 << worker
    return bits


class OnWorkers(Struct, frozen=True, gc=False):
    """Another, by some workers only; it sees nothing of the rest."""

    inner: Generator
    workers: int

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The inner one's step among its workers."""
        step, inner = self.inner.next(context.within(self.workers))
        return step, OnWorkers(inner, self.workers)

    def update(self, event: Completed) -> Generator:
        """Passes on what its workers did."""
        if not self.workers >> event.worker & 1:
            return self
        inner = self.inner.update(event)
        return self if inner is self.inner else OnWorkers(inner, self.workers)


class Reserve(Struct, frozen=True, gc=False):
    """Groups of workers, each with a generator of its own. Groups that can go share what there is by their number of
    workers.
    """

    groups: tuple[OnWorkers, ...]

    def next(self, context: Context) -> tuple[Step, Generator]:
        """A step of the group that the cursor points at, else of those after it."""
        wait: Pending | None = None
        first = self._group_of(context.cursor)
        for place in (*range(first, len(self.groups)), *range(first)):
            step, after = self.groups[place].next(context)
            if type(step) is Planned:
                return step, self._with(place, after)
            if type(step) is Pending:
                wait = step if wait is None else sooner(wait, step)
        return wait, self

    def update(self, event: Completed) -> Generator:
        """Tells the group whose worker it was."""
        place = self._group_of(event.worker)
        after = self.groups[place].update(event)
        return self if after is self.groups[place] else self._with(place, after)

    def _group_of(self, worker: int) -> int:
        for place, group in enumerate(self.groups):
            if group.workers >> worker & 1:
                return place
        return 0

    def _with(self, place: int, group: Generator) -> Reserve:
        assert isinstance(group, OnWorkers)
        return Reserve((*self.groups[:place], group, *self.groups[place + 1 :]))


class EachWorker(Struct, frozen=True, gc=False):
    """A copy of one generator for every worker in scope; each does it all."""

    fresh: Generator
    copies: Mapping[int, Generator]

    def next(self, context: Context) -> tuple[Step, Generator]:
        """A step of the first free worker's copy that has one; None when all copies have ended."""
        wait: Pending | None = None
        for worker in _members(context.scope):
            bit = 1 << worker
            step, after = self.copies.get(worker, self.fresh).next(context.within(bit))
            if type(step) is Planned:
                return step, EachWorker(self.fresh, {**self.copies, worker: after})
            if type(step) is Pending:
                wait = step if wait is None else sooner(wait, step)
        return wait, self

    def update(self, event: Completed) -> Generator:
        """Tells the copy whose worker it was."""
        copy = self.copies.get(event.worker, self.fresh)
        after = copy.update(event)
        return self if after is copy else EachWorker(self.fresh, {**self.copies, event.worker: after})


def _members(workers: int) -> Iterable[int]:
    while workers:
        low = workers & -workers
        yield low.bit_length() - 1
        workers ^= low


def on_workers(workers: Iterable[int], inner: Generator) -> Generator:
    """By these workers only."""
    return OnWorkers(inner, worker_set(workers))


def each_worker(inner: Generator) -> Generator:
    """All of it by every worker."""
    return EachWorker(inner, {})


def reserve(groups: Sequence[tuple[int, Generator]], rest: Generator, *, workers: int) -> Generator:
    """The first so many workers do this, the next so many that, and all others the rest.

    Raises:
        ValueError: more workers are set aside than there are.
    """
    parts: list[OnWorkers] = []
    first = 0
    for size, inner in groups:
        parts.append(OnWorkers(inner, worker_set(range(first, first + size))))
        first += size
    if first > workers:
        raise ValueError(
            f"reserve: {first} workers set aside, but there are {workers}; raise the concurrency or lower the groups"
        )
    if first < workers:
        parts.append(OnWorkers(rest, worker_set(range(first, workers))))
    return Reserve(tuple(parts))
