"""The process substrate with real namespaces, processes and rules, as root and as an ordinary user.

Each test runs a controller of its own (tests/integration/process_controller.py) and looks at what it says, and at
what is left on the machine.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.cleanup import marks
from harness.host import processes
from tests.integration.persons import PERSONS, as_person, writable

pytestmark = pytest.mark.integration

CONTROLLER = str(Path(__file__).parent / "process_controller.py")
DEATH_BOUND_S = 10
"""The design's promise: so long after the controller's death nothing is left."""


@pytest.fixture(params=PERSONS)
def person(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Controller:
    """A controller under way, in a run folder of its own."""

    def __init__(self, person: str, deed: str, scratch: Path) -> None:
        scratch.mkdir()
        argv, environment = as_person(person, ["true"], scratch)
        self.run_id = f"it-{secrets.token_hex(4)}"
        self.folder = writable(person, scratch) / self.run_id
        self.folder.mkdir()
        if self.folder.parent != scratch:
            os.chown(self.folder, self.folder.parent.stat().st_uid, self.folder.parent.stat().st_gid)
        argv = [*argv[:-1], sys.executable, "-W", "error", CONTROLLER, str(self.folder), deed]
        self.process = subprocess.Popen(
            argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def finish(self) -> list[dict[str, Any]]:
        """Everything it said, once it has ended well."""
        stdout, stderr = self.process.communicate(timeout=100)
        assert self.process.returncode == 0, stderr
        return [json.loads(line) for line in stdout.splitlines()]

    def facts(self) -> dict[str, Any]:
        """The same in one mapping."""
        return {name: value for said in self.finish() for name, value in said.items()}

    def first(self) -> dict[str, Any]:
        """The first thing it says, while it goes on."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        said: dict[str, Any] = json.loads(line)
        return said

    def left(self) -> list[int]:
        """Processes that carry the run's mark."""
        return [pid for pid in processes.all_pids() if processes.environment(pid).get(marks.ENV_RUN) == self.run_id]

    def wait_nothing_left(self, bound_s: float, known: Sequence[tuple[int, int]] = ()) -> None:
        """Waits until no process has the mark, nor is one of the known (pid and start time), which may have lost it."""
        deadline = time.monotonic() + bound_s
        while left := self.left() + [pid for pid, start in known if processes.is_process(pid, start)]:
            assert time.monotonic() < deadline, f"still there: {left}"
            time.sleep(0.05)

    def end(self) -> None:
        with self.process:
            self.process.kill()


@pytest.fixture
def control() -> Iterator[Any]:
    """Starts controllers; when the test is over nothing of them may be left on the machine."""
    started: list[Controller] = []
    reachable = Path(tempfile.mkdtemp(prefix="capsize-test-"))  # pytest's own are closed to other users
    reachable.chmod(0o755)
    before = machine(reachable)

    def start(person: str, deed: str) -> Controller:
        started.append(Controller(person, deed, reachable / f"{len(started)}"))
        return started[-1]

    yield start
    for controller in started:
        controller.end()
        controller.wait_nothing_left(DEATH_BOUND_S)
        assert not list(controller.folder.rglob("data")), "data is deleted at the stop"
        assert not (controller.folder / "undo.jsonl").exists()
    assert machine(reachable) == before
    shutil.rmtree(reachable)


def machine(folder: Path) -> list[str]:
    """Mounts in this folder, and network devices and named namespaces of the machine itself that have names such as
    ours have. (Other tests, on containers, may mount theirs at the same time.)
    """
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(folder) in line]
    devices = [name for _, name in socket.if_nameindex() if name == "capsize" or name.startswith("node")]
    folder = Path("/run/netns")
    named = [path.name for path in folder.iterdir() if path.name in ("n1", "n5", "trial")] if folder.is_dir() else []
    return [*mounts, *devices, *named]


