"""The load on objects that only grow: sets, logs, counters.

What was once added must be in everything that is read from then on, so nothing can cover up a loss: in a register the
next write does. Where the evidence comes from:

- The first half of the workers adds, the other half only reads, one of each on every node with ``2n``, so that the
  stale side of a partition is asked all the time. Half of the reads go to the object that was last added to with
  success: the narrowest window for **stale reads**.
- Objects are drawn unevenly: a hot one shows what was lost, or done twice, with the very next read; the others show
  what nobody looked for at once.
- An object that has got its share of additions makes room for a new one under the next name: reading and judging a
  whole object stays cheap, however long the run. The final reads see them all, through every node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace
from pydantic import BaseModel, Field

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
    worker_set,
)
from harness.workloads.finals import finals, own_name
from harness.workloads.protocol import ReadParameters, unread_keys, workers_of
from harness.workloads.results import joined
from harness.workloads.sweep import sweep

READ = "read"
RECENT_SHARE = 0.5
"""Share of the reads that go to the object last added to with success."""
SKEW = 2.0
"""An object is drawn as ``keys * draw ** SKEW``: of 5 the hottest gets 45 %."""


class GrowingParameters(ReadParameters):
    """Parameters of ``set``, ``append`` and ``counter``."""

    keys: int = Field(default=5, ge=1, le=10_000)
    """Objects at a time."""
    size: int = Field(default=100, ge=1, le=10_000)
    """Additions to an object before a new one takes its place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Growing:
    """What is grown, and how: what does not change during a load."""

    prefix: str
    """Of the objects' names."""
    f: str
    """The function that adds."""
    unique: bool
    """Whether each addition is a number of its own; else all are 1."""
    size: int
    reads: str
    readers: int
    """The bit set of workers that only read."""
    stream: Stream

    def name(self, number: int) -> str:
        """The name of an object."""
        return f"{self.prefix}{number}"


class GrowingLoad(Struct, frozen=True, gc=False):
    """The endless mixture, at one moment."""

    plan: Growing
    live: tuple[int, ...]
    """The numbers of the objects that grow now."""
    added: tuple[int, ...]
    """How many additions each of them was asked for."""
    recent: int
    """The number of the object last added to with success."""
    asked: int = 0
    """Operations so far: the place in the stream."""
    handed_out: int = 0

    def next(self, context: Context) -> tuple[Step, Generator]:
        """One operation by any free worker, of the kind that this worker does."""
        if not context.free:
            return PENDING, self
        plan, worker, asked = self.plan, context.worker(), self.asked
        place, chance = int(len(self.live) * plan.stream.draw(2 * asked) ** SKEW), plan.stream.draw(2 * asked + 1)
        if plan.readers >> worker & 1:
            number = self.recent if chance < RECENT_SHARE else self.live[place]
            read = Invocation(READ, plan.name(number), None, plan.reads)
            return Planned(worker, read), replace(self, asked=asked + 1)
        element = self.handed_out + 1
        addition = Invocation(plan.f, plan.name(self.live[place]), element if plan.unique else 1)
        return Planned(worker, addition), self._added(place, element)

    def _added(self, place: int, element: int) -> GrowingLoad:
        """After an addition to the object at a place, which may be its last."""
        live, added = self.live, self.added
        count = added[place] + 1
        if count == self.plan.size:
            count, live = 0, (*live[:place], max(live) + 1, *live[place + 1 :])
        added = (*added[:place], count, *added[place + 1 :])
        return GrowingLoad(self.plan, live, added, self.recent, self.asked + 1, element)

    def update(self, event: Completed) -> Generator:
        """Remembers where something was added."""
        if event.invocation.f == READ or event.completion.outcome is not Outcome.OK:
            return self
        number = int(str(event.invocation.key).removeprefix(self.plan.prefix))
        return self if number == self.recent else replace(self, recent=number)


@dataclass(frozen=True, kw_only=True, slots=True)
class GrowingWorkload:
    """A workload on objects that only grow."""

    name: str
    title: str
    f: str
    """The function that adds."""
    prefix: str
    """Of the objects' names."""
    unique: bool
    """Whether each addition is a number of its own; else all are 1."""
    model: str
    also: tuple[str, ...] = ()
    """Checks that judge it besides."""
    Parameters: ClassVar[type[BaseModel]] = GrowingParameters

    @property
    def functions(self) -> Sequence[str]:
        """One that adds, one that reads."""
        return (self.f, READ)

    @property
    def changing(self) -> Sequence[str]:
        """The one that adds."""
        return (self.f,)

    def workers(self, parameters: GrowingParameters, *, nodes: int) -> int:
        """As the concurrency says."""
        return workers_of(parameters.concurrency, nodes=nodes)

    def generator(
        self,
        parameters: GrowingParameters,
        *,
        seed: int,
        workers: int,
        nodes: Sequence[str],  # noqa: ARG002
        time_ns: int,
    ) -> Generator:
        """Additions by the first half of the workers, reads by the others: with ``2n``, both on every node."""
        plan = Growing(
            prefix=self.prefix,
            f=self.f,
            unique=self.unique,
            size=parameters.size,
            reads=parameters.reads,
            readers=worker_set(range(-(-workers // 2), workers)),
            stream=Stream(seed, self.name),
        )
        load = GrowingLoad(plan, tuple(range(parameters.keys)), (0,) * parameters.keys, 0)
        return time_limit(time_ns, rate(parameters.rate, load, seed=seed))

    def final_generator(self, parameters: GrowingParameters, *, workers: int, nodes: Sequence[str]) -> Generator:
        """An addition of its own through every node; then every object."""

        def change(worker: int, time_ns: int) -> Invocation:
            return Invocation(self.f, own_name(self.prefix, worker), time_ns if self.unique else 1)

        def follow(addition: Invocation) -> Invocation:
            return Invocation(READ, addition.key, None, parameters.reads)

        def read(number: int) -> Invocation:
            return Invocation(READ, f"{self.prefix}{number}", None, parameters.reads)

        reads = sweep(read, nothing_max=2 * parameters.keys)
        return finals(change, follow, reads, workers=workers, nodes=nodes)

    def check(self, history: History, parameters: GrowingParameters) -> Result:  # noqa: ARG002
        """Linearizability of every object, which is empty (or 0) at first."""
        return joined(check(history, model=self.model), *(check(history, model=name) for name in self.also))

    def unread(self, history: History) -> tuple[int, int]:
        """Objects that were added to, and not read in the end."""
        return unread_keys(history, self.f)
