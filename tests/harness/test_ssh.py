"""The ssh substrate without SSH: hosts as scenarios name them, a real guard on this machine, and what is between."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import paramiko
import pytest

from faults.fakes.cluster import FakeUndoList
from faults.kill import KillFamily
from faults.needs import Completed, HelperError, ProcessState, Undo
from faults.packets.journeys import QUICK
from faults.pause import Pause
from harness.commands.run import reduced
from harness.errors import HarnessError, UsageError
from harness.guard.datagrams import ProbePort
from harness.guard.ledger import read_entries
from harness.guard.tree import send, start_of, stat_fields
from harness.planning.scenario import parse_scenario
from harness.substrates import ssh_connection
from harness.substrates.protocol import Launch, Place
from harness.substrates.ssh import SshSubstrate
from harness.substrates.ssh_clocks import Ahead, Clocks
from harness.substrates.ssh_connection import words_for
from harness.substrates.ssh_hosts import Host
from harness.substrates.ssh_limits import HostLimits
from harness.substrates.ssh_line import GuardRefusedError, LogCopy
from harness.substrates.ssh_links import End, HostLinks, LocalPort
from harness.substrates.ssh_node import HostNode, HostUndoList
from harness.substrates.ssh_package import modules, package
from harness.substrates.ssh_way_in import WAY_IN, WayIn, kept_open

HOST = Host(address="10.0.0.5", python=sys.executable)
POLLS = 2000


class LocalLine:
    """Questions to a guard on this machine, past SSH: what :class:`harness.substrates.ssh_line.Line` asks."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "guard.sock"
        self.on_beat: Any = None
        self._numbers = iter(range(10**6))

    async def ask(self, op: str, *, timeout_s: float = 10.0, number_of: str | None = None, **fields: Any) -> Any:
        """One question on a connection of its own."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        try:
            number = number_of or f"{id(self)} {next(self._numbers)}"
            writer.write(json.dumps({"id": number, "op": op, **fields}).encode() + b"\n")
            async with asyncio.timeout(timeout_s):
                answer = json.loads(await reader.readline())
        finally:
            writer.close()
        if "error" in answer:
            raise GuardRefusedError(answer["error"])
        return answer["ok"]


def serve(folder: Path, silence_s: float = 60.0) -> LocalLine:
    """A guard of its own process."""
    (folder / "log").mkdir(parents=True)
    config = {"folder": str(folder), "logs": str(folder / "log"), "silence_s": silence_s, "env": {}}
    argv = [sys.executable, "-m", "harness.guard", "serve", json.dumps(config)]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout
    assert said == "capsize-guard ready\n"
    return LocalLine(folder)


@pytest.fixture
async def line(tmp_path: Path) -> AsyncIterator[LocalLine]:
    """A guard; it must end without leaving anything."""
    folder = tmp_path / "g"
    line = serve(folder)
    yield line
    if folder.exists():
        assert await line.ask("end") == []
    assert not folder.exists()


def node_of(line: LocalLine, folder: Path, argv: Sequence[str]) -> HostNode:
    """A node whose host is this machine."""
    log, data = str(folder / "g" / "log"), str(folder / "g" / "data")
    place = Place(name="n1", address="127.0.0.1", data_dir=data, log_dir=log, python=sys.executable)
    node = HostNode(place=place, host=HOST, line=line, login=None)  # type: ignore[arg-type]
    node.launch = Launch(argv=argv)
    return node


def scenario_with(hosts: str, nodes: int = 2) -> str:
    """The text of a scenario on hosts."""
    return f"name: x\nnodes: {nodes}\nsubstrate: ssh\nhosts: {hosts}\n"


class TestHosts:
    @pytest.mark.parametrize(
        ("hosts", "says"),
        [
            ("[{address: a}, {address: b, prot: 22}]", "host 2: unknown name 'prot': did you mean 'port'?"),
            ("[{address: a, port: 0}, {address: b}]", "port"),
            ("[{address: a}, {address: a}]", "two hosts have the address 'a'"),
            ("[{address: a}]", "2 nodes on 1 hosts"),
            ("nowhere.yaml", "'nowhere.yaml'"),
            ("null", "2 nodes on 0 hosts"),
        ],
    )
    def test_wrong_hosts_are_refused_by_value(self, hosts: str, says: str) -> None:
        """Before anything starts, with the value and the next step."""
        with pytest.raises(UsageError) as refused:
            parse_scenario(scenario_with(hosts), "s.yaml")
        assert says in str(refused.value)

    def test_a_file_of_hosts_is_read_and_recorded_whole(self, tmp_path: Path) -> None:
        """The run's own scenario does not need the file any more."""
        file = tmp_path / "hosts.yaml"
        file.write_text("hosts:\n- {address: a, user: root}\n- {address: b, node_address: 10.1.1.1}\n")
        scenario = parse_scenario(scenario_with(str(file)), "s.yaml")
        file.unlink()
        assert parse_scenario(scenario.to_yaml(), "again").head.hosts == scenario.head.hosts
        assert [host.address for host in scenario.head.hosts or ()] == ["a", "b"]

    def test_other_substrates_ignore_hosts(self) -> None:
        """The same scenario runs on every substrate."""
        text = scenario_with("[{address: a}]").replace("ssh", "process")
        assert parse_scenario(text, "s.yaml").head.substrate == "process"

    def test_a_substrate_without_hosts_says_what_is_missing(self) -> None:
        """And where to name them."""
        assert "hosts" in SshSubstrate().missing()[0]

    def test_what_needs_a_disk_of_the_nodes_own_is_refused_before_anything_starts(self) -> None:
        """The family is there, but not with these parameters."""
        text = scenario_with("[{address: a}, {address: b}]") + "faults: [{at: 1s, for: 1s, resource: {disk: full}}]\n"
        with pytest.raises(UsageError, match=r"cannot inject resource .* disks of the nodes' own: image"):
            reduced(parse_scenario(text, "s.yaml"), SshSubstrate())
        cpu = parse_scenario(text.replace("disk: full", "cpu: 10%"), "s.yaml")
        assert reduced(cpu, SshSubstrate())[0].faults == cpu.faults

    @pytest.mark.parametrize("also", ["", ", kill: 1"])
    def test_a_draw_of_which_nothing_could_ever_be_injected_is_told_of(self, also: str) -> None:
        """By itself it is refused, among others it is left out by name: never a run that silently plans nothing."""
        draws = f"faults: [{{random: {{resource: {{disk: full}}{also}}}}}]\n"
        scenario = parse_scenario(scenario_with("[{address: a}, {address: b}]") + draws, "s.yaml")
        if also:
            smaller, notes = reduced(scenario, SshSubstrate())
            assert smaller.faults[0].families == ("kill",)
            assert "resource" in notes[0]
        else:
            with pytest.raises(UsageError, match="cannot inject resource"):
                reduced(scenario, SshSubstrate())


