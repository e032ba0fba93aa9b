"""``clock``: other times on some nodes: a jump, a clock that runs too fast or too slow, or one that swings.

The clocks are those of the processes, not of the machine (:mod:`faults.vdso`), so each node has its own, on any
substrate whose processes this machine can see. While the fault lasts, a task follows the node: it moves clocks that
drift or swing, and gives the time of the node to processes that appear (a server that restarts, a child that executed
another program).

``realtime`` may jump both ways and goes back when healed. ``monotonic`` never goes back, as on any real kernel: it may
jump forward, and run fast or slow; healing lets it run normally from where it is. Timers and sleeps in the kernel run
on the kernel's own clocks: a program that computes a deadline by a shifted clock and hands it to the kernel waits too
long.

Proof of the bite: the functions in every process of every target are the rewritten ones and add what was asked. Proof
of healing: every process has the kernel's own functions again (or, for ``monotonic``, an offset that stands still).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from faults.durations import Duration, SignedDuration, format_duration
from faults.family import Claim, Parameters, Resolved, Target, Targeted, check_targets
from faults.needs import Cluster, Node, Proof, Undo
from faults.vdso import ClockError, Offsets, ProcessClock

FOLLOW_S = 0.02
"""How often drifting clocks are moved, and new processes looked for."""

Clock = Literal["realtime", "monotonic"]


class Strobe(Parameters):
    """A clock that swings between the right time and ``by`` more, each ``every``."""

    by: SignedDuration = 200_000_000
    every: Duration = 50_000_000


class ClockParameters(Parameters):
    """One of ``jump``, ``drift`` and ``strobe``."""

    target: Target = "one"
    clock: Clock = "realtime"
    jump: SignedDuration | None = None
    drift: float | None = Field(default=None, gt=-1, le=100)
    """Seconds gained a second: 0.05 is 5 % too fast, -0.05 too slow."""
    strobe: Strobe | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in ("jump", "drift", "strobe") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"say one of jump, drift and strobe ({' and '.join(given) or 'none'} given)")
        if self.clock == "monotonic" and (self.strobe is not None or (self.jump or 0) < 0):
            raise ValueError("a monotonic clock never goes back: it can jump forward or drift")
        return self


@dataclass(kw_only=True, slots=True)
class ClockFault:
    """Other times on certain nodes. ``shift_ns`` is how far from the right time, so long after the injection."""

    targets: tuple[str, ...]
    clock: Clock
    shift_ns: Callable[[float], int]
    moves: bool
    cluster: Cluster
    follow_s: float = FOLLOW_S
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _began: float = 0.0
    _known: dict[int, str] = field(default_factory=dict, init=False)
    _undo: list[str] = field(default_factory=list, init=False)
    _trouble: dict[str, str] = field(default_factory=dict, init=False)
    _follower: asyncio.Task[None] | None = field(default=None, init=False)

    async def inject(self) -> Proof:
        """Shifts every process; holds if each was shifted as asked."""
        self._began = self.now()
        await asyncio.gather(*map(self._cover, self._nodes()))
        seen = self._seen()
        self._follower = asyncio.create_task(self._follow(), name="clock fault")
        bit = set(self._known.values()) == set(self.targets) and not self._trouble
        bit = bit and all(offset is not None for offset in seen.values())
        return Proof(holds=bit, evidence={"offset_ns": seen, **({"trouble": self._trouble} if self._trouble else {})})

    async def heal(self) -> Proof:
        """Gives the right time back; holds if every process that still runs has it."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None
        final = self._offsets() if self.clock == "monotonic" else None
        await asyncio.gather(*(asyncio.to_thread(self._restore, pid, final) for pid in self._known))
        running = {pid for node in self._nodes() for pid in node.pids()}
        seen = {name: offset for name, offset in self._seen().items() if int(name.rpartition(" ")[2]) in running}
        if final is not None:
            await self.sleep(self.follow_s)  # a clock that still drifts has moved by then
        still = (
            all(offset is None for offset in seen.values()) if final is None else seen.items() <= self._seen().items()
        )
        await asyncio.gather(*map(self.cluster.undo.discharge, self._undo))
        self._undo.clear()
        return Proof(holds=still, evidence={"offset_ns": seen})

    async def _follow(self) -> None:
        while True:
            await self.sleep(self.follow_s)
            for node in self._nodes():
                await self._cover(node)

    async def _cover(self, node: Node) -> None:
        """Every process of a node has the node's time."""
        for pid in node.pids():
            new = pid not in self._known
            if new:
                await self._register(node, pid)
            if new or self.moves or await asyncio.to_thread(self._lost, pid):
                self._known[pid] = node.name
                await asyncio.to_thread(self._shift, node.name, pid)

    async def _register(self, node: Node, pid: int) -> None:
        argv = [sys.executable, "-m", "faults.vdso", "restore", str(pid)]
        undo = Undo(id=f"clock {node.name} {pid}", kind="run", arguments={"argv": argv})
        self._undo.append(undo.id)
        await self.cluster.undo.register(undo)

    def _shift(self, name: str, pid: int) -> None:
        try:
            ProcessClock(pid).shift(self._offsets())
            self._trouble.pop(f"{name} {pid}", None)
        except ClockError as error:
            if "is gone" not in str(error):
                self._trouble[f"{name} {pid}"] = str(error)

    def _lost(self, pid: int) -> bool:
        try:
            return ProcessClock(pid).offsets() is None
        except ClockError:
            return False

    def _restore(self, pid: int, final: Offsets | None) -> None:
        with contextlib.suppress(ClockError):
            if final is None:
                ProcessClock(pid).restore()

    def _offsets(self) -> Offsets:
        shift = self.shift_ns(self.now() - self._began)
        return Offsets(realtime_ns=shift) if self.clock == "realtime" else Offsets(monotonic_ns=shift)

    def _seen(self) -> dict[str, int | None]:
        return {f"{name} {pid}": self._offset(pid) for pid, name in self._known.items()}

    def _offset(self, pid: int) -> int | None:
        try:
            offsets = ProcessClock(pid).offsets()
        except ClockError:
            return None
        return None if offsets is None else getattr(offsets, f"{self.clock}_ns")

    def _nodes(self) -> list[Node]:
        return [self.cluster.nodes[name] for name in self.targets]


