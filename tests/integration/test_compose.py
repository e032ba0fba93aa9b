"""The compose substrate on a real engine: a whole run, and the cluster that is started by hand."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import docker
import pytest

from harness.cleanup import marks
from harness.substrates.compose import ComposeSubstrate
from harness.substrates.compose_project import FILE, SERVICES, program
from node.client import KvClient, KvError

MISSING = ComposeSubstrate().missing()
FAULTS = "[{at: 1s, for: 3s, partition: {shape: isolate, target: leader}}, {at: 2s, for: 2s, kill: {target: one}}]"
PREFIX = "10.201.9"

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(600),  # the first test may have to make images: a minute on an idle machine
    pytest.mark.skipif(bool(MISSING), reason="; ".join(MISSING)),
]


def test_a_run_in_a_project_of_its_own(tmp_path: Path) -> None:
    """Valid, both faults proved, and nothing left."""
    folder = tmp_path / "run"
    settings = ["time=7s", "ok_min=200", "workload.rate=200", "lag_max=20s", "recovery=30s", f"faults={FAULTS}"]
    words = [
        "run",
        "default",
        "--substrate",
        "compose",
        "--seed",
        "1",
        "--folder",
        str(folder),
        "--runs",
        str(tmp_path),
    ]
    argv = [sys.executable, "-m", "harness", *words, *(word for each in settings for word in ("--set", each))]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [json.loads(line) for line in (folder / "schedule.jsonl").read_bytes().splitlines()]
    assert [(row["bit"]["holds"], row["healed"]["holds"]) for row in rows] == [(True, True)] * 2
    run_id = json.loads((folder / "run.json").read_bytes())["run_id"]
    assert things_of(run_id) == []


def things_of(run_id: str) -> list[str]:
    """What of a run the engine has."""
    client = docker.from_env()
    try:
        wanted = {"label": f"{marks.LABEL_RUN}={run_id}"}
        containers = [each.name for each in client.containers.list(all=True, filters=wanted)]
        return containers + [each.name for each in client.networks.list(filters=wanted)]
    finally:
        client.close()


async def test_the_cluster_that_anyone_can_start_by_hand() -> None:
    """``up``, a leader that every node knows, ``down``."""
    variables = subprocess.run(  # noqa: ASYNC221
        [sys.executable, "-m", "harness.substrates.compose_images", "CAPSIZE_TOOLBOX", "CAPSIZE_RAFTKV"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    environment = {**os.environ, **dict(each.split("=", 1) for each in variables), "CAPSIZE_NET": PREFIX}
    compose = [*program(), "-p", f"capsizetest{os.getpid()}", "-f", str(FILE)]
    try:
        up = subprocess.run([*compose, "up", "-d", "--no-build"], env=environment, capture_output=True, check=False)  # noqa: ASYNC221
        assert up.returncode == 0, up.stderr.decode()
        assert await leader_of({name: f"{PREFIX}.{number}:7000" for number, name in enumerate(SERVICES, 11)})
    finally:
        down = subprocess.run([*compose, "down"], env=environment, capture_output=True, check=False)  # noqa: ASYNC221
    assert down.returncode == 0, down.stderr.decode()


async def leader_of(addresses: dict[str, str]) -> str | None:
    """Whom every node takes for the leader; None if they never agree."""
    client = KvClient(addresses)
    try:
        for _ in range(300):
            try:
                leaders = {(await client.status(name, 1.0)).leader for name in addresses}
            except KvError:
                leaders = {None}
            if len(leaders) == 1 and None not in leaders:
                return leaders.pop()
            await asyncio.sleep(0.1)
    finally:
        await client.close()
    return None
