"""The substrate ``ssh``: every node is a process on a host of its own, which is reached over SSH.

Each host gets a folder for the run with everything in it: our packages, the node's logs and data, and the guard
(:mod:`harness.guard`), which does all that is done there and heals by itself when it misses the controller. Host keys
are checked, a lost connection is made again, logs are copied here as they grow (so that triggers see them), and at
the end the folder is removed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from faults.cuts import CLIENT
from faults.family import Setup
from faults.needs import Admin, Dates, Messages, Node, Undo, UndoList
from harness.cleanup import marks
from harness.clock import RunClock
from harness.errors import HarnessError
from harness.substrates.protocol import Image, LaunchOf, Place
from harness.substrates.ssh_command import end
from harness.substrates.ssh_connection import Connection, SshError
from harness.substrates.ssh_furnish import furnish
from harness.substrates.ssh_hosts import Host
from harness.substrates.ssh_limits import HostLimits
from harness.substrates.ssh_line import Line, LogCopy
from harness.substrates.ssh_links import End, HostLinks, LocalPort
from harness.substrates.ssh_node import RESTORE, HostNode, HostUndoList
from harness.substrates.ssh_package import modules, package
from harness.substrates.ssh_survey import Survey, survey
from harness.substrates.ssh_way_in import WAY_IN, WayIn

LINKS_TIMEOUT_S = 5.0
CLIENT_TIMEOUT_S = 1.0
CLOCK_ROUNDS = 5
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

logger = logging.getLogger(__name__)


class HostPort:
    """A guard's end of links. Implements :class:`harness.substrates.ssh_links.Port`."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def send(self, token: str, number: int, targets: Sequence[Sequence[Any]]) -> None:
        """See the protocol."""
        await self._line.ask("send", token=token, number=number, targets=targets)

    async def arrived(self, token: str, number: int, wanted: Sequence[Sequence[Any]], timeout_s: float) -> list[int]:
        """See the protocol."""
        asked: dict[str, Any] = {"token": token, "number": number, "wanted": wanted, "wait_s": timeout_s}
        return list(await self._line.ask("arrived", **asked))

    async def burst(self, token: str, number: int, targets: Sequence[Sequence[Any]], shape: Mapping[str, Any]) -> None:
        """See the protocol."""
        await self._line.ask("burst", token=token, number=number, targets=targets, shape=shape)

    async def journeys(
        self, token: str, number: int, wanted: Sequence[Sequence[Any]], shape: Mapping[str, Any]
    ) -> Sequence[Sequence[Any]]:
        """See the protocol."""
        found = await self._line.ask("journeys", token=token, number=number, wanted=wanted, shape=shape)
        return cast("Sequence[Sequence[Any]]", found)

    async def clock(self) -> int:
        """See the protocol."""
        return int(await self._line.ask("clock"))


