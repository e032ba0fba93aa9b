"""The interpreter: workers that do what a generator says, and nothing that can hold them up.

It is the only concurrent module of the harness. A *worker* does one operation at a time, on behalf of a *process*; a
process whose operation ended ``info`` never invokes again, and its worker goes on as process ``p + workers`` with a new
client. Everything happens on one event loop, in three kinds of events:

- a **completion**: the client has answered. It is recorded at once, with a time taken after the reply was in;
- a **turn**: the generator is asked for as many operations as there are free workers. A turn is put behind whatever the
  loop has ready, so that all completions which are in are recorded before any new invocation (Jepsen
  ``interpreter.clj`` prefers completions for the same reason: it makes intervals short and so the check sharp). An
  invocation's line is in the recorder before its worker's task runs, thus before the first byte leaves; - a **tick**:
  operations past the hard time-out are recorded ``info``, their tasks cancelled and abandoned (:mod:`harness.timers`,
  :mod:`harness.tasks`).

Limits: an operation takes at most ``timeout_s`` and a tick; closing a client :data:`CLOSE_S`; no worker at all able to
connect for :data:`CONNECT_LIMIT_S` is a failure of the harness. After ``stop``, the end comes within one time-out.
"""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from checkers.operation import Outcome
from harness.clients import Client, Completion, Invocation
from harness.errors import HarnessError
from harness.generators.protocol import Completed, Context, Generator, Pending, Planned
from harness.generators.stream import Stream
from harness.recorder import Recorder
from harness.tasks import end_tasks, quiet
from harness.timers import Deadlines

CLOSE_S = 1.0
CONNECT_LIMIT_S = 60.0
CONNECT_PAUSE_S = 0.02
CONNECT_PAUSE_S_MAX = 1.0

