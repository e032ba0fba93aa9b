"""Frozen: every node that ran stands still, nothing is healed, and it goes on when it is told to, or by itself."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from checkers import History
from checkers.runs.windows import fault_windows, freeze_windows
from faults.fakes.cluster import FakeCluster
from faults.needs import ProcessState
from harness.aftermath import FACTS_NEEDED
from harness.commands.resume import frozen_run
from harness.errors import UsageError
from harness.fakes import VirtualLoop, run_virtual
from harness.freezing import Freezer, resume_file, ways_in
from harness.live import Seen
from harness.nemesis.nemesis import Nemesis
from harness.planning.scenario import parse_scenario
from harness.planning.schedule import plan_schedule
from harness.planning.suite import load_suite
from harness.progress import Output, PlainProgress, Sight, sight_line
from harness.record import RunRecord
from harness.recorder import Recorder
from harness.running import Run
from harness.substrates.protocol import Place
from reports.folder import RunFolder

SECOND = 1_000_000_000
SEEN = Seen(kind="stale read", message="m", key="k", nodes=(), time_ns=1, events=7, exact=True)
RUNNING, STOPPED, DEAD = ProcessState.RUNNING, ProcessState.STOPPED, ProcessState.DEAD


class PlacedCluster(FakeCluster):
    """Fake nodes that have a place."""

    def __init__(self, names: tuple[str, ...]) -> None:
        super().__init__(names)
        self.places = {
            name: Place(name=name, address="", data_dir=f"/data/{name}", log_dir="", python="") for name in names
        }

    def states(self) -> list[ProcessState]:
        """Of the nodes, in order."""
        return [node._state for node in self.fake_nodes.values()]


class Lab:
    """A freezer and all that it needs, in virtual time."""

    def __init__(self, folder: Path, loop: VirtualLoop, faults: str = "[]") -> None:
        head = "name: t\nnodes: 3\ntime: 20s\non_violation: freeze\nfreeze_limit: 60s\nfaults: "
        scenario = parse_scenario(head + faults, "t.yaml")
        self.loop = loop
        self.folder = RunFolder(folder)
        self.cluster = PlacedCluster(scenario.nodes)
        self.recorder = Recorder(self.folder.history, loop.clock)
        self.stop = asyncio.Event()
        self.said = (folder / "said").open("w")
        self.nemesis = Nemesis(
            schedule=plan_schedule(scenario, 1),
            cluster=self.cluster,
            leader=self.leader,
            recorder=self.recorder,
            clock=loop.clock,
            seed=1,
            file=self.folder.schedule,
            folders={},
        )
        parts: dict[str, Any] = {"substrate": None, "watchdog": None, "clock": loop.clock}
        self.run = Run(
            scenario=scenario,
            seed=1,
            run_id="r",
            folder=self.folder,
            record=RunRecord(self.folder.run, loop.clock),
            progress=PlainProgress(Output(file=self.said, soft_wrap=True)),
            stop=self.stop,
            **parts,
        )
        self.freezer = Freezer(
            run=self.run, cluster=cast(Any, self.cluster), recorder=self.recorder, nemesis=self.nemesis
        )

    async def leader(self) -> str | None:
        return "n1"

    def at(self, s: float, deed: Callable[[], object]) -> None:
        """Does something later."""
        self.loop.call_later(s, deed)

    def close(self) -> None:
        """Closes its files."""
        self.recorder.close()
        self.said.close()

    def facts(self) -> dict[str, Any]:
        """What ``run.json`` says of the freeze."""
        facts: dict[str, Any] = orjson.loads(self.folder.run.read_bytes())["freeze"]
        return facts


def froze(tmp_path: Path, prepare: Callable[[Lab], None]) -> tuple[Lab, list[ProcessState]]:
    """Freezes and waits for the end; the lab, and the nodes' states a second after the decision."""
    labs: list[Lab] = []
    seen: list[ProcessState] = []

    async def main(loop: VirtualLoop) -> None:
        lab = Lab(tmp_path, loop)
        labs.append(lab)
        prepare(lab)
        lab.at(1.0, lambda: seen.extend(lab.cluster.states()))
        await lab.freezer.freeze(SEEN)
        lab.close()

    run_virtual(main)
    return labs[0], seen