class TestConnection:
    @pytest.mark.parametrize(
        ("error", "says"),
        [
            (
                paramiko.SSHException("Server '10.0.0.5' not found in known_hosts"),
                "ssh-keyscan -p 22 10.0.0.5 >> ~/.ssh/known_hosts",
            ),
            (paramiko.AuthenticationException("no"), "ssh-copy-id -p 22 10.0.0.5"),
            (ConnectionRefusedError(111, "refused"), "is its SSH server on port 22"),
            (TimeoutError("timed out"), "not reachable"),
            (paramiko.SSHException("odd"), "ssh -p 22 10.0.0.5 true"),
            (FileNotFoundError(2, "no", HOST.known_hosts_file), "ssh-keyscan"),
        ],
    )
    def test_every_trouble_has_a_next_step(self, error: Exception, says: str) -> None:
        """The line to type, or what to look at."""
        assert says in ssh_connection._reason(HOST, error)

    def test_a_changed_key_is_told_from_an_unknown_one(self) -> None:
        """Somebody else may be answering: the old key has to be taken out by hand."""
        key = paramiko.RSAKey.generate(1024)
        error = paramiko.BadHostKeyException("10.0.0.5", key, key)
        assert "another one than in" in ssh_connection._reason(HOST, error)
        assert "ssh-keygen -f ~/.ssh/known_hosts -R '10.0.0.5'" in ssh_connection._reason(HOST, error)

    def test_sudo_is_asked_without_a_password(self) -> None:
        """Nobody is there to type one."""
        assert words_for(Host(address="a", become="sudo"), ["id"]) == ["sudo", "-n", "id"]
        assert words_for(HOST, ["id"]) == ["id"]