class SshCluster:
    """Implements :class:`harness.substrates.protocol.Cluster`."""

    def __init__(
        self,
        *,
        run_id: str,
        surveys: Mapping[str, Survey],
        launch: LaunchOf,
        folder: Path,
        undo: UndoList,
        keep_data: bool,
        groups: bool,
    ) -> None:
        self.links = HostLinks()
        self.admin: Admin | None = None
        self.messages: Messages | None = None
        self.dates: Dates | None = None
        self.places: Mapping[str, Place] = {name: _place(run_id, name, each) for name, each in surveys.items()}
        self._clocks: dict[str, int] = {}
        self._run_id = run_id
        self._launch = launch
        self._folder = folder
        self._here = undo
        self._keep_data = keep_data
        self._groups = groups
        self._surveys = surveys
        self._local = LocalPort()
        self._servers = {name: self._node(run_id, name, each) for name, each in surveys.items()}
        self._made: list[str] = []
        self.undo: UndoList = HostUndoList(undo, self._servers)

    @property
    def nodes(self) -> Mapping[str, Node]:
        """By name."""
        return dict(self._servers)

    @property
    def clocks(self) -> Mapping[str, int]:
        """See the protocol; measured by round trips, so right to half of the fastest."""
        return self._clocks

    def _node(self, run_id: str, name: str, surveyed: Survey) -> HostNode:
        line = Line(surveyed.host, _home(run_id, name, surveyed.host), LogCopy(self._folder / name))
        login = surveyed.login if surveyed.host.become == "sudo" else None
        node = HostNode(place=self.places[name], host=surveyed.host, line=line, login=login)
        node.env = {**marks.environment_marks(run_id), "CAPSIZE_NODE": name, "PYTHONPATH": f"{self._home(name)}/lib"}
        return node

    def _home(self, name: str) -> str:
        return _home(self._run_id, name, self._surveys[name].host)

    async def start(self) -> None:
        """Brings everything to every host, starts guards, then nodes; verifies that links are open.

        Raises:
            HarnessError: a host refuses; what was made is removed by :meth:`stop`.
        """
        for name, node in self._servers.items():
            (self._folder / name).mkdir(parents=True, exist_ok=True)
            node.launch = self._launch(self.places[name], self.places)
        rows = [[each.host.model_dump(), self._home(name), self._marks(name)] for name, each in self._surveys.items()]
        argv = [sys.executable, "-m", "harness.substrates.ssh_command", "end", json.dumps(rows)]
        await self._here.register(Undo(id=self._undo_id, kind="run", arguments={"argv": argv}))
        content = package(node.launch for node in self._servers.values())
        await _all(self._prepare(name, content) for name in self._servers)
        await self._open_client()
        await self._verify_links()
        await _all(node.start() for node in self._servers.values())

    async def exits(self) -> Mapping[str, int]:
        """See the protocol; as it was at the last beat."""
        return {name: node.own_death for name, node in self._servers.items() if node.own_death is not None}

    async def collect(self) -> None:
        """Fetches what of the logs is not here yet.

        Raises:
            SshError: a host does not answer.
        """
        await _all(
            node.line.blocking(_downloading(self.places[name].log_dir, self._folder / name))
            for name, node in self._servers.items()
        )

    async def stop(self) -> None:
        """Tells every guard that it is over: it heals, ends and removes everything on its host; then looks.

        Raises:
            HarnessError: with what is left, after all of it was tried.
        """
        if self._keep_data and self._made:
            await _all(self._keep(name) for name in self._made)
        results = await asyncio.gather(*(self._end(name) for name in self._made), return_exceptions=True)
        self._local.close()
        errors = [str(error) for error in results if error is not None]
        if errors:
            raise HarnessError(f"not everything could be removed: {'; '.join(errors)}")
        self._made.clear()
        await self._here.discharge(self._undo_id)

    # ---- one host

    async def _prepare(self, name: str, content: bytes) -> None:
        """Uploads, starts the guard, keeps the way in open, and opens the port of probes."""
        host, home, node = self._surveys[name].host, self._home(name), self._servers[name]
        self._made.append(name)
        config = {"folder": home, "logs": self.places[name].log_dir, "silence_s": host.silence_s}
        env = {"PATH": SEARCH_PATH, "PYTHONPATH": f"{home}/lib", "LC_ALL": "C"}
        own = await asyncio.to_thread(
            furnish, host, home, content, modules([node.launch]), node.argv[0], {**config, "env": env}
        )
        await node.line.open()
        if RESTORE in self._surveys[name].tools and self._surveys[name].root:
            tables = ("filter",) if self._surveys[name].unshaped else ("filter", "mangle")
            await self._keep_way_in(node, WayIn(address=own, port=host.port, tables=tables))
        if self._groups and self._surveys[name].ungrouped is None and self._surveys[name].root:
            await self._make_groups(node)
        port = await node.line.ask("open_port", address=node.address, port=host.probe_port)
        self.links.add(name, End(port=HostPort(node.line), address=node.address, number=port))
        self._clocks[name] = await _clock_offset(node.line)

    async def _keep_way_in(self, node: HostNode, way_in: WayIn) -> None:
        """Our SSH packets pass, whatever faults do."""
        entry = {"id": WAY_IN, "kind": "run", "arguments": {"argv": way_in.scrub()}}
        await node.line.ask("register", undo=entry, after_s=None)
        done = await node.host([RESTORE, "-w", "5", "--noflush"], stdin=way_in.rules())
        if done.status != 0:
            raise SshError(f"{node.host_facts.words}: iptables-restore: {done.stderr.strip()}")
        node.way_in = way_in

    async def _make_groups(self, node: HostNode) -> None:
        """Control groups of the node's own; the guard removes them when it ends."""
        group = HostLimits(node, f"capsize-{self._run_id}-{node.name}")
        await group.find()
        entry = {"id": "groups", "kind": "run", "arguments": {"argv": group.removal}}
        await node.line.ask("register", undo=entry, after_s=None)
        await group.make()
        node.group = group

    async def _keep(self, name: str) -> None:
        node = self._servers[name]
        await node.end()
        await node.line.blocking(_downloading(self.places[name].data_dir, self._folder / name / "data"))

    async def _end(self, name: str) -> None:
        """By the guard, else by a connection of its own."""
        node, host = self._servers[name], self._surveys[name].host
        try:
            if not node.line.opened:
                raise SshError(f"{host.words}: there was never a guard to ask")
            failed = await node.line.ask("end", timeout_s=15.0)
        except SshError as error:
            logger.warning("%s: ending it by another connection", error)
            left = await asyncio.to_thread(end, host, self._home(name), self._marks(name))
            failed = [left] if left is not None else []
        finally:
            await node.line.close()
        if node.group is not None:
            node.group.forget()
        if failed:
            raise HarnessError(f"{host.words}: {'; '.join(failed)}")
        self.links.remove(name)

    @property
    def _undo_id(self) -> str:
        return f"hosts of {self._run_id}"

    def _marks(self, name: str) -> str:
        return json.dumps({marks.ENV_RUN: self._run_id, "CAPSIZE_NODE": name})

    # ---- links

    async def _open_client(self) -> None:
        """The controller's own end; left out (and with it cuts of clients) if datagrams do not get through to it."""
        first = next(iter(self._servers))
        self.links.add(CLIENT, await self._local.open(self._servers[first].address))
        seen = await self.links.probe([(CLIENT, first), (first, CLIENT)], timeout_s=CLIENT_TIMEOUT_S)
        if not all(seen.values()):
            logger.warning("no datagrams between this machine and %s: clients cannot be cut off", first)
            self.links.remove(CLIENT)

    async def _verify_links(self) -> None:
        names = tuple(self._servers)
        pairs = [(source, target) for source in names for target in names if source != target]
        seen = await self.links.probe(pairs, timeout_s=LINKS_TIMEOUT_S)
        closed = [f"{source} to {target}" for (source, target), is_open in seen.items() if not is_open]
        if closed:
            raise HarnessError(
                f"no datagrams get through from {', '.join(closed)}: let UDP pass between the hosts (name a port by"
                " `probe_port`); without it no partition could be proved"
            )


