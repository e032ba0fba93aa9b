"""Liveness: once the network is calm and a majority is well, there is progress, and all that run take part in it.

The rest of the cluster need not be well: it may stay down, cut off, or cut off in one direction only; Raft promises
progress all the same (with PreVote and CheckQuorum even in the last case). A leader is the favourite victim.
"""

from __future__ import annotations

import random

from node.raft.messages import Role
from node.raft.timing import MS
from tests.node.simulated.administrator import Administrator
from tests.node.simulated.clients import Clients
from tests.node.simulated.cluster import SimulatedCluster
from tests.node.simulated.configurations import is_quorum
from tests.node.simulated.faults import Faults
from tests.node.simulated.server import SimulatedServer
from tests.node.simulated.violation import Violation

SETTLE_NS = 6_000 * MS
"""How long progress may take: twenty of the longest election time-outs."""

CALL_EVERY_NS = 20 * MS
"""How often clients ask meanwhile."""

AILMENTS = ("none", "down", "cut off", "deaf", "mute")


class Healing:
    """The phases of calm between the storms."""

    def __init__(
        self,
        cluster: SimulatedCluster,
        *,
        faults: Faults,
        clients: Clients,
        administrator: Administrator,
        stream: random.Random,
    ) -> None:
        self._cluster = cluster
        self._faults = faults
        self._clients = clients
        self._administrator = administrator
        self._random = stream

    def settle(self, ailment: str | None = None) -> None:
        """Heals all, or all but a minority that keeps some ailment, and demands progress of those that are well."""
        cluster = self._cluster
        ailment = ailment or self._random.choice(AILMENTS)
        ill = self._minority() if ailment != "none" else []
        self._begin_calm()
        for server in ill:
            self._infect(server, ailment)
        well = [server for server in cluster.servers.values() if server not in ill]
        for server in well:
            cluster.start(server)
        if not somebody_can_win(well):
            ailment, ill, well = "none", [], list(cluster.servers.values())
            self._heal()
        self._await_progress(well, f"{ailment}: {', '.join(server.name for server in ill)}")
        self._heal()
        self._begin_storm()

    def _heal(self) -> None:
        self._cluster.network.cut.clear()
        for server in self._cluster.servers.values():
            self._cluster.start(server)

    def _minority(self) -> list[SimulatedServer]:
        """One server as a rule the leader, or as many as may fail."""
        voters = self._cluster.invariants.configurations.latest.voters
        servers = [self._cluster.servers[name] for name in voters]
        may_fail = (len(servers) - 1) // 2
        self._random.shuffle(servers)
        if self._random.random() < 0.7:
            servers.sort(key=lambda server: server not in self._cluster.leaders[-1:])
        return servers[: self._random.randint(min(1, may_fail), may_fail)]

    def _infect(self, server: SimulatedServer, ailment: str) -> None:
        names, network = self._cluster.servers, self._cluster.network
        if ailment == "down":
            self._cluster.crash(server, down_ns=None)
            return
        self._cluster.start(server)
        if ailment in ("cut off", "mute"):
            network.mute(server.name, names)
        if ailment in ("cut off", "deaf"):
            network.deafen(server.name, names)

    def _begin_calm(self) -> None:
        cluster = self._cluster
        cluster.network.calm = self._faults.resting = self._administrator.resting = True
        cluster.network.cut.clear()
        self._clients.every_ns = CALL_EVERY_NS
        for server in cluster.servers.values():
            server.paused_until_ns = server.disk_busy_until_ns = 0

    def _begin_storm(self) -> None:
        self._cluster.network.calm = self._faults.resting = self._administrator.resting = False
        self._clients.every_ns = self._cluster.climate.call_every_ns

    def _await_progress(self, well: list[SimulatedServer], ailment: str) -> None:
        agenda, invariants = self._cluster.agenda, self._cluster.invariants
        floor, deadline_ns = invariants.commit_max, agenda.now_ns + SETTLE_NS
        while agenda.now_ns < deadline_ns:
            for _ in range(20):
                agenda.step()
            members = invariants.configurations.latest.members
            if min(server.applied for server in well if server.name in members) > floor:
                invariants.sometimes[f"progress with the others {ailment.partition(':')[0]}"] += 1
                return
        if len(well) < len(self._cluster.servers) and not somebody_can_win(well):
            # What was under way when the calm began has brought a change that nobody can settle without the others.
            invariants.sometimes["nobody could win without the others"] += 1
            return
        states = [(s.name, s.core.role.value, s.core.term, s.core.commit) for s in well if s.core]
        leads = any(s.core and s.core.role is Role.LEADER for s in well)
        raise Violation(
            f"no progress within {SETTLE_NS / 1e9:g} s of healing ({ailment}), {'a' if leads else 'no'} leader: "
            f"{states}, floor {floor}"
        )


def somebody_can_win(well: list[SimulatedServer]) -> bool:
    """Whether the logs and configurations of those that are well allow anyone an election without the others.

    While a change is under way that is not certain, however many are well: a learner may hold the newest entries, of a
    leader that is ill now, and be a voter by the uncommitted configuration of one that it must refuse.
    """
    cores = [server.core for server in well if server.core is not None]
    lasts = {core.name: (core.term_at(core.last_index) or 0, core.last_index) for core in cores}
    return any(
        core.name in core.configuration.electorate
        and is_quorum(core.configuration, [name for name, last in lasts.items() if last <= lasts[core.name]])
        for core in cores
    )
