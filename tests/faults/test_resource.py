"""Restraints against a cluster in memory, whose groups are a few numbers."""

from __future__ import annotations

import json
import signal
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from faults.fakes.cluster import FakeCluster, FakeDisk, no_sleep
from faults.fakes.limits import FakeLimits
from faults.family import Setup
from faults.needs import ProcessState
from faults.resource import Resource, ResourceFamily, ResourceParameters

FAMILY = ResourceFamily()
NODES = ("n1", "n2", "n3")
EVERYTHING: dict[str, Any] = {"cpu": "10%", "memory": "64MiB", "pressure": True, "files": 16, "disk": "full"}


def cluster() -> tuple[FakeCluster, FakeLimits]:
    """A cluster in which everything can be limited, and the limits of its first node."""
    made = FakeCluster(NODES)
    for node in made.fake_nodes.values():
        node.limits, node.disk = FakeLimits(), FakeDisk()
    limits = made.fake_nodes["n1"].limits
    assert isinstance(limits, FakeLimits)
    return made, limits


def resolved(targets: tuple[str, ...] = ("n1",), **parameters: Any) -> Any:
    return FAMILY.resolve(ResourceParameters(**parameters), targets=targets, nodes=NODES, random=Random(0))


def fault(made: FakeCluster, *targets: str, **parameters: Any) -> Resource:
    facts = resolved(targets or ("n1",), **parameters)
    return Resource(targets=tuple(facts["targets"]), facts=facts, cluster=made, sleep=no_sleep)


@pytest.mark.parametrize("kind", ["cpu", "memory", "files", "disk"])
async def test_a_restraint_bites_is_registered_and_lifted(kind: str) -> None:
    """Each alone: proved at the target, with an undo entry; healing sets back what was there and discharges it."""
    made, limits = cluster()
    before, files = dict(limits.set), made.fake_nodes["n1"].file_limit.soft
    restraint = fault(made, **{kind: EVERYTHING[kind]})
    proof = await restraint.inject()
    assert proof.holds
    assert set(proof.evidence["n1"]) == {kind}
    assert len(made.undo.entries) == 1
    assert (await restraint.heal()).holds
    assert (limits.set, made.fake_nodes["n1"].file_limit.soft) == (before, files)
    assert not made.undo.entries
    assert (await restraint.heal()).holds, "healing twice is safe"


async def test_all_at_once_on_several_nodes() -> None:
    """Everything of two nodes; the third is left alone."""
    made, _ = cluster()
    restraint = fault(made, "n1", "n2", **EVERYTHING)
    proof = await restraint.inject()
    assert proof.holds
    assert list(proof.evidence["n2"]) == ["files", "memory", "cpu", "disk"]
    untouched = made.fake_nodes["n3"].limits
    assert isinstance(untouched, FakeLimits)
    assert untouched.set == FakeLimits().set
    assert len(made.undo.entries) == 8
    assert (await restraint.heal()).holds
    assert not made.undo.entries


async def test_memory_is_a_share_of_what_is_in_use() -> None:
    """A percentage is taken of the group's use when the fault begins."""
    made, limits = cluster()
    await fault(made, memory="150%").inject()
    assert float(limits.set["memory"]) == 30 << 20


async def test_open_files_are_counted_from_what_is_open() -> None:
    """``2 more`` than the 30 that the process has."""
    made, _ = cluster()
    proof = await fault(made, files="2 more").inject()
    assert made.fake_nodes["n1"].file_limit.soft == "32"
    assert list(proof.evidence["n1"]["files"]["open"].values()) == [30]


@pytest.mark.parametrize("kind", ["cpu", "memory"])
async def test_a_limit_without_effect_is_no_bite(kind: str) -> None:
    """What is read back as asked, but holds nobody, fails the proof."""
    made, limits = cluster()
    limits.stubborn = True
    assert not (await fault(made, **{kind: EVERYTHING[kind]}).inject()).holds


@pytest.mark.parametrize("kind", ["cpu", "memory"])
async def test_a_process_outside_the_group_is_no_bite(kind: str) -> None:
    """A limit that not every process of the node is under fails the proof, and names who is not."""
    made, limits = cluster()
    limits.strangers = tuple(made.nodes["n1"].pids())
    proof = await fault(made, **{kind: EVERYTHING[kind]}).inject()
    assert not proof.holds
    assert proof.evidence["n1"][kind]["processes_outside"] == list(limits.strangers)


async def test_a_process_that_keeps_its_files_is_no_bite() -> None:
    """A limit of open files that does not become what was asked for."""
    made, _ = cluster()
    made.fake_nodes["n1"].file_limit.stubborn = True
    assert not (await fault(made, files=16).inject()).holds


async def test_a_limit_that_leaves_as_much_as_before_is_no_bite() -> None:
    """As many files as a process might open anyway, or more: nothing is taken from it, and nothing is given."""
    made, _ = cluster()
    for count in (1024, 4096):
        assert not (await fault(made, files=count).inject()).holds
        assert made.fake_nodes["n1"].file_limit.soft == "1024"


async def test_a_disk_that_never_fills_is_no_bite() -> None:
    """A write that still works fails the proof."""
    made, _ = cluster()
    disk = made.fake_nodes["n1"].disk
    assert isinstance(disk, FakeDisk)
    disk.stubborn = True
    assert not (await fault(made, disk="full").inject()).holds


async def test_a_dead_node_cannot_be_restrained() -> None:
    """The dead need nothing; healing starts the node all the same."""
    made, _ = cluster()
    await made.nodes["n1"].signal(signal.SIGKILL)
    restraint = fault(made, cpu="10%")
    assert not (await restraint.inject()).holds
    assert (await restraint.heal()).holds
    assert await made.nodes["n1"].state() is ProcessState.RUNNING


