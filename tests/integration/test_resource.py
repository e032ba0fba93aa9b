"""Restraints and the freezer on real control groups, by processes and by containers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from faults import FAMILIES
from faults.fakes.cluster import FakeUndoList
from faults.needs import ProcessState
from faults.resources.burden import Presser, answer
from harness.cleanup.watchdog import Watchdog
from harness.substrates import disks, limits
from harness.substrates.docker import DockerSubstrate
from tests.integration.process_controller import groups_of
from tests.integration.test_docker_substrate import NAMES, made, wait_serving
from tests.integration.test_process_substrate import DEATH_BOUND_S, control

__all__ = ["control"]  # a fixture

WHY_NOT = limits.why_refused() or disks.why_refused()
pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
]


def test_every_restraint_bites_and_is_lifted(control: Any) -> None:
    """Processor, memory under pressure, open files, a full disk: each is proved, leaves the node serving, and leaves
    the group as it was. The freezer holds the node without a signal. Who is killed for memory is no crash, and runs
    again.
    """
    said = control("root", "restraints").finish()
    restraints = [facts for facts in said if "restraint" in facts]
    assert len(restraints) == 4
    for facts in restraints:
        assert all(facts[name] for name in ("bit", "serves", "healed")), facts
    assert all(facts["same"] for facts in said if "same" in facts)
    rest = {name: value for facts in said if "restraint" not in facts for name, value in facts.items()}
    assert rest["frozen"]
    assert rest["state"] == "stopped"
    assert rest["silent"]
    assert rest["thawed"]
    assert rest["ooms"]["healed"]
    assert rest["exits"] == {}
    assert rest["groups"] == []
    assert rest["undone_by_watchdog"] == []


BUSY = """
import mmap
kept = bytearray(8 << 20)
print("ready", flush=True)
while True:
    with mmap.mmap(-1, 1 << 16, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        for offset in range(0, 1 << 16, 4096):
            memory[offset] = 1
"""
"""It wants memory all the time, and soon gives it back."""
TRIES = 6


def busy_in(group: limits.OwnGroup) -> subprocess.Popen[bytes]:
    """One that has what it keeps."""
    node = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
    group.adopt(node.pid)
    assert node.stdout is not None
    assert node.stdout.readline()
    return node


async def test_who_stays_below_the_limit_is_not_killed_for_the_one_that_tries_it() -> None:
    """Everybody that the kernel kills is one of the harness's own, and counted as such, while the node's process wants
    a little memory in the very moment in which the other one's is being freed.
    """
    group = limits.OwnGroup(run_id=f"test{os.getpid()}burden", node="n1", undo=FakeUndoList())
    await group.make()
    node = busy_in(group)
    try:
        size = 4 * (await group.usage()).memory_bytes + (8 << 20)
        await group.limit("memory", size)
        for _ in range(TRIES):
            before = (await group.usage()).oom_kills
            said = answer(f"grab {group.door('memory')} {2 * size}", Presser())
            assert said["killed"]
            assert (await group.usage()).oom_kills - before == said["kills"]
            assert node.poll() is None
    finally:
        node.kill()
        node.communicate()
        await group.remove()


def test_nothing_is_left_when_the_controller_dies_while_nodes_are_restrained(control: Any) -> None:
    """The watchdog thaws, sets back, and removes the groups once their processes are gone."""
    controller = control("root", "restrained")
    facts = controller.first()
    assert facts["groups"]
    controller.process.send_signal(signal.SIGKILL)
    controller.wait_nothing_left(DEATH_BOUND_S, facts["processes"])
    controller.process.wait()
    assert groups_of(controller.run_id) == []
    assert (controller.folder / "harness.log").read_text().splitlines()[-1].endswith("watchdog: done")


@pytest.mark.skipif(bool(DockerSubstrate().missing()), reason="; ".join(DockerSubstrate().missing()))
async def test_containers_are_restrained_by_their_own_groups(tmp_path: Path) -> None:
    """Processor and memory of a container, the freezer, and a server that is killed for memory: the engine's own limits
    are there again afterwards, and no exit is reported.
    """
    run_id = f"test{os.getpid()}limits"
    watchdog = Watchdog.start(run_id=run_id, folder=tmp_path)
    cluster = await made(tmp_path, run_id, watchdog)
    try:
        await cluster.start()
        await wait_serving(cluster)
        for parameters in ({"cpu": "20%"}, {"memory": "64MiB", "pressure": True}, {"files": "4 more"}):
            family = FAMILIES["resource"]
            facts = family.resolve(family.Parameters(**parameters), targets=("n1",), nodes=NAMES, random=Random(0))
            fault = family.build(facts, cluster)
            bit = await fault.inject()
            assert bit.holds, bit.evidence
            healed = await fault.heal()
            assert healed.holds, healed.evidence
        pause = FAMILIES["pause"].build({"targets": ["n2"], "by": "freezer"}, cluster)
        proof = await pause.inject()
        assert proof.holds, proof.evidence
        assert await cluster.nodes["n2"].state() is ProcessState.STOPPED
        assert (await pause.heal()).holds
        await kill_for_memory(cluster)
        await wait_serving(cluster)
        assert await cluster.exits() == {}
    finally:
        await cluster.stop()
        assert watchdog.close() == []


async def kill_for_memory(cluster: Any) -> None:
    """Lets the server have so little that the kernel kills it; healing starts it again."""
    fault = FAMILIES["resource"].build({"targets": ["n3"], "memory": {"ratio": 1.0, "pressure": True}}, cluster)
    await fault.inject()
    healed = await fault.heal()
    assert healed.holds, healed.evidence