def shift_of(resolved: Resolved) -> Callable[[float], int]:
    """How far (ns) a clock is from the right time, so many seconds after the injection."""
    if resolved.get("jump_ns") is not None:
        jump = int(resolved["jump_ns"])
        return lambda _: jump
    if resolved.get("drift") is not None:
        drift = float(resolved["drift"])
        return lambda seconds: round(seconds * drift * 1e9)
    by, every_s = int(resolved["strobe"]["by_ns"]), resolved["strobe"]["every_ns"] / 1e9
    return lambda seconds: by if int(seconds / every_s) % 2 == 0 else 0


class ClockFamily(Targeted):
    """See the module."""

    name = "clock"
    description = "clocks of the node's processes jump, drift or swing"
    Parameters = ClockParameters
    needs = frozenset({"clock"})
    claims: frozenset[Claim] = frozenset({"clock"})

    def resolve(
        self, parameters: ClockParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The targets, and what is done, in ns.

        Raises:
            ValueError: somebody among the targets is no node, or nobody is named.
        """
        del random
        check_targets(targets, nodes)
        strobe = parameters.strobe
        return {
            "targets": list(targets),
            "clock": parameters.clock,
            "jump_ns": parameters.jump,
            "drift": parameters.drift,
            "strobe": None if strobe is None else {"by_ns": strobe.by, "every_ns": strobe.every},
        }

    def summary(self, resolved: Resolved) -> str:
        """Whose clock does what."""
        return f"{resolved['clock']} clock of {', '.join(resolved['targets'])} {_deed(resolved)}"

    def build(self, resolved: Resolved, cluster: Cluster) -> ClockFault:
        """The fault."""
        strobe = resolved.get("strobe")
        return ClockFault(
            targets=tuple(resolved["targets"]),
            clock=resolved["clock"],
            shift_ns=shift_of(resolved),
            moves=resolved.get("jump_ns") is None,
            cluster=cluster,
            follow_s=FOLLOW_S if strobe is None else max(strobe["every_ns"] / 2e9, 0.001),
        )

    def draw(self, random: Random, nodes: tuple[str, ...]) -> ClockParameters:
        """Mostly jumps of up to a minute, some drift and some swings, on one node or a minority."""
        target = random.choice(["one", "leader"] + (["minority"] if len(nodes) > 2 else []))
        kind: dict[str, Any] = random.choice(
            [
                {"jump": random.choice((-1, 1)) * random.randint(1, 60_000) * 1_000_000},
                {"jump": random.choice((-1, 1)) * random.randint(1, 60_000) * 1_000_000},
                {"drift": random.choice((-0.2, -0.05, 0.05, 0.2))},
                {"strobe": {"by": f"{random.randint(10, 2000)}ms", "every": f"{random.randint(5, 200)}ms"}},
            ]
        )
        if "jump" in kind:
            kind["jump"] = f"{kind['jump'] // 1_000_000}ms"
        return ClockParameters.model_validate({"target": target, **kind})


def _deed(resolved: Mapping[str, Any]) -> str:
    if resolved.get("jump_ns") is not None:
        jump = int(resolved["jump_ns"])
        return f"jumps {'back' if jump < 0 else 'forward'} by {format_duration(abs(jump))}"
    if resolved.get("drift") is not None:
        drift = float(resolved["drift"])
        return f"runs {abs(drift):.1%} too {'fast' if drift > 0 else 'slow'}"
    strobe = resolved["strobe"]
    return f"swings by {format_duration(abs(strobe['by_ns']))} every {format_duration(strobe['every_ns'])}"