def test_the_limit_lets_it_go_on(tmp_path: Path) -> None:
    """All nodes stand still, then all run; when and by whom is in run.json and in the history, which tells no fault."""
    lab, states = froze(tmp_path, lambda _: None)
    assert states == [STOPPED] * 3
    assert lab.cluster.states() == [RUNNING] * 3
    facts = lab.facts()
    assert facts["resumed_by"] == "limit"
    assert 60 * SECOND <= facts["resumed_ns"] < 61 * SECOND
    assert facts["all_paused"] is True
    nemesis = History.read(lab.folder.history).nemesis
    assert fault_windows(nemesis) == ()
    (window,) = freeze_windows(nemesis)
    assert window.from_ns == 0
    assert window.to_ns is not None
    assert window.to_ns >= 60 * SECOND
    assert list(window.targets) == ["n1", "n2", "n3"]


@pytest.mark.parametrize(
    ("by", "act"),
    [
        ("capsize resume", lambda lab: resume_file(lab.folder.path).touch()),
        ("interrupt", lambda lab: lab.stop.set()),
        ("enter", lambda lab: lab.freezer.entered.set()),
    ],
)
def test_it_goes_on_when_told(by: str, act: Callable[[Lab], None], tmp_path: Path) -> None:
    """By the file, by Ctrl-C, by Enter: within a second."""
    lab, states = froze(tmp_path, lambda lab: lab.at(5.0, lambda: act(lab)))
    assert states == [STOPPED] * 3
    assert lab.facts()["resumed_by"] == by
    assert lab.facts()["resumed_ns"] < 6 * SECOND


def test_what_a_fault_did_is_left_as_it_was(tmp_path: Path) -> None:
    """A node that a fault paused is not continued, and one that it killed is not started."""

    def prepare(lab: Lab) -> None:
        lab.cluster.fake_nodes["n2"]._state = STOPPED
        lab.cluster.fake_nodes["n3"]._state = DEAD

    lab, states = froze(tmp_path, prepare)
    assert states == [STOPPED, STOPPED, DEAD]
    assert lab.cluster.states() == [RUNNING, STOPPED, DEAD]
    assert lab.facts()["nodes"]["n2"]["held_by"] == "a fault"


def test_what_comes_to_life_meanwhile_is_stopped(tmp_path: Path) -> None:
    """A start that was under way ends in a node that stands still, and goes on with the others."""

    def prepare(lab: Lab) -> None:
        node = lab.cluster.fake_nodes["n3"]
        node._state = DEAD
        lab.at(0.5, lambda: asyncio.ensure_future(node.start()))

    lab, states = froze(tmp_path, prepare)
    assert states == [STOPPED] * 3
    assert lab.cluster.states() == [RUNNING] * 3


def test_a_node_that_does_not_stop_is_said(tmp_path: Path) -> None:
    """No claim that all stand still when one does not."""

    def prepare(lab: Lab) -> None:
        lab.cluster.fake_nodes["n1"].deaf_to = frozenset({signal.SIGSTOP})

    lab, _ = froze(tmp_path, prepare)
    assert lab.facts()["all_paused"] is False
    assert lab.facts()["nodes"]["n1"]["state"] == "running"


def test_a_person_is_told_all_she_needs(tmp_path: Path) -> None:
    """What was found, every node with address, pid and folders, how to look, how to go on."""
    lab, _ = froze(tmp_path, lambda _: None)
    said = (tmp_path / "said").read_text()
    pids = [str(pid) for node in lab.cluster.nodes.values() for pid in node.pids()]
    for word in ["stale read", "10.0.1.2", "/data/n3", "capsize resume", "after 1m", "nsenter", "gdb -p", *pids]:
        assert word in said, word


