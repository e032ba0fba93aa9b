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

Final reads, once the cluster is healed, ask every key through every node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

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
    chain,
    delay,
    each_worker,
    limit,
    on_workers,
    rate,
    repeat,
    time_limit,
    until_ok,
    worker_set,
)
from harness.workloads.protocol import LoadParameters, workers_of

READ, WRITE, CAS = "read", "write", "cas"

RECENT_SHARE = 0.5
"""Share of the reads that go to the key last written with success."""
SKEW = 2.0
"""A key is drawn as ``keys * draw ** SKEW``: of 20 keys the hottest gets 22 % of the writes, the hottest four 45 %."""
FINAL_TRIES = 20
FINAL_PAUSE_NS = 100_000_000

Memory = tuple[tuple[int | None, ...], ...]
"""The last known value of each key, in rows, so that remembering one copies a row and not everything."""
_ROW = 32


class RegisterParameters(LoadParameters):
    """Parameters of ``register``."""

    keys: int = Field(default=20, ge=1, le=100_000)
    """Number of independent registers."""
    cas: float = Field(default=0.4, ge=0, le=1)
    """Share of the writers' operations that are compare-and-set (where a value to expect is known)."""


class RegisterLoad(NamedTuple):
    """The endless mixture. ``readers`` is the bit set of workers that only read."""

    keys: int
    cas: float
    readers: int
    stream: Stream
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
        worker = context.worker()
        if self.readers >> worker & 1:
            key = self.recent if self._draw(1) < RECENT_SHARE else self._key()
            return Planned(worker, Invocation(READ, key_name(key))), self._after(self.written)
        key, value = self._key(), self.written + 1
        expected = self.memory[key // _ROW][key % _ROW]
        if expected is None or self._draw(1) >= self.cas:
            return Planned(worker, Invocation(WRITE, key_name(key), value)), self._after(value)
        return Planned(worker, Invocation(CAS, key_name(key), (expected, value))), self._after(value)

    def update(self, event: Completed) -> Generator:
        """Remembers what an ok operation says of its key."""
        f, name, argument = event.invocation
        completion = event.completion
        if completion.outcome is not Outcome.OK:
            return self
        key = int(str(name)[1:])
        value = completion.value if f == READ else argument if f == WRITE else argument[1]
        row, place = divmod(key, _ROW)
        before = self.memory[row]
        if before[place] == value and f == READ:
            return self
        after = (*before[:place], value, *before[place + 1 :])
        memory = (*self.memory[:row], after, *self.memory[row + 1 :])
        recent = self.recent if f == READ else key
        return RegisterLoad(self.keys, self.cas, self.readers, self.stream, memory, self.asked, self.written, recent)

    def _draw(self, lane: int) -> float:
        return self.stream.draw(2 * self.asked + lane)

    def _key(self) -> int:
        return int(self.keys * self._draw(0) ** SKEW)

    def _after(self, written: int) -> RegisterLoad:
        return RegisterLoad(
            self.keys, self.cas, self.readers, self.stream, self.memory, self.asked + 1, written, self.recent
        )


def key_name(key: int) -> str:
    """The name of the key-th register."""
    return f"k{key}"


class RegisterWorkload:
    """See the module."""

    name = "register"
    title = "reads, writes and compare-and-set on many registers; linearizable"
    functions = (READ, WRITE, CAS)
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
        load = RegisterLoad(
            keys=parameters.keys,
            cas=parameters.cas,
            readers=worker_set(range(-(-workers // 2), workers)),
            stream=Stream(seed, self.name),
            memory=((None,) * _ROW,) * rows,
        )
        return time_limit(time_ns, rate(parameters.rate, load, seed=seed))

    def final_generator(self, parameters: RegisterParameters, *, workers: int, nodes: Sequence[str]) -> Generator:
        """Every key through every node, each until ok, at most :data:`FINAL_TRIES` times."""
        reads = chain(
            until_ok(limit(FINAL_TRIES, delay(FINAL_PAUSE_NS, repeat(Invocation(READ, key_name(key))))))
            for key in range(parameters.keys)
        )
        return on_workers(range(min(workers, len(nodes))), each_worker(reads))

    def check(self, history: History, parameters: RegisterParameters) -> Result:  # noqa: ARG002
        """Linearizability of every register; nothing was written before the run."""
        return check(history, model="cas-register")


REGISTER = RegisterWorkload()
