"""The time of running processes, changed from outside: seen by the processes themselves."""

from __future__ import annotations

import contextlib
import email.utils
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.clock import HELPER, RESTORER
from harness.host import namespaces
from harness.substrates.clocks import why_refused
from harness.substrates.docker import DockerSubstrate
from harness.substrates.helpers import locally
from tests.node.addresses import free_ports

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(300),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the vDSO is rewritten on x86-64 only"),
    pytest.mark.skipif(bool(why_refused()), reason=str(why_refused())),
]

SECOND = 1_000_000_000
TOKEN = 4711

CLOCKS = """
import datetime, sys, time
for _ in sys.stdin:
    print(time.time(), datetime.datetime.now().timestamp(), time.monotonic(), flush=True)
"""

BUSY = """
import threading, time
for _ in range(3):
    threading.Thread(target=lambda: [time.time() for _ in iter(int, 1)], daemon=True).start()
"""

NEVER_BACK = """
import sys, threading, time
went_back = [0]
def watch():
    last = 0
    while True:
        now = time.monotonic_ns()
        went_back[0] += now < last
        last = now
threading.Thread(target=watch, daemon=True).start()
for _ in sys.stdin:
    print(went_back[0], flush=True)
"""


@contextmanager
def process(*argv: str) -> Iterator[subprocess.Popen[str]]:
    started = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.communicate()


class Helper:
    """The helper of one fault, as faults start it."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(locally(HELPER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, do: str, *pids: int, **arguments: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": do, "pids": pids, "token": TOKEN, **arguments}) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def jump(self, *pids: int, seconds: float, clock: str = "realtime") -> Mapping[str, Any]:
        """All of them jump; what they show then."""
        told = self.ask("begin", *pids, clock=clock, jump_ns=round(seconds * SECOND))
        assert told["refused"] == {}
        shown: Mapping[str, Any] = told["processes"]
        return shown

    def end(self, *pids: int) -> None:
        """Everything is right again."""
        told = self.ask("end", *pids)["processes"]
        assert all(each["even"] and each["realtime_ns"] == 0 for each in told.values())

    def close(self) -> None:
        """Its input ends."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(10) == 0


@pytest.fixture
def helper() -> Iterator[Helper]:
    started = Helper()
    yield started
    started.process.kill()
    started.process.wait()
    for stream in (started.process.stdin, started.process.stdout):
        with contextlib.suppress(OSError):
            stream.close()  # type: ignore[union-attr]


def told(started: subprocess.Popen[str]) -> list[float]:
    """What the process says that its clocks show, less what ours show."""
    assert started.stdin is not None
    assert started.stdout is not None
    started.stdin.write("\n")
    started.stdin.flush()
    shown = [float(word) for word in started.stdout.readline().split()]
    return [shown[0] - time.time(), shown[1] - time.time(), shown[2] - time.monotonic()]


def about(*seconds: float) -> object:
    return pytest.approx(seconds, abs=3.0)


