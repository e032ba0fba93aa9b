"""``--on-violation freeze``: at a violation every node stands still, for a person to look at.

Every process of every node gets SIGSTOP (in containers of an ordinary user: the freezer), as the fault ``pause`` does;
what is broken stays broken, and nothing is healed until the cluster goes on. It goes on at Enter, at ``capsize resume
RUN`` from anywhere (which leaves a file in the run's folder), at Ctrl-C, or when the limit is over; the run then ends
as with ``stop``. A node that a fault had paused or killed before is left as it was.

Nothing is entered in the undo list: if the controller dies, the watchdog kills the nodes, and SIGKILL ends what stands
still, too. The time is no fault of anybody's: operations that were open run into their time-outs and count as ``info``,
healing and recovery are measured from when the cluster goes on, and the nodes' own lag is excused (the history's
events ``freeze`` and ``thaw`` say when).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.needs import Node, ProcessState
from harness.durations import format_duration
from harness.live import Seen
from harness.nemesis.nemesis import Nemesis
from harness.recorder import Recorder
from harness.running import Run
from harness.substrates.protocol import Cluster

STATE_POLL_S = 0.005
STATE_POLLS_MAX = 400
WATCH_S = 0.2
"""How often it is asked whether to go on, and whether all nodes still stand still."""

logger = logging.getLogger(__name__)


def resume_file(folder: Path) -> Path:
    """The file whose appearance in a run's folder lets a frozen cluster go on."""
    return folder / "resume"


@dataclass(slots=True, kw_only=True)
class Freezer:
    """Freezes a cluster once."""

    run: Run
    cluster: Cluster
    recorder: Recorder
    nemesis: Nemesis
    until_ns: int | None = None
    """While it is frozen: when it goes on by itself (ns of the run)."""
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    _ours: set[str] = field(default_factory=set)
    """Nodes that stand still because of us."""
    _facts: dict[str, Any] = field(default_factory=dict)

    async def freeze(self, seen: Seen) -> None:
        """From the decision until all nodes run again."""
        self._facts = {"decided_ns": self.run.clock(), "proof_events": seen.events, "exact": seen.exact}
        self.nemesis.freeze()
        try:
            with self.run.record.phase("freeze"):
                states = await self._pause()
                paused_ns = self._note_paused(states)
                self.until_ns = paused_ns + self.run.scenario.freeze_limit_ns
                self._tell(seen, states)
                self._note_resumed(await self._wait_resumed(self.until_ns))
        finally:
            self.until_ns = None
            await self._resume()
            self.recorder.nemesis("info", "thaw", {"nodes": sorted(self._ours), "by": self._facts.get("resumed_by")})
            self.nemesis.thaw()

    async def _pause(self) -> Mapping[str, ProcessState]:
        """Stops every node that runs; the states, once none runs any more or the patience is at its end."""
        states: Mapping[str, ProcessState] = {}
        for _ in range(STATE_POLLS_MAX):
            states = await self._states()
            running = [name for name, state in states.items() if state is ProcessState.RUNNING]
            if not running:
                break
            self._ours.update(running)
            await asyncio.gather(*(self.cluster.nodes[name].signal(signal.SIGSTOP) for name in running))
            await asyncio.sleep(STATE_POLL_S)
        return states

    async def _states(self) -> Mapping[str, ProcessState]:
        return {name: await node.state() for name, node in self.cluster.nodes.items()}

    def _note_paused(self, states: Mapping[str, ProcessState]) -> int:
        nodes = {name: self._describe(node, states[name]) for name, node in self.cluster.nodes.items()}
        stand = all(state is not ProcessState.RUNNING for state in states.values())
        value = {"nodes": sorted(self._ours), "all": stand, "decided_ns": self._facts["decided_ns"]}
        paused_ns = self.recorder.nemesis("info", "freeze", value)
        limit_ns = self.run.scenario.freeze_limit_ns
        self._facts |= {"paused_ns": paused_ns, "all_paused": stand, "limit_ns": limit_ns, "nodes": nodes}
        self._facts |= {"resumed_ns": None, "resumed_by": None}
        self.run.record.update({"freeze": self._facts})
        logger.info("frozen: %s", states)
        return paused_ns

    def _describe(self, node: Node, state: ProcessState) -> dict[str, Any]:
        place = self.cluster.places[node.name]
        return {
            "state": str(state),
            "address": node.address,
            "pids": list(node.pids()),
            "data": place.data_dir,
            "log": str(self.run.folder.node(node.name)),
            "held_by": "the freeze" if node.name in self._ours else "a fault",
            "container": getattr(node, "container", None),
        }

    def _tell(self, seen: Seen, states: Mapping[str, ProcessState]) -> None:
        """What a person needs to look at it, and to let it go on."""
        say = self.run.progress.say
        say(f"FROZEN: {seen.kind}: {seen.message}")
        nodes: Mapping[str, Mapping[str, Any]] = self._facts["nodes"]
        for name, state in states.items():
            pids = " ".join(map(str, nodes[name]["pids"])) or "none"
            by_fault = "" if name in self._ours else " by a fault"
            say(
                f"  {name} {nodes[name]['address']}  {state}{by_fault}  pid {pids}  data {nodes[name]['data']}  "
                f"log {nodes[name]['log']}"
            )
        say(f"  faults in force, and left so: {'; '.join(self.nemesis.active.values()) or 'none'}")
        first = next((node for node in nodes.values() if node["pids"]), None)
        if first is not None:
            for line in ways_in(first):
                say(f"  {line}")
        limit = format_duration(self.run.scenario.freeze_limit_ns)
        enter = "Enter here, or " if _at_terminal() else ""
        say(f"  to go on: {enter}capsize resume {self.run.folder.path} (by itself after {limit})")

    async def _wait_resumed(self, until_ns: int) -> str:
        """Who let it go on. Whatever comes to life meanwhile (a start that was under way) is stopped again."""
        file = resume_file(self.run.folder.path)
        with _listening(self.entered):
            while True:
                await _first_of(self.entered, self.run.stop, timeout_s=WATCH_S)
                if self.run.stop.is_set():
                    return "interrupt"
                if self.entered.is_set():
                    return "enter"
                if file.exists():
                    return "capsize resume"
                if self.run.clock() >= until_ns:
                    return "limit"
                if ProcessState.RUNNING in (await self._states()).values():
                    await self._pause()

    def _note_resumed(self, by: str) -> None:
        self._facts |= {"resumed_ns": self.run.clock(), "resumed_by": by}
        self.run.record.update({"freeze": self._facts})
        frozen_s = (self._facts["resumed_ns"] - self._facts["paused_ns"]) / 1e9
        begin_s = self._facts["paused_ns"] / 1e9
        self.run.record.note(
            f"at {begin_s:.3f} s every node was frozen for inspection, for {frozen_s:.1f} s (ended by: {by}); "
            "what was in force then stayed, and operations that were open count as unknown"
        )
        why = {"limit": "the time is over", "interrupt": "interrupted"}.get(by, by)
        self.run.progress.say(f"the cluster goes on ({why}): everything is healed and judged")

    async def _resume(self) -> None:
        """Continues what we stopped, and nothing else."""
        nodes = [self.cluster.nodes[name] for name in sorted(self._ours)]
        for _ in range(STATE_POLLS_MAX):
            await asyncio.gather(*(node.signal(signal.SIGCONT) for node in nodes))
            nodes = [node for node in nodes if await node.state() is ProcessState.STOPPED]
            if not nodes:
                return
            await asyncio.sleep(STATE_POLL_S)
        self.run.record.note(f"{', '.join(node.name for node in nodes)} did not go on after the freeze")


