"""One node on a host that is reached over SSH: everything that is done to it is done by the host's guard.

"In the node's network namespace" means in the host's own network here: faults hang up rules for peers' addresses, and
what lets the SSH connection pass (:mod:`harness.substrates.ssh_way_in`) is put before them every time, so that no rule
of ours can shut us out.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal as signals
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from faults.needs import Completed, Disk, Files, HelperError, Limits, ProcessState, Undo, UndoList
from harness.errors import HarnessError
from harness.substrates.protocol import Launch, Place
from harness.substrates.ssh_connection import SshError
from harness.substrates.ssh_hosts import Host
from harness.substrates.ssh_limits import HostLimits
from harness.substrates.ssh_line import GuardRefusedError, Line
from harness.substrates.ssh_way_in import WayIn, kept_open

RESTORE = "iptables-restore"
PYTHON = "python3"
SIGNAL_TIMEOUT_S = 8.0
_HELPERS = itertools.count(1)

logger = logging.getLogger(__name__)


class HostNode:
    """Implements :class:`faults.needs.Node`."""

    disk: Disk | None = None
    files: Files | None = None
    group: HostLimits | None = None
    """Of a node that faults may hold to limits."""

    def __init__(self, *, place: Place, host: Host, line: Line, login: Sequence[int] | None) -> None:
        self.name = place.name
        self.address = place.address
        self.launch = Launch(argv=())
        self.env: Mapping[str, str] = {}
        self.line = line
        self.host_facts = host
        self.way_in: WayIn | None = None
        """Of a host whose packets faults may hold up."""
        self._place = place
        self._login = login
        self._argv: Sequence[str] | None = None
        self._pids: Sequence[int] = ()
        self._deaths: Sequence[int] = ()
        line.on_beat = self._note

    @property
    def argv(self) -> Sequence[str]:
        """See :class:`faults.needs.Node`."""
        return self.launch.argv if self._argv is None else self._argv

    @argv.setter
    def argv(self, argv: Sequence[str]) -> None:
        self._argv = tuple(argv)

    @property
    def limits(self) -> Limits | None:
        """See :class:`faults.needs.Node`."""
        return self.group

    @property
    def data(self) -> str:
        """See :class:`faults.needs.Node`."""
        return self._place.data_dir

    @property
    def log(self) -> str:
        """See :class:`faults.needs.Node`."""
        return f"{self._place.log_dir}/node.log"

    @property
    def own_death(self) -> int | None:
        """Status of the last death that no fault caused, as far as is known here."""
        return self._deaths[-1] if self._deaths else None

    async def run(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """See :class:`faults.needs.Node`. Rules and queues that are set up leave the way in open."""
        if stdin is not None and self.way_in is not None:
            keep = {RESTORE: kept_open, "tc": self.way_in.kept_quick}.get(argv[0])
            stdin = stdin if keep is None else keep(stdin)
        return await self.host(argv, stdin=stdin)

    async def host(self, argv: Sequence[str], *, stdin: str | None = None) -> Completed:
        """See :class:`faults.needs.Node`."""
        status, out, err = await self.line.ask("run", argv=self._there(argv), stdin=stdin or "")
        return Completed(status=status, stdout=out, stderr=err)

    async def spawn(self, argv: Sequence[str], *, network: bool = True) -> HostHelper:
        """See :class:`faults.needs.Node`. A helper outlives a lost connection, and ends when the guard misses us."""
        del network
        words = self._there(argv)
        number = next(_HELPERS)
        try:
            pid = await self.line.ask("helper", helper=number, argv=words)
        except SshError as error:
            raise HelperError(str(error)) from None
        return HostHelper(self.line, number, " ".join(words), pid)

    def command(self, argv: Sequence[str]) -> Sequence[str]:
        """See :class:`faults.needs.Node`. Connects anew: whoever runs it has no connection."""
        there = self._there(argv)
        return [sys.executable, "-m", "harness.substrates.ssh_command", self.host_facts.model_dump_json(), "--", *there]

    def undo_there(self, undo: Undo) -> Mapping[str, Any] | None:
        """The entry as the guard itself can carry it out; None if it is not this host's."""
        if undo.kind == "run":
            argv, mine = list(undo.arguments["argv"]), list(self.command([""]))[:-1]
            if argv[: len(mine)] != mine:
                return None
            return {"id": undo.id, "kind": "run", "arguments": {"argv": argv[len(mine) :]}}
        if undo.node != self.name:
            return None
        return {"id": undo.id, "kind": undo.kind, "arguments": dict(undo.arguments)}

    async def signal(self, number: int) -> None:
        """See :class:`faults.needs.Node`. After SIGKILL it returns when the tree is gone, or outlives it."""
        self._note(await self.line.ask("signal", number=int(number), timeout_s=SIGNAL_TIMEOUT_S))

    async def start(self) -> None:
        """See :class:`faults.needs.Node`.

        Raises:
            HarnessError: it runs already, or there is no such program.
        """
        place = self._place
        asked: dict[str, Any] = {
            "argv": list(self.argv),
            "env": {**self.env, **self.launch.env},
            "cwd": place.log_dir,
            "log": self.log,
            "user": self._login,
            "groups": self.group.doors if self.group is not None else [],
        }
        try:
            self._note(await self.line.ask("start", **asked))
        except GuardRefusedError as error:
            raise HarnessError(f"node {self.name}: {error}") from None

    def dismiss(self) -> None:
        """See :class:`faults.needs.Node`."""
        self._dismissal = asyncio.ensure_future(self._dismiss())

    async def _dismiss(self) -> None:
        try:
            await self.line.ask("dismiss")
        except SshError as error:
            logger.warning("%s is not dismissed: an end of it will count as a crash: %s", self.name, error)

    async def state(self) -> ProcessState:
        """See :class:`faults.needs.Node`.

        Raises:
            SshError: the host does not answer: the state is unknown.
        """
        look = await self.line.ask("look")
        self._note(look)
        state = ProcessState(look["state"])
        if state is ProcessState.RUNNING and self.group is not None and await self.group.frozen():
            return ProcessState.STOPPED
        return state

    def pids(self) -> Sequence[int]:
        """The host's, as they were at the last look: at most a beat ago."""
        return self._pids

    async def end(self) -> None:
        """Kills the tree.

        Raises:
            HarnessError: something outlives SIGKILL, or the host does not answer.
        """
        if self.group is not None:
            await self.group.thaw()  # in version 1 what is frozen does not die
        await self.signal(signals.SIGKILL)
        if self._pids:
            raise HarnessError(f"node {self.name}: processes {', '.join(map(str, self._pids))} outlive SIGKILL")

    def _note(self, look: Mapping[str, Any]) -> None:
        self._pids = tuple(look["pids"])
        self._deaths = tuple(look["deaths"])

    def _there(self, argv: Sequence[str]) -> list[str]:
        """With the host's interpreter in place of ours."""
        own = argv[0] in (PYTHON, sys.executable)
        return [self.host_facts.python if own else argv[0], *argv[1:]]


