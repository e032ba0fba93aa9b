"""The core in its simulated world; and the world itself on trial, against cores that are broken on purpose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from node.core import Raft
from node.messages import AppendEntries, HardState, Recovered
from node.zoo import BUGS
from tests.node.invariants import Violation
from tests.node.simulation import Simulation, explore

SEEDS = range(24)
STEPS = 3_000
BROKEN_STEPS = 5_000
BROKEN_SEEDS_MAX = 60


class CountsUnsyncedEntries(Raft):
    """The leader counts its own log before its disk has it."""

    def own_match(self) -> int:
        return self.log.last_index


class ForgetsItsVote(Raft):
    """The vote does not survive a restart."""

    def __init__(self, *, recovered: Recovered, **rest: Any) -> None:
        forgetful = HardState(term=recovered.hard_state.term)
        super().__init__(
            recovered=Recovered(hard_state=forgetful, snapshot=recovered.snapshot, entries=recovered.entries), **rest
        )


class VotesForAnyLog(Raft):
    """Section 5.4.1's restriction is missing."""

    def log_is_up_to_date(self, last_index: int, last_term: int) -> bool:  # noqa: ARG002
        return True


class CutsOnEveryAppend(Raft):
    """A late AppendEntries cuts what came after it."""

    def truncation_point(self, message: AppendEntries) -> int | None:
        return message.prev_index + 1 if message.entries else None


class CommitsPastMatch(Raft):
    """A follower commits what the append said nothing of."""

    def follower_commit(self, leader_commit: int, vouched: int) -> int:  # noqa: ARG002
        return min(leader_commit, self.log.last_index)


class SmallQuorum(Raft):
    """Half of the voters pass for a majority."""

    def quorum_size(self, voters: Sequence[str]) -> int:
        return max(1, len(voters) // 2)


class ReadsTooEarly(Raft):
    """ReadIndex is served before the leader's own no-op is committed."""

    def read_is_allowed(self) -> bool:
        return True


class ForgetsVoteOnStepDown(Raft):
    """A candidate that becomes follower in the same term forgets whom it voted for."""

    def become_follower(self, term: int, leader: str | None) -> None:
        super().become_follower(term, leader)
        self.vote = None


BROKEN = {
    BUGS["local-read"].parts.core: "stale read",
    CountsUnsyncedEntries: "durable quorum",
    ForgetsItsVote: "one vote a term",
    VotesForAnyLog: "leader completeness",
    CutsOnEveryAppend: "durable quorum|leader completeness|commit",
    CommitsPastMatch: "state machine safety|log matching|leader completeness|durable quorum",
    SmallQuorum: "durable quorum|election safety|leader completeness",
    ReadsTooEarly: "stale read",
    ForgetsVoteOnStepDown: "one vote a term",
}
"""Each broken core, and the invariants by which it may betray itself."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_invariant_holds_and_the_cluster_recovers(seed: int) -> None:
    """Whatever the network, the disks and the clients do: safety always, progress once all is healed."""
    explore([seed], steps=STEPS)


def test_the_world_provokes_what_it_must() -> None:
    """A simulation in which nothing happens proves nothing: each thing that Raft exists for did happen."""
    sometimes: Counter[str] = Counter()
    explore(range(6, 14), steps=STEPS, sometimes=sometimes)
    floors = {
        "leader elected": 20,
        "log truncated": 5,
        "snapshot wanted": 2,
        "snapshot installed": 2,
        "read answered": 100,
        "read refused": 20,
        "restarted": 10,
        "write acknowledged": 500,
    }
    assert {what: sometimes[what] for what, floor in floors.items() if sometimes[what] < floor} == {}


def test_the_same_seed_is_the_same_run() -> None:
    """Replay: seed and commit are all that it takes."""

    def fingerprint() -> tuple[object, ...]:
        simulation = Simulation(7)
        simulation.run(4_000)
        return simulation.now_ns, dict(simulation.invariants.applied), dict(simulation.invariants.votes)

    assert fingerprint() == fingerprint()


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_core_is_caught_by_the_right_invariant(kind: type[Raft]) -> None:
    """Test the tester: each of these was a bug of a real implementation, or a classic mistake."""
    with pytest.raises(Violation, match=BROKEN[kind]):
        explore(range(BROKEN_SEEDS_MAX), steps=BROKEN_STEPS, kind=kind)
