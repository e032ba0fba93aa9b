"""How many operations a second the interpreter sustains, and what each part of one costs.

    python -m benchmarks.interpreter [--seconds 2] [--rounds 3] [--workers 100]

One process on one core: 100 workers, the generator of the ``register`` workload (with a rate that it can't keep, so
that the interpreter is the limit), a client that yields to the loop once and answers, hard time-outs on, the history on
disk, and a subscriber that feeds ``checkers.HistoryBuilder``. The goal (issue 2, acceptance 6) is 50,000 operations a
second of that whole.

Then parts are replaced by nothing, one at a time; what a part costs is the difference. Other work on the machine can
only make a round slower, so rounds are interleaved, the best one counts for the goal and the median is shown beside it.
Costs are processor time, scaled by a fixed loop of plain Python that is timed around every round (a shared core runs at
half its speed), medians over the rounds. Exit status 1 if the goal is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import uvloop

import harness.interpreter
import harness.recorder
from checkers import HistoryBuilder, Outcome
from harness.clients import Completion, Invocation
from harness.fakes import NullClient
from harness.generators import PENDING, Completed, Context, Generator, Planned, Step, time_limit
from harness.interpreter import interpret
from harness.recorder import Recorder
from harness.timers import Deadlines
from harness.workloads.register import REGISTER, RegisterParameters

GOAL_PER_S = 50_000
NODES = tuple(f"n{number}" for number in range(1, 6))


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which parts are real."""

    generator: bool = True
    record: bool = True
    encode: bool = True
    disk: bool = True
    feed: bool = True
    deadlines: bool = True
    switch: bool = True
    timeout_each: bool = False
    """Instead of what we do: ``asyncio.timeout`` around every operation."""


WHOLE = Parts()
UNFED = Parts(feed=False)
TIMEOUT_EACH = Parts(timeout_each=True)

ABLATIONS: Mapping[str, tuple[Parts, Parts]] = {
    "generator (register: rate, choice of key, memory)": (WHOLE, Parts(generator=False)),
    "task switch (the client's one yield to the loop)": (WHOLE, Parts(switch=False)),
    "time-outs (deadlines and ticks)": (WHOLE, Parts(deadlines=False)),
    "feed (checkers.HistoryBuilder, two events)": (WHOLE, UNFED),
    "record (two events: time, place, encode, write)": (UNFED, Parts(feed=False, record=False)),
    "  of which encode (two lines of JSON)": (WHOLE, Parts(encode=False)),
    "  of which write (the file, against /dev/null)": (WHOLE, Parts(disk=False)),
}
"""What a part costs: the first less the second. Lines that are indented are part of the line above."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One round."""

    per_s: float
    cpu_us: float
    """Processor time per operation."""
    loop_ns: float
    """Processor time of one turn of the calibration loop, around this round."""


class SameAgain:
    """The least that a generator can do."""

    def next(self, context: Context) -> tuple[Step, Generator]:
        """The same operation for any free worker."""
        return (Planned(context.worker(), Invocation("write", "k0", 1)), self) if context.free else (PENDING, self)

    def update(self, event: Completed) -> Generator:  # noqa: ARG002
        """Learns nothing."""
        return self


class NoRecorder(Recorder):
    """Says the time and keeps nothing."""

    def invoke(self, *_: Any, **__: Any) -> int:
        """The time."""
        return self._clock()

    def complete(self, *_: Any, **__: Any) -> int:
        """The time."""
        return self._clock()


class NoDeadlines(Deadlines):
    """No operation is ever late."""

    def set(self, worker: int, now_ns: int) -> None:
        """Nothing."""

    def clear(self, worker: int) -> None:
        """Nothing."""


class ImmediateClient(NullClient):
    """Answers without yielding."""

    async def invoke(self, invocation: Invocation) -> Completion:
        """Ok."""
        return Completion(Outcome.OK, invocation.value)


class TimedClient(NullClient):
    """What everybody does first."""

    async def invoke(self, invocation: Invocation) -> Completion:
        """Ok, under a time-out of its own."""
        async with asyncio.timeout(5):
            return await super().invoke(invocation)


