"""What befalls a cluster: crashes, cuts, pauses, disks that hang, wall clocks that jump, leaders that fall young."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from node.raft.messages import Role
from node.raft.timing import MS
from tests.node.simulated.cluster import SimulatedCluster
from tests.node.simulated.server import SimulatedServer


class Faults:
    """Drawn one after another, with the weights of the climate."""

    def __init__(self, cluster: SimulatedCluster, stream: random.Random) -> None:
        climate = cluster.climate
        self.resting = False
        """Whether no more are drawn for now."""
        self._cluster = cluster
        self._climate = climate
        self._random = stream
        weighed: list[tuple[int, Callable[[], None]]] = [
            (climate.crash, self._crash),
            (climate.partition, self._partition),
            (climate.pause, self._pause),
            (climate.slow_disk, self._slow_disk),
            (climate.clock_step, self._clock_step),
            (climate.heal, self._heal),
        ]
        self._weights = [weight for weight, _ in weighed]
        self._kinds = [kind for _, kind in weighed]
        cluster.elected.append(self._elected)

    def begin(self) -> None:
        """Sometimes the world begins in pieces."""
        if self._climate.partition and self._random.random() < 0.5:
            self._partition()
        self._next()

    def _next(self) -> None:
        delay_ns = 1 + self._random.randrange(2 * self._climate.fault_every_ns)
        self._cluster.agenda.at(self._cluster.agenda.now_ns + delay_ns, self._fault)

    def _fault(self) -> None:
        self._next()
        if not self.resting:
            self._random.choices(self._kinds, self._weights)[0]()

    def _victim(self) -> SimulatedServer:
        """Half of the time a leader, if there is one."""
        leaders = self._cluster.leaders
        return self._random.choice(
            leaders if leaders and self._random.random() < 0.5 else list(self._cluster.servers.values())
        )

    # One server

    def _crash(self) -> None:
        everyone = self._random.random() < self._climate.crash_all
        for server in list(self._cluster.servers.values()) if everyone else [self._victim()]:
            self._crash_one(server)

    def _crash_one(self, server: SimulatedServer) -> None:
        self._cluster.crash(server, down_ns=self._random.randrange(self._climate.down_ns))

    def _pause(self) -> None:
        server = self._victim()
        server.paused_until_ns = self._cluster.agenda.now_ns + self._random.randrange(500 * MS)
        self._cluster.note("is paused", server)

    def _slow_disk(self) -> None:
        server = self._victim()
        server.disk_busy_until_ns = self._cluster.agenda.now_ns + self._random.randrange(500 * MS)
        self._cluster.note("has a disk that hangs", server)

    def _clock_step(self) -> None:
        """Set once, or again and again for a while: two daemons that disagree."""
        server = self._victim()
        for number in range(self._random.choice((1, 20))):
            self._cluster.agenda.at(self._cluster.agenda.now_ns + number * 50 * MS, partial(self._set_clock, server))

    def _set_clock(self, server: SimulatedServer) -> None:
        server.clock.stepped_ns += self._random.randrange(-3000, 3000) * MS
        self._cluster.note("has its wall clock set", server)

    # The network

    def _partition(self) -> None:
        names, network, victim = list(self._cluster.servers), self._cluster.network, self._victim().name
        shape = self._random.choice(("halves", "isolate", "deaf", "mute", "one link"))
        if shape == "halves":
            self._random.shuffle(names)
            network.isolate(set(names[: len(names) // 2]), names)
        elif shape == "isolate":
            network.isolate({victim}, names)
        elif shape == "deaf":
            network.deafen(victim, names)
        elif shape == "mute":
            network.mute(victim, names)
        else:
            network.cut.add((victim, self._random.choice(names)))
        self._note_cut()

    def _note_cut(self) -> None:
        if self._cluster.agenda.record is not None:
            self._cluster.agenda.note(f"cut {', '.join(f'{a}->{b}' for a, b in sorted(self._cluster.network.cut))}")

    def _heal(self) -> None:
        self._cluster.network.cut.clear()
        self._note_cut()

    # Young leaders

    def _elected(self, server: SimulatedServer) -> None:
        """Leaders fall when they have just begun to replicate; most of all those that must first bring entries of older
        terms to the others: what is not settled is where mistakes show.
        """
        core = server.core
        if self.resting or core is None:
            return
        unsettled = core.commit < core.last_index and core.term_at(core.commit + 1) != core.term
        self.tempt(server, self._climate.topple**0.5 if unsettled else self._climate.topple)

    def tempt(self, server: SimulatedServer, probability: float) -> None:
        """A leader has begun something; perhaps it will not end it."""
        if self._random.random() < probability:
            delay_ns = int(self._random.random() ** 2 * 6 * self._climate.delay_ns)
            incarnation = server.incarnation
            self._cluster.agenda.at(self._cluster.agenda.now_ns + delay_ns, lambda: self._topple(server, incarnation))

    def _topple(self, server: SimulatedServer, incarnation: int) -> None:
        core = server.core
        if self.resting or core is None or core.role is not Role.LEADER or server.incarnation != incarnation:
            return
        fate = self._random.choice(("crash", "isolate", "mute", "deafen"))
        names, network = self._cluster.servers, self._cluster.network
        if fate == "crash":
            self._crash_one(server)
        elif fate == "isolate":
            network.isolate({server.name}, names)
        else:  # what it does by itself goes on, and the others begin anew
            network.cut.clear()
            (network.mute if fate == "mute" else network.deafen)(server.name, names)
        self._note_cut()
