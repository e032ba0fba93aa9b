"""The nemesis injects what was planned when it was planned, proves it, and heals everything, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from faults import FAMILIES
from faults.fakes.cluster import FakeCluster, FakeUndoList
from faults.needs import NotNowError, ProcessState, Proof, Undo
from harness.fakes import VirtualLoop, run_virtual
from harness.nemesis.nemesis import MARGIN_S, Nemesis
from harness.planning.quiet import Quiet
from harness.planning.scenario import parse_scenario
from harness.planning.schedule import plan_schedule
from harness.recorder import Recorder

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


def test_a_random_fault_that_finds_nobody_is_left_out(tmp_path: Path) -> None:
    """With its reason, and without any proof: it was not asked for by name."""
    faults = "  - {at: 1s, for: 19s, kill: {target: all}}\n  - {random: [pause], interval: 6s}\n"
    _, rows = play(lambda loop: nemesis_of(faults, tmp_path, loop))
    left_out = [row for row in rows if row["family"] == "pause"]
    assert len(left_out) == 3
    for row in left_out:
        assert row["drawn"]
        assert "nobody to hit" in row["left_out"]
        assert (row["bit"], row["injected_ns"]) == (None, None)
    events = [orjson.loads(line) for line in (tmp_path / "history.jsonl").read_bytes().splitlines()]
    assert {event["value"]["id"] for event in events} == {row["id"] for row in rows} - {row["id"] for row in left_out}


class Unready:
    """A family whose faults cannot be injected just now."""

    def __init__(self, family: Any) -> None:
        self.__dict__.update(
            {name: getattr(family, name) for name in dir(family) if not name.startswith("__") and name != "build"}
        )

    def build(self, resolved: Any, cluster: Any) -> Any:
        """A fault that says so."""
        del resolved, cluster

        class Fault:
            async def inject(self) -> Proof:
                raise NotNowError("no majority answers")

            async def heal(self) -> Proof:
                raise AssertionError("nothing was done, so nothing is healed")

        return Fault()


@pytest.mark.parametrize(
    ("entry", "drawn"), [("at: 2s, for: 1s, kill: {}", False), ("random: [kill], interval: 9s", True)]
)
def test_what_cannot_be_done_just_now(entry: str, drawn: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn at random it is left out; asked for by name it did not bite. Either way nothing is healed."""
    monkeypatch.setattr("harness.nemesis.nemesis.FAMILIES", {"kill": Unready(FAMILIES["kill"])})
    _, rows = play(lambda loop: nemesis_of(f"  - {{{entry}}}\n", tmp_path, loop))
    for row in rows:
        assert row["left_out"] == ("no majority answers" if drawn else None)
        assert row["bit"] == (None if drawn else {"holds": False, "evidence": {"reason": "no majority answers"}})
        assert row["healed"] is None


def test_every_fault_has_a_dead_mans_limit(tmp_path: Path) -> None:
    """What it registers with the watchdog is undone when it has been held longer than it should and a margin."""
    limits: list[float | None] = []

    class NotingList(FakeUndoList):
        async def register(self, undo: Undo) -> None:
            limits.append(undo.after_s)
            await super().register(undo)

    def make(loop: VirtualLoop) -> Nemesis:
        nemesis = nemesis_of("  - {at: 1s, for: 4s, pause: {target: n1}}\n", tmp_path, loop)
        nemesis.freeze_s = 600.0
        cast(FakeCluster, nemesis.cluster).undo = NotingList()
        return nemesis

    play(make)
    assert limits == [4 + 600 + MARGIN_S]


def test_a_quiet_phase_heals_what_is_in_force(tmp_path: Path) -> None:
    """A trigger that fires shortly before one has until then; one that fires in it passes unheard."""
    folder = tmp_path / "n1"
    folder.mkdir()
    trace = folder / "trace.jsonl"
    trace.touch()

    def vote() -> None:
        with trace.open("ab") as file:
            file.write(b'{"event":"vote","term":1,"time":7}\n')

    def make(loop: VirtualLoop) -> Nemesis:
        faults = "  - {when: {event: vote, times: 9}, for: 3s, pause: {target: subject}}\n"
        nemesis = nemesis_of(faults, tmp_path, loop)
        nemesis.quiet = Quiet.model_validate({"every": "5s", "for": "2s"})
        nemesis.folders = {"n1": folder}
        nemesis.event_ns = lambda firing: (firing.monotonic_ns or 0) - 6
        for at_s in (4, 6, 8):
            loop.call_later(at_s, vote)
        return nemesis

    _, rows = play(make, stop_s=15)
    first, second = rows
    assert first["trigger"]["event_ns"] == 1
    assert first["trigger"]["delay_ms"] == round((first["injected_ns"][0] - 1) / 1e6, 3)
    assert first["trigger"]["in_force_ms"] == round((first["injected_ns"][1] - 1) / 1e6, 3)
    assert 4 * SECOND <= first["injected_ns"][0] < 4.1 * SECOND
    assert 4.9 * SECOND <= first["healed_ns"][0] <= 5.1 * SECOND
    assert 8 * SECOND <= second["injected_ns"][0] < 8.1 * SECOND
    assert 9.9 * SECOND <= second["healed_ns"][0] <= 10.1 * SECOND


def test_a_subject_does_not_wait_for_a_leader(tmp_path: Path) -> None:
    """Nobody leads, and another fault waits for that: the fault on the node that fired begins at once."""
    folder = tmp_path / "n3"
    folder.mkdir()
    (folder / "trace.jsonl").touch()

    def make(loop: VirtualLoop) -> Nemesis:
        faults = (
            "  - {at: 1s, for: 1s, kill: {target: leader}}\n"
            "  - {when: {event: vote}, for: 1s, pause: {target: subject}}\n"
        )
        nemesis = nemesis_of(faults, tmp_path, loop, leader=None)
        nemesis.folders = {"n3": folder}
        loop.call_later(2, lambda: (folder / "trace.jsonl").write_bytes(b'{"event":"vote"}\n'))
        return nemesis

    _, rows = play(make, stop_s=15)
    pause = next(row for row in rows if row["family"] == "pause")
    assert pause["targets"] == ["n3"]
    assert pause["injected_ns"][0] < 2.05 * SECOND