async def test_what_is_not_set_back_stays_with_the_watchdog() -> None:
    """Healing that is not verified fails, keeps the undo entry, and can be tried again."""
    made, limits = cluster()
    restraint = fault(made, cpu="10%", memory="64MiB")
    await restraint.inject()
    limits.forgetful = True
    assert not (await restraint.heal()).holds
    assert set(made.undo.entries) == {"cpu of n1", "memory of n1"}
    limits.forgetful = False
    assert (await restraint.heal()).holds
    assert not made.undo.entries


async def test_a_node_that_died_of_it_is_started_again() -> None:
    """Who was killed for memory runs after healing; the harness's own processes are not counted among the killed."""
    made, limits = cluster()
    restraint = fault(made, memory="64MiB")
    await restraint.inject()
    limits.counted["kills"] += 1
    await made.nodes["n1"].signal(signal.SIGKILL)
    proof = await restraint.heal()
    assert proof.holds
    assert proof.evidence["started"] == ["n1"]
    assert proof.evidence["n1"]["memory"]["killed_for_memory"] == 1


async def test_a_node_that_is_killed_for_memory_at_once_was_hit() -> None:
    """A container takes its group with it: the limit was seen set, and the node that had been running is dead."""
    made, limits = cluster()
    node = made.fake_nodes["n1"]

    async def die() -> None:
        limits.gone = True
        await node.signal(signal.SIGKILL)

    limits.on_limit = die
    restraint = fault(made, memory="64MiB")
    proof = await restraint.inject()
    assert proof.holds
    assert proof.evidence["n1"]["memory"]["died_at_once"]
    node.limits = FakeLimits()
    assert (await restraint.heal()).holds
    assert await node.state() is ProcessState.RUNNING


async def test_a_node_that_does_not_come_back_is_no_healing() -> None:
    """A server that dies at once when it is started again fails the proof."""
    made, _ = cluster()
    restraint = fault(made, memory="64MiB")
    await restraint.inject()
    await made.nodes["n1"].signal(signal.SIGKILL)
    made.fake_nodes["n1"].broken_start = True
    assert not (await restraint.heal()).holds


async def test_a_failed_injection_can_be_healed() -> None:
    """When the second restraint cannot be had, the first is lifted."""
    made, limits = cluster()
    made.fake_nodes["n1"].disk = None
    restraint = fault(made, cpu="10%", disk="full")
    with pytest.raises(Exception, match="no disk of its own"):
        await restraint.inject()
    assert (await restraint.heal()).holds
    assert limits.set["cpu"] == "max"
    assert not made.undo.entries


async def test_a_node_without_a_group_is_told() -> None:
    """Where there is no control group the reason names the node and what was wanted."""
    made = FakeCluster(NODES)
    with pytest.raises(Exception, match="n1 has no control group here that limits memory"):
        await fault(made, memory="64MiB").inject()


@given(seed=st.integers(min_value=0, max_value=500))
async def test_whatever_is_drawn_bites_and_heals(seed: int) -> None:
    """Every restraint that is drawn can be injected; what is resolved is plain JSON and enough to repeat it."""
    made, _ = cluster()
    parameters = FAMILY.draw(Random(seed), NODES)
    facts = FAMILY.resolve(parameters, targets=("n2",), nodes=NODES, random=Random(seed))
    assert json.loads(json.dumps(facts)) == facts
    restraint = FAMILY.build(facts, made)
    restraint.sleep = no_sleep
    assert (await restraint.inject()).holds
    assert (await restraint.heal()).holds


def test_what_must_be_there_from_the_start() -> None:
    """Groups for processor and memory, an image for a full disk, nothing for files."""
    assert FAMILY.setup(ResourceParameters(cpu="10%")) == Setup(groups=True)
    assert FAMILY.setup(ResourceParameters(memory="120%")) == Setup(groups=True)
    assert FAMILY.setup(ResourceParameters(disk="full")) == Setup(storage=frozenset({"image"}))
    assert FAMILY.setup(ResourceParameters(files=9)) == Setup()


def test_words() -> None:
    """A summary says who has how little of what."""
    assert FAMILY.summary(resolved(**EVERYTHING)) == (
        "n1: 10% of a processor, memory limited to 64 MiB under pressure, 16 open files, a full disk"
    )
    assert FAMILY.summary(resolved(memory="120%")) == "n1: memory limited to 120% of its use"
    assert FAMILY.summary(resolved(files="2 more")) == "n1: 2 more open files"


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({}, "at least one of cpu, memory, files, disk"),
        ({"cpu": "ten"}, "percentage"),
        ({"cpu": "200%"}, "1% to 100%"),
        ({"cpu": 0.1}, "cpu"),
        ({"memory": "64"}, "64MiB"),
        ({"memory": "1KiB"}, "no process lives"),
        ({"memory": "20%"}, "50% to 1000%"),
        ({"pressure": True, "cpu": "10%"}, "goes with `memory`"),
        ({"files": 0}, "at least 3"),
        ({"files": "many"}, "2 more"),
        ({"disk": "half"}, "full"),
        ({"bandwidth": "1Mbit"}, "bandwidth"),
    ],
)
def test_bad_parameters_are_refused_in_words(wrong: dict[str, Any], word: str) -> None:
    """Unknown names, wrong units and amounts out of bounds, with the value and what to write."""
    with pytest.raises(ValidationError, match=word):
        ResourceParameters.model_validate(wrong)
