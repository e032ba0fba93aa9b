"""The workload ``lock``: locks without a lease, which only their holder can release.

Every worker acquires a lock, holds it for a moment, and releases it. A try at a lock that somebody holds is refused at
once: it ``fail``s, and proves nothing. Where the evidence comes from:

- Several workers on every lock, through different nodes, all the time: an acquire that was acknowledged and then
  **lost** is noticed with the next try of somebody else, as are **two leaders** that both give it away.
- A client that does not know whether it acquired or released leaves its lock behind: nobody may ever have it again. So
  a lock that was refused several times in a row, and that no worker knows to hold, makes room for a new one.

Judged by linearizability of the mutex that belongs to its owner; the polynomial method is exact, and goes on while the
run does. In the end every node's client gets a lock of its own and gives it back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field

from checkers import History, Result, check
from checkers.operation import Outcome
from harness.clients import Invocation
from harness.generators import (
    PENDING,
    Completed,
    Context,
    Generator,
    Planned,
    Step,
    Stream,
    rate,
    time_limit,
)
from harness.workloads.finals import finals, own_name
from harness.workloads.protocol import LoadParameters, workers_of

ACQUIRE, RELEASE = "acquire", "release"
PREFIX = "l"
STUCK = 8
"""Refusals in a row after which a lock that nobody is known to hold is left alone."""
RELEASE_TRIES = 8


class LockParameters(LoadParameters):
    """Parameters of ``lock``."""

    keys: int = Field(default=5, ge=1, le=10_000)
    """Locks at a time."""


class Held(Struct, frozen=True, gc=False):
    """A lock that a worker holds."""

    name: str
    tries: int = 0
    """How often its release failed."""


class LockLoad(Struct, frozen=True, gc=False):
    """Who holds what, at one moment."""

    stream: Stream
    names: tuple[str, ...]
    """The locks in use."""
    refused: tuple[int, ...]
    """For each: how many acquires in a row were not granted."""
    held: Mapping[int, Held]
    """By worker."""
    made: int
    """Locks so far."""
    asked: int = 0

    def next(self, context: Context) -> tuple[Step, Generator]:
        """What a free worker does next: release what it holds, or try to acquire."""
        if not context.free:
            return PENDING, self
        worker = context.worker()
        if worker in self.held:
            return Planned(worker, Invocation(RELEASE, self.held[worker].name)), self
        name = self.names[int(len(self.names) * self.stream.draw(self.asked))]
        return Planned(worker, Invocation(ACQUIRE, name)), replace(self, asked=self.asked + 1)

    def update(self, event: Completed) -> Generator:
        """Learns who holds what."""
        name, outcome = str(event.invocation.key), event.completion.outcome
        if event.invocation.f == RELEASE:
            return self._released(event.worker, outcome)
        if outcome is not Outcome.OK:
            return self._refused(name)
        return self._counted(name, 0, {**self.held, event.worker: Held(name)})

    def _released(self, worker: int, outcome: Outcome) -> LockLoad:
        """What failed is tried again, up to a limit."""
        held, mine = dict(self.held), self.held[worker]
        if outcome is Outcome.FAIL and mine.tries + 1 < RELEASE_TRIES:
            held[worker] = Held(mine.name, mine.tries + 1)
        else:
            del held[worker]
        return replace(self, held=held)

    def _refused(self, name: str) -> LockLoad:
        if name not in self.names or any(held.name == name for held in self.held.values()):
            return self
        return self._counted(name, self.refused[self.names.index(name)] + 1, self.held)

    def _counted(self, name: str, refused: int, held: Mapping[int, Held]) -> LockLoad:
        """With so many refusals of a lock; one that is stuck makes room."""
        if name not in self.names:
            return replace(self, held=held)
        at, made = self.names.index(name), self.made
        if refused >= STUCK:
            name, refused, made = f"{PREFIX}{made}", 0, made + 1
        names = (*self.names[:at], name, *self.names[at + 1 :])
        counts = (*self.refused[:at], refused, *self.refused[at + 1 :])
        return LockLoad(self.stream, names, counts, held, made, self.asked)


class LockWorkload:
    """See the module."""

    name = "lock"
    title = "locks without a lease, released by their holders only; linearizable"
    functions = (ACQUIRE, RELEASE)
    changing = functions
    model = "owned-mutex"
    Parameters = LockParameters

    def workers(self, parameters: LockParameters, *, nodes: int) -> int:
        """As the concurrency says."""
        return workers_of(parameters.concurrency, nodes=nodes)

    def generator(
        self,
        parameters: LockParameters,
        *,
        seed: int,
        workers: int,  # noqa: ARG002
        nodes: Sequence[str],  # noqa: ARG002
        time_ns: int,
    ) -> Generator:
        """Every worker, on locks drawn evenly."""
        names = tuple(f"{PREFIX}{number}" for number in range(parameters.keys))
        load = LockLoad(Stream(seed, self.name), names, (0,) * parameters.keys, {}, parameters.keys)
        return time_limit(time_ns, rate(parameters.rate, load, seed=seed))

    def final_generator(self, parameters: LockParameters, *, workers: int, nodes: Sequence[str]) -> Generator:  # noqa: ARG002
        """One more lock for each node's client, which acquires and releases it. Another one with every try: one that
        was acquired in doubt may be nobody's to release.
        """

        def change(worker: int, time_ns: int) -> Invocation:
            return Invocation(ACQUIRE, f"{own_name(PREFIX, worker)}.{time_ns}")

        def follow(acquire: Invocation) -> Invocation:
            return Invocation(RELEASE, acquire.key)

        return finals(change, follow, workers=workers, nodes=nodes)

    def check(self, history: History, parameters: LockParameters) -> Result:  # noqa: ARG002
        """Linearizability of every lock, free at first."""
        return check(history, model=self.model)

    def unread(self, history: History) -> tuple[int, int]:  # noqa: ARG002
        """Nothing: locks are not read."""
        return 0, 0


LOCK = LockWorkload()
