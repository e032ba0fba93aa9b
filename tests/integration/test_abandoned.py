"""A controller that is killed while faults of every kind are in force leaves nothing: no process, no mount, no loop
device, no control group, no container, no network.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults import FAMILIES
from harness.cleanup import marks
from harness.cleanup.clean import find_leftovers
from harness.host import processes
from harness.substrates import SUBSTRATES
from harness.systems import SYSTEMS
from tests.integration.loops import backing_files

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

BOUND_S = 40.0
"""The watchdog's own bounds are shorter: 8 s for its list and 20 s for a second turn, a little for what is left in the
run's namespaces.
"""
FAULTS = {
    "kill": "{target: n1}",
    "pause": "{target: n2}",
    "partition": "{shape: isolate, target: n3}",
    "network": "{target: n4, delay: 20ms}",
    "clock": "{target: n5, drift: 0.05}",
    "disk": "{target: n3, kind: slow, delay: 5ms}",
    "resource": "{target: n4, cpu: 5%}",
    "message": "{target: n5, action: delay, delay: 5ms}",
    "power": "{target: n5, how: together}",
}
OTHERS = {
    "rot": "{target: n1, files: '*.wal'}",
    "membership": "{how: remove, target: n2}",
    "leadership": "{how: disturb, target: [n3, n4]}",
    "disk": "{target: n3, kind: slow, delay: 5ms}",
    "resource": "{target: n4, memory: 96MiB}",
    "clock": "{target: n5, jump: 30s}",
}
"""What the first system cannot have done to it, or in another way: for etcd. The memory is an amount, and no share of
what is in use when it begins: that is 9 MiB a second after the start and 25 MiB after ten, and the node that is limited
has to be alive until it has taken the leadership.
"""
TIMED = {"raftkv": {"power": 3}, "etcd": {"leadership": 8, "rot": 9}}
"""When they come, if not after a second: a failure of the power would take the process away from the others on its
node, and nobody may leave while somebody else is dead or was so a moment ago. Whoever rots may lead: it has handed over
before it is killed, which takes up to a second on a busy machine.
"""
SETS = {"raftkv": FAULTS, "etcd": OTHERS}


def test_every_family_is_in_force_when_a_controller_is_killed() -> None:
    """With one system or the other."""
    assert set(FAULTS) | set(OTHERS) == set(FAMILIES)


def scenario(substrate: str, system: str) -> str:
    """Five nodes, and everything in force at once for longer than the run will live."""
    faults = SETS[system]
    entries = [f"  - {{at: {TIMED[system].get(name, 1)}s, for: 100s, {name}: {faults[name]}}}" for name in faults]
    head = (
        f"name: abandoned\nsystem: {system}\nsubstrate: {substrate}\nnodes: 5\ntime: 110s\n"
        "workload: {name: register, rate: 50}\n"
    )
    return "\n".join([head + "faults:", *entries, ""])


def refused(substrate: str, system: str) -> set[str]:
    """Families that this machine cannot do."""
    kind, options = SUBSTRATES[substrate](), SYSTEMS[system].Options()
    if missing := [*kind.missing(), *SYSTEMS[system].missing(options)]:
        pytest.skip("; ".join(missing))
    lacking = set(kind.refused())
    return {name for name, family in FAMILIES.items() if family.needs & lacking}


class Machine:
    """What a run may leave on this machine, asked past our own code."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def left(self, run_id: str) -> list[str]:
        """In words."""
        return [*self._processes(run_id), *self._mounts(), *self._loops(), *self._groups(run_id), *self._docker(run_id)]

    def _processes(self, run_id: str) -> Iterator[str]:
        for pid in processes.all_pids():
            if processes.environment(pid).get(marks.ENV_RUN) == run_id:
                yield f"process {pid}"

    def _mounts(self) -> Iterator[str]:
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if str(self.folder) in line:
                yield f"mount {line}"

    def _loops(self) -> Iterator[str]:
        yield from (f"loop device of {file}" for file in backing_files() if str(self.folder) in file)

    def _groups(self, run_id: str) -> Iterator[str]:
        for path, folders, _ in os.walk("/sys/fs/cgroup"):  # groups come and go meanwhile, which it bears
            yield from (f"control group {path}/{name}" for name in folders if run_id in name)

    def _docker(self, run_id: str) -> Iterator[str]:
        for what in ("ps -a", "network ls"):
            argv = ["docker", *what.split(), "--quiet", "--filter", f"label={marks.LABEL_RUN}={run_id}"]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
            yield from (f"{what} {name}" for name in done.stdout.split())


def wait_in_force(folder: Path, count: int, running: subprocess.Popen[str]) -> list[dict[str, Any]]:
    """Waits until so many faults have been injected; what the history says of them."""
    deadline = time.monotonic() + 400  # images may have to be made
    while time.monotonic() < deadline and running.poll() is None:
        lines = (folder / "history.jsonl").read_bytes().splitlines() if (folder / "history.jsonl").exists() else []
        events = [json.loads(line) for line in lines if b'"nemesis"' in line and line.endswith(b"}")]
        done = [event["value"] for event in events if event["f"] == "inject" and event["type"] == "info"]
        if len(done) >= count:
            return done
        time.sleep(0.1)
    pytest.fail("not all faults were injected")


@pytest.mark.parametrize(("substrate", "system"), [("process", "raftkv"), ("docker", "raftkv"), ("process", "etcd")])
def test_nothing_is_left(substrate: str, system: str, tmp_path: Path) -> None:
    """SIGKILL; within the bound everything is healed and removed, and the watchdog says so."""
    lacking = refused(substrate, system)
    wanted = [
        line for line in scenario(substrate, system).splitlines() if not any(f" {name}: {{" in line for name in lacking)
    ]
    (tmp_path / "scenario.yaml").write_text("\n".join(wanted), encoding="utf-8")
    count = sum("for: 100s" in line for line in wanted)
    assert count >= 3
    folder = tmp_path / "run"
    argv = [sys.executable, "-m", "harness", "run", str(tmp_path / "scenario.yaml")]
    running = subprocess.Popen(
        [*argv, "--folder", str(folder), "--runs", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        injected = wait_in_force(folder, count, running)
        run_id = json.loads((folder / "run.json").read_bytes())["run_id"]
        held = Machine(tmp_path).left(run_id)
    finally:
        running.send_signal(signal.SIGKILL)
        running.communicate(timeout=30)
    assert held
    assert [fault for fault in injected if not fault["proved"]] == []
    machine = Machine(tmp_path)
    deadline = time.monotonic() + BOUND_S
    while (left := machine.left(run_id)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []
    assert [found for found in find_leftovers(tmp_path) if found.run_id == run_id] == []
    assert (folder / "harness.log").read_text(encoding="utf-8").splitlines()[-1].endswith("watchdog: done")