class TestWayIn:
    def test_rules_leave_the_ssh_connection_first(self) -> None:
        """Whatever a fault writes, our packets pass before its chain is asked."""
        text = kept_open("*filter\n:cut - [0:0]\n-A cut -s 10.0.0.9/32 -j DROP\n-I INPUT -j cut\nCOMMIT\n")
        lines = text.splitlines()
        assert lines.index(f"-I INPUT -j {WAY_IN}") > lines.index("-I INPUT -j cut")
        assert lines[-1] == "COMMIT"
        assert lines.count(f"-D INPUT -j {WAY_IN}") == 1

    def test_every_table_that_faults_write_to_has_it(self) -> None:
        """What a stand-in holds up is queued in another table than what a partition drops."""
        text = kept_open("*mangle\n-I INPUT -j q\nCOMMIT\n*filter\n-I INPUT -j cut\nCOMMIT\n")
        assert text.count(f"-I INPUT -j {WAY_IN}") == text.count("COMMIT") == 2
        rules = WayIn(address="10.0.0.1", port=22).rules()
        assert [line for line in rules.splitlines() if line.startswith("*")] == ["*filter", "*mangle"]

    def test_the_way_in_is_as_narrow_as_the_connection(self) -> None:
        """Our address and the SSH port, nothing else."""
        rules = WayIn(address="10.0.0.1", port=2222, tables=("filter",)).rules()
        assert f"-A {WAY_IN} -p tcp -s 10.0.0.1/32 --dport 2222 -j ACCEPT" in rules
        assert rules.count("ACCEPT") == 2

    def test_queues_of_the_kernel_do_not_hold_it_up(self) -> None:
        """The filter comes with the root, goes with it, and is asked before every other."""
        text = "qdisc add dev e root handle ca50: prio bands 16\nqdisc add dev e parent ca50:2 handle ca52: netem x\n"
        lines = WayIn(address="10.0.0.1", port=22).kept_quick(text).splitlines()
        assert len(lines) == 3
        assert lines[1].startswith("filter add dev e parent ca50: protocol ip prio 1 u32 match ip dst 10.0.0.1/32 ")
        assert lines[1].endswith("match ip sport 22 0xffff flowid ca50:1")