def test_faults_stay_while_it_is_frozen(tmp_path: Path) -> None:
    """A fault whose time is over, and one whose time has come, both wait until the cluster goes on."""

    async def main(loop: VirtualLoop) -> list[dict[str, Any]]:
        faults = "[{at: 1s, for: 2s, partition: {shape: isolate, target: n1}}, {at: 10s, for: 1s, kill: {target: n2}}]"
        lab = Lab(tmp_path, loop, faults)
        over = asyncio.Event()
        playing = asyncio.ensure_future(lab.nemesis.play(over))
        await asyncio.sleep(2)
        await lab.freezer.freeze(SEEN)
        over.set()
        await playing
        lab.close()
        return [orjson.loads(line) for line in lab.folder.schedule.read_bytes().splitlines()]

    (row,) = run_virtual(main)
    assert row["healed_ns"][0] >= 60 * SECOND
    assert row["healed"]["holds"] is True


def test_the_way_into_a_container() -> None:
    """Where a node is a container, its name is said."""
    lines = list(ways_in({"pids": [77], "container": "capsize-n1"}))
    assert any("docker exec -it capsize-n1" in line for line in lines)
    assert any("77" in line for line in lines)


def test_progress_says_that_it_is_frozen() -> None:
    """In the line for logs."""
    sight = Sight(
        phase="load",
        elapsed_ns=SECOND,
        total_ns=SECOND,
        ok=1,
        rate=0,
        failed=0,
        unknown=0,
        leader=None,
        faults={},
        verdict="invalid (stale read)",
        frozen="goes on by itself in 5s",
    )
    assert "FROZEN: invalid (stale read); goes on by itself in 5s" in sight_line(sight)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("freeze_limit: 5s", "limits a freeze, but on_violation is 'continue'"),
        ("on_violation: stop\nfreeze_limit: 5s", "limits a freeze, but on_violation is 'stop'"),
        ("on_violation: freeze\nfreeze_limit: 0s", "more than nothing"),
        ("on_violation: freeze\nfreeze_limit: 25h", "at most a day"),
        ("on_violation: freeze\nfreeze_limit: 5", "no unit"),
        ("on_violation: frezze", "'freeze'"),
    ],
)
def test_limits_without_sense_are_refused(text: str, message: str) -> None:
    """With the value, the name and the next step."""
    with pytest.raises(UsageError) as caught:
        parse_scenario(f"name: t\n{text}", "t.yaml")
    assert message in str(caught.value)


@pytest.mark.parametrize("where", ["suite", "scenario"])
def test_campaigns_refuse_to_freeze(where: str, tmp_path: Path) -> None:
    """Nobody watches a campaign: refused before any run, whether the suite asks for it or one of its scenarios."""
    scenario = tmp_path / "mine.yaml"
    scenario.write_text("name: mine\n" + ("on_violation: freeze\n" if where == "scenario" else ""))
    suite = tmp_path / "suite.yaml"
    setting = ", set: {on_violation: freeze}" if where == "suite" else ""
    suite.write_text(f"name: s\nruns:\n  - {{scenario: {scenario}, seeds: 1{setting}}}\n")
    with pytest.raises(UsageError, match="waits for a person"):
        load_suite(str(suite))


def test_the_frozen_run_is_found(tmp_path: Path) -> None:
    """`capsize resume` without a folder means the one run that stands still; none or several are told."""
    with pytest.raises(UsageError, match=r"no runs in .* are frozen"):
        frozen_run(tmp_path)
    for name, freeze in {"a": {"resumed_ns": None}, "b": {"resumed_ns": 5}, "c": None}.items():
        folder = tmp_path / "local-read" / name
        folder.mkdir(parents=True)
        facts = {**dict.fromkeys(FACTS_NEEDED), "freeze": freeze}
        (folder / "run.json").write_bytes(orjson.dumps(facts))
    (tmp_path / "local-read" / "b" / "run.json").write_text("torn")
    assert frozen_run(tmp_path) == tmp_path / "local-read" / "a"
    (tmp_path / "local-read" / "c" / "run.json").write_bytes((tmp_path / "local-read" / "a" / "run.json").read_bytes())
    with pytest.raises(UsageError, match=r"2 runs in .* are frozen; name one: "):
        frozen_run(tmp_path)