Connect: TypeAlias = Callable[[int, str], Client | Awaitable[Client]]
"""Makes the client of a process, pinned to a node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Statistics:
    """What the interpreter did. ``outcomes`` counts completions by function and outcome: ``{"read": {"ok": 5}}``."""

    invoked: int
    outcomes: Mapping[str, Mapping[str, int]]
    timed_out: int
    raised: int
    """Operations whose client raised instead of answering."""
    connect_failures: int
    forced: int
    """Tasks of clients that ignored their cancellation to the end and were closed by force."""
    next_process: int
    """The first process number, a multiple of the number of workers, that nobody has used."""


@dataclass(slots=True, eq=False)
class _Worker:
    """One worker: its present process, and the operation it has in flight."""

    number: int
    node: str
    process: int
    invocation: Invocation | None = None
    orders: asyncio.Future[Invocation] | None = None
    task: asyncio.Task[None] | None = None


async def interpret(
    *,
    generator: Generator,
    workers: int,
    node_of: Callable[[int], str],
    connect: Connect,
    recorder: Recorder,
    clock: Callable[[], int],
    timeout_s: float,
    stop: asyncio.Event,
    first_process: int = 0,
    final: bool = False,
    seed: int = 0,
) -> Statistics:
    """Runs a generator to its end, or until ``stop`` is set and what was in flight has ended.

    ``node_of`` pins a worker to a node. ``first_process`` (a multiple of ``workers``) is where process numbers begin:
    the ``next_process`` of an earlier part of the same run. ``final`` marks the operations as final reads. ``seed``
    decides which of several free workers is taken.

    Raises:
        HarnessError: the history cannot be written, the generator broke its contract, or no client could be connected.
    """
    run = _Interpretation(
        generator=generator,
        workers=[_Worker(number, node_of(number), first_process + number) for number in range(workers)],
        connect=connect,
        recorder=recorder,
        clock=clock,
        timeout_s=timeout_s,
        stop=stop,
        final=final,
        seed=seed,
    )
    try:
        await run.finish()
    finally:
        await run.close()
    return run.statistics()


@dataclass(slots=True, kw_only=True, eq=False)
class _Interpretation:
    """The state of one call of :func:`interpret`."""

    generator: Generator
    workers: list[_Worker]
    connect: Connect
    recorder: Recorder
    clock: Callable[[], int]
    timeout_s: float
    stop: asyncio.Event
    final: bool
    seed: int
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    finished: asyncio.Future[None] = field(init=False)
    deadlines: Deadlines = field(init=False)
    stream: Stream = field(init=False)
    processes: list[int] = field(init=False)
    nodes: list[str] = field(init=False)
    scope: int = field(init=False)
    free: int = 0
    busy: int = 0
    exhausted: bool = False
    turn_due: bool = False
    wake: asyncio.TimerHandle | None = None
    background: set[asyncio.Task[None]] = field(default_factory=set)
    """Abandoned operations and closing clients."""
    connected_ns: int = 0
    """When some worker was last seen connected."""
    connect_error: BaseException | None = None
    invoked: int = 0
    timed_out: int = 0
    raised: int = 0
    connect_failures: int = 0
    forced: int = 0
    tally: Counter[tuple[str, Outcome]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.finished = self.loop.create_future()
        self.deadlines = Deadlines(len(self.workers), timeout_s=self.timeout_s, clock=self.clock)
        self.stream = Stream(self.seed, "worker")
        self.processes = [worker.process for worker in self.workers]
        self.nodes = [worker.node for worker in self.workers]
        self.scope = (1 << len(self.workers)) - 1

    async def finish(self) -> None:
        """Works until there is nothing left to do."""
        self.connected_ns = self.clock()
        for worker in self.workers:
            self._hire(worker)
        self.deadlines.start(self._tick)
        stopping = self.loop.create_task(self._watch_stop())
        self._schedule_turn()
        try:
            await self.finished
        finally:
            stopping.cancel()

    async def _watch_stop(self) -> None:
        await self.stop.wait()
        self._schedule_turn()

    # Turns: ask the generator, put workers to work.

    def _schedule_turn(self) -> None:
        if not self.turn_due:
            self.turn_due = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self.turn_due = False
        try:
            self._ask()
        except Exception as error:  # noqa: BLE001 (a callback has no caller: the error goes to whoever awaits the end)
            self._fail(error)

    def _ask(self) -> None:
        """Asks until nobody is free or there is nothing to do now. Asked with nobody free too: a time limit may be
        over.
        """
        now_ns = self.clock()
        while not (self.exhausted or self.stop.is_set()):
            step, self.generator = self.generator.next(self._context(now_ns))
            if type(step) is Planned:
                now_ns = self._invoke(step.worker, step.invocation)
                if not self.free:
                    return
            elif type(step) is Pending:
                self._wake_at(step.until_ns)
                return
            else:
                self.exhausted = True
        if not self.busy and not self.finished.done():
            self.finished.set_result(None)

    def _context(self, now_ns: int) -> Context:
        cursor = int(self.stream.draw(self.invoked) * len(self.workers))
        return Context(now_ns, self.free, self.busy, self.scope, cursor, self.processes, self.nodes)

    def _invoke(self, number: int, invocation: Invocation) -> int:
        """Puts a worker to work; returns the time of the invocation."""
        worker = self.workers[number]
        bit = 1 << number
        orders = worker.orders
        if not self.free & bit or orders is None:
            problem = f"the generator gave {invocation!r} to worker {number}, which is not free"
            raise HarnessError(f"{problem}: a bug in the generator")
        now_ns = self.recorder.invoke(worker.process, invocation, final=self.final)
        self.invoked += 1
        self.free ^= bit
        self.busy |= bit
        self.deadlines.set(number, now_ns)
        worker.invocation = invocation
        worker.orders = None
        orders.set_result(invocation)
        return now_ns

    def _wake_at(self, until_ns: int | None) -> None:
        if self.wake is not None:
            self.wake.cancel()
            self.wake = None
        if until_ns is not None:
            # uvloop rounds to whole milliseconds, and a time rounded down would be waited for in a busy loop.
            wait_ms = max(0, until_ns - self.clock()) // 1_000_000 + 1
            self.wake = self.loop.call_later(wait_ms / 1000, self._schedule_turn)

    # A worker's life.

    def _hire(self, worker: _Worker) -> None:
        """A task for the worker's present process."""
        self.processes[worker.number] = worker.process
        worker.task = self.loop.create_task(self._work(worker, worker.process))

    async def _work(self, worker: _Worker, process: int) -> None:
        """Connects, then does one operation after the other until one of them ends ``info``."""
        client = await self._connected(process, worker.node)
        try:
            while worker.process == process:
                worker.orders = self.loop.create_future()
                self.free |= 1 << worker.number
                self._schedule_turn()
                invocation = await worker.orders
                try:
                    completion = await client.invoke(invocation)
                except Exception as error:  # noqa: BLE001 (foreign code, and nobody knows what it did)
                    self.raised += 1
                    completion = Completion(Outcome.INFO, error=f"{type(error).__name__}: {error}")
                if worker.process == process:  # else it timed out, and nobody waits for this any more
                    self._complete(worker, invocation, completion)
        except Exception as error:  # noqa: BLE001 (not the client's: the recorder or the generator failed)
            self._fail(error)
        finally:
            await self._close_client(client)

    async def _connected(self, process: int, node: str) -> Client:
        pause_s = CONNECT_PAUSE_S
        while True:
            try:
                async with asyncio.timeout(self.timeout_s):
                    made = self.connect(process, node)
                    client = await made if inspect.isawaitable(made) else made
            except Exception as error:  # noqa: BLE001 (the node may be dead, which is the point of the run)
                self.connect_failures += 1
                self.connect_error = error
            else:
                self.connected_ns = self.clock()
                return client
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, CONNECT_PAUSE_S_MAX)

    def _complete(self, worker: _Worker, invocation: Invocation, completion: Completion) -> None:
        """Records the end of an operation and tells the generator; an ``info`` retires the process."""
        number = worker.number
        time_ns = self.recorder.complete(worker.process, invocation, completion, final=self.final)
        self.deadlines.clear(number)
        self.busy ^= 1 << number
        worker.invocation = None
        self.tally[invocation.f, completion.outcome] += 1
        self.generator = self.generator.update(Completed(time_ns, number, worker.process, invocation, completion))
        if completion.outcome is Outcome.INFO:
            worker.process += len(self.workers)
            self._abandon(worker)
            self._hire(worker)
        self._schedule_turn()

    def _abandon(self, worker: _Worker) -> None:
        """Lets go of the task of a process that has retired: it closes its client, in its own time."""
        task = worker.task
        if task is not None:
            task.add_done_callback(quiet)
            task.add_done_callback(self.background.discard)
            self.background.add(task)

    # Time-outs.

    def _tick(self, expired: list[int]) -> None:
        try:
            for number in expired:
                self._time_out(self.workers[number])
            self._check_connections()
        except Exception as error:  # noqa: BLE001 (a callback has no caller)
            self._fail(error)
        self._schedule_turn()

    def _time_out(self, worker: _Worker) -> None:
        task, invocation = worker.task, worker.invocation
        assert task is not None
        assert invocation is not None
        self.timed_out += 1
        self._complete(worker, invocation, Completion(Outcome.INFO, error=f"timed out after {self.timeout_s:g} s"))
        task.cancel()

    def _check_connections(self) -> None:
        now_ns = self.clock()
        if self.free or self.busy:
            self.connected_ns = now_ns
        elif now_ns - self.connected_ns > CONNECT_LIMIT_S * 1e9:
            problem = f"no client could be connected for {CONNECT_LIMIT_S:g} s"
            raise HarnessError(f"{problem}; the last error: {self.connect_error!r}")

    # The end.

    def _fail(self, error: Exception) -> None:
        if not self.finished.done():
            self.finished.set_exception(error)

    async def _close_client(self, client: Client) -> None:
        try:
            async with asyncio.timeout(CLOSE_S):
                await client.close()
        except Exception as error:  # noqa: BLE001 (the worker's edge: a client that cannot be closed is only forgotten)
            self.connect_error = error

    async def close(self) -> None:
        """Ends every task, within bounds. What is still in flight (after a failure or a cancellation) is recorded
        ``info``.
        """
        self.deadlines.stop()
        self._wake_at(None)
        self.exhausted = True
        self._give_up()
        tasks = {worker.task for worker in self.workers if worker.task is not None}
        self.forced = await end_tasks(tasks | self.background, grace_s=CLOSE_S)

    def _give_up(self) -> None:
        cut_off = Completion(Outcome.INFO, error="the run was cut off")
        for worker in self.workers:
            if worker.invocation is not None:
                invocation, worker.invocation = worker.invocation, None
                process, worker.process = worker.process, worker.process + len(self.workers)
                self.tally[invocation.f, Outcome.INFO] += 1
                try:
                    self.recorder.complete(process, invocation, cut_off, final=self.final)
                except HarnessError as error:
                    self._fail(error)

    def statistics(self) -> Statistics:
        """The counts."""
        outcomes: dict[str, dict[str, int]] = {}
        for (f, outcome), count in sorted(self.tally.items()):
            outcomes.setdefault(f, {})[outcome.value] = count
        count = len(self.workers)
        return Statistics(
            invoked=self.invoked,
            outcomes=outcomes,
            timed_out=self.timed_out,
            raised=self.raised,
            connect_failures=self.connect_failures,
            forced=self.forced,
            next_process=(max(worker.process for worker in self.workers) // count + 1) * count,
        )
