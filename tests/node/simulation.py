"""A deterministic simulation of a cluster: same seed, same class of core, same run, to the last message.

Everything that can differ between runs of a real cluster is drawn from one seeded stream: when messages arrive (with
loss, duplication, delays long enough to outlive elections, reordering), when disks are done, who crashes with what
unsynced, who is paused, which links are cut, what clients ask. Even the *settings* are drawn from the seed (after
"swarm testing", Groce et al. 2012): a run without loss but with tiny append windows finds other bugs than the average.

A *step* is one event: a message delivered, a sync done, a timer, a fault, a client's call. All invariants are checked
after each. ``python -m tests.node.simulation STEPS [FIRST_SEED]`` runs as many as you like.
"""

from __future__ import annotations

import heapq
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from node.core import Raft, Timing
from node.messages import Message, Role
from node.timing import MS
from tests.node.invariants import Invariants, Violation
from tests.node.simulated_server import SimulatedServer

SETTLE_NS = 20_000 * MS
"""How long a healed cluster may take to make progress: dozens of the longest election time-outs."""

BACKLOG_MAX = 40
"""Clients stop writing to a leader with that many uncommitted entries, or the smallest windows would never catch up."""


@dataclass(frozen=True, kw_only=True)
class Climate:
    """How rough a run is."""

    size: int
    loss: float
    duplicate: float
    delay_ns: int
    """The longest ordinary delay of a message."""
    straggle: float
    """Share of messages that take up to two seconds instead."""
    fault_every_ns: int
    call_every_ns: int
    sync_ns: int
    crash_weight: int
    partition_weight: int
    pause_weight: int
    topple: float
    """Share of new leaders that are struck down within a few messages of their election."""
    compact_every: int
    timing: Timing


def draw_climate(stream: random.Random) -> Climate:
    """Settings for one run."""
    pick = stream.choice
    return Climate(
        size=pick((1, 2, 3, 3, 3, 4, 5, 5, 5)),
        loss=pick((0, 0, 0.02, 0.2)),
        duplicate=pick((0, 0.02, 0.2)),
        delay_ns=pick((1, 1, 20, 100, 300)) * MS,
        straggle=pick((0, 0, 0.02, 0.1)),
        fault_every_ns=pick((30, 100, 300, 1000)) * MS,
        call_every_ns=pick((2, 10, 50)) * MS,
        sync_ns=pick((0, 1, 20)) * MS,
        crash_weight=pick((0, 1, 4)),
        partition_weight=pick((0, 1, 4)),
        pause_weight=pick((0, 1)),
        topple=pick((0, 0, 0.5)),
        compact_every=pick((5, 30, 10**9)),
        timing=Timing(
            election_ns_min=150 * MS,
            election_ns_max=pick((160, 200, 300)) * MS,
            first_election_ns_min=50 * MS,
            first_election_ns_max=150 * MS,
            heartbeat_ns=40 * MS,
            snapshot_retry_ns=300 * MS,
            entries_per_append_max=pick((1, 2, 64)),
            bytes_per_append_max=pick((8, 1 << 20)),
            inflight_appends_max=pick((1, 2, 64)),
            read_rounds_max=pick((1, 16)),
            entries_per_ready_max=pick((1, 3, 4096)),
            log_tail_entries=pick((0, 3, 100)),
        ),
    )


