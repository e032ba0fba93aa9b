"""Whole runs on etcd, a store that we did not write: valid under what it promises to survive, and known-weak reads are
caught. Debian's 3.4 and PyPI's 3.5, as processes and in containers.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.host import namespaces
from harness.substrates.docker import DockerSubstrate
from harness.systems.etcd import ETCD, EtcdOptions

NEW = EtcdOptions(version="3.5")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(namespaces.missing()), reason="; ".join(namespaces.missing())),
    pytest.mark.skipif(bool(ETCD.missing(EtcdOptions())), reason="; ".join(ETCD.missing(EtcdOptions()))),
]

SCENARIO = """
name: t
system: etcd
nodes: 3
time: {time}
lag_max: 20s
recovery: 30s
options: {options}
workload: {{name: register, rate: 200, concurrency: 2n, keys: 10}}
faults:
{faults}
"""


def run(folder: Path, faults: Sequence[str], *words: str, time: str, options: str = "{}") -> int:
    """A run of these faults; its exit code."""
    file = folder / "scenario.yaml"
    lines = "\n".join(f"  - {fault}" for fault in faults)
    file.write_text(SCENARIO.format(time=time, options=options, faults=lines), encoding="utf-8")
    argv = [sys.executable, "-m", "harness", "run", str(file), "--seed", "1", "--folder", str(folder / "run")]
    argv += ["--runs", str(folder), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False)
    (folder / "said").write_text(done.stdout + done.stderr, encoding="utf-8")
    return done.returncode


def said(folder: Path) -> str:
    """What the run told, and its schedule."""
    return (folder / "said").read_text() + (folder / "run" / "schedule.jsonl").read_text()


def schedule(folder: Path) -> list[dict[str, Any]]:
    """The faults as executed."""
    return [json.loads(line) for line in (folder / "run" / "schedule.jsonl").read_text().splitlines()]


MEMBERS = "{how: replace, target: n1}"
AT_ONCE = "{strict_reconfig_check: false, election_timeout: 500ms, heartbeat: 50ms, snapshot_count: 200}"


def check_faults(folder: Path, families: set[str]) -> None:
    """All of them bit and healed, and the replaced member is somebody else."""
    rows = schedule(folder)
    assert {row["family"] for row in rows} == families
    assert all(row["bit"]["holds"] and row["healed"]["holds"] for row in rows), said(folder)
    (change,) = [row for row in rows if row["family"] == "membership"]
    (target,) = change["targets"]
    evidence = change["healed"]["evidence"]
    assert evidence["before"][target] not in evidence["after"]["members"][target]


def test_it_is_valid_while_members_are_replaced_and_leaders_change(tmp_path: Path) -> None:
    """A kill that a log line triggers, a transfer, a new identity without data: valid, everything proved, the member
    started by another command line.
    """
    faults = [
        f"{{at: 500ms, for: 1s, membership: {MEMBERS}}}",
        "{at: 4s, for: 2s, leadership: {how: disturb, target: [n2, n3], every: 300ms}}",
        "{when: {log: became leader, after: 5s}, for: 1s, kill: {target: subject}}",  # not the first transfer's leader
    ]
    assert run(tmp_path, faults, time="8s", options=AT_ONCE) == 0, said(tmp_path)
    check_faults(tmp_path, {"membership", "leadership", "kill"})


@pytest.mark.skipif(bool(DockerSubstrate().missing()), reason="; ".join(DockerSubstrate().missing()))
def test_it_is_valid_in_containers(tmp_path: Path) -> None:
    """The same member is replaced in a container, which is started again by another command line."""
    faults = [f"{{at: 500ms, for: 1s, membership: {MEMBERS}}}", "{at: 4s, for: 1s, pause: {target: leader}}"]
    assert run(tmp_path, faults, "--substrate", "docker", time="7s", options=AT_ONCE) == 0, said(tmp_path)
    check_faults(tmp_path, {"membership", "pause"})


@pytest.mark.skipif(bool(ETCD.missing(NEW)), reason="; ".join(ETCD.missing(NEW)))
def test_reads_that_ask_nobody_are_caught(tmp_path: Path) -> None:
    """The control: serializable reads of an isolated node are stale, and the run is invalid. On etcd 3.5."""
    fault = "{at: 500ms, for: 3s, partition: {shape: isolate, target: leader}}"
    assert run(tmp_path, [fault], time="5s", options='{serializable: true, version: "3.5"}') == 1, said(tmp_path)
    assert "stale read" in (tmp_path / "run" / "verdict.json").read_text()


@pytest.mark.slow
@pytest.mark.skipif(bool(ETCD.missing(NEW)), reason="; ".join(ETCD.missing(NEW)))
def test_a_published_bug_is_found(tmp_path: Path) -> None:
    """etcd 3.5.1 loses an acknowledged write on a node that is killed while it applies it: found in five runs."""
    for seed in range(1, 6):
        folder = tmp_path / str(seed)
        words = ["run", "etcd-lost-write", "--seed", str(seed), "--folder", str(folder), "--runs", str(tmp_path)]
        done = subprocess.run([sys.executable, "-m", "harness", *words], capture_output=True, timeout=200, check=False)
        if done.returncode == 1:
            assert "stale read" in (folder / "verdict.json").read_text()
            return
    pytest.fail("not found in five runs")
