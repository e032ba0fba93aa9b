"""What the family ``resource`` holds a node to: its share of the processor, its memory, its open files, its disk.

Each restraint registers what was set before, sets what is asked for, and proves by a try of the harness's own that the
node's processes are held to it; then it sets back exactly what was there, and proves that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from faults.needs import Cluster, DiskState, Helper, HelperError, Limits, Node, ProcessState, Proof, Undo
from faults.needs import Restraint as Kind
from faults.programs import program

BURN_S = 0.3
BURNS_MAX = 4
"""A busy machine may not give even a small share within one try."""
BURDEN = ("resources.burden",)
"""The modules of the helper (:func:`faults.programs.program`)."""
BURDEN_TIMEOUT_S = 8.0
MIB = 1 << 20
GRAB_BYTES_MAX = 512 * MIB
"""Beyond it a limit is read back and not tried: the try would take the machine's memory."""
PRESS_POLL_S = 0.05
PRESS_POLLS_MAX = 40


class Restraint(Protocol):
    """One restraint on one node."""

    async def apply(self) -> Proof:
        """Registers the undo, sets it, proves it."""

    async def lift(self) -> None:
        """Sets back what was there. Safe to call twice, after a failed :meth:`apply`, and when the node is dead."""

    async def lifted(self) -> Proof:
        """Whether what was there is there again; then the undo is discharged. The node runs."""


class CannotError(Exception):
    """This node cannot be held to that; the text says why."""


def limits_of(node: Node, kind: Kind) -> Limits:
    """The limits of a node.

    Raises:
        CannotError: they cannot be set here.
    """
    if node.limits is None or kind not in node.limits.able:
        raise CannotError(f"{node.name} has no control group here that limits {kind}")
    return node.limits


@dataclass(kw_only=True, slots=True)
class _Grouped:
    """What restraints by control groups have in common."""

    node: Node
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _before: Mapping[str, str] = field(default_factory=dict, init=False)
    _helper: Helper | None = field(default=None, init=False)

    async def _hold(self, kind: Kind, amount: float) -> Limits:
        """Sets a limit, once what was there is registered."""
        limits = limits_of(self.node, kind)
        self._before = await limits.values(kind)
        await self.cluster.undo.register(
            Undo(
                id=self._undo_id(kind),
                kind="run",
                arguments={"argv": list(limits.restoring(self._before))},
                node=self.node.name,
            )
        )
        await limits.limit(kind, amount)
        return limits

    async def _ask(self, words: str) -> dict[str, Any]:
        """A burden's answer; the helper is started when it is first needed."""
        if self._helper is None:
            self._helper = await self.node.spawn(program(*BURDEN), network=False)
        answer: dict[str, Any] = json.loads(await self._helper.ask(words, timeout_s=BURDEN_TIMEOUT_S))
        return answer

    async def _dismiss(self) -> None:
        if self._helper is not None:
            await self._helper.close()
            self._helper = None

    async def _give_back(self) -> None:
        await self._dismiss()
        if self._before and self.node.limits is not None:
            await self.node.limits.restore(self._before)

    async def _is_back(self, kind: Kind) -> tuple[bool, Mapping[str, str]]:
        """Whether the same values are there; a container that was started anew has them in another folder."""
        if not self._before:
            return True, {}
        now = await limits_of(self.node, kind).values(kind)
        same = list(now.values()) == list(self._before.values())
        if same:
            await self.cluster.undo.discharge(self._undo_id(kind))
        return same, now

    def _undo_id(self, kind: Kind) -> str:
        return f"{kind} of {self.node.name}"


@dataclass(kw_only=True, slots=True)
class CpuQuota(_Grouped):
    """A share of one processor for all of the node's processes together."""

    share: float

    async def apply(self) -> Proof:
        """Holds if every process is in the group, and one of the harness's own there that wants a whole processor was
        held back by the kernel; or, on a machine too busy to give it even that share, at least had no more.
        """
        limits = await self._hold("cpu", self.share)
        before = (await limits.usage()).throttled
        burns = []
        for _ in range(BURNS_MAX):
            burns.append(await self._ask(f"burn {limits.door('cpu')} {BURN_S}"))
            if (await limits.usage()).throttled > before or "error" in burns[-1]:
                break
        await self._dismiss()
        throttled = (await limits.usage()).throttled - before
        now, outside = await limits.values("cpu"), await limits.outside(self.node.pids())
        rate = burns[-1]["cpu_s"] / burns[-1]["wall_s"] if "wall_s" in burns[-1] else None
        evidence = {
            "before": self._before,
            "set": now,
            "periods_throttled": throttled,
            "a_burner_got": burns[-1] if rate is None else round(rate, 3),
            "processes_outside": list(outside),
        }
        bounded = throttled > 0 or (rate is not None and rate <= self.share)
        return Proof(holds=now != self._before and bounded and not outside, evidence=evidence)

    async def lift(self) -> None:
        """See the protocol."""
        await self._give_back()

    async def lifted(self) -> Proof:
        """Holds if the old quota is read back."""
        same, now = await self._is_back("cpu")
        return Proof(holds=same, evidence={"set": now})


