"""The ssh substrate on real SSH servers: five of them on this machine, each in a network of its own
(:mod:`tests.integration.ssh_lab`), and whole runs from the command line against them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from harness.host import namespaces
from tests.integration.process_controller import groups_of
from tests.integration.ssh_lab import OPEN, TESTER, TESTER_ID, inside

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="SSH servers for root need root"),
    pytest.mark.skipif(not os.path.exists("/usr/sbin/sshd"), reason="sudo apt-get install -y openssh-server"),
    pytest.mark.skipif(bool(namespaces.missing()), reason="; ".join(namespaces.missing())),
]

HOSTS = 5
FEW = "3"
"""Nodes, where the number does not matter."""
CAPSIZE = [sys.executable, "-m", "harness"]
WAIT_S = 90.0


class Lab:
    """The hosts, and commands that reach them."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder = folder
        self.process = process

    def command(self, argv: Sequence[str]) -> list[str]:
        """A command where the controller is."""
        return inside(self.process.pid, argv)

    def on(self, host: str, argv: Sequence[str]) -> str:
        """What a command says in a host's network."""
        entered = self.command(["ip", "netns", "exec", host, *argv])
        return subprocess.run(entered, capture_output=True, text=True, check=True, timeout=20).stdout

    def here(self, *argv: str) -> None:
        """A command in the controller's network."""
        subprocess.run(self.command(argv), check=True, capture_output=True, timeout=20)

    def hosts(self, **changes: Any) -> Path:
        """A file of hosts, each with these changes."""
        path = self.folder / f"hosts-{abs(hash(str(changes)))}.yaml"
        rows = yaml.safe_load((self.folder / "hosts.yaml").read_text())
        path.write_text(yaml.safe_dump([{**row, **changes} for row in rows]))
        return path

    def words(self, hosts: Path, folder: Path, **settings: str) -> list[str]:
        """``capsize run`` on these hosts."""
        values = {"hosts": str(hosts), "nodes": str(HOSTS), "workload.rate": "100", "ok_min": "50", **settings}
        words = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
        run = ["run", "default", "--substrate", "ssh", "--seed", "1", "--folder", str(folder)]
        return self.command([*CAPSIZE, *run, "--runs", str(self.folder / "runs"), *words])

    def left(self, run_id: str | None = None) -> list[str]:
        """Folders, guards and servers of runs; control groups of this run."""
        folders = [str(path) for path in self.folder.glob("capsize-*")]
        open_ = subprocess.run(self.command(["ls", str(OPEN)]), capture_output=True, text=True, check=True, timeout=20)
        groups = groups_of(run_id) if run_id else []
        every = [" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"])]
        theirs = [words[:200] for words in every if f"{self.folder}/capsize-" in words or f"{OPEN}/capsize-" in words]
        return folders + [name for name in open_.stdout.split() if name.startswith("capsize-")] + groups + theirs


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Started once; everything of it is gone afterwards."""
    folder = tmp_path_factory.mktemp("ssh")
    argv = [sys.executable, "-m", "tests.integration.ssh_lab", str(HOSTS), str(folder)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield Lab(folder, process)
    finally:
        process.stdin.close()
        process.wait(20)
        process.stdout.close()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running(words: Sequence[str], output: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command that is ended if the test fails meanwhile."""
    run = subprocess.Popen(words, stdout=output, stderr=output)
    try:
        yield run
    finally:
        if run.poll() is None:
            run.kill()
            run.wait(20)


def read(folder: Path, name: str) -> Any:
    """A file of a run."""
    return json.loads((folder / name).read_bytes())


def rows(folder: Path) -> list[dict[str, Any]]:
    """The faults of a run."""
    path = folder / "schedule.jsonl"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def wait(reached: Callable[[], bool], what: str) -> None:
    """Until something is so."""
    deadline = time.monotonic() + WAIT_S
    while not reached():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


def injected(folder: Path, family: str) -> bool:
    """Whether the history says that such a fault is in force."""
    path = folder / "history.jsonl"
    wanted = f'"family":"{family}"'.encode()
    lines = path.read_bytes().splitlines() if path.exists() else []
    return any(b'"f":"inject"' in line and wanted in line and b'"type":"info"' in line for line in lines)