class TestGuard:
    async def test_a_question_asked_again_is_not_done_twice(self, line: LocalLine, tmp_path: Path) -> None:
        """A connection may break between the deed and its answer."""
        argv = ["sh", "-c", f"echo once >>{tmp_path}/deeds"]
        for _ in range(3):
            assert await line.ask("run", argv=argv, number_of="the same") == [0, "", ""]
        assert (tmp_path / "deeds").read_text() == "once\n"

    async def test_a_server_is_killed_with_its_orphans(self, line: LocalLine, tmp_path: Path) -> None:
        """Children that left their session are of the tree all the same; who is killed by us did not crash."""
        node = node_of(line, tmp_path, ["sh", "-c", "setsid sh -c 'sleep 60 & sleep 61' & sleep 62"])
        await node.start()
        for _ in range(POLLS):
            await node.state()
            if len(node.pids()) == 5:
                break
        assert len(node.pids()) == 5
        await node.signal(9)
        assert (await node.state(), node.pids(), node.own_death) == (ProcessState.DEAD, (), None)

    async def test_a_crash_is_told_with_its_status(self, line: LocalLine, tmp_path: Path) -> None:
        """The guard is the parent, so it knows."""
        node = node_of(line, tmp_path, ["sh", "-c", "exit 7"])
        await node.start()
        for _ in range(POLLS):
            if await node.state() is ProcessState.DEAD:
                break
        assert node.own_death == 7

    async def test_who_is_killed_for_memory_did_not_crash(self, line: LocalLine, tmp_path: Path) -> None:
        """The kernel counts it in the group that we made; a death without a new count is a crash all the same."""
        group = tmp_path / "group"
        group.mkdir()
        node = node_of(line, tmp_path, ["sleep", "60"])
        start: dict[str, Any] = {
            "argv": node.argv,
            "env": {},
            "cwd": str(tmp_path),
            "log": f"{tmp_path}/log",
            "user": None,
        }
        for kills, deaths in (("oom_kill 1\n", []), ("oom_kill 1\n", [-9])):
            look = await line.ask("start", **start, groups=[f"{group}/cgroup.procs"])
            assert (group / "cgroup.procs").read_text() == str(look["pids"][0])
            (group / "memory.events").write_text(kills)
            send(look["pids"], 9)
            for _ in range(POLLS):
                look = await line.ask("look")
                if look["state"] == "dead":
                    break
            assert look["deaths"] == deaths

    async def test_who_is_dismissed_may_end(self, line: LocalLine, tmp_path: Path) -> None:
        """That is no crash."""
        node = node_of(line, tmp_path, ["sh", "-c", f"until test -e {tmp_path}/go; do :; done; exit 7"])
        await node.start()
        node.dismiss()
        await node._dismissal
        (tmp_path / "go").touch()
        for _ in range(POLLS):
            if await node.state() is ProcessState.DEAD:
                break
        assert node.own_death is None

    async def test_a_program_that_is_not_there_is_named(self, line: LocalLine, tmp_path: Path) -> None:
        """By the host's own words."""
        with pytest.raises(Exception, match="no-such-program"):
            await node_of(line, tmp_path, ["no-such-program"]).start()

    async def test_helpers_answer_and_end(self, line: LocalLine, tmp_path: Path) -> None:
        """They are not of the server's tree."""
        node = node_of(line, tmp_path, ["sleep", "60"])
        await node.start()
        helper = await node.spawn(["cat"])
        assert await helper.ask("hello") == "hello"
        await node.state()
        assert helper.pid not in node.pids()
        await helper.close()
        dead = await node.spawn(["sh", "-c", "echo broken >&2"])
        with pytest.raises(HelperError, match="broken"):
            await dead.ask("hello")

    async def test_faults_bite_and_heal_through_it(self, line: LocalLine, tmp_path: Path) -> None:
        """Kill and pause, with the guard's own undo list."""
        node = node_of(line, tmp_path, ["sleep", "60"])
        await node.start()
        here = FakeUndoList()
        cluster = Cluster({"n1": node}, HostUndoList(here, {"n1": node}))
        pause = Pause(targets=("n1",), cluster=cluster)  # type: ignore[arg-type]
        assert (await pause.inject()).holds
        assert [entry["kind"] for entry in read_entries(tmp_path / "g")] == ["continue"]
        assert (await pause.heal()).holds
        assert read_entries(tmp_path / "g") == []
        parameters = KillFamily.Parameters()
        kill = KillFamily()
        resolved = kill.resolve(parameters, targets=("n1",), nodes=("n1",), random=None)  # type: ignore[arg-type]
        fault = kill.build(resolved, cluster)  # type: ignore[arg-type]
        assert (await fault.inject()).holds
        assert (await fault.heal()).holds
        assert not here.entries

    async def test_an_entry_is_undone_when_its_limit_passes(self, line: LocalLine, tmp_path: Path) -> None:
        """The dead man's limit is the host's own: nobody asks for it."""
        node = node_of(line, tmp_path, ["true"])
        undo = HostUndoList(FakeUndoList(), {"n1": node})
        argv = list(node.command(["touch", str(tmp_path / "undone")]))
        await undo.register(Undo(id="x", kind="run", arguments={"argv": argv}, after_s=0.0))
        for _ in range(POLLS):
            if (tmp_path / "undone").exists():
                break
            await asyncio.sleep(0.005)
        assert (tmp_path / "undone").exists()

    async def test_entries_about_this_machine_stay_here(self, line: LocalLine, tmp_path: Path) -> None:
        """Only what names the host goes there."""
        here = FakeUndoList()
        undo = HostUndoList(here, {"n1": node_of(line, tmp_path, ["true"])})
        await undo.register(Undo(id="mine", kind="remove", arguments={"path": "/nowhere"}))
        assert list(here.entries) == ["mine"]
        await undo.discharge("mine")
        assert not here.entries

    async def test_a_silent_controller_is_missed(self, tmp_path: Path) -> None:
        """The list is undone, helpers end, the server is dead, the folder is gone: nobody was asked."""
        line = serve(tmp_path / "g", silence_s=0.3)
        node = node_of(line, tmp_path, ["sleep", "60"])
        await node.start()
        pid = node.pids()[0]
        helper = await node.spawn(["sh", "-c", f"cat; touch {tmp_path}/helper-ended"])
        entry = {"id": "x", "kind": "run", "arguments": {"argv": ["touch", str(tmp_path / "undone")]}}
        await line.ask("register", undo=entry, after_s=None)
        del helper
        for _ in range(POLLS):
            if not (tmp_path / "g").exists():
                break
            await asyncio.sleep(0.005)
        assert not (tmp_path / "g").exists()
        assert (tmp_path / "undone").exists()
        assert (tmp_path / "helper-ended").exists()
        assert start_of(pid) is None

    async def test_the_work_of_a_dead_guard_is_finished(self, tmp_path: Path) -> None:
        """``end`` reads the list on disk, and finds the server by its marks."""
        folder = tmp_path / "g"
        line = serve(folder)
        node = node_of(line, tmp_path, ["sleep", "60"])
        node.env = {"CAPSIZE_RUN": f"r-{tmp_path}", "CAPSIZE_NODE": "n1"}
        await node.start()
        pid = node.pids()[0]
        entry = {"id": "x", "kind": "run", "arguments": {"argv": ["touch", str(tmp_path / "undone")]}}
        await line.ask("register", undo=entry, after_s=None)
        guard = int(stat_fields(pid)[1])
        send([guard], 9)
        argv = [sys.executable, "-m", "harness.guard", "end", str(folder), json.dumps(node.env)]
        for _ in range(POLLS):
            if start_of(guard) is None:
                break
        done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, json.loads(done.stdout)) == (0, [])
        assert (tmp_path / "undone").exists()
        assert not folder.exists()
        assert start_of(pid) is None

    async def test_log_files_come_as_they_grow(self, line: LocalLine, tmp_path: Path) -> None:
        """From where the copy ends, so that a new connection repeats nothing."""
        logs = tmp_path / "g" / "log"
        (logs / "node.log").write_text("first\nsecond\n")
        reader, writer = await asyncio.open_unix_connection(str(line.path), limit=1 << 20)
        writer.write(json.dumps({"op": "follow", "positions": {"node.log": 6}}).encode() + b"\n")
        row = json.loads(await reader.readline())
        assert (row["file"], row["at"]) == ("node.log", 6)
        (logs / "trace.jsonl").write_text("{}\n")
        assert json.loads(await reader.readline())["file"] == "trace.jsonl"
        writer.close()


