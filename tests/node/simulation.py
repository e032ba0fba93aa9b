"""A deterministic simulation of a cluster: same seed, same class of core, same run, to the last message.

Everything that can differ between runs of a real cluster is drawn from one seeded stream: when messages arrive (with
loss, duplication, delays long enough to outlive elections, reordering), when disks are done, how right clocks are, who
crashes with what unsynced, who is paused, which links are cut, what clients ask; and how rough all that is
(:mod:`tests.node.simulated.climate`).

A run is a sequence of storms, each followed by a calm in which the cluster must show that it is alive
(:mod:`tests.node.simulated.healing`). A *step* is one event: a message delivered, a disk's work done, a timer, a fault,
a client's call. The invariants are checked after each.

``python -m tests.node.simulation --steps 1000000`` explores; ``--seed N`` repeats one seed and, if an invariant breaks,
shows what led to it; ``--bug NAME`` plants a bug of the core first. Exits with 1 if an invariant broke.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from node.parts import Parts
from node.zoo import BUGS
from tests.node.simulated.administrator import Administrator
from tests.node.simulated.agenda import Agenda
from tests.node.simulated.clients import Clients
from tests.node.simulated.climate import Climate, draw_climate
from tests.node.simulated.clock import time_of_day
from tests.node.simulated.cluster import SimulatedCluster
from tests.node.simulated.faults import Faults
from tests.node.simulated.healing import Healing
from tests.node.simulated.violation import Violation

CORRECT = Parts()
STEPS_A_SEED = 3_000
STORM_STEPS = (200, 1_200)
"""The shortest and the longest storm."""
LAST = 60
"""How many of the last events are shown."""


class Simulation:
    """One cluster and its world."""

    def __init__(self, seed: int, parts: Parts = CORRECT, *, record: int = 0) -> None:
        """``record``: how many of the last events are kept for a person."""
        self.seed = seed
        self._random = random.Random(seed)
        self.climate: Climate = draw_climate(self._random)
        self.agenda = Agenda()
        self.agenda.record = deque(maxlen=record) if record else None
        self.cluster = SimulatedCluster(self.agenda, self.climate, self._random, parts)
        self.invariants = self.cluster.invariants
        clients = Clients(self.cluster, self._random)
        faults = Faults(self.cluster, self._random)
        administrator = Administrator(self.cluster, faults, self._random)
        self._healing = Healing(
            self.cluster, faults=faults, clients=clients, administrator=administrator, stream=self._random
        )
        for server in self.cluster.servers.values():
            self.cluster.start(server)
        faults.begin()
        clients.begin()
        administrator.begin()

    @property
    def steps(self) -> int:
        """Events so far."""
        return self.agenda.steps

    def run(self, steps: int) -> None:
        """Storms and calms, until that many events have happened; raises :class:`Violation` as soon as an invariant
        breaks.
        """
        try:
            with time_of_day(self.cluster.time_of_day_ns):
                self._run(steps)
        except Violation as violation:
            raise Violation(f"seed {self.seed}, step {self.steps}: {violation}") from violation

    def _run(self, steps: int) -> None:
        while self.steps < steps:
            for _ in range(self._random.randint(*STORM_STEPS)):
                self.agenda.step()
            self._healing.settle()
        self._healing.settle("none")


@dataclass(frozen=True, kw_only=True)
class Find:
    """What an exploration found in a broken core."""

    seed: int
    steps: int
    """In all, from the first seed on."""
    what: str


def explore(seeds: Iterable[int], *, steps: int = STEPS_A_SEED, sometimes: Counter[str] | None = None) -> int:
    """Runs one simulation a seed; returns the steps made in all. ``sometimes`` sums up what happened.

    A :class:`Violation` carries the last events as a note, and the line that repeats it.
    """
    total = 0
    for seed in seeds:
        simulation = Simulation(seed)
        try:
            simulation.run(steps)
        except Violation as violation:
            violation.add_note("\n".join(last_events(seed, steps=steps)))
            violation.add_note(f"again: python -m tests.node.simulation --seed {seed}")
            raise
        total += simulation.steps
        if sometimes is not None:
            sometimes.update(simulation.invariants.sometimes)
    return total


def hunt(parts: Parts, seeds: Iterable[int], *, steps: int = STEPS_A_SEED) -> Find | None:
    """Explores a broken core until it betrays itself; None if it does not."""
    total = 0
    for seed in seeds:
        simulation = Simulation(seed, parts)
        try:
            simulation.run(steps)
        except Violation as violation:
            return Find(seed=seed, steps=total + simulation.steps, what=str(violation.__cause__))
        total += simulation.steps
    return None


def last_events(seed: int, parts: Parts = CORRECT, *, steps: int = STEPS_A_SEED, last: int = LAST) -> list[str]:
    """What happened last in a run that ends in a violation, readably."""
    simulation = Simulation(seed, parts, record=last)
    with suppress(Violation):
        simulation.run(steps)
    return list(simulation.agenda.record or ())


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    options = _options(arguments)
    parts = BUGS[options.bug].parts if options.bug else CORRECT
    begin, total, seed = time.perf_counter(), 0, options.seed if options.seed is not None else options.first
    first, sometimes = seed, Counter[str]()
    while total < options.steps:
        simulation = Simulation(seed, parts)
        try:
            simulation.run(STEPS_A_SEED)
        except Violation as violation:
            print(*last_events(seed, parts, last=options.last), sep="\n")
            planted = f" --bug {options.bug}" if options.bug else ""
            print(f"{violation}\n{total + simulation.steps} steps in seeds {first}..{seed}")
            print(f"again: python -m tests.node.simulation --seed {seed}{planted}")
            return 1
        total += simulation.steps
        sometimes.update(simulation.invariants.sometimes)
        if options.seed is not None:
            break
        seed += 1
    rate = total / (time.perf_counter() - begin)
    print(
        f"{total} steps in seeds {first}..{max(first, seed - 1)}, {rate:,.0f} steps/s, no invariant broken; sometimes:"
    )
    for what, count in sometimes.most_common():
        print(f"{count:9} {what}")
    return 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.node.simulation", description="Explores the Raft core.")
    parser.add_argument("--steps", type=int, default=1_000_000, help="how many events, at least (%(default)s)")
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the seed to begin with (%(default)s)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--bug", choices=sorted(BUGS), help="plant this bug of the core first")
    parser.add_argument(
        "--last", type=int, default=LAST, help="how many events before a violation to show (%(default)s)"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
