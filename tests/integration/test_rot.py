"""Rot in whole runs: a node of ours refuses to start on damaged records, and the run goes on without it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.host import namespaces
from harness.substrates.docker import DockerSubstrate

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),
]
HERE = pytest.mark.skipif(bool(namespaces.missing()), reason="; ".join(namespaces.missing()))
CONTAINERS = pytest.mark.skipif(bool(DockerSubstrate().missing()), reason="; ".join(DockerSubstrate().missing()))
SCENARIO = """
name: rot-test
nodes: 3
time: 3s
ok_min: 50
lag_max: 20s
recovery: 30s
workload: {name: register, rate: 200, concurrency: 2n, keys: 5}
faults:
  - {at: 2s, for: 100ms, rot: {target: one, spare_tail: 1000, kind: flip, files: "*.wal"}}
"""
REFUSED = 65


@pytest.mark.parametrize("substrate", [pytest.param("process", marks=HERE), pytest.param("docker", marks=CONTAINERS)])
def test_a_flipped_bit_is_refused_and_nobody_is_blamed(substrate: str, tmp_path: Path) -> None:
    """The edit is on the disk as recorded, away from the newest bytes; the node says why it does not start, and
    somebody else takes its place; the others serve; valid.
    """
    scenario, folder = tmp_path / "rot.yaml", tmp_path / "run"
    scenario.write_text(SCENARIO)
    words = ["run", str(scenario), "--seed", "1", "--substrate", substrate, "--set", "keep_data=true"]
    places = ["--runs", str(tmp_path), "--folder", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *words, *places], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (fault,) = map(json.loads, (folder / "schedule.jsonl").read_text().splitlines())
    (name,) = fault["targets"]
    (edit,) = fault["bit"]["evidence"]["edits"][name]
    assert fault["bit"]["holds"]
    assert fault["healed"]["holds"]
    assert edit["found"] == edit["after"] != edit["before"]
    exits = json.loads((folder / "run.json").read_bytes())["exits"]
    assert exits == {name: REFUSED}
    assert "synced data is damaged" in (folder / "nodes" / name / "node.log").read_text()
    assert edit["size"] > edit["offset"] + 1000
    assert fault["healed"]["evidence"]["replaced"] == {name: "yes"}
    assert (folder / "nodes" / name / "data" / "identity").read_text().startswith(f"{name}~")
