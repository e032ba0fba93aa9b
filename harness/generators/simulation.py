"""Tries a generator out: what would it ask for, if operations took so long and ended so? No event loop, no client.

For tests of generators and workloads (the idea is that of Jepsen's ``generator/test.clj``).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from checkers.operation import Outcome
from harness.clients import Completion, Invocation
from harness.generators.protocol import Completed, Context, Generator, Pending, Planned
from harness.generators.stream import Stream

OPERATIONS_MAX = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulated:
    """One operation of a simulation."""

    worker: int
    process: int
    node: str
    invocation: Invocation
    completion: Completion
    call_ns: int
    return_ns: int


Respond = Callable[[int, Invocation], tuple[int, Completion]]
"""How long the i-th operation takes (ns, above 0), and how it ends."""


def respond_ok(latency_ns: int = 1_000_000) -> Respond:
    """Everything is ok after the same time."""
    return lambda _, invocation: (latency_ns, Completion(Outcome.OK, invocation.value))


def simulate(
    generator: Generator,
    *,
    workers: int,
    nodes: Sequence[str] = ("n1",),
    respond: Respond | None = None,
    seed: int = 0,
    operations_max: int = OPERATIONS_MAX,
) -> list[Simulated]:
    """The operations of a generator in the order of their invocations, until it ends or there are ``operations_max``.

    Raises:
        RuntimeError: it waits for something that will never happen, or uses a worker that is not free.
    """
    simulation = _Simulation(generator, workers, nodes, respond or respond_ok(), seed)
    while len(simulation.done) < operations_max and simulation.step():
        pass
    return simulation.done


class _Simulation:
    def __init__(self, generator: Generator, workers: int, nodes: Sequence[str], respond: Respond, seed: int) -> None:
        self.generator = generator
        self.workers = workers
        self.nodes = [nodes[worker % len(nodes)] for worker in range(workers)]
        self.respond = respond
        self.stream = Stream(seed, "worker")
        self.processes = list(range(workers))
        self.everyone = self.free = (1 << workers) - 1
        self.now_ns = 0
        self.done: list[Simulated] = []
        self.flying: list[tuple[int, int]] = []
        """A heap of (return time, place in ``done``)."""

    def step(self) -> bool:
        """One question to the generator, and what follows from the answer; False at its end."""
        cursor = int(self.stream.draw(len(self.done)) * self.workers)
        busy = self.everyone & ~self.free
        context = Context(self.now_ns, self.free, busy, self.everyone, cursor, self.processes, self.nodes)
        step, self.generator = self.generator.next(context)
        if type(step) is Planned:
            self._begin(step)
        elif type(step) is Pending:
            self._wait(step)
        return step is not None

    def _begin(self, step: Planned) -> None:
        worker, invocation = step.worker, step.invocation
        if not self.free >> worker & 1:
            raise RuntimeError(f"worker {worker} is not free for {invocation!r}")
        self.free ^= 1 << worker
        latency_ns, completion = self.respond(len(self.done), invocation)
        return_ns = self.now_ns + latency_ns
        heapq.heappush(self.flying, (return_ns, len(self.done)))
        self.done.append(
            Simulated(
                worker=worker,
                process=self.processes[worker],
                node=self.nodes[worker],
                invocation=invocation,
                completion=completion,
                call_ns=self.now_ns,
                return_ns=return_ns,
            )
        )

    def _wait(self, step: Pending) -> None:
        until_ns = step.until_ns
        if self.flying and (until_ns is None or self.flying[0][0] <= until_ns):
            self._end()
        elif until_ns is None or until_ns <= self.now_ns:
            raise RuntimeError(f"at {self.now_ns} ns the generator waits for ever: {self.generator!r:.500}")
        else:
            self.now_ns = until_ns

    def _end(self) -> None:
        self.now_ns, place = heapq.heappop(self.flying)
        ended = self.done[place]
        self.free |= 1 << ended.worker
        if ended.completion.outcome is Outcome.INFO:
            self.processes[ended.worker] += self.workers
        event = Completed(self.now_ns, ended.worker, ended.process, ended.invocation, ended.completion)
        self.generator = self.generator.update(event)