async def measure(parts: Parts, *, workers: int, seconds: float, folder: Path) -> Measured:
    """One round of so many seconds."""
    path = Path(os.devnull) if not parts.disk else folder / f"{time.monotonic_ns()}.jsonl"
    origin_ns = time.monotonic_ns()

    def clock() -> int:
        return time.monotonic_ns() - origin_ns

    recorder = (Recorder if parts.record else NoRecorder)(path, clock, create=parts.disk)
    if parts.feed:
        builder = HistoryBuilder()

        def feed(events: list[Mapping[str, Any]]) -> None:
            for event in events:
                builder.add_event(event)

        recorder.subscribe(feed)
    time_ns = round(seconds * 1e9)
    load = REGISTER.generator(RegisterParameters(rate=1e6), seed=1, workers=workers, nodes=NODES, time_ns=time_ns)
    client = TimedClient() if parts.timeout_each else NullClient() if parts.switch else ImmediateClient()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    done = await interpret(
        generator=load if parts.generator else time_limit(time_ns, SameAgain()),
        workers=workers,
        node_of=lambda worker: NODES[worker % 5],
        connect=lambda *_: client,
        recorder=recorder,
        clock=clock,
        timeout_s=5.0,
        stop=asyncio.Event(),
    )
    recorder.close()
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    if parts.disk:
        path.unlink()
    return Measured(per_s=done.invoked / wall_s, cpu_us=cpu_s / done.invoked * 1e6, loop_ns=0.0)


def run_round(parts: Parts, *, workers: int, seconds: float, folder: Path) -> Measured:
    """A round in an event loop of its own, with the parts that are not real taken out."""
    blank = SimpleNamespace(dumps=lambda *_, **__: b"\n", OPT_APPEND_NEWLINE=0, JSONEncodeError=TypeError)
    loop_ns = calibration_ns()
    with ExitStack() as swapped:
        if not parts.encode:
            swapped.enter_context(patch.object(harness.recorder, "orjson", blank))
        if not parts.deadlines:
            swapped.enter_context(patch.object(harness.interpreter, "Deadlines", NoDeadlines))
        measured = uvloop.run(measure(parts, workers=workers, seconds=seconds, folder=folder))
    return replace(measured, loop_ns=(loop_ns + calibration_ns()) / 2)


def calibration_ns() -> float:
    """Processor time of one turn of a fixed loop of plain Python."""
    turns, total = 300_000, 0
    begin = time.process_time()
    for number in range(turns):
        total += number & 7
    return (time.process_time() - begin) / turns * 1e9 + 0 * total


def scaled_us(rounds: list[Measured], loop_ns: float) -> float:
    """The median processor time per operation, on a core on which a turn of the loop takes so long."""
    return statistics.median(one.cpu_us * loop_ns / one.loop_ns for one in rounds)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each variant (default %(default)s)")
    parser.add_argument("--workers", type=int, default=100, help="(default %(default)s)")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    variants = [WHOLE, *(parts for pair in ABLATIONS.values() for parts in pair), TIMEOUT_EACH]
    rounds: dict[Parts, list[Measured]] = {parts: [] for parts in variants}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for _ in range(options.rounds):
            for parts, figures in rounds.items():
                figures.append(run_round(parts, workers=options.workers, seconds=options.seconds, folder=Path(folder)))
    return report(rounds, options.workers)


def report(rounds: Mapping[Parts, list[Measured]], workers: int) -> int:
    """Prints the table; returns the exit status."""
    loop_ns = min(one.loop_ns for figures in rounds.values() for one in figures)
    us = {parts: scaled_us(figures, loop_ns) for parts, figures in rounds.items()}
    costs = {name: us[base] - us[without] for name, (base, without) in ABLATIONS.items()}
    rest = us[WHOLE] - sum(cost for name, cost in costs.items() if name[0] != " ")
    best_per_s = max(one.per_s for one in rounds[WHOLE])
    median_per_s = statistics.median(one.per_s for one in rounds[WHOLE])
    print(
        f"{workers} workers, one core, Python {sys.version.split()[0]}, a turn of the calibration loop {loop_ns:.1f} ns"
    )
    print(f"whole: {best_per_s:,.0f} operations/s in the best round, {median_per_s:,.0f} in the median one")
    print(f"an operation takes {us[WHOLE]:.2f} us of processor time:")
    for name, cost in [*costs.items(), ("the rest (tasks, turns, bookkeeping)", rest)]:
        print(f"  {cost:6.2f} us  {name}")
    print(f"asyncio.timeout around every operation would cost {us[TIMEOUT_EACH] - us[WHOLE]:.2f} us more")
    met = best_per_s >= GOAL_PER_S
    print(f"goal of {GOAL_PER_S:,}/s: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