def states(pid: int) -> set[str]:
    """Of all threads."""
    return {stat.read_text().rpartition(")")[2].split()[0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")}


def wait_states(pid: int, wanted: str) -> None:
    deadline = time.monotonic() + 10
    while states(pid) != {wanted} and time.monotonic() < deadline:
        time.sleep(0.01)
    assert states(pid) == {wanted}


def test_a_running_process_sees_other_times_and_the_right_ones_again(helper: Helper) -> None:
    """Jumps forward and back on both ways of asking, the monotonic clock apart, and a clean restoration."""
    with process(sys.executable, "-c", CLOCKS) as started:
        assert told(started) == about(0, 0, 0)
        shown = helper.jump(started.pid, seconds=30)
        assert shown[str(started.pid)]["shift_ns"] == 30 * SECOND
        assert told(started) == about(30, 30, 0)
        helper.jump(started.pid, seconds=-45.25)
        assert told(started) == about(-45.25, -45.25, 0)
        helper.end(started.pid)
        assert told(started) == about(0, 0, 0)
        helper.jump(started.pid, seconds=20, clock="monotonic")
        assert told(started) == about(0, 0, 20)
        helper.end(started.pid)
        helper.jump(started.pid, seconds=40)
        assert told(started) == about(40, 40, 20), "what the monotonic clock gained stays with it"
        helper.end(started.pid)
        assert told(started) == about(0, 0, 20)


def test_many_threads_that_read_the_clock_survive(helper: Helper) -> None:
    """Code is exchanged again and again while threads are in it."""
    with process(sys.executable, "-c", BUSY + CLOCKS) as started:
        told(started)
        for number in range(1, 15):
            helper.jump(started.pid, seconds=10 * number)
            helper.end(started.pid)
        helper.jump(started.pid, seconds=500)
        assert told(started) == about(500, 500, 0)
        helper.end(started.pid)
        assert told(started) == about(0, 0, 0)


def test_a_clock_that_drifts_and_one_that_swings(helper: Helper) -> None:
    """The shift is rate times time, read back from the process; a strobe is seen at both ends."""
    with process(sys.executable, "-c", CLOCKS) as started:
        helper.ask("begin", started.pid, clock="realtime", drift=20.0)
        time.sleep(0.5)
        before, shown, after = time.time(), told(started)[0], time.time()
        seen = helper.ask("look")["processes"][str(started.pid)]
        assert seen["shift_ns"] == pytest.approx(20 * seen["after_ns"], abs=20 * SECOND * (after - before + 0.05))
        assert shown > 9
        helper.end(started.pid)
        helper.ask("begin", started.pid, clock="realtime", strobe={"by_ns": 60 * SECOND, "every_ns": SECOND // 20})
        time.sleep(0.5)
        seen = helper.ask("look")["processes"][str(started.pid)]
        assert (seen["low_ns"], seen["high_ns"]) == (0, 60 * SECOND)
        helper.end(started.pid)


def test_a_monotonic_clock_never_goes_back(helper: Helper) -> None:
    """Whatever is done to it, seen by a thread that does nothing but look."""
    with process(sys.executable, "-c", NEVER_BACK) as started:
        for motion in ({"drift": -0.9}, {"drift": 0.5}, {"jump_ns": SECOND}, {"drift": -0.5}):
            helper.ask("begin", started.pid, clock="monotonic", **motion)
            time.sleep(0.1)
            helper.end(started.pid)
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write("\n")
        started.stdin.flush()
        assert started.stdout.readline() == "0\n"


def test_a_process_that_was_stopped_stays_stopped(helper: Helper) -> None:
    """Another fault's pause survives ours, whichever came first, and so does its end."""
    with process(sys.executable, "-c", BUSY + CLOCKS) as started:
        told(started)
        os.kill(started.pid, signal.SIGSTOP)
        wait_states(started.pid, "T")
        helper.jump(started.pid, seconds=30)
        wait_states(started.pid, "T")
        os.kill(started.pid, signal.SIGCONT)
        assert told(started) == about(30, 30, 0)
        helper.end(started.pid)


def test_signals_that_come_while_it_is_held_are_obeyed(helper: Helper) -> None:
    """Stopped and continued at any instant of our own holding: afterwards it does what it was told last."""
    with process(sys.executable, "-c", BUSY + CLOCKS) as started:
        told(started)
        for number in range(15):
            assert helper.process.stdin is not None
            assert helper.process.stdout is not None
            command = {"do": "begin", "pids": [started.pid], "token": TOKEN, "clock": "realtime", "jump_ns": SECOND}
            helper.process.stdin.write(json.dumps(command) + "\n" + json.dumps({**command, "do": "end"}) + "\n")
            helper.process.stdin.flush()
            time.sleep(0.0007 * (number % 10))
            os.kill(started.pid, signal.SIGSTOP)
            helper.process.stdout.readline()
            helper.process.stdout.readline()
            wait_states(started.pid, "T")
            os.kill(started.pid, signal.SIGCONT)
        assert told(started) == about(0, 0, 0)


def test_children_and_replaced_programs_get_the_time(helper: Helper) -> None:
    """What a process executes begins with the right time, and is noticed; so is a child."""
    with process("sh", "-c", f"read _; {sys.executable} -c '{CLOCKS}'; exit") as started:
        helper.jump(started.pid, seconds=30)
        assert started.stdin is not None
        started.stdin.write("\n")
        started.stdin.flush()
        deadline = time.monotonic() + 20
        while (shown := told(started)) != about(30, 30, 0) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert shown == about(30, 30, 0)
        assert len(helper.ask("look")["processes"]) == 2
        helper.end(started.pid)
        assert told(started) == about(0, 0, 0)


def test_when_the_input_ends_the_time_is_right_again(helper: Helper) -> None:
    """Whoever started the helper is dead."""
    with process(sys.executable, "-c", CLOCKS) as started:
        helper.jump(started.pid, seconds=30)
        helper.close()
        assert told(started) == about(0, 0, 0)


def test_the_watchdogs_command_finds_processes_by_the_token(helper: Helper) -> None:
    """Even when the helper is dead; and one that lives gives up."""
    with process(sys.executable, "-c", CLOCKS) as started:
        helper.jump(started.pid, seconds=30)
        subprocess.run([*RESTORER, "99"], check=True)
        assert told(started) == about(30, 30, 0), "another fault's"
        subprocess.run([*RESTORER, str(TOKEN)], check=True)
        assert told(started) == about(0, 0, 0)
        assert helper.ask("look")["revoked"] in (True, False)
        time.sleep(0.1)
        assert helper.ask("look")["revoked"]
        helper.jump(started.pid, seconds=30)
        helper.process.kill()
        helper.process.wait()
        assert told(started) == about(30, 30, 0)
        subprocess.run([*RESTORER, str(TOKEN)], check=True)
        assert told(started) == about(0, 0, 0)


def test_a_process_that_is_gone(helper: Helper) -> None:
    """No error: there is nothing whose time could be wrong."""
    with process("cat") as started:
        pass
    assert helper.jump(started.pid, seconds=30) == {}
    helper.end(started.pid)


def test_a_process_that_somebody_traces_is_refused(helper: Helper) -> None:
    """With the reason."""
    with process(sys.executable, "-c", CLOCKS) as started:
        trace = (
            "import sys, time; from faults.clocks.standstill import why_not; "
            "print(why_not(int(sys.argv[1]))); time.sleep(60)"
        )
        with process(sys.executable, "-u", "-c", trace, str(started.pid)) as tracer:
            assert tracer.stdout is not None
            assert tracer.stdout.readline() == "None\n"
            refused = helper.ask("begin", started.pid, clock="realtime", jump_ns=SECOND)["refused"]
            assert f"process {tracer.pid} traces it" in refused[str(started.pid)]
        helper.end(started.pid)


@contextmanager
def etcd(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """One member, and its URL."""
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    argv = ["etcd", f"--data-dir={folder}/data", f"--listen-client-urls={client}", f"--advertise-client-urls={client}"]
    argv += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"]
    with (folder / "log").open("wb") as log:
        started = subprocess.Popen(argv, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                shown_date(client)
                break
            time.sleep(0.05)
        yield started, client
    finally:
        started.kill()
        started.wait()


def shown_date(url: str) -> float:
    """How far the date of its answers is from ours, in seconds."""
    with urllib.request.urlopen(f"{url}/version", timeout=5) as answer:
        return email.utils.parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()


@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed")
def test_a_static_go_program_sees_another_date(tmp_path: Path, helper: Helper) -> None:
    """etcd's date jumps by 30 s while it runs, and comes back."""
    with etcd(tmp_path) as (started, url):
        assert shown_date(url) == pytest.approx(0, abs=3)
        helper.jump(started.pid, seconds=30)
        assert shown_date(url) == pytest.approx(30, abs=3)
        helper.end(started.pid)
        assert shown_date(url) == pytest.approx(0, abs=3)


RUNNABLE = {
    "process": namespaces.missing(),
    "docker": DockerSubstrate().missing() or (["needs root"] if os.geteuid() != 0 else []),
}


@pytest.mark.parametrize("substrate", RUNNABLE)
def test_a_whole_run_by_the_nodes_own_testimony(substrate: str, tmp_path: Path) -> None:
    """The leader's wall clock in its own trace jumps by 30 s and comes back, while it is paused and goes on, and while
    another one is killed and starts again with its clock running too fast.
    """
    if RUNNABLE[substrate]:
        pytest.skip("; ".join(RUNNABLE[substrate]))
    faults = [
        "{at: 500ms, for: 3s, clock: {target: n1, jump: 30s}}",
        "{at: 1500ms, for: 1s, pause: {target: n1}}",
        "{at: 500ms, for: 4s, clock: {target: n2, drift: 10.0}}",
        "{at: 1500ms, for: 500ms, kill: {target: n2}}",
    ]
    words = ["run", "--substrate", substrate, "--runs", str(tmp_path), "--set", f"faults=[{', '.join(faults)}]"]
    words += ["--set", "time=6s", "--nodes", "3", "--rate", "100", "--set", "ok_min=50"]
    words += ["--set", "lag_max=20s", "--set", "recovery=30s"]  # a busy machine is not what is tested here
    done = subprocess.run([sys.executable, "-m", "harness", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (folder,) = (path.parent for path in tmp_path.glob("*/*/run.json"))
    rows = [json.loads(line) for line in (folder / "schedule.jsonl").read_text().splitlines()]
    assert all(row["bit"]["holds"] and row["healed"]["holds"] for row in rows)
    jumped = wall_shifts(folder, "n1")
    assert max(jumped) == pytest.approx(30, abs=1)
    assert jumped[-1] == pytest.approx(0, abs=1)
    drifted = wall_shifts(folder, "n2")
    assert max(drifted) > 15
    assert drifted[-1] == pytest.approx(0, abs=1)


def wall_shifts(folder: Path, node: str) -> list[float]:
    """How far the node's wall clock was from where its monotonic clock had it at first, event by event."""
    lines = (folder / "nodes" / node / "trace.jsonl").read_text().splitlines()
    apart = [event["wall"] - event["time"] for event in map(json.loads, lines)]
    return [(each - apart[0]) / SECOND for each in apart]