def test_every_shape_bites_and_heals(control: Any, person: str) -> None:
    """In each shape and direction the nodes' own datagrams stop in exactly the cut directions, and flow again after
    healing.
    """
    said = [facts for facts in control(person, "shapes").finish() if "shape" in facts]
    assert len(said) == 11
    for facts in said:
        what = (facts["shape"], facts["direction"], facts)
        assert facts["bit"], what
        assert facts["exact"], what
        assert facts["healed"], what
        assert facts["open_again"], what
        assert facts["held"] > 0, what
        assert facts["rules"] == 0, what


def test_partitions_compose_and_cut_what_is_established(control: Any, person: str) -> None:
    """Overlapping partitions cut the union and heal one by one; open connections are cut, clients only when asked."""
    facts = control(person, "compose").facts()
    assert facts.pop("rules") == 0
    assert facts.pop("undone_by_watchdog") == []
    assert set(facts) > {"connected", "established_cut", "union", "second_stays", "open_again"}
    assert all(facts.values()), facts


def test_kill_and_pause_hit_the_whole_tree(control: Any, person: str) -> None:
    """Both are proved, a daemonized helper included; others are spared; only a crash is reported as an exit."""
    said = control(person, "processes").finish()
    kill, pause = (facts for facts in said if "family" in facts)
    for facts, state in ((kill, "dead"), (pause, "stopped")):
        assert facts["state"] == state
        assert all(facts[name] for name in ("bit", "stopped", "spared", "healed")), facts
    rest = {name: value for facts in said if "family" not in facts for name, value in facts.items()}
    assert rest["tree"] == 2
    assert rest["left"] == []
    assert rest["exits"] == {}
    assert rest["kill_of_paused"]
    assert rest["healed"]
    assert rest["crash"] == {"n2": -signal.SIGSEGV}
    assert rest["logs"] == 2, "the log goes on after a restart"


@pytest.mark.parametrize("deed", ["orphan", "silent"])
def test_nothing_is_left_of_a_run_whose_controller_is_no_more(control: Any, person: str, deed: str) -> None:
    """SIGKILL of the controller, or a controller that stands still, while all kinds of faults are active: within 10 s
    nothing is left.
    """
    controller = control(person, deed)
    facts = controller.first()
    assert len(facts["processes"]) >= 9
    controller.process.send_signal(signal.SIGKILL if deed == "orphan" else signal.SIGSTOP)
    if deed == "silent":
        controller.process.wait(DEATH_BOUND_S)
    controller.wait_nothing_left(DEATH_BOUND_S, facts["processes"])
    log = (controller.folder / "harness.log").read_text()
    assert ("died" if deed == "orphan" else "silent") in log
    assert log.splitlines()[-1].endswith("watchdog: done")


def test_clean_finishes_when_the_watchdog_died_too(control: Any, person: str) -> None:
    """Controller and watchdog killed at the same moment: ``capsize clean`` finds and removes everything of that run."""
    from harness.cleanup.clean import clean

    controller = control(person, "orphan")
    facts = controller.first()
    for pid in (controller.process.pid, facts["watchdog"]):
        os.kill(pid, signal.SIGSTOP)
    for pid in (facts["watchdog"], controller.process.pid):
        os.kill(pid, signal.SIGKILL)
    controller.process.wait()
    assert controller.left()
    removals = [removal for removal in clean(controller.folder.parent) if removal.leftover.run_id == controller.run_id]
    assert removals
    assert [str(removal) for removal in removals if removal.error is not None] == []
    assert controller.left() == []


def test_two_runs_side_by_side_do_not_disturb_each_other(control: Any, person: str) -> None:
    """Two controllers with the same addresses, both partitioning all the time: each sees exactly its own cuts."""
    pair = [control(person, "shapes"), control(person, "shapes")]
    for controller in pair:
        said = [facts for facts in controller.finish() if "shape" in facts]
        assert len(said) == 11
        assert all(facts["bit"] and facts["exact"] and facts["healed"] and facts["open_again"] for facts in said), said


def test_a_start_that_fails_leaves_nothing(control: Any, person: str) -> None:
    """A node whose program does not exist: the error names both, and stopping (twice) removes what was made."""
    facts = control(person, "refused").facts()
    assert "n4" in facts["error"]
    assert "capsize-no-such-program" in facts["error"]
    assert facts["data"] == []
    assert facts["undone_by_watchdog"] == []
