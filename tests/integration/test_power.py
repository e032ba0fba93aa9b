"""Failures of the power in whole runs, here and in containers, with a node that syncs and with one that does not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.host import mounts, namespaces
from harness.substrates import disks
from harness.substrates.docker import DockerSubstrate
from tests.integration.loops import backing_files

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),  # the first test with containers may have to make images
    pytest.mark.skipif(disks.why_refused() is not None, reason=str(disks.why_refused())),
]
HERE = pytest.mark.skipif(bool(namespaces.missing()), reason="; ".join(namespaces.missing()))
CONTAINERS = pytest.mark.skipif(bool(DockerSubstrate().missing()), reason="; ".join(DockerSubstrate().missing()))
SCENARIO = """
name: power-test
nodes: 3
time: 14s
ok_min: 50
lag_max: 20s
recovery: 30s
workload: {name: register, rate: 150, concurrency: 2n, keys: 5}
faults:
  - {at: 1s, for: 300ms, power: {target: all}}
  - {at: 12s, for: 1500ms, power: {target: all, how: rotating, down: 200ms}}
"""


def command(folder: Path, *words: str) -> list[str]:
    """A run whose runs and folder are the test's own."""
    scenario = folder / "power.yaml"
    scenario.write_text(SCENARIO)
    names = ["ack-before-fsync"] if "--bug" in words else [str(scenario)]
    places = ["--runs", str(folder), "--folder", str(folder / "run")]
    return [sys.executable, "-m", "harness", "run", *names, "--seed", "1", *words, *places]


def left_mounted(folder: Path) -> list[str]:
    """Disks of the run that are still there: mounted here, or behind a loop device."""
    here = [each.point for each in mounts.disks() if Path(each.point).is_relative_to(folder)]
    return here + [file for file in backing_files() if str(folder) in file]


def execute(words: list[str], folder: Path) -> tuple[int, list[dict[str, Any]], str]:
    """The exit status of a run, its faults in the order of the schedule, and what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    lines = (folder / "run" / "schedule.jsonl").read_text().splitlines()
    faults = sorted(map(json.loads, lines), key=lambda row: row["id"])
    return done.returncode, faults, done.stdout + done.stderr


def is_proved(fault: dict[str, Any]) -> bool:
    return bool(fault["bit"]["holds"] and fault["healed"]["holds"])


@HERE
def test_a_node_that_acknowledges_before_it_syncs_is_caught(tmp_path: Path) -> None:
    """On this machine: what was acknowledged was on no majority's disk any more. Four times the power fails, for on a
    busy machine all may be synced at the moment that it does; the first time that something is lost ends the run. That
    may be on one node only: then there is another run, three at most.
    """
    lost = kinds_lost(tmp_path / "1")
    for attempt in ("2", "3"):
        if "acknowledged on a majority" not in lost:
            lost |= kinds_lost(tmp_path / attempt)
    assert {"acknowledged on a majority", "nothing durable is forgotten"} <= lost


def kinds_lost(folder: Path) -> set[str]:
    """What a run with the bug is found to have broken; every fault is proved, and nothing is left."""
    folder.mkdir()
    words = ("--bug", "ack-before-fsync", "--time", "18s", "--on-violation", "stop")
    status, faults, said = execute(command(folder, *words), folder)
    assert status == 1, said
    assert faults
    assert all(is_proved(fault) for fault in faults)
    assert left_mounted(folder) == []
    results = json.loads((folder / "run" / "verdict.json").read_bytes())["results"]
    return {finding["kind"] for result in results for finding in result["findings"]}


@CONTAINERS
def test_a_node_that_syncs_loses_nothing(tmp_path: Path) -> None:
    """In containers, all at once and in turn: every failure is proved and healed, and the verdict is valid."""
    status, faults, said = execute(command(tmp_path, "--substrate", "docker"), tmp_path)
    assert status == 0, said
    assert [is_proved(fault) for fault in faults] == [True, True]
    together, turns = (fault["bit"]["evidence"] for fault in faults)
    lost = {"synced_kept": True, "unsynced_lost": True}
    assert together["marks"] == dict.fromkeys(together["marks"], lost)
    assert set(together["marks"]) == {"n1", "n2", "n3"}
    order = faults[1]["resolved"]["order"]
    assert [turn["node"] for turn in turns["turns"]][:3] == order[: len(turns["turns"])]
    assert left_mounted(tmp_path) == []


def watchdogs(folder: Path) -> list[int]:
    every = psutil.process_iter(["pid", "cmdline"])
    words = {each.info["pid"]: " ".join(each.info["cmdline"] or ()) for each in every}
    return [pid for pid, text in words.items() if "watchdog_process" in text and str(folder) in text]


@CONTAINERS
@pytest.mark.parametrize("watched", [True, False])
def test_nothing_stays_mounted_when_the_controller_is_killed(watched: bool, tmp_path: Path) -> None:
    """With containers the disks are mounted where everybody sees them: the watchdog unmounts and removes them, and if
    it is dead, too, ``capsize clean`` does.
    """
    run = subprocess.Popen(command(tmp_path, "--substrate", "docker"), stdout=subprocess.DEVNULL)
    history = tmp_path / "run" / "history.jsonl"
    wait(lambda: history.exists() and b'"inject"' in history.read_bytes(), 400)
    wait(lambda: len(left_mounted(tmp_path)) >= 3, 10)  # one may be losing its power, which mounts it anew
    (watchdog,) = watchdogs(tmp_path)
    for pid in [*([] if watched else [watchdog]), run.pid]:
        os.kill(pid, signal.SIGKILL)
    run.wait()
    if not watched:
        clean = [sys.executable, "-m", "harness", "clean", "--runs", str(tmp_path)]
        subprocess.run(clean, check=True, capture_output=True, timeout=120)
    wait(lambda: not left_mounted(tmp_path), 20)
    wait(lambda: not list(tmp_path.rglob(mounts.IMAGE_NAME)), 10)


def wait(reached: Any, timeout_s: float) -> None:
    """Until it is so."""
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
