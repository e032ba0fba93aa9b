"""One node in containers: a *holder* that owns the network namespace, and the *server* that shares it.

Kubernetes' pods are made the same way, and for the same reason: the server's container may die and start again, while
its address, the firewall rules in its namespace and the probes' sockets stay. The holder runs the ``toolbox`` image,
so that images of systems need no tools. Signals go to the server's process tree from outside.

There are two ways to lay hands on it. As root on the engine's own machine the kernel is asked directly: nsenter(1)
into the holder's network namespace (3-6 ms a command), signals by pid, states from /proc. An ordinary user asks the
engine for everything: ``docker exec`` in the holder (about 70 ms), ``docker kill``, and the freezer in place of
SIGSTOP.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections.abc import Sequence
from typing import Protocol

import psutil

from faults.needs import Completed, Disk, Files, Limits, ProcessState
from harness.errors import HarnessError
from harness.host import processes
from harness.host.tools import run_tool
from harness.substrates.engine import ContainerFacts, Engine, EngineError
from harness.substrates.helpers import LocalHelper, locally
from harness.substrates.limits import of_container
from harness.substrates.protocol import Place
from harness.substrates.storage import Storage

NODE_LOG = "node.log"
END_POLL_S = 0.01
END_POLLS_MAX = 1000
"""10 s: how long the engine may take to notice that a container's process is gone."""
RESCANS_MAX = 5
"""A tree that forks while it is signalled is signalled again; a stopped or killed process forks no more."""
RELAUNCH = "relaunch.sh"
"""In the node's log folder: the command of the next start, if it is no longer the first one (``set -- WORDS``)."""
_CONTINUING = frozenset({signal.SIGSTOP, signal.SIGCONT})
_FIRST_SIGNAL_STATUS = 128


def exit_status(code: int) -> int:
    """A container's exit code as a process's status: above 128 it died of a signal (negative), as shells say it."""
    return _FIRST_SIGNAL_STATUS - code if code > _FIRST_SIGNAL_STATUS else code


def killed_for_memory(facts: ContainerFacts) -> bool:
    """Whether the kernel ended it for memory, of which it has its limit from nobody but a fault."""
    return facts.for_memory and exit_status(facts.exit_code) == -signal.SIGKILL


class Hands(Protocol):
    """How a node is touched."""

    netns: str | None
    """Path of the node's network namespace, if the controller may enter it."""

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        """``argv`` wrapped so that it runs inside the network namespace."""

    async def signal(self, server: str, pids: Sequence[int], number: int) -> None:
        """Signals the tree."""

    async def is_stopped(self, server: str, pids: Sequence[int]) -> bool:
        """Whether the whole tree stands still."""


class DirectHands:
    """Root on the engine's own machine."""

    def __init__(self, holder_pid: int) -> None:
        self.netns: str | None = f"/proc/{holder_pid}/ns/net"

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        """Enters the network namespace only: the tools are this machine's."""
        return ["nsenter", f"--net={self.netns}", *argv]

    async def signal(self, server: str, pids: Sequence[int], number: int) -> None:
        """Straight to the processes, parents first."""
        del server
        processes.send(pids, number)

    async def is_stopped(self, server: str, pids: Sequence[int]) -> bool:
        """As /proc says."""
        del server
        return all(processes.is_stopped(pid) for pid in pids)


class EngineHands:
    """Anybody whom the engine obeys."""

    def __init__(self, engine: Engine, holder: str) -> None:
        self.netns: str | None = None
        self._engine = engine
        self._holder = holder

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        """Runs in the holder, which has the tools and the right to use them."""
        return ["docker", "exec", "-i", self._holder, *argv]

    async def signal(self, server: str, pids: Sequence[int], number: int) -> None:
        """Stopping and continuing by the freezer, SIGKILL by the engine; both reach the whole tree. Others from
        inside.
        """
        del pids
        if number == signal.SIGSTOP:
            await self._engine.pause(server)
        elif number == signal.SIGCONT:
            await self._engine.unpause(server)
        elif number == signal.SIGKILL:
            await self._engine.unpause(server)  # engines refuse to signal what is frozen
            await self._engine.kill(server, number)
        else:
            await run_tool(["docker", "exec", server, "/bin/sh", "-c", f"kill -{int(number)} -1"])

    async def is_stopped(self, server: str, pids: Sequence[int]) -> bool:
        """As the engine says."""
        del pids
        facts = await self._engine.inspect(server)
        return facts is not None and facts.paused