class Cluster:
    """What faults need of one."""

    def __init__(self, nodes: Mapping[str, HostNode], undo: HostUndoList) -> None:
        self.nodes = nodes
        self.undo = undo


class TestLogCopy:
    def test_chunks_that_overlap_are_cut_and_gaps_are_not_written(self, tmp_path: Path) -> None:
        """A copy is a beginning of the original at every moment."""
        copy = LogCopy(tmp_path)
        copy.accept("node.log", 0, b"abc")
        copy.accept("node.log", 1, b"bcd")
        copy.accept("node.log", 9, b"later")
        copy.accept("node.log", 0, b"ab")
        assert (tmp_path / "node.log").read_bytes() == b"abcd"
        assert copy.positions == {"node.log": 4}

    def test_names_cannot_lead_out_of_the_folder(self, tmp_path: Path) -> None:
        """They come from another machine."""
        copy = LogCopy(tmp_path / "x")
        copy.accept("../evil", 0, b"x")
        copy.accept(".hidden", 0, b"x")
        assert copy.positions == {}


class BlockedPort(LocalPort):
    """An end that hears nothing."""

    async def arrived(self, token: str, number: int, wanted: Sequence[Sequence[Any]], timeout_s: float) -> list[int]:
        """Nothing."""
        del token, number, wanted, timeout_s
        return []


