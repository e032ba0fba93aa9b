"""The substrate ``process``: every node is a process on this machine, in a network namespace of its own.

The controller enters namespaces of its own first (:meth:`ProcessSubstrate.prepare`), so that everything below is
private to the run. A node's folder in the run folder is its log folder; its data is in ``data`` beneath it (a real
disk, if the run folder is on one), and is deleted when the cluster stops unless ``keep_data``. A node's *tree* is
every process in its network namespace that is not of the controller's session: children that daemonize cannot leave
it, and the tools that faults run there are not of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal as signals
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

from faults.cuts import CLIENT
from faults.family import Setup
from faults.needs import Admin, Completed, Dates, Disk, Files, Limits, Messages, Node, ProcessState, Undo, UndoList
from harness.cleanup import marks
from harness.errors import HarnessError
from harness.host import namespaces, processes
from harness.host.probes import Endpoint, Probes
from harness.host.tools import run_tool, wait_exit
from harness.substrates import lab, limits
from harness.substrates.abilities import refused_here
from harness.substrates.helpers import LocalHelper, locally
from harness.substrates.limits import OwnGroup
from harness.substrates.protocol import Image, Launch, LaunchOf, Place
from harness.substrates.storage import Storage

SIGNAL_ROUNDS_MAX = 20
"""A tree that forks while it is signalled is signalled again, at most so often."""
DEATH_POLL_S = 0.005
DEATH_TIMEOUT_S = 5.0
LINKS_TIMEOUT_S = 5.0


class ProcessNode:
    """A place on this machine, and the server process in it. Implements :class:`faults.needs.Node`."""

    def __init__(self, *, name: str, address: str, undo: UndoList, on_exit: Callable[[str, int], None]) -> None:
        self.name = name
        self.address = address
        self.storage: Storage | None = None
        self.group: OwnGroup | None = None
        self.launch = Launch(argv=())
        self.folder = Path()
        self.env: Mapping[str, str] = {}
        self._undo = undo
        self._on_exit = on_exit
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._sent: set[int] = set()
        self._dismissed = False

    @property
    def argv(self) -> Sequence[str]:
        """See :class:`faults.needs.Node`."""
        return self.launch.argv

    @argv.setter
    def argv(self, argv: Sequence[str]) -> None:
        self.launch = replace(self.launch, argv=tuple(argv))

    @property
    def disk(self) -> Disk | None:
        """See :class:`faults.needs.Node`."""
        return None if self.storage is None else self.storage.disk

    @property
    def files(self) -> Files | None:
        """See :class:`faults.needs.Node`."""
        return None if self.storage is None else self.storage.files

    @property
    def limits(self) -> Limits | None:
        """See :class:`faults.needs.Node`."""
        return self.group

    @property
    def data(self) -> str:
        """See :class:`faults.needs.Node`."""
        return str(self.folder / "data" if self.storage is None else self.storage.data)

    @property
    def log(self) -> str:
        """See :class:`faults.needs.Node`."""
        return str(self.folder / "node.log")

    async def run(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """Runs a command of this machine in the node's network namespace."""
        return await self.host(self.command(argv), stdin=stdin)

    async def host(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """Runs a command of this machine."""
        done = await run_tool(argv, stdin=stdin or "")
        return Completed(status=done.status, stdout=done.stdout, stderr=done.stderr)

    async def spawn(self, argv: Sequence[str], *, network: bool = True) -> LocalHelper:
        """See :class:`faults.needs.Node`."""
        words = locally(argv)
        return await LocalHelper.start(locally(self.command(words)) if network else words)

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        """The same for the watchdog, which is in the run's mount namespace and sees the path."""
        return ["nsenter", f"--net={lab.netns_of(self.name)}", "--", *argv]

    async def signal(self, number: int) -> None:
        """Signals the whole tree; again, as long as new processes appear in it."""
        self._sent.add(number)
        signalled: set[int] = set()
        for _ in range(SIGNAL_ROUNDS_MAX):
            new = set(self.pids()) - signalled
            if not new:
                return
            processes.send(new, number)
            signalled |= new

    async def start(self) -> None:
        """Starts the server; it had better be dead.

        Raises:
            HarnessError: it runs already, or its program does not exist.
        """
        if self._alive():
            raise HarnessError(f"node {self.name} runs already: it is started again only after it died")
        await self._discharge()
        self._sent.clear()
        self._dismissed = False
        self._process = self._spawn()
        if self.group is not None:
            self.group.adopt(self._process.pid)
        self._watcher = asyncio.create_task(self._watch(self._process), name=f"exit of {self.name}")
        pid = self._process.pid
        await self._undo.register(Undo(id=self._undo_id(pid), kind="kill", arguments={"pid": pid}))

    def dismiss(self) -> None:
        """See :class:`faults.needs.Node`."""
        self._dismissed = True

    async def state(self) -> ProcessState:
        """What /proc says about every thread of the tree; dead if the process that we started is."""
        if not self._alive():
            return ProcessState.DEAD
        if self.group is not None and await self.group.frozen():
            return ProcessState.STOPPED
        stopped = all(processes.is_stopped(pid) for pid in self.pids())
        return ProcessState.STOPPED if stopped else ProcessState.RUNNING

    def pids(self) -> Sequence[int]:
        """The tree, the process that we started first (it may not have reached its namespace yet)."""
        first = [self._process.pid] if self._process is not None and self._alive() else []
        number = processes.namespace_of_path(lab.netns_of(self.name))
        if number is None:
            return first
        ours = os.getsid(0)
        inside = [pid for pid in processes.in_namespace("net", number) if processes.session_of(pid) not in (ours, None)]
        return first + [pid for pid in inside if pid not in first]

    async def end(self) -> None:
        """Kills the tree and waits until it is gone.

        Raises:
            HarnessError: something outlived SIGKILL.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEATH_TIMEOUT_S
        if self.group is not None:
            await self.group.thaw()  # in version 1 what is frozen does not die
        while pids := self.pids():
            await self.signal(signals.SIGKILL)
            if loop.time() > deadline:
                raise HarnessError(f"node {self.name}: processes {', '.join(map(str, pids))} outlive SIGKILL")
            await asyncio.sleep(DEATH_POLL_S)
        if self._watcher is not None:
            await self._watcher
        await self._discharge()
        if self.group is not None:
            await self.group.remove()

    def _alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _spawn(self) -> subprocess.Popen[bytes]:
        env = {**os.environ, **self.env, **self.launch.env}
        argv = list(self.launch.argv)
        if shutil.which(argv[0], path=env.get("PATH")) is None:
            raise HarnessError(f"node {self.name} cannot be started: there is no program {argv[0]!r} on this machine")
        with open(self.log, "ab") as log:
            return subprocess.Popen(
                [namespaces.tool("nsenter"), f"--net={lab.netns_of(self.name)}", "--", *argv],
                env=env,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Notices the exit, and whose doing it was."""
        status = await wait_exit(process)
        if not self._is_ours(status):
            self._on_exit(self.name, status)

    def _is_ours(self, status: int) -> bool:
        """Whether a fault ended it: killed by a signal that we sent or for memory that we limited, or ended after we
        asked it to.
        """
        asked = {signals.SIGTERM, signals.SIGINT, signals.SIGHUP} & self._sent
        if -status in self._sent or asked or self._dismissed:
            return True
        return status == -signals.SIGKILL and self.group is not None and self.group.killed_for_memory()

    async def _discharge(self) -> None:
        if self._process is not None:
            await self._undo.discharge(self._undo_id(self._process.pid))

    def _undo_id(self, pid: int) -> str:
        return f"node {self.name} {pid}"


class ProcessCluster:
    """Implements :class:`harness.substrates.protocol.Cluster`."""

    def __init__(
        self,
        *,
        run_id: str,
        names: Sequence[str],
        launch: LaunchOf,
        folder: Path,
        undo: UndoList,
        keep_data: bool,
        setup: Setup,
    ) -> None:
        self.links = Probes()
        self.undo = undo
        self.admin: Admin | None = None
        self.messages: Messages | None = None
        self.dates: Dates | None = None
        self.clocks: Mapping[str, int] = {}
        self._launch = launch
        self._exits: dict[str, int] = {}
        self._servers = {
            name: ProcessNode(name=name, address=lab.address_of(number), undo=undo, on_exit=self._exits.__setitem__)
            for number, name in enumerate(names, 1)
        }
        self.nodes: Mapping[str, Node] = dict(self._servers)
        for name, node in self._servers.items():
            node.folder = folder / name
            node.storage = Storage(name=name, folder=node.folder, wanted=setup.storage, undo=undo, keep_data=keep_data)
            if setup.groups and limits.why_refused() is None:
                node.group = OwnGroup(run_id=run_id, node=name, undo=undo)
            node.env = {**marks.environment_marks(run_id), "CAPSIZE_NODE": name}
        self.places: Mapping[str, Place] = {name: _place(node) for name, node in self._servers.items()}

    async def start(self) -> None:
        """Builds the network, starts every node, and verifies that all links are open.

        Raises:
            HarnessError: the machine does not allow it; what was made is removed by :meth:`stop`.
        """
        namespaces.enter()
        await asyncio.gather(*map(_make_storage, self._servers.values()))
        await lab.build(tuple(self._servers))
        for name, node in self._servers.items():
            self.links.add(name, Endpoint(address=node.address, netns=lab.netns_of(name)))
            node.launch = self._launch(self.places[name], self.places)
        self.links.add(CLIENT, Endpoint(address=lab.BRIDGE_ADDRESS, netns=None))
        await asyncio.gather(*(node.start() for node in self._servers.values()))
        await self._verify_links()

    async def exits(self) -> Mapping[str, int]:
        """Nodes that died without a signal of ours, with their last such status."""
        return dict(self._exits)

    async def collect(self) -> None:
        """Nothing to bring: the nodes' log folders are in the run folder from the start."""

    async def stop(self) -> None:
        """Kills every tree, removes the network and the data, and verifies it.

        Raises:
            HarnessError: with what is left, after all of it was tried.
        """
        errors: list[str] = []
        for node in self._servers.values():
            with _noting(errors):
                await node.end()
        self.links.close()
        if namespaces.entered():
            with _noting(errors):
                await lab.remove(tuple(self._servers))
        for node in self._servers.values():
            with _noting(errors):
                if node.storage is not None:
                    await node.storage.remove()
        if errors:
            raise HarnessError(f"not everything could be removed: {'; '.join(errors)}")

    async def _verify_links(self) -> None:
        names = tuple(self.links.addresses)
        pairs = [(source, target) for source in names for target in names if source != target]
        seen = await self.links.probe(pairs, timeout_s=LINKS_TIMEOUT_S)
        closed = [f"{source} to {target}" for (source, target), is_open in seen.items() if not is_open]
        if closed:
            raise HarnessError(f"the network carries no packets from {', '.join(closed)}; `capsize doctor` tells more")


class ProcessSubstrate:
    """Implements :class:`harness.substrates.protocol.Substrate`. ``keep_data`` leaves the nodes' data in the run
    folder.
    """

    name = "process"
    one_clock = True
    cannot: Mapping[str, str] = {}

    def __init__(self, *, keep_data: bool = False) -> None:
        self.keep_data = keep_data

    def missing(self) -> Sequence[str]:
        """What this machine lacks: tools, or the right to make namespaces."""
        return namespaces.missing()

    def prepare(self) -> None:
        """Enters namespaces of the run's own.

        Raises:
            NamespaceError: the machine does not allow it, or a second thread runs already.
        """
        namespaces.enter()

    def refused(self) -> Mapping[str, str]:
        """See the protocol."""
        return refused_here()

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
    ) -> ProcessCluster:
        """A cluster that is not started yet."""
        del image
        if CLIENT in nodes:
            raise HarnessError(f"no node can be called {CLIENT!r}: that is where clients send from")
        held = cast(UndoList, undo)
        return ProcessCluster(
            run_id=run_id,
            names=nodes,
            launch=launch,
            folder=folder.resolve(),
            undo=held,
            keep_data=self.keep_data,
            setup=setup,
        )


def _place(node: ProcessNode) -> Place:
    return Place(
        name=node.name, address=node.address, data_dir=node.data, log_dir=str(node.folder), python=sys.executable
    )


async def _make_storage(node: ProcessNode) -> None:
    node.folder.mkdir(parents=True, exist_ok=True)
    if node.group is not None:
        await node.group.make()
    assert node.storage is not None
    await node.storage.make()


@contextlib.contextmanager
def _noting(errors: list[str]) -> Iterator[None]:
    """Goes on after an error, and remembers it: the rest must be removed all the same."""
    try:
        yield
    except (OSError, HarnessError) as error:
        errors.append(str(error))
