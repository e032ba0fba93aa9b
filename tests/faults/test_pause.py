"""Pauses against a cluster in memory."""

from __future__ import annotations

import signal

from faults.fakes import FakeCluster, no_sleep
from faults.pause import Pause


def pause(cluster: FakeCluster, *targets: str) -> Pause:
    return Pause(targets=targets, cluster=cluster, sleep=no_sleep)


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