FIRST = {
    "/proc/mounts": "c /cg/cpu cgroup cpu 0 0\nc /cg/memory cgroup memory 0 0\nc /cg/fr cgroup freezer 0 0\n",
    "/proc/self/cgroup": "3:memory:/me\n2:cpu:/\n1:freezer:/\n",
    "/cg/cpu/capsize/cgroup.procs": "11\n12",
    "/cg/cpu/capsize/cpu.cfs_quota_us": "-1",
    "/cg/cpu/capsize/cpu.cfs_period_us": "100000",
    "/cg/cpu/capsize/cpu.stat": "nr_periods 9\nnr_throttled 7",
    "/cg/memory/me/capsize/cgroup.procs": "11",
    "/cg/memory/me/capsize/memory.limit_in_bytes": "9223372036854771712",
    "/cg/memory/me/capsize/memory.usage_in_bytes": "4096",
    "/cg/memory/me/capsize/memory.failcnt": "3",
    "/cg/memory/me/capsize/memory.oom_control": "under_oom 0\noom_kill 2",
    "/cg/fr/capsize/cgroup.procs": "11\n12",
    "/cg/fr/capsize/freezer.state": "THAWED",
    "/proc/12/stat": "alive",
}
SECOND = {
    "/proc/mounts": "cgroup2 /cg cgroup2 rw 0 0\n",
    "/proc/self/cgroup": "0::/system.slice/ssh.service\n",
    "/cg/cgroup.controllers": "cpu memory",
    "/cg/capsize/cgroup.procs": "11\n12",
    "/cg/capsize/cpu.max": "max 100000",
    "/cg/capsize/cpu.stat": "usage_usec 5\nnr_throttled 7",
    "/cg/capsize/memory.max": "max",
    "/cg/capsize/memory.current": "4096",
    "/cg/capsize/memory.events": "max 3\noom_kill 2",
    "/cg/capsize/cgroup.events": "frozen 0",
    "/cg/capsize/cgroup.freeze": "0",
}


class HostOfFiles:
    """A host that is a few files; it does what :class:`HostLimits` asks for."""

    name = "n1"

    def __init__(self, files: Mapping[str, str]) -> None:
        self.files = dict(files)
        self.made: Sequence[str] = ()
        self.refuses = False

    async def host(self, argv: Sequence[str]) -> Completed:
        """Reads, writes, or makes folders."""
        words = argv[4:]
        if "mkdir" in argv[2]:
            self.made = words[1:]
        elif "cat" in argv[2]:
            shown = (f"{path}\036{self.files[path]}\035" for path in words if path in self.files)
            return Completed(status=0, stdout="".join(shown))
        else:
            self.files.update(zip(words[::2], words[1::2], strict=True))
        return Completed(status=1, stderr="no") if self.refuses else Completed(status=0)