class SshSubstrate:
    """Implements :class:`harness.substrates.protocol.Substrate`."""

    name = "ssh"
    one_clock = False
    cannot: Mapping[str, str] = {
        "power": "a node's data is in a folder of its host's: no ext4 image is made there that could lose its power",
        "disk": "a node's data is in a folder of its host's: no file system of ours is mounted there",
    }

    def __init__(self, *, keep_data: bool = False, hosts: Sequence[Host] = ()) -> None:
        self.keep_data = keep_data
        self.hosts = tuple(hosts)
        self._surveys: Mapping[Host, Survey] = {}

    def missing(self) -> Sequence[str]:
        """See the protocol. Connects to every host."""
        if not self.hosts:
            return ["no hosts are named: give one for each node under `hosts` in the scenario, or --set hosts=FILE"]
        self._surveys, missing = survey(self.hosts)
        return missing

    def refused(self) -> Mapping[str, str]:
        """See the protocol; found out by :meth:`missing`."""
        reasons = {**self.cannot}
        for each in self._surveys.values():
            for ability, reason in _lacking(each).items():
                reasons.setdefault(ability, reason)
        return reasons

    def prepare(self) -> None:
        """Nothing: nodes are elsewhere."""

    async def cluster(
        self,
        *,
        run_id: str,
        nodes: Sequence[str],
        launch: LaunchOf,
        image: Image | None,
        folder: Path,
        undo: object,
        setup: Setup,
    ) -> SshCluster:
        """See the protocol. The n-th host carries the n-th node.

        Raises:
            HarnessError: a host's name has no address.
        """
        del image
        if not self._surveys:
            missing = self.missing()
            if missing:
                raise HarnessError("; ".join(missing))
        surveys = {name: self._surveys[host] for name, host in zip(nodes, self.hosts, strict=False)}
        return SshCluster(
            run_id=run_id,
            surveys=surveys,
            launch=launch,
            folder=folder.resolve(),
            undo=cast(UndoList, undo),
            keep_data=self.keep_data,
            groups=setup.groups,
        )


