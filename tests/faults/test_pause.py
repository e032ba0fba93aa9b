"""Pauses against a cluster in memory."""

from __future__ import annotations

import signal
from random import Random

import pytest
from pydantic import ValidationError

from faults.fakes.cluster import FakeCluster, no_sleep
from faults.fakes.limits import FakeLimits
from faults.family import Setup
from faults.pause import By, Pause, PauseFamily, PauseParameters


def pause(cluster: FakeCluster, *targets: str, by: By = "signal") -> Pause:
    return Pause(targets=targets, cluster=cluster, by=by, sleep=no_sleep)


def frozen_cluster() -> tuple[FakeCluster, FakeLimits]:
    """A cluster whose first node can be frozen, and the limits of that."""
    cluster, limits = FakeCluster(["n1", "n2"]), FakeLimits()
    cluster.fake_nodes["n1"].limits = limits
    return cluster, limits


async def test_paused_nodes_stand_still_until_healed() -> None:
    """Injecting stops exactly the targets and leaves an undo entry for each process; healing continues them and takes
    it back.
    """
    cluster = FakeCluster(["n1", "n2", "n3"])
    fault = pause(cluster, "n2")
    assert (await fault.inject()).holds
    assert [await node.state() for node in cluster.nodes.values()] == ["running", "stopped", "running"]
    (undo,) = cluster.undo.entries.values()
    assert (undo.kind, undo.arguments["pid"]) == ("continue", cluster.nodes["n2"].pids()[0])
    assert (await fault.heal()).holds
    assert [await node.state() for node in cluster.nodes.values()] == ["running"] * 3
    assert not cluster.undo.entries


async def test_a_dead_node_cannot_be_paused() -> None:
    """Pausing the dead proves nothing, neither biting nor healing."""
    cluster = FakeCluster(["n1"])
    await cluster.nodes["n1"].signal(signal.SIGKILL)
    fault = pause(cluster, "n1")
    assert not (await fault.inject()).holds
    assert not (await fault.heal()).holds
    assert not cluster.undo.entries


async def test_a_process_that_goes_on_is_no_bite() -> None:
    """A signal that is shrugged off fails the proof."""
    cluster = FakeCluster(["n1"])
    cluster.fake_nodes["n1"].deaf_to = frozenset({signal.SIGSTOP})
    assert not (await pause(cluster, "n1").inject()).holds


async def test_a_process_that_stays_stopped_is_no_healing() -> None:
    """What cannot be continued fails the proof, and stays with the watchdog."""
    cluster = FakeCluster(["n1"])
    fault = pause(cluster, "n1")
    await fault.inject()
    cluster.fake_nodes["n1"].deaf_to = frozenset({signal.SIGCONT})
    assert not (await fault.heal()).holds
    assert cluster.undo.entries
    cluster.fake_nodes["n1"].deaf_to = frozenset()
    assert (await fault.heal()).holds
    assert (await fault.heal()).holds, "healing twice is safe"


async def test_a_frozen_group_stands_still_until_healed() -> None:
    """The freezer holds the target without a signal; the way back is registered as a command, and taken back."""
    cluster, limits = frozen_cluster()
    cluster.fake_nodes["n1"].deaf_to = frozenset({signal.SIGSTOP})
    fault = pause(cluster, "n1", by="freezer")
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence["by"] == {"n1": "freezer"}
    assert await limits.frozen()
    (undo,) = cluster.undo.entries.values()
    assert (undo.kind, undo.arguments["argv"]) == ("run", ["thaw"])
    assert (await fault.heal()).holds
    assert not await limits.frozen()
    assert not cluster.undo.entries


async def test_any_is_the_freezer_where_there_is_one() -> None:
    """One fault freezes the node that can be frozen and stops the other by signal; both go on."""
    cluster, limits = frozen_cluster()
    fault = pause(cluster, "n1", "n2", by="any")
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence["by"] == {"n1": "freezer", "n2": "signal"}
    assert (await fault.heal()).holds
    assert not await limits.frozen()
    assert {await node.state() for node in cluster.nodes.values()} == {"running"}


async def test_a_freezer_that_is_not_there_is_told() -> None:
    """Who has no group cannot be frozen: nothing is done to anybody, and the reason names the node."""
    cluster, limits = frozen_cluster()
    fault = pause(cluster, "n1", "n2", by="freezer")
    with pytest.raises(RuntimeError, match="n2 is in no control group"):
        await fault.inject()
    assert not await limits.frozen()
    assert (await fault.heal()).holds


@pytest.mark.parametrize("trouble", ["stubborn", "outside", "busy"])
async def test_what_is_not_frozen_is_no_bite(trouble: str) -> None:
    """A group that does not freeze, a process outside of it, processor time that goes on: each fails the proof."""
    cluster, limits = frozen_cluster()
    limits.stubborn = trouble == "stubborn"
    limits.strangers = tuple(cluster.nodes["n1"].pids()) if trouble == "outside" else ()
    limits.cpu_steps = 0.01 if trouble == "busy" else 0.0
    assert not (await pause(cluster, "n1", by="freezer").inject()).holds


async def test_what_stays_frozen_is_no_healing() -> None:
    """A group that cannot be thawed fails the proof and stays with the watchdog."""
    cluster, limits = frozen_cluster()
    fault = pause(cluster, "n1", by="freezer")
    await fault.inject()
    limits.forgetful = True
    assert not (await fault.heal()).holds
    assert cluster.undo.entries
    limits.forgetful = False
    assert (await fault.heal()).holds
    assert not cluster.undo.entries


def test_parameters_and_words() -> None:
    """The freezer needs groups from the start; summaries say by what; an older schedule means the signal."""
    family = PauseFamily()
    assert family.setup(PauseParameters(by="any")) == Setup(groups=True)
    assert family.setup(PauseParameters()) == Setup()
    facts = family.resolve(PauseParameters(by="freezer"), targets=("n1",), nodes=("n1", "n2"), random=Random(0))
    assert facts == {"targets": ["n1"], "by": "freezer"}
    assert family.summary(facts) == "n1 paused (the freezer)"
    assert family.summary({"targets": ["n1"]}) == "n1 paused (SIGSTOP)"
    with pytest.raises(ValidationError):
        PauseParameters.model_validate({"by": "magic"})
