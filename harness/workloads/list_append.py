"""The workload ``list-append``: transactions that append to lists and read them, several lists at one moment.

After Elle's (Kingsbury & Alvaro, VLDB 2020): every element is a number that nothing else in the run appends, so a list
that is read tells the order of all transactions that wrote it, and each transaction shows how its lists stood to one
another. So it sees what no workload of single keys can: a transaction that took effect in parts.

Where the evidence comes from, and so what the generator does:

- The first half of the workers appends and reads in one transaction, the other half only reads (which a store may do
  without its log, so these show **stale reads**), one of each on every node with ``2n``. Half of the reading ones begin
  with the list that was last appended to with success.
- Lists are drawn unevenly: a hot one tells the order of many transactions.
- A list that has got its share of elements makes room for a new one: reads stay short. The final reads see them all,
  through every node.

Judged by strict serializability, from empty lists; for lists the dependency graph alone is exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field

from checkers import History, Result, check
from checkers.operation import Outcome
from harness.clients import Completion, Invocation
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
from harness.workloads.protocol import TXN, TXN_READ, ReadParameters, workers_of
from harness.workloads.sweep import sweep

APPEND, READ = "append", TXN_READ
PREFIX = "t"

RECENT_SHARE = 0.5
"""Share of the reading transactions that begin with the list last appended to with success."""
APPEND_SHARE = 0.5
"""Share of appends among the steps of a writing transaction, after its first, which is one."""
SKEW = 2.0
"""A list is drawn as ``keys * draw ** SKEW``: of 5 the hottest gets 45 %."""
FINAL_LISTS = 10
"""Lists in one final transaction."""

Micro = tuple[str, str, int | None]


class ListAppendParameters(ReadParameters):
    """Parameters of ``list-append``."""

    keys: int = Field(default=5, ge=1, le=10_000)
    """Lists at a time."""
    size: int = Field(default=50, ge=1, le=10_000)
    """Appends to a list before a new one takes its place."""
    steps: int = Field(default=4, ge=1, le=100)
    """Steps of a transaction, at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What does not change during a load."""

    size: int
    steps: int
    reads: str
    readers: int
    """The bit set of workers that only read."""
    stream: Stream


class ListAppendLoad(Struct, frozen=True, gc=False):
    """The endless mixture, at one moment."""

    plan: Plan
    live: tuple[int, ...]
    """The numbers of the lists that grow now."""
    added: tuple[int, ...]
    """How many appends each of them was asked for."""
    recent: int = 0
    """The number of the list last appended to with success."""
    asked: int = 0
    """Operations so far: the place in the stream."""
    handed_out: int = 0

    def next(self, context: Context) -> tuple[Step, Generator]:
        """One transaction by any free worker, of the kind that this worker does."""
        if not context.free:
            return PENDING, self
        worker, plan = context.worker(), self.plan
        draws = self._draws()
        count = 1 + int(plan.steps * next(draws))
        if plan.readers >> worker & 1:
            first = (self.recent,) if next(draws) < RECENT_SHARE else ()
            numbers = [*first, *(self.live[self._place(next(draws))] for _ in range(count - len(first)))]
            invocation = reading(numbers, plan.reads)
            return Planned(worker, invocation), replace(self, asked=self.asked + 1)
        load, steps = replace(self, asked=self.asked + 1), []
        for place in range(count):
            step, load = load._step(next(draws), appends=not place or next(draws) < APPEND_SHARE)
            steps.append(step)
        return Planned(worker, Invocation(TXN, None, tuple(steps), plan.reads)), load

    def _draws(self) -> Iterator[float]:
        """The random numbers of one transaction."""
        width = 2 * self.plan.steps + 2
        return map(self.plan.stream.draw, range(width * self.asked, width * (self.asked + 1)))

    def _place(self, draw: float) -> int:
        return int(len(self.live) * draw**SKEW)

    def _step(self, draw: float, *, appends: bool) -> tuple[Micro, ListAppendLoad]:
        """A step on a list, and what remains: an append may be the list's last."""
        place = self._place(draw)
        name, live = list_name(self.live[place]), self.live
        if not appends:
            return (READ, name, None), self
        count, element = self.added[place] + 1, self.handed_out + 1
        if count == self.plan.size:
            count, live = 0, (*live[:place], max(live) + 1, *live[place + 1 :])
        added = (*self.added[:place], count, *self.added[place + 1 :])
        return (APPEND, name, element), replace(self, live=live, added=added, handed_out=element)

    def update(self, event: Completed) -> Generator:
        """Remembers where something was appended."""
        kind, name, _ = event.invocation.value[0]
        if kind != APPEND or event.completion.outcome is not Outcome.OK:
            return self
        number = int(name.removeprefix(PREFIX))
        return self if number == self.recent else replace(self, recent=number)


