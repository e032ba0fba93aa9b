"""The nemesis injects what was planned when it was planned, proves it, and heals everything, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import orjson
import pytest

from faults.fakes import FakeCluster
from faults.needs import ProcessState
from harness.fakes import VirtualLoop, run_virtual
from harness.nemesis import Nemesis
from harness.recorder import Recorder
from harness.scenario import parse_scenario
from harness.schedule import plan_schedule

SECOND = 1_000_000_000


def nemesis_of(faults: str, folder: Path, loop: VirtualLoop, leader: str | None = "n2") -> Nemesis:
    """A nemesis over fake nodes, with the schedule of a scenario."""
    scenario = parse_scenario(f"name: t\nnodes: 5\ntime: 20s\nfaults:\n{faults}", "t.yaml")
    cluster = FakeCluster(scenario.nodes)

    async def ask_leader() -> str | None:
        return leader

    return Nemesis(
        schedule=plan_schedule(scenario, 3),
        cluster=cluster,
        leader=ask_leader,
        recorder=Recorder(folder / "history.jsonl", loop.clock),
        clock=loop.clock,
        seed=3,
        file=folder / "schedule.jsonl",
        folders={},
    )


def play(make: Callable[[VirtualLoop], Nemesis], stop_s: float | None = None) -> tuple[Nemesis, list[dict[str, Any]]]:
    """Plays a schedule to its end in virtual time; the nemesis and the lines of schedule.jsonl."""
    made: list[Nemesis] = []

    async def main(loop: VirtualLoop) -> None:
        nemesis = make(loop)
        made.append(nemesis)
        stop = asyncio.Event()
        if stop_s is not None:
            loop.call_later(stop_s, stop.set)
        await nemesis.play(stop)
        nemesis.recorder.close()

    run: Callable[[VirtualLoop], Coroutine[Any, Any, None]] = main
    run_virtual(run)
    return made[0], [orjson.loads(line) for line in made[0].file.read_bytes().splitlines()]


def test_a_fault_is_injected_at_its_time_and_healed_after_its_time(tmp_path: Path) -> None:
    """Planned at 5 s for 3 s: both moments and both proofs are in the schedule."""
    faults = "  - {at: 5s, for: 3s, pause: {target: leader}}\n"
    nemesis, rows = play(lambda loop: nemesis_of(faults, tmp_path, loop))
    (row,) = rows
    assert row["targets"] == ["n2"]
    assert 5 * SECOND <= row["injected_ns"][0] < 5.5 * SECOND
    assert 8 * SECOND <= row["healed_ns"][0] < 8.5 * SECOND
    assert row["bit"]["holds"]
    assert row["healed"]["holds"]
    assert nemesis.active == {}


def test_stopping_heals_at_once(tmp_path: Path) -> None:
    """A Ctrl-C at 6 s heals what is in force, and what was planned for later never comes."""
    faults = "  - {at: 5s, for: 10s, kill: {target: n3}}\n  - {at: 8s, for: 1s, kill: {target: n4}}\n"
    nemesis, rows = play(lambda loop: nemesis_of(faults, tmp_path, loop), stop_s=6)
    assert [row["targets"] for row in rows] == [["n3"]]
    assert 6 * SECOND <= rows[0]["healed_ns"][0] < 7 * SECOND
    states = [asyncio.run(node.state()) for node in nemesis.cluster.nodes.values()]
    assert set(states) == {ProcessState.RUNNING}


def test_two_faults_never_take_the_same_process(tmp_path: Path) -> None:
    """A node that is killed is left alone by a pause that would want it: the pause hits the others."""
    faults = "  - {at: 1s, for: 9s, kill: {target: n1}}\n  - {at: 3s, for: 2s, pause: {target: all}}\n"
    _, rows = play(lambda loop: nemesis_of(faults, tmp_path, loop))
    assert {row["family"]: row["targets"] for row in rows} == {"kill": ["n1"], "pause": ["n2", "n3", "n4", "n5"]}


def test_nobody_to_hit_is_said_and_did_not_bite(tmp_path: Path) -> None:
    """Without a leader for 5 s, a fault on the leader is recorded as one that did not bite."""
    faults = "  - {at: 1s, for: 1s, kill: {target: leader}}\n"
    _, rows = play(lambda loop: nemesis_of(faults, tmp_path, loop, leader=None))
    assert rows[0]["bit"]["holds"] is False
    assert "nobody to hit" in rows[0]["bit"]["evidence"]["reason"]


def test_every_event_is_in_the_history(tmp_path: Path) -> None:
    """Each fault has four events: inject begins and ends, heal begins and ends, under one id."""
    play(lambda loop: nemesis_of("  - {every: 6s, for: 1s, kill: {target: one}}\n", tmp_path, loop))
    events = [orjson.loads(line) for line in (tmp_path / "history.jsonl").read_bytes().splitlines()]
    said = [(event["type"], event["f"], event["value"]["id"]) for event in events]
    assert said == [
        (kind, deed, number) for number in (1, 2, 3) for deed in ("inject", "heal") for kind in ("invoke", "info")
    ]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_same_seed_draws_the_same_faults(seed: int) -> None:
    """Families, times and parameters of random faults follow from the seed alone; another seed draws others."""
    text = "name: t\nnodes: 5\ntime: 60s\nfaults:\n  - {random: [kill, pause, partition], interval: 5s}\n"
    scenario = parse_scenario(text, "t.yaml")
    assert plan_schedule(scenario, seed) == plan_schedule(scenario, seed)
    assert plan_schedule(scenario, seed) != plan_schedule(scenario, seed + 100)
