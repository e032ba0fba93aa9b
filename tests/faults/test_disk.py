"""Disks that fail and fail points, against file systems in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from faults.disk import DiskFamily, DiskParameters
from faults.disks.failpoint import FailPoint
from faults.disks.trouble import OWNER, DiskTrouble
from faults.fakes.cluster import FakeCluster, FakeNode, no_sleep
from faults.fakes.files import FakeFiles
from faults.filesystem.rules import Rule
from faults.needs import NotNowError, ProcessState

NODES = ("n1", "n2", "n3")
FAMILY = DiskFamily()


def cluster_with_files() -> tuple[FakeCluster, dict[str, FakeFiles]]:
    """Three nodes, each on a file system of ours."""
    cluster = FakeCluster(NODES)
    files = {name: FakeFiles(on_crash=lambda node=node: die(node)) for name, node in cluster.fake_nodes.items()}  # type: ignore[misc]
    for name, each in files.items():
        cluster.fake_nodes[name].files = each
    return cluster, files


def die(node: FakeNode) -> None:
    """As by SIGKILL."""
    node._state = ProcessState.DEAD


def resolved(said: dict[str, Any], *targets: str) -> dict[str, Any]:
    """What a scenario's line comes to."""
    parameters = DiskParameters.model_validate(said)
    facts = FAMILY.resolve(parameters, targets=targets or ("n1",), nodes=NODES, random=Random(0))
    again: dict[str, Any] = json.loads(json.dumps(facts))
    assert again == facts
    return again


def trouble(cluster: FakeCluster, said: dict[str, Any], *targets: str) -> DiskTrouble:
    fault = FAMILY.build(resolved(said, *targets), cluster)
    assert isinstance(fault, DiskTrouble)
    fault.sleep = no_sleep
    return fault


def point(cluster: FakeCluster, said: dict[str, Any], *targets: str) -> FailPoint:
    fault = FAMILY.build(resolved(said, *targets), cluster)
    assert isinstance(fault, FailPoint)
    fault.sleep = no_sleep
    return fault


TROUBLES: list[dict[str, Any]] = [
    {},
    {"kind": "slow", "operations": ["fsync"], "delay": "300ms", "probability": 0.01},
    {"kind": "error", "operations": ["write"], "error": "ENOSPC", "path": "wal/*"},
    {"kind": "error", "operations": ["mkdir"], "probability": 0.1},
    {"kind": "full"},
    {"kind": "short-write"},
    {"kind": "read-only"},
    {"kind": "dead"},
]


@pytest.mark.parametrize("said", TROUBLES, ids=str)
async def test_trouble_bites_its_targets_and_heals(said: dict[str, Any]) -> None:
    """The harness's own operations meet it, whatever its path and probability; afterwards nothing is left of it."""
    cluster, files = cluster_with_files()
    fault = trouble(cluster, said, "n1", "n3")
    assert (await fault.inject()).holds
    assert [OWNER in each.rules.sets for each in files.values()] == [True, False, True]
    assert len(cluster.undo.entries) == 2
    assert (await fault.heal()).holds
    assert (await fault.heal()).holds
    assert not any(each.rules.sets for each in files.values())
    assert cluster.undo.entries == {}


@pytest.mark.parametrize("said", TROUBLES, ids=str)
async def test_a_rule_without_effect_is_no_bite(said: dict[str, Any]) -> None:
    """The proof can fail, for every kind."""
    cluster, files = cluster_with_files()
    files["n1"].toothless = True
    assert not (await trouble(cluster, said).inject()).holds


async def test_trouble_that_stays_is_not_healed() -> None:
    """And what would undo it stays registered."""
    cluster, files = cluster_with_files()
    fault = trouble(cluster, {"kind": "dead"})
    await fault.inject()
    files["n1"].stubborn = True
    assert not (await fault.heal()).holds
    assert len(cluster.undo.entries) == 1


async def test_a_node_without_such_a_file_system_is_not_bitten() -> None:
    """It is named; healing says that it could not be verified."""
    cluster = FakeCluster(NODES)
    fault = trouble(cluster, {})
    assert (await fault.inject()).evidence["probes"] == {"n1": "no file system of ours"}
    assert not (await fault.heal()).holds


async def test_who_stops_when_the_disk_fails_is_excused_and_started_again() -> None:
    """Not so who stops while his disk is merely slow."""
    cluster, _ = cluster_with_files()
    node = cluster.fake_nodes["n1"]
    slow = trouble(cluster, {"kind": "slow"})
    await slow.inject()
    assert not node.dismissed
    await slow.heal()
    fault = trouble(cluster, {"kind": "error"})
    await fault.inject()
    assert node.dismissed
    die(node)
    healed = await fault.heal()
    assert healed.holds
    assert healed.evidence["started"] == ["n1"]