def list_name(number: int) -> str:
    """The name of a list."""
    return f"{PREFIX}{number}"


def reading(numbers: Iterable[int], reads: str) -> Invocation:
    """A transaction that reads these lists."""
    return Invocation(TXN, None, tuple((READ, list_name(number), None) for number in numbers), reads)


class ListAppendWorkload:
    """See the module."""

    name = "list-append"
    title = "transactions that append to lists and read them; strictly serializable"
    functions = (TXN,)
    changing = (TXN,)
    model = "list-append"
    Parameters = ListAppendParameters

    def workers(self, parameters: ListAppendParameters, *, nodes: int) -> int:
        """As the concurrency says."""
        return workers_of(parameters.concurrency, nodes=nodes)

    def generator(
        self,
        parameters: ListAppendParameters,
        *,
        seed: int,
        workers: int,
        nodes: Sequence[str],  # noqa: ARG002
        time_ns: int,
    ) -> Generator:
        """Writing transactions by the first half of the workers, reading ones by the others."""
        plan = Plan(
            size=parameters.size,
            steps=parameters.steps,
            reads=parameters.reads,
            readers=worker_set(range(-(-workers // 2), workers)),
            stream=Stream(seed, self.name),
        )
        load = ListAppendLoad(plan, tuple(range(parameters.keys)), (0,) * parameters.keys)
        return time_limit(time_ns, rate(parameters.rate, load, seed=seed))

    def final_generator(self, parameters: ListAppendParameters, *, workers: int, nodes: Sequence[str]) -> Generator:
        """An append of its own through every node; then every list, :data:`FINAL_LISTS` at a time."""

        def change(worker: int, time_ns: int) -> Invocation:
            return Invocation(TXN, None, ((APPEND, own_name(PREFIX, worker), time_ns),), parameters.reads)

        def follow(append: Invocation) -> Invocation:
            return Invocation(TXN, None, tuple((READ, name, None) for _, name, _ in append.value), parameters.reads)

        def read(number: int) -> Invocation:
            return reading(range(number * FINAL_LISTS, (number + 1) * FINAL_LISTS), parameters.reads)

        nothing_max = 1 + 2 * parameters.keys // FINAL_LISTS
        reads = sweep(read, nothing_max=nothing_max, empty=_shows_nothing)
        return finals(change, follow, reads, workers=workers, nodes=nodes)

    def check(self, history: History, parameters: ListAppendParameters) -> Result:  # noqa: ARG002
        """Strict serializability, from empty lists."""
        return check(history, model=self.model)

    def unread(self, history: History) -> tuple[int, int]:
        """Lists that were appended to, and not read in the end."""
        written: set[str] = set()
        read: set[str] = set()
        for row in history.operations:
            written.update(name for kind, name, _ in row.value if kind == APPEND and row.outcome is not Outcome.FAIL)
        for index in history.final.nonzero()[0].tolist():
            row = history.operation(index)
            read.update(name for _, name, _ in row.value if row.outcome is Outcome.OK)
        return len(written - read), len(written)


def _shows_nothing(completion: Completion) -> bool:
    return not any(value for _, _, value in completion.value)


LIST_APPEND = ListAppendWorkload()