@dataclass(kw_only=True, slots=True)
class MemoryLimit(_Grouped):
    """So much memory for all of the node's processes together, what is cached of files included."""

    size: int | None = None
    """Bytes; or"""
    ratio: float | None = None
    """of what they use when it begins."""
    pressure: bool = False
    """Whether a process of the harness's own takes what is left, and goes on taking."""
    _kills_before: int = field(default=0, init=False)
    _kills_of_ours: int = field(default=0, init=False)
    """Processes of the harness's own that were killed for memory: that was what they were there for."""
    _killed: int | None = field(default=None, init=False)

    async def apply(self) -> Proof:
        """Holds if the limit is read back, every process is under it, and one of the harness's own that wants more is
        killed for it; under pressure, if also the group runs into the limit again and again.
        """
        used = await limits_of(self.node, "memory").usage()
        size = self.size if self.size is not None else round(used.memory_bytes * (self.ratio or 1))
        self._kills_before = used.oom_kills
        limits = await self._hold("memory", size)
        evidence: dict[str, Any] = {"before": self._before, "used_before_bytes": used.memory_bytes}
        try:
            tried = await self._try(limits, size, used.memory_hits)
        except (OSError, CannotError):  # what a container used is told by nobody once it is dead
            if await self.node.state() is not ProcessState.DEAD:
                raise
            return Proof(holds=True, evidence={**evidence, "died_at_once": True})
        return Proof(holds=tried.holds, evidence={**evidence, **tried.evidence})

    async def _try(self, limits: Limits, size: int, hits_before: int) -> Proof:
        now, outside = await limits.values("memory"), await limits.outside(self.node.pids())
        evidence: dict[str, Any] = {"set": now, "processes_outside": list(outside)}
        holds = now != self._before and not outside
        if size <= GRAB_BYTES_MAX:
            grabbed = await self._ask(f"grab {limits.door('memory')} {size + 16 * MIB}")
            hits = (await limits.usage()).memory_hits - hits_before
            evidence |= {"one_that_wants_more": grabbed, "limit_hits": hits}
            holds = holds and bool(grabbed.get("killed")) and hits > 0
            self._kills_of_ours += grabbed.get("kills", 0)
        if self.pressure:
            pressed = await self._press(limits, size)
            evidence["pressure"] = pressed
            holds = holds and pressed["presses"]
        else:
            await self._dismiss()
        return Proof(holds=holds, evidence=evidence)

    async def _press(self, limits: Limits, size: int) -> dict[str, Any]:
        """Takes what is left, until the group is full or has run into its limit."""
        left = max(size - (await limits.usage()).memory_bytes, 4 * MIB)
        before = (await limits.usage()).memory_hits
        await self._ask(f"press {limits.door('memory')} {left}")
        full = False
        for _ in range(PRESS_POLLS_MAX):
            usage = await limits.usage()
            full = usage.memory_hits > before or usage.memory_bytes >= 0.95 * size
            if full:
                break
            await self.sleep(PRESS_POLL_S)
        told = await self._ask("told")
        return {**told, "presses": full and told["error"] is None, "used_bytes": (await limits.usage()).memory_bytes}

    async def lift(self) -> None:
        """See the protocol."""
        if self._helper is not None and self.pressure:
            with contextlib.suppress(HelperError):
                self._kills_of_ours += (await self._ask("told"))["kills"]
        with contextlib.suppress(OSError, CannotError):  # a container's group is gone with it
            kills = (await limits_of(self.node, "memory").usage()).oom_kills
            self._killed = max(self._killed or 0, kills - self._kills_before - self._kills_of_ours)
        await self._give_back()

    async def lifted(self) -> Proof:
        """Holds if the old limits are read back; tells how many of the node's processes were killed for memory (null
        if nobody counts any more: a container that dies takes its counts with it).
        """
        same, now = await self._is_back("memory")
        return Proof(holds=same, evidence={"set": now, "killed_for_memory": self._killed})


