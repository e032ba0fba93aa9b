"""The core in its simulated world; and the world itself on trial, against cores that are broken on purpose."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from node.parts import Parts
from node.raft.core import Raft
from node.raft.messages import HardState, Recovered
from node.zoo import BUGS
from tests.node.simulation import STEPS_A_SEED, Simulation, explore, hunt

SEEDS = range(24)

FLOORS = {
    "leader elected": 100,
    "log truncated": 20,
    "log truncated on disk": 20,
    "snapshot wanted": 20,
    "snapshot installed": 10,
    "read answered, leader": 300,
    "read answered, follower": 300,
    "read answered, lease": 300,
    "configuration committed": 50,
    "joint change": 5,
    "transfer begun": 5,
    "read refused": 500,
    "restarted": 200,
    "write acknowledged": 1_000,
    "progress with the others down": 5,
    "progress with the others cut off": 5,
    "progress with the others deaf": 5,
    "progress with the others mute": 5,
}
"""A simulation in which nothing happens proves nothing: how often each thing that Raft exists for must happen."""


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


class ReadsTooEarly(Raft):
    """ReadIndex is served before the leader's own no-op is committed."""

    def read_is_allowed(self) -> bool:
        return True


MISTAKES = {
    CountsUnsyncedEntries: "durable quorum",
    ForgetsItsVote: "forgot its vote",
    ReadsTooEarly: "stale read",
}
"""Classic mistakes that the zoo has no row for (or not of the core), and how each must betray itself."""


def test_every_invariant_holds_and_the_world_provokes_what_it_must() -> None:
    """Whatever the network, the disks and the clients do: safety always, progress whenever a majority is well."""
    sometimes: Counter[str] = Counter()
    assert explore(SEEDS, sometimes=sometimes) >= len(SEEDS) * STEPS_A_SEED
    assert {what: sometimes[what] for what, floor in FLOORS.items() if sometimes[what] < floor} == {}


def _fingerprint() -> tuple[int, int]:
    simulation = Simulation(7)
    simulation.run(4_000)
    return simulation.agenda.now_ns, hash(tuple(simulation.invariants.applied.items()))


def test_the_same_seed_is_the_same_run() -> None:
    """Replay: seed and commit are all that it takes, in another process with another order of its sets too."""
    code = "from tests.node.test_simulation import _fingerprint; print(*_fingerprint())"
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    other = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert tuple(map(int, other.stdout.split())) == _fingerprint() == _fingerprint()


@pytest.mark.parametrize("kind", MISTAKES, ids=lambda kind: kind.__name__)
def test_a_broken_core_is_caught_by_the_right_invariant(kind: type[Raft]) -> None:
    """Test the tester: classic mistakes."""
    find = hunt(Parts(core=kind), range(40))
    assert find is not None
    assert MISTAKES[kind] in find.what


FOUND = (
    "dup-vote",
    "stale-vote",
    "forget-vote",
    "stale-log-wins",
    "prevote-stuck",
    "no-check-quorum",
    "stale-append-truncates",
    "prev-zero",
    "catchup-old-leader",
    "figure-8",
    "commit-past-match",
    "wrong-quorum",
    "snapshot-conflict",
    "old-snapshot-wins",
    "isolated-remove",
    "config-not-rolled-back",
    "local-read",
    "early-read-index",
    "read-before-apply",
)
"""Planted bugs that the simulation finds by itself; docs/node.md has the table of by what and how fast."""

HUNT_SEEDS = range(160)


@pytest.mark.parametrize("name", FOUND)
def test_a_bug_of_the_zoo_is_found(name: str) -> None:
    """Nothing in the simulation knows of a row; the first seeds, in their order, must do."""
    assert hunt(BUGS[name].parts, HUNT_SEEDS) is not None