def end_session(lab: Lab, host: str) -> None:
    """Kills the process of the host's SSH server that serves the controller."""
    number = lab.on(host, ["readlink", "/proc/self/ns/net"]).strip()
    ours = []
    for each in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(OSError):  # it has ended meanwhile: another lab's, most likely
            serves = "sshd: root" in " ".join(each.info["cmdline"] or ())
            if serves and os.readlink(f"/proc/{each.pid}/ns/net") == number:
                ours.append(each.pid)
    assert ours
    for pid in ours:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_a_run_over_ssh_survives_the_loss_of_connections(lab: Lab, tmp_path: Path) -> None:
    """Every family that needs no disk of the node's own, proved; while some of them are in force one connection is cut
    and one is killed.
    """
    faults = (
        "[{at: 300ms, for: 5s, network: {target: n4, peers: n5, delay: 60ms, jitter: 5ms}},"
        " {at: 300ms, for: 5s, partition: {shape: isolate, target: n2}}, {at: 300ms, for: 4s, kill: {target: n3}},"
        " {at: 6s, for: 1s, pause: {target: n1, by: any}}, {at: 6s, for: 1s, clock: {target: n4, jump: 30s}},"
        " {at: 6s, for: 1s, resource: {target: n5, cpu: 10%, memory: 300%, files: 8 more}}]"
    )
    families = ("network", "partition", "kill", "pause", "clock", "resource")
    folder = tmp_path / "run"
    words = lab.words(lab.hosts(), folder, time="8s", faults=faults)
    with (tmp_path / "said").open("wb") as file, running(words, file) as run:
        wait(lambda: all(injected(folder, family) for family in families[:3]), "the faults")
        log = folder / "harness.log"
        lab.here("iptables", "-A", "OUTPUT", "-d", "10.77.1.2", "-p", "tcp", "--dport", "22", "-j", "DROP")
        try:
            end_session(lab, "n3")
            wait(lambda: "10.77.1.2:22: the connection is lost" in log.read_text(), "the cut is noticed")
        finally:
            lab.here("iptables", "-F", "OUTPUT")
        run.wait(90)
    assert run.returncode == 0, (tmp_path / "said").read_text()
    found = {row["family"]: (row["bit"]["holds"], row["healed"]["holds"]) for row in rows(folder)}
    assert found == dict.fromkeys(families, (True, True))
    assert "10.77.1.2:22: connected again" in log.read_text()
    assert "10.77.1.3:22: connected again" in log.read_text()
    network = next(row for row in rows(folder) if row["family"] == "network")["bit"]["evidence"]["links"]
    assert all(0 < link["uncertain_ms"] < 24 for link in network.values()), network
    facts = read(folder, "run.json")
    assert facts["one_clock"] is False
    assert set(facts["clock_offsets_ns"]) == {"n1", "n2", "n3", "n4", "n5"}
    for node in ("n1", "n5"):
        assert (folder / "nodes" / node / "trace.jsonl").stat().st_size > 0
        assert (folder / "nodes" / node / "node.log").stat().st_size > 0
    assert lab.left(read(folder, "run.json")["run_id"]) == []
    for table in ("filter", "mangle"):
        assert "capsize" not in lab.on("n2", ["iptables", "-t", table, "-S"])


@pytest.mark.skipif(shutil.which("sudo") is None, reason="sudo apt-get install -y sudo")
def test_roots_deeds_are_done_by_sudo(lab: Lab, tmp_path: Path) -> None:
    """An ordinary user logs in; the guard is root's, the server is his, and faults that need root bite."""
    faults = (
        "[{at: 0s, for: 2s, partition: {shape: isolate, target: n2}},"
        " {at: 0s, for: 2s, resource: {target: n1, cpu: 30%}}, {at: 0s, for: 2s, clock: {target: n3, jump: 30s}}]"
    )
    folder = tmp_path / "run"
    hosts = lab.hosts(user=TESTER, become="sudo", folder=str(OPEN))
    with (
        (tmp_path / "said").open("wb") as file,
        running(lab.words(hosts, folder, nodes=FEW, time="3s", faults=faults), file) as run,
    ):
        wait(lambda: injected(folder, "clock") or run.poll() is not None, "the clock")
        users = {
            each.info["uids"].real
            for each in psutil.process_iter(["cmdline", "uids"])
            if "-m node" in " ".join(each.info["cmdline"] or ())
            and f"{OPEN}/capsize-" in " ".join(each.info["cmdline"])
        }
        run.wait(90)
    assert run.returncode == 0, (tmp_path / "said").read_text()
    assert users == {TESTER_ID}
    assert all(row["bit"]["holds"] and row["healed"]["holds"] for row in rows(folder))
    assert lab.left(read(folder, "run.json")["run_id"]) == []