_LIST = (
    'for pid; do stat=$(cat "/proc/$pid/stat" 2>/dev/null) || continue; set -- ${stat##*) };'
    ' echo "$pid ${20} $(ls "/proc/$pid/fd" | wc -l)'
    ' $(prlimit --pid "$pid" --nofile --output SOFT,HARD --noheadings --raw)"; done'
)
"""Of each process: its id, its start, how many files it has open, its limits."""
_SET = (
    'while [ $# -gt 0 ]; do stat=$(cat "/proc/$1/stat" 2>/dev/null);'
    ' if [ "$(echo ${stat##*) } | cut -d" " -f20)" = "$2" ]; then prlimit --pid "$1" --nofile="$3" || exit 1; fi;'
    " shift 3; done"
)
"""For each process, told by its id and its start: its limits. One that is gone is passed over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenFiles:
    """What a process has open, and may."""

    pid: int
    start: int
    open: int
    soft: str
    hard: str

    @property
    def words(self) -> list[str]:
        """Arguments that set it back."""
        return [f"{self.pid}", f"{self.start}", f"{self.soft}:{self.hard}"]


@dataclass(kw_only=True, slots=True)
class FileLimit:
    """So many open files for each process of the node; whom it starts inherits that."""

    node: Node
    cluster: Cluster
    count: int | None = None
    """At most so many; or"""
    spare: int | None = None
    """so many more than each has open when it begins."""
    _before: dict[int, OpenFiles] = field(default_factory=dict, init=False)

    async def apply(self) -> Proof:
        """Holds if every process of the tree may open no more than that, as the kernel says, and might before."""
        self._before = {each.pid: each for each in await self._list()}
        if not self._before:
            raise CannotError(f"{self.node.name} has no process whose files could be limited")
        argv = ["sh", "-c", _SET, "sh", *(word for each in self._before.values() for word in each.words)]
        await self.cluster.undo.register(
            Undo(id=self._undo_id, kind="run", arguments={"argv": argv}, node=self.node.name)
        )
        wanted = {pid: self._wanted(each) for pid, each in self._before.items()}
        await self._set([[f"{p}", f"{self._before[p].start}", f"{soft}:"] for p, soft in wanted.items()])
        now = {each.pid: each for each in await self._list()}
        free = [pid for pid, each in now.items() if pid not in wanted or each.soft != f"{wanted[pid]}"]
        roomy = [pid for pid, each in self._before.items() if each.soft == f"{wanted[pid]}"]
        evidence = {
            "open": {f"{pid}": each.open for pid, each in now.items()},
            "limit": {f"{pid}": each.soft for pid, each in now.items()},
            "limit_before": {f"{pid}": each.soft for pid, each in self._before.items()},
            "processes_outside": free,
            "had_no_more_before": roomy,
        }
        return Proof(holds=bool(now) and not free and not roomy, evidence=evidence)

    async def lift(self) -> None:
        """Whom the node started meanwhile gets what its first process had."""
        now = await self._list()
        first = next(iter(self._before.values()), None)
        if first is None:
            return
        known = {(each.pid, each.start): each for each in self._before.values()}
        old = [known.get((each.pid, each.start), first) for each in now]
        await self._set(
            [[f"{each.pid}", f"{each.start}", f"{was.soft}:{was.hard}"] for each, was in zip(now, old, strict=True)]
        )

    async def lifted(self) -> Proof:
        """Holds if every process may open as many as before."""
        first = next(iter(self._before.values()), None)
        if first is None:
            return Proof(holds=True)
        now = await self._list()
        held = [each.pid for each in now if each.soft != self._before.get(each.pid, first).soft]
        if not held:
            await self.cluster.undo.discharge(self._undo_id)
        return Proof(holds=not held, evidence={"limit": {f"{each.pid}": each.soft for each in now}})

    def _wanted(self, files: OpenFiles) -> int:
        """Never more than it may anyway."""
        wanted = self.count if self.count is not None else files.open + (self.spare or 0)
        return wanted if files.soft == "unlimited" else min(wanted, int(files.soft))

    async def _list(self) -> list[OpenFiles]:
        argv = ["sh", "-c", _LIST, "sh", *map(str, self.node.pids())]
        done = await self.node.host(argv)
        lines = (line.split() for line in done.stdout.splitlines())
        return [
            OpenFiles(pid=int(words[0]), start=int(words[1]), open=int(words[2]), soft=words[3], hard=words[4])
            for words in lines
            if len(words) == 5
        ]

    async def _set(self, triples: Sequence[Sequence[str]]) -> None:
        done = await self.node.host(["sh", "-c", _SET, "sh", *(word for triple in triples for word in triple)])
        if done.status != 0:
            raise CannotError(f"open files of {self.node.name} cannot be limited: {done.stderr.strip()}")

    @property
    def _undo_id(self) -> str:
        return f"files of {self.node.name}"


@dataclass(kw_only=True, slots=True)
class FullDisk:
    """No room on the disk that the node's data is on."""

    node: Node
    cluster: Cluster

    async def apply(self) -> Proof:
        """Holds if a write of the harness's own fails for lack of room, and one before did not."""
        disk = self.node.disk
        if disk is None:
            raise CannotError(f"{self.node.name} has no disk of its own that could be full")
        before = await disk.state()
        undo = disk.undo(DiskState.FULL)
        if undo is not None:
            await self.cluster.undo.register(undo)
        await disk.fill()
        now = await disk.state()
        holds = (before, now) == (DiskState.WORKS, DiskState.FULL)
        return Proof(holds=holds, evidence={"before": before, "now": now})

    async def lift(self) -> None:
        """Gives the room back."""
        if self.node.disk is not None:
            await self.node.disk.free()

    async def lifted(self) -> Proof:
        """Holds if a write works again."""
        disk = self.node.disk
        if disk is None:
            return Proof(holds=True)
        now = await disk.state()
        undo = disk.undo(DiskState.FULL)
        if undo is not None and now is not DiskState.FULL:
            await self.cluster.undo.discharge(undo.id)
        return Proof(holds=now is DiskState.WORKS, evidence={"now": now})