class HostHelper:
    """Implements :class:`faults.needs.Helper` by a child of the host's guard."""

    def __init__(self, line: Line, number: int, words: str, pid: int) -> None:
        self.pid = pid
        self._line = line
        self._number = number
        self._words = words

    async def ask(self, line: str, *, timeout_s: float = 5.0) -> str:
        """See the protocol."""
        asked: dict[str, Any] = {"helper": self._number, "line": line, "limit_s": timeout_s}
        try:
            # The guard's own limit is the one that is asked for; ours leaves room for a connection made anew.
            return str(await self._line.ask("helper_ask", **asked, timeout_s=timeout_s + 5))
        except SshError as error:
            raise HelperError(f"{self._words}: {error}") from None

    async def close(self) -> None:
        """See the protocol."""
        await self._line.ask("helper_close", helper=self._number)


class HostUndoList:
    """Entries about a host go to its guard, which carries them out whatever becomes of us; all others to the watchdog.

    The watchdog holds one entry for each host: to tell the guard that it is over.
    """

    def __init__(self, here: UndoList, nodes: Mapping[str, HostNode]) -> None:
        self._here = here
        self._nodes = nodes
        self._where: dict[str, HostNode] = {}

    async def register(self, undo: Undo) -> None:
        """See :class:`faults.needs.UndoList`.

        Raises:
            HarnessError: who should hold it does not answer.
        """
        for node in self._nodes.values():
            entry = node.undo_there(undo)
            if entry is not None:
                await node.line.ask("register", undo=entry, after_s=undo.after_s)
                self._where[undo.id] = node
                return
        await self._here.register(undo)

    async def discharge(self, undo_id: str) -> None:
        """See :class:`faults.needs.UndoList`."""
        node = self._where.pop(undo_id, None)
        if node is None:
            await self._here.discharge(undo_id)
        else:
            await node.line.ask("discharge", entry=undo_id)
