"""Whole runs through the command line, on real processes: verdicts, clean-up, interruption, campaigns."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness.host import namespaces
from tests.integration.persons import PERSONS, as_person, writable

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(namespaces.missing()), reason="; ".join(namespaces.missing())),
]

CAPSIZE = [sys.executable, "-m", "harness"]
ISOLATE = "{at: 1s, for: 4s, partition: {shape: isolate, target: leader}}"
PATIENT = ["--set", "lag_max=20s", "--set", "recovery=30s"]
"""A busy machine is not what is tested."""
SHORT = ["--set", "time=7s", "--set", "ok_min=200", "--set", f"faults=[{ISOLATE}]", *PATIENT]


def capsize(words: Sequence[str], timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run([*CAPSIZE, *words], capture_output=True, text=True, timeout=timeout_s, check=False)


def start(words: Sequence[str]) -> subprocess.Popen[str]:
    """A command that goes on."""
    return subprocess.Popen([*CAPSIZE, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read_json(path: Path) -> dict[str, Any]:
    """A file of a run."""
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def processes_of(folder: Path) -> list[int]:
    """Processes that have this run's folder in their command line: nodes, watchdogs, controllers."""
    every = psutil.process_iter(["pid", "cmdline"])
    return [each.info["pid"] for each in every if any(str(folder) in word for word in each.info["cmdline"] or ())]


def wait_history(folder: Path, events: int, running: subprocess.Popen[str], timeout_s: float = 120) -> None:
    """Waits until so many events are on disk; the run had better be alive meanwhile."""
    deadline = time.monotonic() + timeout_s
    path = folder / "history.jsonl"
    while time.monotonic() < deadline and running.poll() is None:
        if path.exists() and len(path.read_bytes().splitlines()) >= events:
            return
        time.sleep(0.05)
    running.kill()
    pytest.fail(f"{path} did not reach {events} events: {running.communicate()[0]}")


def wait_gone(folder: Path, timeout_s: float = 10) -> None:
    """Waits until nothing of the run is left."""
    deadline = time.monotonic() + timeout_s
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(folder) == []


def kinds(folder: Path) -> set[str]:
    """Kinds of the findings of a run."""
    return {
        finding["kind"] for result in read_json(folder / "verdict.json")["results"] for finding in result["findings"]
    }


