"""Kills against a cluster in memory."""

from __future__ import annotations

import signal

from faults.fakes import FakeCluster, no_sleep
from faults.kill import Kill
from faults.needs import ProcessState


def kill(cluster: FakeCluster, *targets: str) -> Kill:
    return Kill(targets=targets, cluster=cluster, sleep=no_sleep)


async def test_killed_nodes_are_dead_until_healed() -> None:
    """Injecting kills exactly the targets; healing runs them again."""
    cluster = FakeCluster(["n1", "n2", "n3"])
    fault = kill(cluster, "n1", "n3")
    assert (await fault.inject()).holds
    assert [await node.state() for node in cluster.nodes.values()] == ["dead", "running", "dead"]
    proof = await fault.heal()
    assert proof.holds
    assert proof.evidence["started"] == ["n1", "n3"]
    assert [await node.state() for node in cluster.nodes.values()] == ["running"] * 3


async def test_a_node_that_was_dead_before_was_not_killed() -> None:
    """Killing the dead proves nothing; healing starts it all the same."""
    cluster = FakeCluster(["n1"])
    await cluster.nodes["n1"].signal(signal.SIGKILL)
    fault = kill(cluster, "n1")
    assert not (await fault.inject()).holds
    assert (await fault.heal()).holds


async def test_a_paused_node_can_be_killed() -> None:
    """SIGKILL works on a stopped process."""
    cluster = FakeCluster(["n1"])
    await cluster.nodes["n1"].signal(signal.SIGSTOP)
    assert (await kill(cluster, "n1").inject()).holds


async def test_a_process_that_outlives_the_signal_is_no_bite() -> None:
    """A process that hangs in the kernel is named in the evidence."""
    cluster = FakeCluster(["n1"])
    cluster.fake_nodes["n1"].deaf_to = frozenset({signal.SIGKILL})
    proof = await kill(cluster, "n1").inject()
    assert not proof.holds
    assert proof.evidence["pids_left"]["n1"]


async def test_a_server_that_dies_at_once_is_no_healing() -> None:
    """A start that ends in death again fails the proof."""
    cluster = FakeCluster(["n1"])
    fault = kill(cluster, "n1")
    await fault.inject()
    cluster.fake_nodes["n1"].broken_start = True
    assert not (await fault.heal()).holds


async def test_healing_twice_starts_once() -> None:
    """A second healing finds the node running and leaves the process alone."""
    cluster = FakeCluster(["n1"])
    fault = kill(cluster, "n1")
    await fault.inject()
    await fault.heal()
    pids = cluster.nodes["n1"].pids()
    proof = await fault.heal()
    assert proof.holds
    assert proof.evidence["started"] == []
    assert cluster.nodes["n1"].pids() == pids
    assert await cluster.nodes["n1"].state() is ProcessState.RUNNING
