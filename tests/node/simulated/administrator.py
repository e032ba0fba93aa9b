"""Who changes the membership and hands the leadership over, in the midst of everything else."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from node.raft.changes import Refused
from node.raft.core import Raft
from node.raft.messages import Configuration
from tests.node.simulated.cluster import SimulatedCluster
from tests.node.simulated.faults import Faults
from tests.node.simulated.server import SimulatedServer

VOTERS_MAX = 5
SERVERS_MAX = 9
"""How many servers a run may see in all, those included that were taken out."""


class Administrator:
    """Asks whoever takes itself for the leader."""

    def __init__(self, cluster: SimulatedCluster, faults: Faults, stream: random.Random) -> None:
        self.resting = False
        """Whether nothing is changed for now."""
        self._cluster = cluster
        self._faults = faults
        self._random = stream
        self._acts: tuple[Callable[[Raft], None], ...] = (
            self._add_learner,
            self._promote,
            self._promote,
            self._remove,
            self._demote,
            self._replace,
            self._transfer,
        )

    def begin(self) -> None:
        """The first change comes after a while, and then one after another."""
        every_ns = self._cluster.climate.change_every_ns
        if every_ns:
            self._cluster.elected.append(self._elected)
            self._next(every_ns)

    def _next(self, every_ns: int) -> None:
        self._cluster.agenda.at(self._cluster.agenda.now_ns + 1 + self._random.randrange(2 * every_ns), self._act)

    def _elected(self, server: SimulatedServer) -> None:
        """Who waited for a leader asks it at once."""
        delay_ns = self._random.randrange(4 * self._cluster.climate.delay_ns)
        self._cluster.agenda.at(self._cluster.agenda.now_ns + delay_ns, partial(self._act_at, server))

    def _act(self) -> None:
        """One change, of any kind, at any leader there is."""
        self._next(self._cluster.climate.change_every_ns)
        if self._cluster.leaders:
            self._act_at(self._random.choice(self._cluster.leaders))

    def _act_at(self, server: SimulatedServer) -> None:
        core = server.core
        if self.resting or core is None or server not in self._cluster.running:
            return
        self._cluster.wake(server)
        before = core.configuration_index
        self._random.choice(self._acts)(core)
        self._cluster.touched(server)
        if core.configuration_index != before:
            self._faults.tempt(server, self._cluster.climate.topple)

    def _ask(self, core: Raft, voters: list[str], learners: list[str], *, joint: bool = False) -> bool:
        target = Configuration(voters=tuple(voters), learners=tuple(learners))
        answer = core.propose_change(target, joint=joint)
        self._cluster.agenda.note(f"{core.name} is asked for {target}, joint={joint}: {answer}")
        if isinstance(answer, Refused):
            self._cluster.invariants.sometimes[f"change refused, {answer.why.name.lower()}"] += 1
            return False
        self._cluster.invariants.sometimes["joint change" if joint else "single change"] += 1
        return True

    def _members(self, core: Raft) -> tuple[list[str], list[str]]:
        return list(core.configuration.voters), list(core.configuration.learners)

    # Single changes

    def _add_learner(self, core: Raft) -> None:
        voters, learners = self._members(core)
        if len(self._cluster.servers) >= SERVERS_MAX:
            return
        name = core.next_identity(f"n{len(self._cluster.servers) + 1}")
        if self._ask(core, voters, [*learners, name]):
            self._cluster.join(name)

    def _promote(self, core: Raft) -> None:
        voters, learners = self._members(core)
        if learners and len(voters) < VOTERS_MAX:
            name = self._random.choice(learners)
            self._ask(core, [*voters, name], [other for other in learners if other != name])

    def _remove(self, core: Raft) -> None:
        voters, learners = self._members(core)
        name = self._random.choice([*voters, *learners])
        self._ask(core, [v for v in voters if v != name], [other for other in learners if other != name])

    def _demote(self, core: Raft) -> None:
        voters, learners = self._members(core)
        name = self._random.choice(voters)
        self._ask(core, [v for v in voters if v != name], [*learners, name])

    # The others

    def _replace(self, core: Raft) -> None:
        """Any set of voters instead of the present one, by joint consensus."""
        voters, learners = self._members(core)
        members = [*voters, *learners]
        self._random.shuffle(members)
        count = self._random.randint(1, min(len(members), VOTERS_MAX))
        keep = self._random.random() < 0.5
        self._ask(core, members[:count], members[count:] if keep else [], joint=True)

    def _transfer(self, core: Raft) -> None:
        answer = core.transfer_leadership(self._random.choice(core.configuration.voters))
        self._cluster.agenda.note(f"{core.name} is asked to hand over: {answer}")
        self._cluster.invariants.sometimes["transfer begun" if answer is None else "transfer refused"] += 1
