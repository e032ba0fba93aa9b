"""Rot against a cluster in memory whose data is in real folders."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from faults.fakes.admin import FakeAdmin
from faults.fakes.cluster import FakeCluster, no_sleep
from faults.needs import NotNowError
from faults.rot import Rot, RotError, RotFamily, RotParameters, last_words

NODES = ("n1", "n2", "n3")
FAMILY = RotFamily()


@pytest.fixture
def cluster(tmp_path: Path) -> FakeCluster:
    """Each node has an old file and a newer one, and has said something."""
    made = FakeCluster(NODES)
    for name, node in made.fake_nodes.items():
        folder = tmp_path / name
        folder.mkdir()
        for number, file in enumerate(("old", "new")):
            (folder / file).write_bytes(Random(name + file).randbytes(10_000))
            os.utime(folder / file, (number, number))
        (tmp_path / f"{name}.log").write_text("starting\nthe log is damaged: refusing to start\n")
        node.data, node.log = str(folder), str(tmp_path / f"{name}.log")
    return made


def resolved(*targets: str, **values: object) -> Mapping[str, Any]:
    parameters = RotParameters.model_validate(values)
    return FAMILY.resolve(parameters, targets=targets, nodes=NODES, random=Random(5))


def rot(cluster: FakeCluster, *targets: str, **values: object) -> Rot:
    fault = FAMILY.build(resolved(*targets, **values), cluster)
    fault.sleep = no_sleep
    return fault


def contents(cluster: FakeCluster) -> dict[str, list[bytes]]:
    folders = {name: Path(node.data) for name, node in cluster.fake_nodes.items()}
    return {name: [path.read_bytes() for path in sorted(folder.iterdir())] for name, folder in folders.items()}


async def test_the_targets_data_changes_while_they_are_down(cluster: FakeCluster) -> None:
    """Nobody else's; they run again when it is healed, and healing twice starts nobody twice."""
    before = contents(cluster)
    fault = rot(cluster, "n2", amount=3)
    proof = await fault.inject()
    assert proof.holds
    assert [edit["found"] == edit["after"] for edit in proof.evidence["edits"]["n2"]] == [True] * 3
    assert [name for name, files in contents(cluster).items() if files != before[name]] == ["n2"]
    assert [await node.state() for node in cluster.nodes.values()] == ["running", "dead", "running"]
    healed = await fault.heal()
    assert healed.holds
    assert (healed.evidence["started"], healed.evidence["refused"]) == (["n2"], False)
    assert (await fault.heal()).evidence["started"] == []


async def test_the_same_files_rot_in_the_same_way(cluster: FakeCluster) -> None:
    """What was resolved is enough to repeat it; two targets do not rot alike."""
    first = await rot(cluster, "n1", "n3", kind="flip").inject()
    places = {name: [edit["offset"] for edit in edits] for name, edits in first.evidence["edits"].items()}
    assert places["n1"] != places["n3"]
    for name in ("n1", "n3"):
        await cluster.nodes[name].start()
    again = await rot(cluster, "n1", "n3", kind="flip").inject()
    assert {name: [edit["offset"] for edit in edits] for name, edits in again.evidence["edits"].items()} == places
    assert [edit["after"] for edit in again.evidence["edits"]["n1"]] == [
        edit["before"] for edit in first.evidence["edits"]["n1"]
    ]


async def test_a_node_may_refuse_to_start(cluster: FakeCluster) -> None:
    """That is a healing with its last words; it is not started again."""
    fault = rot(cluster, "n1")
    await fault.inject()
    cluster.fake_nodes["n1"].broken_start = True
    proof = await fault.heal()
    assert proof.holds
    assert proof.evidence["refused"] is True
    assert proof.evidence["last_words"] == {"n1": "the log is damaged: refusing to start"}
    again = await fault.heal()
    assert again.holds
    assert again.evidence["started"] == []


async def test_who_refuses_is_replaced_where_that_is_possible(cluster: FakeCluster) -> None:
    """Under another identity, without the damaged data; and it runs."""
    admin = FakeAdmin(cluster)
    cluster.admin = admin
    before = {member.node: member.id for member in admin.entries.values()}
    fault = rot(cluster, "n1")
    await fault.inject()
    cluster.fake_nodes["n1"].rotten = True
    proof = await fault.heal()
    assert proof.holds
    assert (proof.evidence["refused"], proof.evidence["replaced"]) == (True, {"n1": "yes"})
    after = {member.node: member.id for member in admin.entries.values()}
    assert [name for name in NODES if after[name] != before[name]] == ["n1"]
    assert [await node.state() for node in cluster.nodes.values()] == ["running"] * 3