async def test_the_node_s_own_operations_are_counted() -> None:
    """What fitted, and what was hit: evidence at healing."""
    cluster, files = cluster_with_files()
    fault = trouble(cluster, {"kind": "error", "operations": ["fsync"], "path": "*.wal"})
    await fault.inject()
    assert [files["n1"].operate("fsync", path) for path in ("wal/1.wal", "wal/1.tmp", "2.wal")] == [5, None, 5]
    told = (await fault.heal()).evidence["disks"]["n1"]
    assert (told["node_operations_hit"], told["matched"]) == (2, 2)


async def test_a_fail_point_kills_at_exactly_that_operation() -> None:
    """The third sync of a file that fits, counted from the injection; nothing has an effect after it until healed."""
    cluster, files = cluster_with_files()
    operations = iter(
        [("fsync", "a.log"), ("fsync", "wal"), ("write", "a.log"), ("fsync", "b.log"), ("fsync", "c.log")]
    )

    async def work(_: float) -> None:
        if (operation := next(operations, None)) is not None:
            files["n1"].operate(*operation)

    fault = point(cluster, {"crash": {"at": "fsync", "number": 3, "path": "*.log"}})
    fault.sleep = work
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence["crashes"]["n1"]["path"] == "c.log"
    assert files["n1"].operate("write", "a.log") == 5
    healed = await fault.heal()
    assert healed.holds
    assert healed.evidence["started"] == ["n1"]
    assert files["n1"].operate("write", "a.log") is None
    assert cluster.undo.entries == {}


async def test_a_fail_point_that_is_not_reached_is_taken_back() -> None:
    """Nothing was done: it says so, and the node lives on with a disk that works."""
    cluster, files = cluster_with_files()
    fault = point(cluster, {"crash": {"at": "rename"}})
    with pytest.raises(NotNowError, match="1 x rename"):
        await fault.inject()
    assert not files["n1"].rules.sets
    assert await cluster.fake_nodes["n1"].state() is ProcessState.RUNNING
    assert (await fault.heal()).evidence["started"] == []


async def test_a_fail_point_that_is_reached_while_it_is_taken_back_bites() -> None:
    """The node is dead, and nobody else would start it again."""

    class ReachedFirst(FakeFiles):
        async def lay(self, owner: str, rules: Sequence[Rule]) -> None:
            if not rules and self.crash is None:
                self.operate("rename", "a")
            await super().lay(owner, rules)

    cluster, files = cluster_with_files()
    node = cluster.fake_nodes["n1"]
    files["n1"] = node.files = ReachedFirst(on_crash=lambda: die(node))
    fault = point(cluster, {"crash": {"at": "rename"}})
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence["crashes"]["n1"]["operation"] == "rename"
    assert (await fault.heal()).evidence["started"] == ["n1"]


async def test_a_fail_point_of_the_start_kills_the_node_first() -> None:
    """It is armed while the node is dead, so its first operation counts."""
    cluster, files = cluster_with_files()
    states = []

    async def recover(_: float) -> None:
        states.append(await cluster.fake_nodes["n1"].state())
        files["n1"].operate("fsync", "wal")

    fault = point(cluster, {"crash": {"since": "start"}})
    fault.sleep = recover
    assert (await fault.inject()).holds
    assert states == [ProcessState.RUNNING]


@pytest.mark.parametrize(
    ("said", "word"),
    [
        ({"kind": "full", "operations": ["write"]}, "operations"),
        ({"kind": "dead", "probability": 0.5}, "probability"),
        ({"kind": "error", "delay": "1s"}, "delay"),
        ({"delay": "4s"}, "at most 3s"),
        ({"delay": "0s"}, "longer than nothing"),
        ({"kind": "slow", "crash": {}}, "crash"),
        ({"kind": "crash", "path": "*.wal"}, "inside `crash`"),
        ({"kind": "error", "error": "EWHATEVER"}, "EIO"),
        ({"operations": ["sync"]}, "fsync"),
        ({"crash": {"number": 0}}, "greater than or equal to 1"),
        ({"probability": 0}, "greater than 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(said: dict[str, Any], word: str) -> None:
    """With the name of what does not fit, and what it goes with."""
    with pytest.raises(ValidationError, match=word):
        DiskParameters.model_validate(said)


def test_every_kind_has_words() -> None:
    """A person can tell them apart."""
    kinds = [*TROUBLES, {"kind": "torn-write"}, {"crash": {"at": "write", "number": 7, "power": True}}]
    words = {FAMILY.summary(resolved(said)) for said in kinds}
    assert len(words) == len(kinds)
    assert "disk of n1 is where it dies: before write 7, unsynced writes lost" in words


async def test_a_node_that_is_about_to_stop_is_waited_for() -> None:
    """It met an error just before the disk was healed: it is started again when it is dead, not left dead later."""
    cluster, files = cluster_with_files()
    fault = trouble(cluster, {"kind": "error", "operations": ["fsync"]})
    await fault.inject()
    files["n1"].operate("fsync", "wal")

    async def stop_meanwhile(_: float) -> None:
        die(cluster.fake_nodes["n1"])
        fault.sleep = no_sleep

    fault.sleep = stop_meanwhile
    healed = await fault.heal()
    assert healed.evidence["started"] == ["n1"]
    assert healed.holds
