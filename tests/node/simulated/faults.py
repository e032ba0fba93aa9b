"""What befalls a cluster: crashes, cuts, pauses, disks that hang, wall clocks that jump, leaders that fall young."""

from __future__ import annotations

import random
from collections.abc import Callable

from node.messages import Role
from node.timing import MS
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
        cluster.elected = self._elected

    def begin(self) -> None:
        """The first fault comes after a while, and then one after another."""
        delay_ns = 1 + self._random.randrange(2 * self._climate.fault_every_ns)
        self._cluster.agenda.at(self._cluster.agenda.now_ns + delay_ns, self._fault)

    def _fault(self) -> None:
        self.begin()
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
        server = self._victim()
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
        """What figure 8 is made of: leaders that fall just when they have begun to replicate."""
        if not self.resting and self._random.random() < self._climate.topple:
            incarnation, delay_ns = server.incarnation, self._random.randrange(6 * self._climate.delay_ns)
            self._cluster.agenda.at(self._cluster.agenda.now_ns + delay_ns, lambda: self._topple(server, incarnation))

    def _topple(self, server: SimulatedServer, incarnation: int) -> None:
        core = server.core
        if self.resting or core is None or core.role is not Role.LEADER or server.incarnation != incarnation:
            return
        if self._random.random() < 0.5:
            self._crash_one(server)
        else:
            self._cluster.network.isolate({server.name}, self._cluster.servers)
            self._note_cut()