def _lacking(found: Survey) -> Mapping[str, str]:
    """What cannot be done on this host."""
    where = found.host.words
    if not found.root:
        become = f"no rights of root on {where}: log in as root, or say `become: sudo`"
        return dict.fromkeys(("partition", "network", "clock", "resource"), become)
    reasons = {}
    if found.ungrouped:
        reasons["resource"] = f"{where}: {found.ungrouped}"
    if RESTORE not in found.tools:
        mend = f"no iptables on {where}: type there: sudo apt-get install -y iptables"
        return {**reasons, **dict.fromkeys(("partition", "network"), mend)}
    if found.unshaped:
        mend = "type there: sudo modprobe -a nfnetlink_queue xt_NFQUEUE"
        reasons["network"] = f"{where} has {found.unshaped}: {mend}"
    return reasons


def _place(run_id: str, name: str, surveyed: Survey) -> Place:
    host = surveyed.host
    home = _home(run_id, name, host)
    return Place(
        name=name,
        address=resolve(host.node_address or host.address),
        data_dir=f"{home}/data",
        log_dir=f"{home}/log",
        python=host.python,
    )


def _home(run_id: str, name: str, host: Host) -> str:
    return f"{host.folder}/capsize-{run_id}-{name}"


def resolve(name: str) -> str:
    """The IPv4 address of a name.

    Raises:
        HarnessError: it has none.
    """
    try:
        return socket.gethostbyname(name)
    except OSError as error:
        raise HarnessError(
            f"host {name!r} has no IPv4 address ({error}): write the address as `node_address`"
        ) from None


def _downloading(path: str, target: Path) -> Callable[[Connection], None]:
    return lambda connection: connection.download(path, target)


async def _clock_offset(line: Line) -> int:
    """By how much the host's CLOCK_MONOTONIC is ahead of ours (ns), by the fastest of a few round trips."""
    clock, tries = RunClock(origin_ns=0), list[tuple[int, int]]()
    for _ in range(CLOCK_ROUNDS):
        before = clock()
        there = int(await line.ask("clock"))
        after = clock()
        tries.append((after - before, there - (before + after) // 2))
    return min(tries)[1]


async def _all(works: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Side by side, to the end; then raises the first error, if there is one."""
    results = await asyncio.gather(*works, return_exceptions=True)
    for error in results:
        if isinstance(error, BaseException):
            raise error
