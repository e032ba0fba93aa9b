"""Failures of the power against a cluster in memory."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from pydantic import ValidationError

from faults.fakes.cluster import FakeCluster, FakeDisk, no_sleep
from faults.needs import DiskState, Loss, ProcessState
from faults.power import Power, PowerFamily, PowerParameters, Rotation

NODES = ("n1", "n2", "n3")
FAMILY = PowerFamily()


def cluster_with_disks() -> tuple[FakeCluster, dict[str, FakeDisk]]:
    """Three nodes, each on a disk of its own."""
    cluster = FakeCluster(NODES)
    disks = {name: FakeDisk() for name in NODES}
    for name, disk in disks.items():
        cluster.fake_nodes[name].disk = disk
    return cluster, disks


def power(cluster: FakeCluster, *targets: str) -> Power:
    return Power(targets=targets, cluster=cluster, sleep=no_sleep)


async def test_targets_die_and_lose_what_they_had_not_synced() -> None:
    """Exactly the targets, all at once; healing starts them."""
    cluster, disks = cluster_with_disks()
    fault = power(cluster, "n1", "n3")
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence["marks"]["n3"] == {"synced_kept": True, "unsynced_lost": True}
    assert [disk.losses for disk in disks.values()] == [1, 0, 1]
    assert [await node.state() for node in cluster.nodes.values()] == ["dead", "running", "dead"]
    assert (await fault.heal()).holds
    assert (await fault.heal()).evidence["started"] == []
    assert [await node.state() for node in cluster.nodes.values()] == ["running"] * 3


@pytest.mark.parametrize(
    "loss", [Loss(synced_kept=True, unsynced_lost=False), Loss(synced_kept=False, unsynced_lost=True)]
)
async def test_a_disk_that_loses_nothing_or_too_much_is_no_bite(loss: Loss) -> None:
    """Both marks are part of the proof."""
    cluster, disks = cluster_with_disks()
    disks["n2"].loss = loss
    assert not (await power(cluster, *NODES).inject()).holds


async def test_a_node_without_a_disk_of_its_own_loses_nothing() -> None:
    """Its kill alone is no failure of the power; it is named."""
    cluster, _ = cluster_with_disks()
    cluster.fake_nodes["n1"].disk = None
    fault = power(cluster, "n1")
    proof = await fault.inject()
    assert not proof.holds
    assert "no disk" in proof.evidence["marks"]["n1"]
    assert (await fault.heal()).holds


async def test_a_disk_in_use_is_left_alone() -> None:
    """A process that outlives its SIGKILL still has files open."""
    cluster, disks = cluster_with_disks()
    cluster.fake_nodes["n1"].deaf_to = frozenset({signal.SIGKILL})
    assert not (await power(cluster, "n1").inject()).holds
    assert disks["n1"].losses == 0


async def test_a_server_that_refuses_to_start_is_not_healed() -> None:
    """After a failure of the power it must come back."""
    cluster, _ = cluster_with_disks()
    fault = power(cluster, "n1")
    await fault.inject()
    cluster.fake_nodes["n1"].broken_start = True
    assert not (await fault.heal()).holds


async def test_no_server_is_started_on_a_disk_that_did_not_come_back() -> None:
    """Trouble between the loss and the next mount: healing mounts first, else the node would find nothing."""
    cluster, disks = cluster_with_disks()
    fault = power(cluster, "n1")
    await fault.inject()
    await disks["n1"].die()
    assert (await fault.heal()).holds
    assert await disks["n1"].state() is DiskState.WORKS


class Turns:
    """A clock that counts the times that a rotation waits, and stands still after so many."""

    def __init__(self, number: int) -> None:
        self.left = number
        self.over = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        """At once, until the turns are over."""
        if seconds < 1:
            return
        if not self.left:
            self.over.set()
            await asyncio.Event().wait()
        self.left -= 1


async def rotate(cluster: FakeCluster, number: int, act: Callable[[], Awaitable[None]]) -> Rotation:
    """A rotation that has made so many changes, when ``act`` is called."""
    turns = Turns(number)
    fault = Rotation(order=("n2", "n1"), down_s=1.0, cluster=cluster, sleep=turns.sleep)
    assert (await fault.inject()).holds
    await turns.over.wait()
    await act()
    return fault


async def nothing() -> None:
    """Does nothing."""


async def test_a_rotation_fails_one_after_the_other_and_goes_round() -> None:
    """Each is back before the next goes; healing starts the one that is down."""
    cluster, disks = cluster_with_disks()
    fault = await rotate(cluster, 3, nothing)
    assert [(turn["node"], turn["bit"], turn.get("back")) for turn in fault.turns] == [
        ("n2", True, True),
        ("n1", True, True),
        ("n2", True, True),
        ("n1", True, None),
    ]
    assert [await node.state() for node in cluster.nodes.values()] == ["dead", "running", "running"]
    proof = await fault.heal()
    assert proof.holds
    assert (proof.evidence["started"], proof.evidence["turns"]) == (["n1"], 4)
    assert (await fault.heal()).holds
    assert disks["n3"].losses == 0


async def test_a_turn_that_did_not_bite_ends_the_rotation_and_fails_the_proof() -> None:
    """It is told when the fault is healed."""
    cluster, disks = cluster_with_disks()
    disks["n1"].loss = Loss(synced_kept=True, unsynced_lost=False)
    turns = Turns(5)
    fault = Rotation(order=("n2", "n1"), down_s=1.0, cluster=cluster, sleep=turns.sleep)
    await fault.inject()
    for _ in range(50):
        await asyncio.sleep(0)
    proof = await fault.heal()
    assert not proof.holds
    assert [turn["node"] for turn in proof.evidence["turns_failed"]] == ["n1"]
    assert [await node.state() for node in cluster.nodes.values()] == ["running"] * 3


async def test_a_rotation_stands_still_while_the_cluster_is_frozen() -> None:
    """Nobody is started or failed beside nodes that somebody looks at; healing ends it all the same."""
    cluster, _ = cluster_with_disks()
    for name in ("n1", "n3"):
        await cluster.nodes[name].signal(signal.SIGSTOP)
    turns = Turns(1)
    fault = Rotation(order=("n2", "n1"), down_s=1.0, cluster=cluster, sleep=turns.sleep)
    await fault.inject()
    for _ in range(50):
        await asyncio.sleep(0)
    assert await cluster.nodes["n2"].state() is ProcessState.DEAD
    for name in ("n1", "n3"):
        await cluster.nodes[name].signal(signal.SIGCONT)
    await turns.over.wait()
    assert [turn["node"] for turn in fault.turns] == ["n2", "n1"]
    assert (await fault.heal()).holds


def test_what_was_resolved_says_it_all() -> None:
    """The same stream gives the same order; the summary names everybody."""
    parameters = PowerParameters.model_validate({"target": "all", "how": "rotating", "down": "250ms"})
    first, second = (FAMILY.resolve(parameters, targets=NODES, nodes=NODES, random=Random(7)) for _ in range(2))
    assert first == second
    assert sorted(first["order"]) == list(NODES)
    assert first["down_ns"] == 250_000_000
    assert "in turn, each for 250ms" in FAMILY.summary(first)
    together = FAMILY.resolve(PowerParameters(), targets=("n2",), nodes=NODES, random=Random(7))
    assert together == {"targets": ["n2"], "how": "together"}
    assert FAMILY.summary(together) == "power of n2 failed (unsynced writes lost)"
    assert FAMILY.setup(parameters).storage == {"image"}


@pytest.mark.parametrize("values", [{"down": "1s"}, {"how": "rotating", "down": "0s"}, {"how": "both"}])
def test_parameters_that_make_no_sense_are_refused(values: dict[str, str]) -> None:
    """A time to be down goes with a rotation only."""
    with pytest.raises(ValidationError):
        PowerParameters.model_validate(values)


def test_what_is_drawn_can_be_injected() -> None:
    """Whatever the stream, among however few nodes."""
    random = Random(3)
    drawn = [FAMILY.draw(random, NODES[:number]) for number in (1, 2, 3) for _ in range(50)]
    assert {parameters.how for parameters in drawn} == {"together", "rotating"}
    assert all(parameters.target != "minority" for parameters in drawn[:100])