async def test_who_cannot_be_replaced_stays_down(cluster: FakeCluster) -> None:
    """The refusal is still within its rights; why nobody came in its place is told."""
    admin = FakeAdmin(cluster)
    cluster.admin = admin
    fault = rot(cluster, "n1")
    await fault.inject()
    cluster.fake_nodes["n1"].rotten = True
    await cluster.nodes["n2"].signal(signal.SIGKILL)
    proof = await fault.heal()
    assert proof.holds
    assert proof.evidence["replaced"]["n1"].startswith("no: ")
    assert not admin.changes


async def test_who_refuses_without_a_word_is_not_healed(cluster: FakeCluster) -> None:
    """Nothing shows then that it was a refusal."""
    Path(cluster.fake_nodes["n1"].log).unlink()
    fault = rot(cluster, "n1")
    await fault.inject()
    cluster.fake_nodes["n1"].broken_start = True
    assert not (await fault.heal()).holds


async def test_nobody_is_killed_for_data_that_is_too_new(cluster: FakeCluster) -> None:
    """A tail that is spared whole, or a pattern that nothing matches, is said before anybody is touched."""
    (Path(cluster.fake_nodes["n3"].data) / "old").unlink()
    for fault in (
        rot(cluster, "n1", "n3", spare_tail=10_000),
        rot(cluster, "n1", files="*.wal"),
        rot(cluster, "n3", kind="truncate"),
    ):
        with pytest.raises(NotNowError, match="no data yet that may rot"):
            await fault.inject()
        assert (await fault.heal()).holds
    assert [await node.state() for node in cluster.nodes.values()] == ["running"] * 3


async def test_who_does_not_die_is_left_alone(cluster: FakeCluster) -> None:
    """Its files are open: that would be another fault."""
    before = contents(cluster)
    cluster.fake_nodes["n1"].deaf_to = frozenset({signal.SIGKILL})
    assert not (await rot(cluster, "n1").inject()).holds
    assert contents(cluster) == before


async def test_data_that_cannot_change_is_no_bite(cluster: FakeCluster) -> None:
    """Zeros in a file of zeros."""
    for file in Path(cluster.fake_nodes["n1"].data).iterdir():
        file.write_bytes(bytes(5000) + b"x" * 5000)
        os.utime(file, (1, 1))
    (Path(cluster.fake_nodes["n1"].data) / "old").write_bytes(bytes(9999) + b"x")
    proof = await rot(cluster, "n1", kind="zero", files="old", spare_tail=5000).inject()
    assert not proof.holds
    assert proof.evidence["edits"] == {"n1": []}


async def test_tools_that_fail_are_told(cluster: FakeCluster) -> None:
    """With the host's own words."""
    cluster.fake_nodes["n1"].broken_tools = True
    with pytest.raises(RotError, match="on n1: no such tool"):
        await rot(cluster, "n1").inject()


def test_what_was_resolved_says_it_all() -> None:
    """Plain JSON with a seed; the summary names who and what."""
    assert FAMILY.damages
    assert resolved("n2", kind="zero", amount=2, files="*.wal") == {
        "targets": ["n2"],
        "kind": "zero",
        "files": "*.wal",
        "amount": 2,
        "spare_tail": 4096,
        "seed": Random(5).getrandbits(32),
    }
    assert FAMILY.summary(resolved("n2")) == "data of n2 rotted (flip, zero, copy-chunk or truncate)"
    assert "2 times, in *.wal" in FAMILY.summary(resolved("n1", amount=2, files="*.wal"))


@pytest.mark.parametrize(
    "values", [{"kind": "burn"}, {"amount": 0}, {"amount": 101}, {"spare_tail": -1}, {"files": ""}]
)
def test_parameters_that_make_no_sense_are_refused(values: dict[str, Any]) -> None:
    """By name and value."""
    with pytest.raises(ValidationError):
        RotParameters.model_validate(values)


def test_what_is_drawn_hits_one_node() -> None:
    """At most a minority, whatever the stream."""
    random = Random(1)
    assert {FAMILY.draw(random, NODES).target for _ in range(20)} == {"one"}


def test_last_words_of_a_panic_are_its_cause() -> None:
    """A stack follows it; everybody else says why last."""
    stack = "goroutine 1 [running]:\n\tmain.go:5 +0x24a"
    assert (
        last_words(f"started\npanic: the log is short [recovered]\n{stack}\n") == "panic: the log is short [recovered]"
    )
    assert last_words("started\nrefusing to start\n") == "refusing to start"
    assert last_words("") == ""
