"""Kills against a cluster in memory."""

from __future__ import annotations

import json
import signal
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from faults.fakes.cluster import FakeCluster, no_sleep
from faults.kill import Kill, KillFamily, KillParameters
from faults.needs import ProcessState

FAMILY = KillFamily()
NODES = ("n1", "n2", "n3")


def kill(cluster: FakeCluster, *targets: str, **how: float) -> Kill:
    return Kill(targets=targets, cluster=cluster, sleep=no_sleep, **how)


def resolved(targets: tuple[str, ...] = NODES, seed: int = 0, **parameters: Any) -> Any:
    return FAMILY.resolve(KillParameters(**parameters), targets=targets, nodes=NODES, random=Random(seed))


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


class Diary:
    """Who was started and killed, in order, with how much was slept before: a cluster whose sleeps are written down."""

    def __init__(self) -> None:
        self.cluster = FakeCluster(NODES)
        self.lines: list[str] = []

    async def sleep(self, seconds: float) -> None:
        states = [await node.state() for node in self.cluster.nodes.values()]
        self.lines.append(f"{seconds:g}: {' '.join(states)}")


async def test_a_rolling_restart_takes_down_one_at_a_time() -> None:
    """At most one node is down at any moment; each but the last is back when the injection is over."""
    diary = Diary()
    fault = Kill(targets=("n2", "n1", "n3"), cluster=diary.cluster, sleep=diary.sleep, down_s=0.7)
    proof = await fault.inject()
    assert proof.holds
    assert [turn["node"] for turn in proof.evidence["turns"]] == ["n2", "n1", "n3"]
    assert [line for line in diary.lines if line.startswith("0.7")] == [
        "0.7: running dead running",
        "0.7: dead running running",
    ]
    assert all(line.count("dead") <= 1 for line in diary.lines)
    assert [await node.state() for node in diary.cluster.nodes.values()] == ["running", "running", "dead"]
    healed = await fault.heal()
    assert healed.holds
    assert healed.evidence["started"] == ["n3"]


async def test_a_rolling_restart_ends_where_a_node_does_not_come_back() -> None:
    """Nobody else is taken down, the proof fails, and healing tries again."""
    cluster = FakeCluster(NODES)
    cluster.fake_nodes["n1"].broken_start = True
    fault = kill(cluster, "n1", "n2", "n3", down_s=0.1)
    proof = await fault.inject()
    assert not proof.holds
    assert [await node.state() for node in cluster.nodes.values()] == ["dead", "running", "running"]
    cluster.fake_nodes["n1"].broken_start = False
    assert (await fault.heal()).holds


async def test_staggered_deaths_and_starts_are_so_far_apart() -> None:
    """The gap grows with the place in the order, at the deaths and at the starts."""
    diary = Diary()
    fault = Kill(targets=("n1", "n2", "n3"), cluster=diary.cluster, sleep=diary.sleep, gap_s=0.2)
    assert (await fault.inject()).holds
    assert [line.split(":")[0] for line in diary.lines] == ["0.2", "0.4"]
    diary.lines.clear()
    assert (await fault.heal()).holds
    assert [line.split(":")[0] for line in diary.lines] == ["0.2", "0.4", "0.1"]


async def test_who_does_not_end_when_asked_is_killed() -> None:
    """SIGTERM first; the evidence says whom it ended, and who had to be killed after the grace."""
    cluster = FakeCluster(NODES)
    cluster.fake_nodes["n2"].deaf_to = frozenset({signal.SIGTERM})
    proof = await kill(cluster, "n1", "n2", grace_s=0.01).inject()
    assert proof.holds
    assert proof.evidence["ended_by"] == {"n1": "SIGTERM", "n2": "SIGKILL after the grace"}
    assert await cluster.nodes["n3"].state() is ProcessState.RUNNING


def test_what_is_resolved_repeats() -> None:
    """The order of deaths is drawn once, and stands in the schedule with all times."""
    for how in ("together", "staggered", "rolling"):
        facts = resolved(how=how, signal="terminate", seed=3)
        assert facts == resolved(how=how, signal="terminate", seed=3)
        assert json.loads(json.dumps(facts)) == facts
        assert sorted(facts["targets"]) == list(NODES)
        fault = FAMILY.build(facts, FakeCluster(NODES))
        assert (fault.grace_s, fault.targets) == (2.0, tuple(facts["targets"]))
    assert FAMILY.build({"targets": ["n1"]}, FakeCluster(NODES)).grace_s is None, "a schedule of an older version"


def test_words() -> None:
    """Summaries say what is sent, to whom, and in what manner."""
    assert FAMILY.summary({"targets": ["n1"]}) == "n1 killed (SIGKILL)"
    assert FAMILY.summary(resolved(("n1",), signal="terminate")) == "n1 terminated (SIGTERM, SIGKILL after 2s)"
    assert "200ms apart" in FAMILY.summary(resolved(how="staggered"))
    assert "each back before the next" in FAMILY.summary(resolved(how="rolling"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"signal": "hup"},
        {"how": "slowly"},
        {"gap": "1s"},
        {"how": "rolling", "gap": "1s"},
        {"how": "staggered", "down": "1s"},
        {"how": "staggered", "gap": "0s"},
        {"grace": "1s"},
        {"gap": 3, "how": "staggered"},
    ],
)
def test_bad_parameters_are_refused(wrong: dict[str, Any]) -> None:
    """Unknown names and values, and times that the manner does not have."""
    with pytest.raises(ValidationError):
        KillParameters.model_validate(wrong)


@pytest.mark.parametrize("long", [{"how": "rolling", "down": "5s"}, {"how": "staggered", "gap": "5s"}])
def test_a_round_that_would_be_given_up_is_refused(long: dict[str, Any]) -> None:
    """What takes longer than an injection may take is refused with the times, before anything runs."""
    with pytest.raises(ValueError, match="at most 8s"):
        resolved(**KillParameters.model_validate(long).model_dump(mode="json", exclude_none=True))