@pytest.mark.parametrize("files", [FIRST, SECOND], ids=["version 1", "version 2"])
class TestHostLimits:
    async def test_limits_are_set_and_set_back(self, files: Mapping[str, str]) -> None:
        """On the host's own files; what is read is what is there now."""
        _, limits = await limited(files)
        before = await limits.values("cpu")
        await limits.limit("cpu", 0.1)
        assert (await limits.values("cpu")) != before
        await limits.restore(before)
        assert await limits.values("cpu") == before
        assert set(before) <= set(files)
        assert limits.able == {"cpu", "memory", "freezer"}
        limits.forget()

    async def test_what_the_kernel_counted(self, files: Mapping[str, str]) -> None:
        """The same of both versions."""
        _, limits = await limited(files)
        usage = await limits.usage()
        counted = (usage.throttled, usage.memory_bytes, usage.memory_hits, usage.oom_kills)
        assert counted == (7, 4096, 3, 2)
        limits.forget()

    async def test_who_is_outside(self, files: Mapping[str, str]) -> None:
        """Who is not in every one of the groups, and lives."""
        _, limits = await limited(files)
        assert await limits.outside([11, 12, 13]) == ([12] if "/proc/12/stat" in files else [])
        limits.forget()

    async def test_freezing(self, files: Mapping[str, str]) -> None:
        """As the kernel says."""
        host, limits = await limited(files)
        assert not await limits.frozen()
        host.files["/cg/capsize/cgroup.events"] = "frozen 1"
        await limits.freeze()
        assert await limits.frozen()
        await limits.thaw()
        assert "THAWED" in host.files.values() or host.files["/cg/capsize/cgroup.freeze"] == "0"
        assert next(iter(limits.thawing())) == "sh"
        limits.forget()

    async def test_where_the_server_goes_and_how_groups_are_removed(self, files: Mapping[str, str]) -> None:
        """Every group that is made has a door, and is named in the command that removes it."""
        host, limits = await limited(files)
        assert limits.doors == [f"{folder}/cgroup.procs" for folder in host.made]
        assert set(host.made) <= set(limits.removal)
        assert limits.door("memory") in limits.doors
        host.refuses = True
        with pytest.raises(HarnessError, match="n1: control groups cannot be made: no"):
            await limits.make()
        with pytest.raises(OSError, match="n1: no"):
            await limits.limit("memory", 1 << 20)
        limits.forget()


async def limited(files: Mapping[str, str]) -> tuple[HostOfFiles, HostLimits]:
    """A host whose groups are made."""
    host = HostOfFiles(files)
    limits = HostLimits(host, "capsize")  # type: ignore[arg-type]
    await limits.find()
    await limits.make()
    return host, limits