class Simulation:
    """One cluster and its world."""

    def __init__(self, seed: int, *, kind: type[Raft] = Raft, climate: Climate | None = None) -> None:
        self.seed = seed
        self._random = random.Random(seed)
        self.climate = climate or draw_climate(self._random)
        self.now_ns = 0
        self.steps = 0
        self._calm = False
        self._commands = 0
        self._order = 0
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._cut: set[tuple[str, str]] = set()
        self._reigns: set[int] = set()
        """Terms that had a leader."""
        self._timers: dict[str, int] = {}
        self.invariants = Invariants(self._durable_holders)
        names = tuple(f"n{number}" for number in range(1, self.climate.size + 1))
        self.servers = {
            name: SimulatedServer(
                name,
                names,
                kind=kind,
                timing=self.climate.timing,
                compact_every=self.climate.compact_every,
                stream=self._random,
                invariants=self.invariants,
                send=self._send,
            )
            for name in names
        }
        for server in self.servers.values():
            self._at(self._random.randrange(100 * MS), partial(self._start, server))
        self._at(self.climate.fault_every_ns, self._fault)
        self._at(self.climate.call_every_ns, self._call)

    # Running

    def run(self, steps: int) -> None:
        """Runs that many events; raises :class:`Violation`, with seed and step, as soon as an invariant breaks."""
        end = self.steps + steps
        try:
            while self.steps < end:
                self._step()
        except Violation as violation:
            raise Violation(f"seed {self.seed}, step {self.steps}: {violation}") from violation

    def settle(self) -> None:
        """Heals everything and demands progress: every server applies more than was ever committed before."""
        self._calm = True
        self._cut.clear()
        for server in self.servers.values():
            server.paused_until_ns = 0
            if server.core is None:
                self._start(server)
        floor, deadline_ns = self.invariants.commit_max, self.now_ns + SETTLE_NS
        while self.now_ns < deadline_ns:
            self.run(50)
            if min(server.applied for server in self.servers.values()) > floor:
                return
        states = [(s.name, s.core.role.value, s.core.term, s.core.commit) for s in self.servers.values() if s.core]
        raise Violation(f"seed {self.seed}: no progress within {SETTLE_NS / 1e9} s of healing: {states}, floor {floor}")

    def _step(self) -> None:
        self.now_ns, _, event = heapq.heappop(self._events)
        self.steps += 1
        event()

    def _at(self, time_ns: int, event: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (time_ns, self._order, event))

    def _touched(self, server: SimulatedServer) -> None:
        """After anything happened to a server: its Readies go to its disk, its timer is set."""
        core = server.core
        if core is None:
            return
        if core.role is Role.LEADER and core.term not in self._reigns:
            self._reigns.add(core.term)
            if not self._calm and self._random.random() < self.climate.topple:
                self._at(self.now_ns + self._random.randrange(6 * self.climate.delay_ns), partial(self._topple, server))
        for _ in range(server.drain()):
            self._at(self._sync_time_ns(server), partial(self._sync, server, server.incarnation))
        deadline_ns = core.next_deadline_ns()
        if deadline_ns < self._timers.get(server.name, deadline_ns + 1):
            self._set_timer(server, deadline_ns)

    def _sync_time_ns(self, server: SimulatedServer) -> int:
        busy = max(self.now_ns, server.paused_until_ns)
        return busy + (self._random.randrange(self.climate.sync_ns) if self.climate.sync_ns else 0)

    def _sync(self, server: SimulatedServer, incarnation: int) -> None:
        if server.incarnation == incarnation:
            server.sync()
            self._touched(server)

    def _set_timer(self, server: SimulatedServer, deadline_ns: int) -> None:
        self._timers[server.name] = deadline_ns
        self._at(deadline_ns, lambda: self._timer(server, deadline_ns))

    def _timer(self, server: SimulatedServer, deadline_ns: int) -> None:
        if self._timers.get(server.name) != deadline_ns or server.core is None:
            return
        del self._timers[server.name]
        if server.paused_until_ns > self.now_ns:
            self._set_timer(server, server.paused_until_ns)
            return
        server.core.tick(self.now_ns)
        self._touched(server)

    # Network

    def _send(self, message: Message) -> None:
        self.invariants.sent(message)
        climate, draw = self.climate, self._random.random
        if not self._calm and draw() < climate.loss:
            return
        self._at(self._arrival_ns(), lambda: self._deliver(message))
        if not self._calm and draw() < climate.duplicate:
            self._at(self._arrival_ns(), lambda: self._deliver(message))

    def _arrival_ns(self) -> int:
        if self._calm:
            return self.now_ns + int(self._random.random() * MS)
        straggles = self._random.random() < self.climate.straggle
        return self.now_ns + int(self._random.random() * (2000 * MS if straggles else self.climate.delay_ns))

    def _deliver(self, message: Message) -> None:
        if (message.source, message.target) in self._cut:
            return
        server = self.servers[message.target]
        if server.paused_until_ns > self.now_ns:
            self._at(server.paused_until_ns, lambda: self._deliver(message))
            return
        server.receive(message, self.now_ns)
        self._touched(server)

    # Clients

    def _call(self) -> None:
        """Clients ask whoever takes itself for the leader, deposed ones included, and now and then anyone."""
        self._at(self.now_ns + self._random.randrange(2 * self.climate.call_every_ns), self._call)
        running = [s for s in self.servers.values() if s.core is not None and s.paused_until_ns <= self.now_ns]
        for server in running:
            if server.core is not None and (server.core.role is Role.LEADER or self._random.random() < 0.1):
                self._call_at(server)

    def _call_at(self, server: SimulatedServer) -> None:
        if self._random.random() < 0.5:
            server.read(self.now_ns)
        if self._random.random() < 0.7 and server.backlog() < BACKLOG_MAX:
            count = self._random.choice((1, 1, 3))
            server.propose([(self._commands + number).to_bytes(4, "big") for number in range(count)])
            self._commands += count
        self._touched(server)

    # Faults

    def _fault(self) -> None:
        self._at(self.now_ns + self._random.randrange(2 * self.climate.fault_every_ns), self._fault)
        if self._calm:
            return
        climate = self.climate
        weights = (climate.crash_weight, climate.partition_weight, climate.pause_weight, 1)
        self._random.choices((self._crash, self._partition, self._pause, self._heal), weights)[0]()

    def _start(self, server: SimulatedServer) -> None:
        if server.core is None:
            self._timers.pop(server.name, None)
            server.start(self.now_ns)
            self._touched(server)

    def _crash(self) -> None:
        """One server, or all at once; each comes back by itself after a while."""
        names = list(self.servers)
        for name in names if self._random.random() < 0.1 else [self._victim()]:
            self._crash_one(self.servers[name])

    def _crash_one(self, server: SimulatedServer) -> None:
        if server.core is not None:
            server.crash()
            self._at(self.now_ns + self._random.randrange(400 * MS), partial(self._start, server))

    def _topple(self, server: SimulatedServer) -> None:
        """What figure 8 is made of: leaders that fall just when they have begun to replicate."""
        if self._calm or server.core is None or server.core.role is not Role.LEADER:
            return
        if self._random.random() < 0.5:
            self._crash_one(server)
        else:
            self._isolate({server.name})

    def _victim(self) -> str:
        """Half of the time a leader, if there is one."""
        leaders = [s.name for s in self.servers.values() if s.core is not None and s.core.role is Role.LEADER]
        return self._random.choice(leaders if leaders and self._random.random() < 0.5 else list(self.servers))

    def _partition(self) -> None:
        """Halves, one server alone, or a single direction of a single link."""
        names = list(self.servers)
        shape = self._random.choice(("halves", "isolate", "one-way"))
        if shape == "one-way":
            self._cut.add((self._random.choice(names), self._random.choice(names)))
            return
        self._random.shuffle(names)
        self._isolate({self._victim()} if shape == "isolate" else set(names[: len(names) // 2]))

    def _isolate(self, side: set[str]) -> None:
        names = self.servers
        self._cut = {(a, b) for a in names for b in names if (a in side) != (b in side)}

    def _pause(self) -> None:
        server = self.servers[self._victim()]
        server.paused_until_ns = self.now_ns + self._random.randrange(500 * MS)

    def _heal(self) -> None:
        self._cut.clear()

    def _durable_holders(self, index: int, term: int) -> Iterable[str]:
        return (server.name for server in self.servers.values() if server.disk.holds(index, term))


def explore(seeds: Iterable[int], *, steps: int, kind: type[Raft] = Raft, sometimes: Counter[str] | None = None) -> int:
    """Runs one simulation a seed and lets each settle; returns the steps made in all.

    ``sometimes`` sums up what happened.
    """
    total = 0
    for seed in seeds:
        simulation = Simulation(seed, kind=kind)
        simulation.run(steps)
        simulation.settle()
        total += simulation.steps
        if sometimes is not None:
            sometimes.update(simulation.invariants.sometimes)
    return total


def main(arguments: list[str]) -> None:
    """Command line: how many steps, and from which seed on."""
    wanted, seed = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else 0
    begin, total, first = time.perf_counter(), 0, seed
    sometimes: Counter[str] = Counter()
    while total < wanted:
        total += explore([seed], steps=5_000, sometimes=sometimes)
        seed += 1
    rate = total / (time.perf_counter() - begin)
    print(f"{total} steps in seeds {first}..{seed - 1}, {rate:,.0f} steps/s, no invariant broken")
    for what, count in sometimes.most_common():
        print(f"{count:9} {what}")


if __name__ == "__main__":
    main(sys.argv[1:])