def ways_in(node: Mapping[str, Any]) -> Iterator[str]:
    """Commands to look at a node that stands still."""
    pid = node["pids"][0]
    user = "" if _is_machines_own_root() else "--user --preserve-credentials "
    yield f"its network: nsenter --target {pid} {user}--net ss -tnp"
    if node["container"] is not None:
        yield f"its container: docker exec -it {node['container']} sh, or docker inspect {node['container']}"
    yield f"its memory: gdb -p {pid}, or for Python py-spy dump --pid {pid}"


def _is_machines_own_root() -> bool:
    """Whether this process is in the machine's first user namespace, as root's runs are."""
    try:
        return Path("/proc/self/uid_map").read_text(encoding="ascii").split() == ["0", "0", "4294967295"]
    except OSError:
        return True


def _at_terminal() -> bool:
    """Whether a person at a terminal can press Enter and be heard here (a job in the background is stopped by it)."""
    try:
        return sys.stdin is not None and sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


@contextlib.contextmanager
def _listening(entered: asyncio.Event) -> Iterator[None]:
    """Sets the event when a line is typed, if anybody is there to type it."""
    if not _at_terminal():
        yield
        return
    loop, terminal = asyncio.get_running_loop(), sys.stdin.fileno()

    def take() -> None:
        with contextlib.suppress(OSError):
            if not os.read(terminal, 4096):
                loop.remove_reader(terminal)  # the terminal is at its end: nobody will type
                return
        entered.set()

    loop.add_reader(terminal, take)
    try:
        yield
    finally:
        loop.remove_reader(terminal)


async def _first_of(*events: asyncio.Event, timeout_s: float) -> None:
    """Waits until one of the events is set, or the time is over."""
    waits = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
