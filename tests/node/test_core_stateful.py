"""Hypothesis drives a few cores by hand: it draws scripts, looks for one that breaks an invariant, and shrinks it.

The simulation (:mod:`tests.node.simulation`) goes far; this goes to short scripts that a person can read, and hardly
leaves a combination of a few steps untried. In a check it is derandomised: the same scripts each time.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from node.identity import host_of
from node.parts import Parts
from node.raft.core import Timing
from node.raft.messages import Configuration
from node.raft.timing import MS
from node.zoo import BUGS
from tests.node.simulated.bench import Bench
from tests.node.simulated.violation import Violation

SIZE = 3
SERVERS_MAX = 5
TIMING = Timing(
    election_ns_min=150 * MS,
    election_ns_max=300 * MS,
    first_election_ns_min=100 * MS,
    first_election_ns_max=200 * MS,
    heartbeat_ns=40 * MS,
    entries_per_append_max=1,
    log_tail_entries=2,
)

somebody = st.integers(0, SERVERS_MAX - 1)
some_message = st.integers(0, 30)
company = st.sampled_from(((0, 1, 2, 3, 4), (0, 1), (1, 2), (0, 2), (0, 1, 2), (2, 3), (0, 3, 4), (1, 2, 3)))
rounds = st.sampled_from((8, 1, 2, 3))


class ClusterMachine(RuleBasedStateMachine):
    """A script's steps. Whatever breaks an invariant raises by itself."""

    parts = Parts()

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(self.parts, size=SIZE, timing=TIMING)
        self.commands = 0
        self.bench.time_out("n1")
        self.bench.talk(list(self.bench.servers), rounds=8)

    def name(self, number: int) -> str:
        """Somebody who is there."""
        return list(self.bench.servers)[number % len(self.bench.servers)]

    @rule(who=somebody, others=company, rounds=rounds)
    def campaign(self, who: int, others: tuple[int, ...], rounds: int) -> None:
        """A server loses patience, and talks with some of the others about it."""
        name = self.name(who)
        self.bench.time_out(name)
        self.bench.talk({name, *map(self.name, others)}, rounds=rounds)

    @rule(group=company, rounds=rounds)
    def talk(self, group: tuple[int, ...], rounds: int) -> None:
        """Some servers hear each other."""
        self.bench.talk({self.name(number) for number in group}, rounds=rounds)

    @precondition(lambda self: self.bench.messages)
    @rule(which=some_message, stays=st.booleans())
    def deliver(self, which: int, stays: bool) -> None:
        """Any message arrives, however late; it may arrive again."""
        messages = self.bench.messages
        position = which % len(messages)
        self.bench.deliver(messages[position] if stays else messages.pop(position))

    @precondition(lambda self: self.bench.messages)
    @rule(which=some_message)
    def drop(self, which: int) -> None:
        """A message is lost."""
        del self.bench.messages[which % len(self.bench.messages)]

    @rule(who=somebody)
    def sync(self, who: int) -> None:
        """A disk is done."""
        self.bench.sync({self.name(who)})

    @rule(who=somebody)
    def crash_and_start(self, who: int) -> None:
        """A server loses what it had not synced, and starts again."""
        name = self.name(who)
        self.bench.servers[name].crash()
        self.bench.start(name)

    @precondition(lambda self: self.bench.leaders)
    @rule(count=st.integers(1, 3))
    def propose(self, count: int) -> None:
        """Clients write at every server that takes itself for the leader."""
        for server in self.bench.leaders:
            server.propose([(self.commands + number).to_bytes(4, "big") for number in range(count)])
            self.commands += count
            self.bench.touched(server)

    @rule(who=somebody, mode=st.sampled_from(("leader", "follower", "lease")))
    def read(self, who: int, mode: str) -> None:
        """A client reads."""
        server = self.bench.servers[self.name(who)]
        server.read(mode, self.bench.now_ns)
        self.bench.touched(server)

    @precondition(lambda self: self.bench.leaders)
    @rule(who=somebody, change=st.sampled_from(("add", "promote", "remove", "replace", "hand over")))
    def change(self, who: int, change: str) -> None:
        """An operator changes the membership, or the leader, at every server that takes itself for the leader."""
        for server in self.bench.leaders:
            core = server.core
            if core is None:
                continue
            voters, learners, name = core.configuration.voters, core.configuration.learners, self.name(who)
            rest = tuple(voter for voter in voters if voter != name)
            if change == "hand over":
                core.transfer_leadership(name)
            elif change == "add" and len(self.bench.servers) < SERVERS_MAX:
                identity = core.next_identity(f"n{len(self.bench.servers) + 1}")
                core.propose_change(Configuration(voters=voters, learners=(*learners, identity)))
                self._join_if_named(identity, core.configuration)
            elif change == "promote" and learners:
                core.propose_change(Configuration(voters=(*voters, learners[0]), learners=learners[1:]))
            elif change == "remove":
                core.propose_change(Configuration(voters=rest, learners=learners))
            elif change == "replace":
                core.propose_change(Configuration(voters=(*rest[1:], *learners)), joint=True)
            self.bench.touched(server)

    def _join_if_named(self, identity: str, configuration: Configuration) -> None:
        if identity in configuration.learners and host_of(identity) not in map(host_of, self.bench.servers):
            self.bench.join(identity)


def drive(parts: Parts, *, examples: int, steps: int = 25, phases: tuple[Phase, ...] = (Phase.generate,)) -> None:
    """Draws that many scripts for a cluster of these parts."""
    machine: Callable[[], ClusterMachine] = type("Machine", (ClusterMachine,), {"parts": parts})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            derandomize=True,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )


def test_no_script_breaks_an_invariant() -> None:
    """Deliver, drop, repeat, crash, time out, write, read, change the membership: in any order."""
    drive(Parts(), examples=150, phases=(Phase.generate, Phase.shrink))


FOUND = (
    "dup-vote",
    "stale-vote",
    "stale-append-truncates",
    "catchup-old-leader",
    "wrong-quorum",
    "local-read",
)


@pytest.mark.parametrize("name", FOUND)
def test_a_bug_of_the_zoo_is_found(name: str) -> None:
    """Scripts that nobody wrote find bugs that somebody published."""
    with pytest.raises(Violation):
        drive(BUGS[name].parts, examples=300)
