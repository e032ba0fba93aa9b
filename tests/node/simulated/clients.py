"""Clients: they write and read, mostly where they think the leader is."""

from __future__ import annotations

import random

from node.raft.messages import Role
from tests.node.simulated.cluster import SimulatedCluster
from tests.node.simulated.server import SimulatedServer

BACKLOG_MAX = 40
"""Clients stop writing to a leader with that many uncommitted entries, or the smallest windows would never catch up."""

ASTRAY = 0.1
"""Share of calls that go to somebody who does not take itself for the leader."""

READ_MODES = ("leader", "follower", "lease")


class Clients:
    """All of them."""

    def __init__(self, cluster: SimulatedCluster, stream: random.Random) -> None:
        self.every_ns = cluster.climate.call_every_ns
        self._cluster = cluster
        self._random = stream
        self._commands = 0

    def begin(self) -> None:
        """The first call comes after a while, and then one after another."""
        self._cluster.agenda.at(self._cluster.agenda.now_ns + 1 + self._random.randrange(2 * self.every_ns), self._call)

    def _call(self) -> None:
        self.begin()
        for server in self._cluster.running:
            if server.core is not None and (server.core.role is Role.LEADER or self._random.random() < ASTRAY):
                self._call_at(server)

    def _call_at(self, server: SimulatedServer) -> None:
        self._cluster.wake(server)
        if self._random.random() < 0.5:
            self._read_at(server)
        if self._random.random() < self._cluster.climate.write and server.backlog() < BACKLOG_MAX:
            count = self._random.choice((1, 1, 3))
            server.propose([(self._commands + number).to_bytes(4, "big") for number in range(count)])
            self._commands += count
        self._cluster.touched(server)

    def _read_at(self, server: SimulatedServer) -> None:
        climate = self._cluster.climate
        server.read(self._random.choice(READ_MODES), self._cluster.agenda.now_ns, excused=not climate.drift_is_promised)
