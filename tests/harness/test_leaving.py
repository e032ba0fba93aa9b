"""A majority is healed and the rest left behind: who, how, and in which order."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.fakes.cluster import FakeCluster
from faults.needs import ProcessState
from harness.errors import UsageError
from harness.fakes import VirtualLoop, run_virtual
from harness.nemesis.leaving import Behind, Heal, Leaving, draw_leaving
from harness.nemesis.nemesis import Nemesis
from harness.planning.scenario import parse_scenario
from tests.harness.test_nemesis import nemesis_of

NODES = ("n1", "n2", "n3", "n4", "n5")


@given(seed=st.integers(0, 2**31), count=st.integers(3, 9), dead=st.integers(0, 9))
def test_a_majority_stays_whole(seed: int, count: int, dead: int) -> None:
    """However many are dead already: those are left behind first, and never half of the nodes or more in all."""
    nodes = NODES[:count] if count <= 5 else tuple(f"n{number}" for number in range(1, count + 1))
    leaving = draw_leaving("majority", nodes, seed, one_way=False)
    assert leaving is not None
    left = leaving.left(nodes[:dead])
    assert 0 < len(left) <= (len(nodes) - 1) // 2
    assert set(left) <= set(nodes[:dead]) or set(nodes[:dead]) <= set(left)
    assert leaving.way != "one-way"


@pytest.mark.parametrize("heal", ["all", "either", "majority"])
def test_the_seed_decides(heal: Heal) -> None:
    """The same seed leaves the same nodes; ``either`` does it in about half of the runs, ``all`` never."""
    drawn = [draw_leaving(heal, NODES, seed, one_way=True) for seed in range(200)]
    assert drawn == [draw_leaving(heal, NODES, seed, one_way=True) for seed in range(200)]
    partial = [leaving for leaving in drawn if leaving is not None]
    assert len(partial) in {"all": range(1), "either": range(60, 140), "majority": range(200, 201)}[heal]
    assert {leaving.way for leaving in partial} == (set() if heal == "all" else {"stopped", "cut", "one-way"})


def test_a_scenario_says_who_stays_behind_and_how() -> None:
    """What it says is not drawn; what it does not say is, as before."""
    drawn = draw_leaving("majority", NODES, 7, one_way=True)
    named = draw_leaving("majority", NODES, 7, one_way=True, behind=Behind(target=["n5", "n2"], how="cut"))
    assert drawn is not None
    assert named is not None
    assert (named.left(()), named.way, named.direction) == (("n5", "n2"), "cut", "both")
    asked = Behind(target="leader", how="one-way", direction="in")
    leader = draw_leaving("majority", NODES, 7, one_way=True, behind=asked)
    assert leader is not None
    assert (leader.behind_leader("n3").left(()), leader.way, leader.direction) == (("n3",), "one-way", "in")
    assert leader.behind_leader(None).left(()) == drawn.left(())[:1]
    deaf = Leaving(order=NODES, count=1, way="messages", direction="in")
    assert deaf.fault(("n1",)) == ("message", {"target": ["n1"], "direction": "in", "action": "drop"})
    ways = {draw_leaving("majority", NODES, seed, one_way=True, hooked=True).way for seed in range(200)}  # type: ignore[union-attr]
    assert ways == {"stopped", "cut", "one-way", "messages"}
    assert drawn.behind_leader("n3") == drawn


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ("behind: {target: leader}", "say heal: majority"),
        ("heal: majority\nbehind: {target: n7}", "unknown node 'n7'"),
        ("heal: majority\nbehind: {target: [n1, n2]}", "n1, n2 are no minority of 3 nodes"),
        ("heal: majority\nbehind: {how: cut, direction: in}", "a direction goes with"),
        ("system: etcd\nheal: majority\nbehind: {how: one-way}", "etcd promises no progress"),
        ("system: etcd\nheal: majority\nbehind: {how: messages}", "etcd promises no progress"),
    ],
)
def test_who_cannot_stay_behind_is_refused(lines: str, problem: str) -> None:
    """Before anything starts, with the value."""
    with pytest.raises(UsageError, match=problem):
        parse_scenario(f"name: t\nnodes: 3\n{lines}\n", "t.yaml")


def test_two_nodes_have_no_smaller_majority() -> None:
    """A scenario that asks for it is refused; drawing says no, too."""
    assert draw_leaving("majority", ("n1", "n2"), 1, one_way=False) is None
    with pytest.raises(UsageError, match="every majority of 2 is all of them"):
        parse_scenario("name: t\nnodes: 2\nheal: majority\n", "t.yaml")


def leaving(way: Any) -> Leaving:
    """Leaves n4 and n5 behind."""
    return Leaving(order=("n4", "n5", "n1", "n2", "n3"), count=2, way=way, direction="both")


def play(folder: Path, faults: str, way: Any, look: Any) -> list[dict[str, Any]]:
    """Plays for ten seconds, looks at the cluster while some are left behind, heals the rest; lines of the schedule."""

    async def main(loop: VirtualLoop) -> list[dict[str, Any]]:
        nemesis = nemesis_of(faults, folder, loop)
        nemesis.leaving = leaving(way)
        stop = asyncio.Event()
        loop.call_later(10, stop.set)
        await nemesis.play(stop)
        await look(nemesis, nemesis.cluster)
        await nemesis.release()
        nemesis.recorder.close()
        assert nemesis.claims.held == {}
        assert all(node.firewall.is_clean() for node in nemesis.cluster.fake_nodes.values())  # type: ignore[attr-defined]
        return [orjson.loads(line) for line in nemesis.file.read_bytes().splitlines()]

    return run_virtual(main)


KILL = "  - {at: 9s, for: 9s, kill: {target: [n1, n5]}}\n"


def test_those_left_behind_are_cut_off_before_anything_is_healed(tmp_path: Path) -> None:
    """And stay so while the others are whole; then they are healed, too, each with its proof."""

    async def look(nemesis: Nemesis, cluster: FakeCluster) -> None:
        assert nemesis.left == ("n4", "n5")
        seen = await cluster.links.probe(cluster.pairs(), timeout_s=0)
        assert {pair for pair, through in seen.items() if through} == {
            (a, b) for a, b in cluster.pairs() if {a, b} <= {"n1", "n2", "n3"} or {a, b} == {"n4", "n5"}
        }
        assert {await node.state() for node in cluster.nodes.values()} == {ProcessState.RUNNING}

    kill, cut = play(tmp_path, KILL, "cut", look)
    assert (kill["family"], cut["family"]) == ("kill", "partition")
    assert cut["injected_ns"][1] <= kill["healed_ns"][0]
    assert all(row["bit"]["holds"] and row["healed"]["holds"] for row in (kill, cut))
    assert cut["id"] == 2


def test_who_may_not_start_again_is_left_behind_first(tmp_path: Path) -> None:
    """A node whose data was damaged, and one that is dead for reasons of its own, are no part of the majority."""

    async def main(loop: VirtualLoop) -> tuple[str, ...]:
        nemesis = nemesis_of("  []\n", tmp_path, loop)
        nemesis.leaving = leaving("cut")
        nemesis.claims.damaged = {"n2"}
        await nemesis.cluster.nodes["n3"].signal(9)
        stop = asyncio.Event()
        stop.set()
        await nemesis.play(stop)
        await nemesis.release()
        nemesis.recorder.close()
        return nemesis.left

    assert set(run_virtual(main)) == {"n2", "n3"}


def test_stopped_means_killed_behind_the_cut(tmp_path: Path) -> None:
    """When their links are open again they are dead, so at no time do they help."""

    async def look(nemesis: Nemesis, cluster: FakeCluster) -> None:
        states = {name: await node.state() for name, node in cluster.nodes.items()}
        assert [name for name, state in states.items() if state is ProcessState.DEAD] == list(nemesis.left)

    rows = {row["id"]: row for row in play(tmp_path, KILL, "stopped", look)}
    assert [rows[number]["family"] for number in (1, 2, 3)] == ["kill", "partition", "kill"]
    assert rows[3]["injected_ns"][1] <= rows[2]["healed_ns"][0] <= rows[3]["healed_ns"][0]


def test_nothing_is_healed_while_a_leader_is_waited_for_who_shall_stay_behind(tmp_path: Path) -> None:
    """Or who was cut off until then would hear of everything once more, and nobody would have been missed."""

    async def main(loop: VirtualLoop) -> list[dict[str, Any]]:
        nemesis = nemesis_of("  - {at: 9s, for: 2s, partition: {shape: isolate, target: n2}}\n", tmp_path, loop)

        async def leader() -> str | None:
            return "n1" if loop.time() > 12 else None

        nemesis.leader = leader
        nemesis.leaving = replace(leaving("cut"), leader=True, count=1)
        stop = asyncio.Event()
        loop.call_later(10, stop.set)
        await nemesis.play(stop)
        assert nemesis.left == ("n1",)
        await nemesis.release()
        nemesis.recorder.close()
        return [orjson.loads(line) for line in nemesis.file.read_bytes().splitlines()]

    planned, cut = run_virtual(main)
    assert cut["targets"] == ["n1"]
    assert planned["injected_ns"][1] < 12e9 <= cut["injected_ns"][1] <= planned["healed_ns"][0]


def test_what_goes_wrong_with_the_leaving_leaves_nothing_broken(tmp_path: Path) -> None:
    """It is told when all faults have been healed, and not before."""

    async def main(loop: VirtualLoop) -> list[dict[str, Any]]:
        nemesis = nemesis_of("  - {at: 1s, for: 20s, pause: {target: n5}}\n", tmp_path, loop)

        async def leader() -> str | None:
            raise OSError("nobody can be asked")

        nemesis.leader = leader
        nemesis.leaving = replace(leaving("cut"), leader=True)
        stop = asyncio.Event()
        loop.call_later(5, stop.set)
        with pytest.raises(OSError, match="nobody can be asked"):
            await nemesis.play(stop)
        assert nemesis.claims.held == {}
        nemesis.recorder.close()
        return [orjson.loads(line) for line in nemesis.file.read_bytes().splitlines()]

    (pause,) = run_virtual(main)
    assert pause["healed"]["holds"]
    assert pause["healed_ns"][0] < 6e9


@pytest.mark.parametrize("direction", ["in", "out"])
def test_who_cannot_be_told_to_drop_messages_is_cut_off_on_the_wire(tmp_path: Path, direction: Any) -> None:
    """A paused node could not be made deaf, and would have gone unproved; which way it is cut stays as it was drawn."""

    async def main(loop: VirtualLoop) -> list[dict[str, Any]]:
        nemesis = nemesis_of("  - {at: 1s, for: 20s, pause: {target: n5}}\n", tmp_path, loop)
        nemesis.leaving = replace(leaving("messages"), direction=direction)
        stop = asyncio.Event()
        loop.call_later(5, stop.set)
        await nemesis.play(stop)
        assert (nemesis.leaving.way, nemesis.leaving.direction) == ("one-way", direction)
        await nemesis.release()
        nemesis.recorder.close()
        return [orjson.loads(line) for line in nemesis.file.read_bytes().splitlines()]

    pause, cut = run_virtual(main)
    assert (pause["family"], cut["family"], cut["parameters"]["direction"]) == ("pause", "partition", direction)
    assert cut["bit"]["holds"]


def test_an_interruption_heals_everything(tmp_path: Path) -> None:
    """Whoever ends the run early takes the leaving back."""

    async def main(loop: VirtualLoop) -> Nemesis:
        nemesis = nemesis_of(KILL, tmp_path, loop)
        nemesis.leaving = leaving("cut")
        stop = asyncio.Event()

        def interrupt() -> None:
            nemesis.leaving = None
            stop.set()

        loop.call_later(9.5, interrupt)
        await nemesis.play(stop)
        nemesis.recorder.close()
        return nemesis

    nemesis = run_virtual(main)
    assert nemesis.left == ()
    assert nemesis.active == {}


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_drawn_has_words(seed: int) -> None:
    """A run must not fail because nobody can say what became of the minority."""
    way = draw_leaving("majority", ("n1", "n2", "n3", "n4", "n5"), seed, one_way=True)
    assert way is not None
    assert way.words.startswith("left behind")