@pytest.fixture(name="reachable")
def make_reachable() -> Iterator[Path]:
    """A folder that every user can reach: pytest's own are closed."""
    path = Path(tempfile.mkdtemp(prefix="capsize-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize("person", PERSONS)
def test_a_correct_store_is_valid(person: str, reachable: Path) -> None:
    """As root and as an ordinary user: valid, every file of the folder, every fault proved, nothing left."""
    argv, environment = as_person(person, [*CAPSIZE], reachable)
    root = writable(person, reachable)
    folder = root / "run"
    words = ["run", "default", "--seed", "1", *SHORT, "--folder", str(folder), "--runs", str(root)]
    done = subprocess.run(
        [*argv, *words], capture_output=True, text=True, timeout=120, check=False, env=environment, cwd=root
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for name in (
        "run.json",
        "scenario.yaml",
        "schedule.jsonl",
        "history.jsonl",
        "verdict.json",
        "report.html",
        "harness.log",
    ):
        assert (folder / name).stat().st_size > 0, name
    for node in ("n1", "n2", "n3", "n4", "n5"):
        assert (folder / "nodes" / node / "trace.jsonl").stat().st_size > 0
    faults = [json.loads(line) for line in (folder / "schedule.jsonl").read_text().splitlines()]
    assert [(fault["bit"]["holds"], fault["healed"]["holds"]) for fault in faults] == [(True, True)]
    assert processes_of(folder) == []


@pytest.mark.parametrize(
    ("bug", "settings", "kind"),
    [
        ("local-read", SHORT, "stale read"),
        ("vote-not-durable", [], "nothing durable is forgotten"),
    ],
)
def test_planted_bugs_are_found(bug: str, settings: list[str], kind: str, tmp_path: Path) -> None:
    """With the bug: invalid, exit code 1, by the observer that the zoo names."""
    folder = tmp_path / "run"
    done = capsize(
        ["run", bug, "--bug", bug, "--seed", "1", *settings, "--folder", str(folder), "--runs", str(tmp_path)]
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert kind in kinds(folder)


def test_a_bug_that_is_only_announced_is_not_found(tmp_path: Path) -> None:
    """The bug's log line is printed and the bug is off: valid. No checker reads what a bug says of itself."""
    folder = tmp_path / "run"
    words = ["run", "local-read", "--seed", "1", *SHORT, "--set", "announce_bug=local-read"]
    done = capsize([*words, "--folder", str(folder), "--runs", str(tmp_path)])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "local-read" in (folder / "nodes" / "n1" / "node.log").read_text()


def test_a_violation_stops_the_run_if_asked(tmp_path: Path) -> None:
    """``--on-violation stop``: the load ends early, and the batch checker confirms."""
    folder = tmp_path / "run"
    words = ["run", "local-read", "--bug", "local-read", "--seed", "1", "--on-violation", "stop", "--set", "ok_min=10"]
    done = capsize([*words, "--folder", str(folder), "--runs", str(tmp_path)])
    assert done.returncode == 1, done.stdout + done.stderr
    load = next(phase for phase in read_json(folder / "run.json")["phases"] if phase["name"] == "load")
    assert load["end_ns"] - load["begin_ns"] < 13e9, "the scenario's own load takes 14 s"


def test_ctrl_c_heals_and_judges(tmp_path: Path) -> None:
    """The first SIGINT ends the load: faults are healed, what happened is judged, a page is built, nothing is left."""
    folder = tmp_path / "run"
    words = ["run", "default", "--set", f"faults=[{ISOLATE}]", "--set", "ok_min=50", "--time", "60s"]
    running = start([*words, "--folder", str(folder), "--runs", str(tmp_path)])
    wait_history(folder, 1500, running)
    running.send_signal(signal.SIGINT)
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 0, output
    assert read_json(folder / "run.json")["interrupted"] is True
    assert (folder / "report.html").exists()
    wait_gone(folder)


def test_a_killed_controller_leaves_nothing_but_a_readable_history(tmp_path: Path) -> None:
    """SIGKILL in the middle of a fault: the watchdog removes everything within 10 s; the history is judged."""
    folder = tmp_path / "run"
    words = [
        "run",
        "default",
        "--seed",
        "5",
        "--set",
        f"faults=[{ISOLATE}]",
        "--folder",
        str(folder),
        "--runs",
        str(tmp_path),
    ]
    running = start(words)
    wait_history(folder, 1500, running)
    killed_ns = time.monotonic_ns()
    running.kill()
    running.communicate(timeout=30)
    wait_gone(folder)
    last = json.loads((folder / "history.jsonl").read_bytes().rsplit(b"\n", 2)[-2])
    start_ns = read_json(folder / "run.json")["start_monotonic_ns"]
    assert killed_ns - (start_ns + last["time"]) < 1_000_000_000, "readable up to the last second"
    judged = capsize(["check", str(folder)])
    assert judged.returncode == 2
    assert "run cut short" in judged.stdout
    assert capsize(["report", str(folder)]).returncode == 0


def test_two_runs_side_by_side_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Both valid, at the same time, with the same addresses and faults."""
    folders = [tmp_path / "a", tmp_path / "b"]
    words = ["run", "default", *SHORT, "--runs", str(tmp_path)]
    running = [start([*words, "--seed", str(seed), "--folder", str(folder)]) for seed, folder in enumerate(folders)]
    outputs = [each.communicate(timeout=120)[0] for each in running]
    assert [each.returncode for each in running] == [0, 0], "\n".join(outputs)
    for folder in folders:
        wait_gone(folder)


@pytest.mark.timeout(600)
def test_a_campaign_ends_as_its_worst_run_says(tmp_path: Path) -> None:
    """Three scenarios, two seeds, one planted bug: JUnit with the failures, a page, exit code 1."""
    quick = "time: 6s, ok_min: 100"
    kill = "{at: 1s, for: 2s, kill: {target: leader}}"
    suite = tmp_path / "suite.yaml"
    suite.write_text(
        "name: three\nruns:\n"
        f"  - {{scenario: default, seeds: 1..2, set: {{{quick}, faults: [{kill}]}}}}\n"
        f"  - {{scenario: local-read, seeds: 1..2, set: {{{quick}, bug: local-read, faults: [{ISOLATE}]}}}}\n"
        f"  - {{scenario: vote-not-durable, seeds: 1..2, set: {{{quick}, faults: []}}}}\n"
    )
    junit = tmp_path / "out.xml"
    done = capsize(["campaign", str(suite), "--runs", str(tmp_path), "--junit", str(junit)], timeout_s=500)
    assert done.returncode == 1, done.stdout + done.stderr
    cases = ET.parse(junit).getroot().findall(".//testcase")
    assert len(cases) == 6
    assert [case.find("failure") is not None for case in cases].count(True) == 2
    assert list((tmp_path / "campaigns" / "three").glob("*/summary.html"))


def test_clean_finds_nothing_after_all_this(tmp_path: Path) -> None:
    """Runs leave nothing for ``capsize clean`` to find."""
    done = subprocess.run([*CAPSIZE, "clean"], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 0
    assert os.listdir(tmp_path) == []
