"""The workload ``register``: reads, writes and compare-and-set over many independent registers.

Every value written is a number that nothing else in the run writes. That buys three things: any read names the one
write it saw, the check is log-linear instead of exponential, and a finding can be told in words.

Where the evidence comes from, and so what the generator does:

- A **stale read** is proved by a write that was acknowledged before the read began. Half of the workers do nothing but
  read, one on every node, so that the stale side of a partition is asked all the time; and half of their reads go to
  the key that was last written with success, the narrowest window there is. A read there also sees what an acknowledged
  write came to: **lost writes** and lost compare-and-sets show as the value before.
- A write **applied twice** shows when another write to the same key came between the two, and a read after the second
  one before anything overwrites it. So the keys are not drawn evenly: a few are hot. The others keep their values for
  long and show what was lost when nobody looked.
- A compare-and-set is worth something only if it succeeds: it expects the last value that anyone read or wrote with
  success on its key, which the generator remembers from the completions.

Once the cluster is healed, every node takes one more write, and is asked for every key.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from msgspec import Struct
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
    worker_set,
)
from harness.workloads.finals import each_until_ok, finals, own_name
from harness.workloads.protocol import ReadParameters, unread_keys, workers_of

READ, WRITE, CAS = "read", "write", "cas"

RECENT_SHARE = 0.5
"""Share of the reads that go to the key last written with success."""
SKEW = 2.0
"""A key is drawn as ``keys * draw ** SKEW``: of 20 keys the hottest gets 22 % of the writes, the hottest four 45 %."""

Memory = tuple[tuple[int | None, ...], ...]
"""The last known value of each key, in rows, so that remembering one copies a row and not everything."""
_ROW = 32


class RegisterParameters(ReadParameters):
    """Parameters of ``register``."""

    keys: int = Field(default=20, ge=1, le=100_000)
    """Number of independent registers."""
    cas: float = Field(default=0.4, ge=0, le=1)
    """Share of the writers' operations that are compare-and-set (where a value to expect is known)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What does not change during a load."""

    names: Sequence[str]
    """The keys."""
    places: Mapping[Hashable, int]
    """Where each key is among them."""
    cas: float
    reads: str
    readers: int
    """The bit set of workers that only read."""
    stream: Stream


class RegisterLoad(Struct, frozen=True, gc=False):
    """The endless mixture, at one moment."""

    plan: Plan
    memory: Memory
    asked: int = 0
    """Operations so far: the place in the stream."""
    written: int = 0
    """The last value handed out."""
    recent: int = 0
    """The key last written with success."""

    def next(self, context: Context) -> tuple[Step, Generator]:
        """One operation by any free worker, of the kind that this worker does."""
        if not context.free:
            return PENDING, self
        plan, asked, written = self.plan, self.asked, self.written
        worker = context.worker()
        draw = plan.stream.draw
        key, chance = int(len(plan.names) * draw(2 * asked) ** SKEW), draw(2 * asked + 1)
        if plan.readers >> worker & 1:
            key = self.recent if chance < RECENT_SHARE else key
            return Planned(worker, _read(plan.names[key], plan.reads)), self._after(written)
        value = written + 1
        expected = self.memory[key // _ROW][key % _ROW]
        if expected is None or chance >= plan.cas:
            return Planned(worker, Invocation(WRITE, plan.names[key], value)), self._after(value)
        return Planned(worker, Invocation(CAS, plan.names[key], (expected, value))), self._after(value)

    def _after(self, written: int) -> RegisterLoad:
        return RegisterLoad(self.plan, self.memory, self.asked + 1, written, self.recent)

    def update(self, event: Completed) -> Generator:
        """Remembers what an ok operation says of its key."""
        f, name, argument = event.invocation.f, event.invocation.key, event.invocation.value
        completion = event.completion
        if completion.outcome is not Outcome.OK:
            return self
        memory = self.memory
        key = self.plan.places[name]
        value = completion.value if f == READ else argument if f == WRITE else argument[1]
        row, place = divmod(key, _ROW)
        before = memory[row]
        if f == READ and before[place] == value:
            return self
        after = (*before[:place], value, *before[place + 1 :])
        memory = (*memory[:row], after, *memory[row + 1 :])
        return RegisterLoad(self.plan, memory, self.asked, self.written, self.recent if f == READ else key)


def _read(name: str, reads: str) -> Invocation:
    return Invocation(READ, name, None, reads)


def key_name(key: int) -> str:
    """The name of the key-th register."""
    return f"k{key}"


class RegisterWorkload:
    """See the module."""

    name = "register"
    title = "reads, writes and compare-and-set on many registers; linearizable"
    functions = (READ, WRITE, CAS)
    changing = (WRITE, CAS)
    model = "cas-register"
    Parameters = RegisterParameters

    def workers(self, parameters: RegisterParameters, *, nodes: int) -> int:
        """As the concurrency says."""
        return workers_of(parameters.concurrency, nodes=nodes)

    def generator(
        self,
        parameters: RegisterParameters,
        *,
        seed: int,
        workers: int,
        nodes: Sequence[str],  # noqa: ARG002
        time_ns: int,
    ) -> Generator:
        """Writers are the first half of the workers, readers the others: with ``2n``, one of each on every node."""
        rows = -(-parameters.keys // _ROW)
        names = tuple(key_name(key) for key in range(parameters.keys))
        plan = Plan(
            names=names,
            places={name: place for place, name in enumerate(names)},
            cas=parameters.cas,
            reads=parameters.reads,
            readers=worker_set(range(-(-workers // 2), workers)),
            stream=Stream(seed, self.name),
        )
        load = RegisterLoad(plan, ((None,) * _ROW,) * rows)
        return time_limit(time_ns, rate(parameters.rate, load, seed=seed))

    def final_generator(self, parameters: RegisterParameters, *, workers: int, nodes: Sequence[str]) -> Generator:
        """A write of its own through every node; then every key, each until ok, within limits."""
        reads = each_until_ok(_read(key_name(key), parameters.reads) for key in range(parameters.keys))

        def change(worker: int, time_ns: int) -> Invocation:
            return Invocation(WRITE, own_name("k", worker), time_ns)

        def follow(write: Invocation) -> Invocation:
            return Invocation(READ, write.key, None, parameters.reads)

        return finals(change, follow, reads, workers=workers, nodes=nodes)

    def check(self, history: History, parameters: RegisterParameters) -> Result:  # noqa: ARG002
        """Linearizability of every register; nothing was written before the run."""
        return check(history, model=self.model)

    def unread(self, history: History) -> tuple[int, int]:
        """Registers that were written, and not read in the end."""
        return unread_keys(history, WRITE, CAS)


REGISTER = RegisterWorkload()