class SkewedPort(LocalPort):
    """An end whose host's clock is ahead of ours."""

    ahead_ns = 3_600_000_000_000

    async def journeys(
        self, token: str, number: int, wanted: Sequence[Sequence[Any]], shape: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """Arrivals by its own clock."""
        seen = await super().journeys(token, number, wanted, shape)
        return [
            [index, copies, [[n, left, came + self.ahead_ns] for n, left, came in rows]] for index, copies, rows in seen
        ]

    async def clock(self) -> int:
        """As far ahead."""
        return await super().clock() + self.ahead_ns


class TestClocks:
    def test_the_middle_of_what_both_directions_allow(self) -> None:
        """B is 100 ahead; the way there took 3, the way back 1: known to 2."""
        clocks = Clocks()
        clocks.note("a", "b", 103, 0)
        clocks.note("b", "a", -99, 0)
        assert clocks.ahead("a", "b", 0) == Ahead(ns=101, uncertain_ns=2)
        assert clocks.ahead("b", "a", 0) == Ahead(ns=-101, uncertain_ns=2)

    def test_a_delay_makes_nothing_wrong(self) -> None:
        """A slow message is a loose bound; the tight one from before still holds, a little loosened by age."""
        clocks = Clocks()
        for source, target, took in (("a", "b", 101), ("b", "a", -99), ("a", "b", 50_000_101)):
            clocks.note(source, target, took, 0)
        assert clocks.ahead("a", "b", 0) == Ahead(ns=100, uncertain_ns=1)
        assert clocks.ahead("a", "b", 10_000_000) == Ahead(ns=100, uncertain_ns=1001)

    def test_what_others_know_helps(self) -> None:
        """Over a third clock, when the direct way is held up both ways."""
        clocks = Clocks()
        for source, target, took in (("a", "b", 9000), ("b", "a", 8000), ("a", "c", 51), ("c", "a", -49)):
            clocks.note(source, target, took, 0)
        clocks.note("c", "b", -48, 0)
        clocks.note("b", "c", 50, 0)
        assert clocks.ahead("a", "b", 0) == Ahead(ns=1, uncertain_ns=2)

    def test_a_clock_that_was_slewed_is_learned_anew(self) -> None:
        """Old and new contradict: the last count."""
        clocks = Clocks()
        for source, target, took in (("a", "b", 101), ("b", "a", -99), ("a", "b", 501), ("b", "a", -499)):
            clocks.note(source, target, took, 0)
        assert clocks.ahead("a", "b", 0) == Ahead(ns=500, uncertain_ns=1)

    def test_nothing_known_is_said(self) -> None:
        """Never a guess of 0."""
        assert math.isinf(Clocks().ahead("a", "b", 0).uncertain_ns)


class TestLinks:
    async def test_journeys_are_timed_by_two_clocks(self) -> None:
        """Real datagrams on the loopback; the clocks are an hour apart, and it is known to less than a journey."""
        links, ports = HostLinks(), [LocalPort(), SkewedPort()]
        try:
            links.add("a", await ports[0].open("127.0.0.1"))
            links.add("b", await ports[1].open("127.0.0.1"))
            with pytest.raises(ValueError, match="cannot probe c"):
                await links.measure([("a", "c")], QUICK)
            assert await links.measure([], QUICK) == {}
            seen = await links.measure([("a", "b")], QUICK)
        finally:
            for port in ports:
                port.close()
        journeys = seen["a", "b"]
        assert (journeys.sent, journeys.lost, journeys.copies) == (5, 0, 0)
        assert 0 <= journeys.shortest_ms < 60_000
        assert 0 < journeys.uncertain_ms < 60_000

    async def test_each_direction_is_told_from_the_other(self) -> None:
        """Real datagrams on the loopback; one end is deaf."""
        links, ports = HostLinks(), [LocalPort(), BlockedPort()]
        try:
            links.add("a", await ports[0].open("127.0.0.1"))
            links.add("b", await ports[1].open("127.0.0.1"))
            seen = await links.probe([("a", "b"), ("b", "a")], timeout_s=0.3)
        finally:
            for port in ports:
                port.close()
        assert seen == {("a", "b"): False, ("b", "a"): True}

    async def test_a_datagram_from_elsewhere_does_not_count(self) -> None:
        """The sender's address is part of the proof."""
        port = ProbePort()
        number = await port.open("127.0.0.1", 0)
        try:
            port.send("00" * 8, 1, [(0, "127.0.0.1", number)])
            assert await port.arrived("00" * 8, 1, [(0, "127.0.0.2")], 0.02) == []
            assert await port.arrived("00" * 8, 1, [(0, "127.0.0.1")], 1.0) == [0]
        finally:
            port.close()

    async def test_an_unknown_end_is_an_error(self) -> None:
        """Never a link that is closed."""
        links = HostLinks()
        links.add("a", End(port=LocalPort(), address="127.0.0.1", number=1))
        with pytest.raises(ValueError, match="cannot probe b"):
            await links.probe([("a", "b")], timeout_s=1.0)
        assert links.filter_line("a") is None


def test_the_package_holds_what_a_host_needs_and_nothing_else() -> None:
    """The guard, the faults' helpers, and the node; none of the controller."""
    import io
    import tarfile

    launch = Launch(argv=["python3"], packages=("node",), modules=("grpc",))
    with tarfile.open(fileobj=io.BytesIO(package([launch, launch]))) as archive:
        names = archive.getnames()
    assert {"harness/__init__.py", "harness/guard/__main__.py", "faults/pause.py", "node/__main__.py"} <= set(names)
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith(("checkers", "reports", "harness/substrates"))]
    assert modules([launch, launch]) == ("grpc",)


def test_the_guard_imports_nothing_but_itself_and_the_standard_library() -> None:
    """It runs on hosts that have neither our packages nor anybody else's."""
    argv = [sys.executable, "-S", "-E", "-c", "import harness.guard.__main__"]
    root = Path(__file__).parents[2]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 0, done.stderr