class DockerNode:
    """Implements :class:`faults.needs.Node`."""

    def __init__(
        self,
        *,
        place: Place,
        engine: Engine,
        hands: Hands,
        server: str,
        facts: ContainerFacts,
        storage: Storage,
        argv: Sequence[str] = (),
    ) -> None:
        self.name = place.name
        self.address = place.address
        self.storage = storage
        self.hands = hands
        self.ended_by_fault = False
        self.own_death: int | None = None
        """Status of the last death that no fault caused, once the node was started again after it."""
        self.container = server
        """The container that the server runs in, for people who want to look inside."""
        self._engine = engine
        self._server = server
        self._data_dir = place.data_dir
        self._argv = argv
        self._limits = of_container(lambda: self._pid)
        self._adopt(facts)

    def _adopt(self, facts: ContainerFacts) -> None:
        """Takes note of the server's first process; one that died at once is dead, not an error.

        Raises:
            HarnessError: its data is not on the node's storage.
        """
        self._pid = facts.pid
        self._start = processes.start_ticks(facts.pid) if facts.pid else None
        if facts.pid:
            self.storage.check_seen(f"/proc/{facts.pid}/root{self._data_dir}")

    @property
    def alive(self) -> bool:
        """Whether the server's first process exists; when it dies, the kernel ends the rest of its pid namespace."""
        return processes.is_process(self._pid, self._start)

    @property
    def argv(self) -> Sequence[str]:
        """See :class:`faults.needs.Node`."""
        return self._argv

    @argv.setter
    def argv(self, argv: Sequence[str]) -> None:
        """A container's command cannot be changed: its init reads another one from a file beside the log."""
        self._argv = tuple(argv)
        (self.storage.folder / RELAUNCH).write_text(f"set -- {shlex.join(argv)}\n", encoding="utf-8")

    @property
    def disk(self) -> Disk | None:
        """See :class:`faults.needs.Node`."""
        return self.storage.disk

    @property
    def files(self) -> Files | None:
        """See :class:`faults.needs.Node`."""
        return self.storage.files

    @property
    def limits(self) -> Limits | None:
        """See :class:`faults.needs.Node`. Root on the engine's own machine may write the container's control group."""
        return self._limits if isinstance(self.hands, DirectHands) and self.alive else None

    @property
    def data(self) -> str:
        """See :class:`faults.needs.Node`. The folder that is mounted into the container."""
        return str(self.storage.data)

    @property
    def log(self) -> str:
        """See :class:`faults.needs.Node`. The log folder is mounted into the container, too."""
        return str(self.storage.folder / NODE_LOG)

    async def run(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """See :class:`faults.needs.Node`."""
        return await self.host(self.command(argv), stdin=stdin)

    async def host(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """See :class:`faults.needs.Node`."""
        done = await run_tool(argv, stdin=stdin or "")
        return Completed(status=done.status, stdout=done.stdout, stderr=done.stderr)

    async def spawn(self, argv: Sequence[str], *, network: bool = True) -> LocalHelper:
        """See :class:`faults.needs.Node`. Inside the holder, programs are its own: they are not of this machine."""
        words = argv if network and self.hands.netns is None else locally(argv)
        return await LocalHelper.start(locally(self.command(words)) if network else words)

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        """See :class:`faults.needs.Node`."""
        return self.hands.command(argv)

    async def signal(self, number: int) -> None:
        """See :class:`faults.needs.Node`. A node that is dead already died by itself, whatever is aimed at it now."""
        if not self.alive:
            return
        if number not in _CONTINUING:
            self.ended_by_fault = True
        done: set[int] = set()
        for _ in range(RESCANS_MAX):
            pids = [pid for pid in self.pids() if pid not in done]
            if not pids:
                return
            await self.hands.signal(self._server, pids, number)
            done.update(pids)

    def dismiss(self) -> None:
        """See :class:`faults.needs.Node`. A node that is dead already died by itself, or by a fault that said so."""
        if self.alive:
            self.ended_by_fault = True

    async def start(self) -> None:
        """See :class:`faults.needs.Node`.

        Raises:
            HarnessError: it runs already.
            EngineError: the engine does not notice that the old process is gone, or does not start the container.
        """
        if self.alive:
            raise HarnessError(f"node {self.name} runs already: it is started again only after it died")
        ended = await self.wait_ended()
        if not self.ended_by_fault and not killed_for_memory(ended):
            self.own_death = exit_status(ended.exit_code)
        self._adopt(await self._engine.start(self._server))
        self.ended_by_fault = False

    async def wait_ended(self) -> ContainerFacts:
        """What the engine says once it knows that the server is dead: a little later than /proc.

        Raises:
            EngineError: it never does, or the container is gone.
        """
        for _ in range(END_POLLS_MAX):
            facts = await self._engine.inspect(self._server)
            if facts is None:
                raise EngineError(f"container {self._server} is gone: was it removed by hand?")
            if not facts.running:
                return facts
            await asyncio.sleep(END_POLL_S)
        raise EngineError(f"container {self._server} does not end: see `docker inspect {self._server}`")

    async def state(self) -> ProcessState:
        """See :class:`faults.needs.Node`."""
        pids = self.pids()
        if not pids:
            return ProcessState.DEAD
        stopped = await self.hands.is_stopped(self._server, pids) or await self._is_frozen()
        if not self.alive:
            return ProcessState.DEAD
        return ProcessState.STOPPED if stopped else ProcessState.RUNNING

    async def _is_frozen(self) -> bool:
        """Whether its control group is, which states of threads do not show."""
        try:
            return self.limits is not None and await self.limits.frozen()
        except OSError:  # dead meanwhile
            return False

    def pids(self) -> Sequence[int]:
        """See :class:`faults.needs.Node`. The first process comes first; orphans are its children, too (pid
        namespace).
        """
        if not self.alive:
            return []
        try:
            children = psutil.Process(self._pid).children(recursive=True)
        except psutil.Error:
            return []
        return [self._pid, *(child.pid for child in children if processes.start_ticks(child.pid) is not None)]