@pytest.mark.parametrize("who", ["the controller", "the controller and its watchdog"])
def test_hosts_mend_themselves(lab: Lab, tmp_path: Path, who: str) -> None:
    """Killed while faults are in force: rules, servers and folders go, with nobody left to ask for it in the second
    case but the guards.
    """
    faults = (
        "[{at: 0s, for: 20s, partition: {shape: isolate, target: n2}}, {at: 0s, for: 20s, pause: {target: n3}},"
        " {at: 0s, for: 20s, network: {target: n1, peers: n3}}]"
    )
    folder = tmp_path / "run"
    words = lab.words(lab.hosts(silence_s=3.0), folder, nodes=FEW, time="25s", faults=faults)
    with running(words, subprocess.DEVNULL) as run:
        wait(lambda: all(injected(folder, family) for family in ("partition", "pause", "network")), "the faults")
        assert "DROP" in lab.on("n2", ["iptables", "-S"])
        assert "NFQUEUE" in lab.on("n1", ["iptables", "-t", "mangle", "-S"]) + lab.on("n1", ["tc", "qdisc"]).replace(
            "netem", "NFQUEUE"
        )
        controller = psutil.Process(run.pid)
        watchdogs = [each for each in controller.children() if "harness.cleanup.watchdog_process" in each.cmdline()]
        for process in [controller, *watchdogs] if "watchdog" in who else [controller]:
            process.kill()
        run.wait(20)
    wait(lambda: not lab.left(), "the hosts are clean")
    for node, table in (("n2", "filter"), ("n1", "mangle"), ("n3", "mangle")):
        wait(lambda: "capsize" not in lab.on(node, ["iptables", "-t", table, "-S"]), "the rules are gone")  # noqa: B023
    for watchdog in watchdogs:
        watchdog.wait(20)


def test_a_host_that_nobody_knows_is_refused(lab: Lab, tmp_path: Path) -> None:
    """With the line that makes it known; nothing was done there."""
    (tmp_path / "known").write_text("")
    words = lab.words(lab.hosts(known_hosts=str(tmp_path / "known")), tmp_path / "run", nodes=FEW)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 70
    assert f"ssh-keyscan -p 22 10.77.1.1 >> {tmp_path}/known" in done.stderr
    assert "Traceback" not in done.stderr
    assert lab.left() == []


def test_a_host_with_another_key_is_refused(lab: Lab, tmp_path: Path) -> None:
    """Somebody else may be answering."""
    known = (lab.folder / "known_hosts").read_text()
    (tmp_path / "known").write_text(known.replace("10.77.1.1 ", "10.77.1.9 ").replace("10.77.1.2 ", "10.77.1.1 "))
    words = lab.words(lab.hosts(known_hosts=str(tmp_path / "known")), tmp_path / "run", nodes=FEW)
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 70
    assert "10.77.1.1:22: its key is another one" in done.stderr


def test_an_interpreter_that_lacks_what_the_node_imports_is_refused(lab: Lab, tmp_path: Path) -> None:
    """Before anything is started; what was brought there is taken away again."""
    words = lab.words(lab.hosts(python="/usr/bin/python3"), tmp_path / "run", nodes=FEW, faults="[]")
    if subprocess.run(["/usr/bin/python3", "-c", "import grpc"], capture_output=True, check=False).returncode == 0:
        pytest.skip("this machine's own interpreter has it")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 70
    assert "what the node imports is not there" in done.stderr
    assert lab.left() == []
