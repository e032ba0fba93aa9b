"""``clock``: other times on some nodes: a jump, a clock that runs too fast or too slow, or one that swings.

The clocks are those of the processes, not of the machine (:mod:`faults.clocks.vdso`), so each node has its own, on any
substrate. Beside each node a helper (:mod:`faults.clocks.clockwork`) changes the time of its processes, and gives it to
children and to processes that execute another program; a server that restarts gets it within about
:data:`LOOK_S`. The helper restores everything when the controller is dead, and if the helper is dead, too, the
watchdog's undo finds every process by the fault's token.

``realtime`` may jump both ways and goes back when healed. ``monotonic`` never goes back, as on any real kernel: it may
jump forward, and run fast or slow; healing lets it run normally from where it is.

A clock does not take the process for itself: who is paused, killed, started or frozen meanwhile is so all the same
(:mod:`faults.clocks.standstill` says why that is safe). Not covered: what asks the kernel or the processor directly,
and timers and sleeps in the kernel, which run on the kernel's clocks: a program that computes an absolute deadline by a
shifted monotonic clock and hands it to the kernel waits too long (Go and event loops wait relatively; Java and
condition variables do not).

Proof of the bite: the functions in every process of every target are ours and add what was asked, as read back from
their memory (while it is observed for some turns, if it moves), and some program text in it asks the vDSO for the time.
Of a time of day that jumps there is another witness (:mod:`faults.clocks.witness`): the server's own date, asked before
and after; one that did not jump as asked is no bite.
Proof of healing: every process has the right time of day again, and a monotonic clock that runs evenly.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from faults.clocks import witness
from faults.durations import Duration, SignedDuration, format_duration
from faults.family import Claim, Parameters, Resolved, Target, Targeted, check_targets
from faults.needs import Cluster, Dates, Helper, HelperError, Node, NotNowError, Proof, Undo
from faults.programs import program

LOOK_S = 0.1
"""How often the controller asks whether a node's processes are still there."""
ROLL_CALL_LOOKS = 10
"""In so many looks the substrate is asked once for processes that nobody has noticed."""
WATCH_S = 0.06
"""How long a moving clock is observed before it is said that it moves: some turns of the helper."""
WATCH_S_MAX = 1.0
TOLERANCE_NS = 5_000_000
HELPER = program("clocks.standstill", "clocks.vdso_image", "clocks.vdso", "clocks.clockwork")
RESTORER = [sys.executable, *program("clocks.standstill", "clocks.vdso_image", "clocks.vdso")[1:], "restore"]

Clock = Literal["realtime", "monotonic"]


JUMP = "30s"
"""The jump of a clock fault that says nothing more."""
STROBE_EVERY_NS_MIN = 1_000_000


class Strobe(Parameters):
    """A clock that swings between the right time and ``by`` more, each ``every``."""

    by: SignedDuration = 200_000_000
    every: Duration = Field(default=50_000_000, ge=STROBE_EVERY_NS_MIN)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.by:
            raise ValueError("a clock that swings by nothing is right: say e.g. by: 200ms")
        return self


class ClockParameters(Parameters):
    """One of ``jump``, ``drift`` and ``strobe``."""

    target: Target = "one"
    clock: Clock = "realtime"
    jump: SignedDuration | None = None
    drift: float | None = Field(default=None, gt=-1, le=100)
    """Seconds gained a second: 0.05 is 5 % too fast, -0.05 too slow."""
    strobe: Strobe | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and all(data.get(name) is None for name in KINDS):
            return {**data, "jump": JUMP}
        return data

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"say one of jump, drift and strobe ({' and '.join(given)} given)")
        if 0 in (self.jump, self.drift):
            raise ValueError(f"a {given[0]} of 0 leaves the clock right: say another number")
        if self.clock == "monotonic" and (self.strobe is not None or (self.jump or 0) < 0):
            raise ValueError("a monotonic clock never goes back: it can jump forward or drift")
        return self


KINDS = ("jump", "drift", "strobe")


@dataclass(slots=True)
class Keeper:
    """What keeps one node's time: its helper, and what that said last."""

    node: Node
    helper: Helper
    processes: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    revoked: bool = False

    async def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """One command.

        Raises:
            HelperError: it is dead.
        """
        answer: dict[str, Any] = json.loads(await self.helper.ask(json.dumps({"do": do, **arguments})))
        self.processes, self.revoked = answer["processes"], answer["revoked"]
        self.refused = answer.get("refused", {})
        return answer


@dataclass(kw_only=True, slots=True)
class ClockFault:
    """Other times on certain nodes. ``motion`` is what the helpers are told."""

    targets: tuple[str, ...]
    motion: Mapping[str, Any]
    cluster: Cluster
    token: int = field(default_factory=lambda: secrets.randbits(63) | 1)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _keepers: list[Keeper] = field(default_factory=list, init=False)
    _follower: asyncio.Task[None] | None = field(default=None, init=False)
    _undo: list[str] = field(default_factory=list, init=False)
    _last: dict[str, Any] = field(default_factory=dict, init=False)
    _shifted: Mapping[str, witness.Told] = field(default_factory=dict, init=False)

    async def inject(self) -> Proof:
        """Shifts every process; holds if each was shifted as asked. A node that is dead gets its time when it starts.

        Raises:
            NotNowError: no target has a process just now.
        """
        if not any(node.pids() for node in self._nodes()):
            raise NotNowError(f"{', '.join(self.targets)}: no process just now whose clock could be changed")
        right, pids = await witness.ask(self._dates(), self.targets), self._pids()
        await asyncio.gather(*map(self._register, self._nodes()))
        await asyncio.gather(*map(self._keep, self._nodes()))
        await asyncio.gather(*(self._begin(keeper) for keeper in self._keepers))
        evidence = await self._watched()
        self._shifted = await witness.ask(self._dates(), self.targets)
        self._follower = asyncio.create_task(self._follow(), name="clock fault")
        held = self._held()
        denied = pids == self._pids() and self._denied(right)
        evidence = {"own_date": witness.compared(right, self._shifted), **evidence}
        return Proof(holds=bool(held) and all(held) and not denied, evidence=evidence)

    async def heal(self) -> Proof:
        """Gives the right time back; holds if every process that runs has it."""
        if self._follower is not None:
            self._follower.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._follower
            self._follower = None
            self._last = await self._shown()
        ended = dict(zip(self.targets, await asyncio.gather(*map(self._end, self._nodes())), strict=True))
        healed = all(even(told) for told in ended.values())
        await asyncio.gather(*(keeper.helper.close() for keeper in self._keepers))
        self._keepers.clear()
        if healed:
            await asyncio.gather(*map(self.cluster.undo.discharge, self._undo))
            self._undo.clear()
        own = witness.compared(self._shifted, await witness.ask(self._dates(), self.targets))
        return Proof(holds=healed, evidence={"own_date": own, "left": ended, "last_seen": self._last})

    async def _register(self, node: Node) -> None:
        argv = node.command([*RESTORER, str(self.token)])
        undo = Undo(id=f"clock {node.name} {self.token}", kind="run", arguments={"argv": list(argv)})
        self._undo.append(undo.id)
        await self.cluster.undo.register(undo)

    async def _keep(self, node: Node) -> None:
        """A helper that has answered: all begin at once."""
        keeper = Keeper(node, await node.spawn(HELPER, network=False))
        self._keepers.append(keeper)
        await keeper.ask("look", pids=[])

    async def _begin(self, keeper: Keeper) -> None:
        await keeper.ask("begin", token=self.token, pids=list(keeper.node.pids()), **self.motion)

    async def _watched(self) -> dict[str, Any]:
        """What the processes show. A clock that moves is observed while it does; on a busy machine helpers have few
        turns, so one that was not seen to move is observed for longer.
        """
        if self.motion["jump_ns"] is not None:
            return await self._shown()
        strobe = self.motion["strobe"]
        watch_s = min(WATCH_S if strobe is None else max(WATCH_S, 2.2 * strobe["every_ns"] / 1e9), WATCH_S_MAX)
        while True:
            await self.sleep(watch_s)
            shown = await self._shown()
            if watch_s >= WATCH_S_MAX or all(self._held()):
                return shown
            watch_s = min(2 * watch_s, WATCH_S_MAX)

    def _held(self) -> list[bool]:
        """Of each node that lives, whether its processes show what was asked."""
        return [shifted(self.motion, keeper.processes, keeper.refused) for keeper in self._living()]

    async def _shown(self) -> dict[str, Any]:
        """The same, now. A helper that is dead shows nothing."""
        for keeper in self._keepers:
            try:
                await keeper.ask("look", pids=[])
            except HelperError as error:
                keeper.processes, keeper.refused = {}, {"helper": str(error)}
        shown = {keeper.node.name: dict(keeper.processes) for keeper in self._keepers}
        refused = {keeper.node.name: dict(keeper.refused) for keeper in self._keepers if keeper.refused}
        revoked = [keeper.node.name for keeper in self._keepers if keeper.revoked]
        return {
            "processes": shown,
            **({"refused": refused} if refused else {}),
            **({"ended_by_the_watchdog": revoked} if revoked else {}),
        }

    def _dates(self) -> Dates | None:
        """Servers are asked for a time of day that jumped; what else is done to clocks moves on while they answer."""
        return self.cluster.dates if self.motion["jump_ns"] and self.motion["clock"] == "realtime" else None

    def _denied(self, right: Mapping[str, witness.Told]) -> bool:
        """Whether a server that was asked before and after says that its clock did not jump as asked."""
        dates = self._dates()
        if dates is None:
            return False
        wanted_s, precision_s = self.motion["jump_ns"] / 1e9, dates.date_precision_s
        return any(
            witness.contradicts(right[node], told, wanted_s, precision_s)
            for node, told in self._shifted.items()
            if node in right
        )

    def _pids(self) -> list[Sequence[int]]:
        return [node.pids() for node in self._nodes()]

    def _living(self) -> list[Keeper]:
        """Those whose node has processes; one that was killed meanwhile proves nothing, in either direction."""
        return [keeper for keeper in self._keepers if keeper.processes or keeper.node.pids()]

    async def _follow(self) -> None:
        """Processes that appear get the node's time. A helper that dies is missed when healing, not before."""
        looks = 0
        while True:
            await self.sleep(LOOK_S)
            looks += 1
            for keeper in self._keepers:
                with contextlib.suppress(HelperError):
                    await self._look(keeper, thoroughly=looks % ROLL_CALL_LOOKS == 0)

    async def _look(self, keeper: Keeper, *, thoroughly: bool) -> None:
        before = set(keeper.processes)
        if thoroughly or not before or before != set((await keeper.ask("look", pids=[]))["processes"]):
            await keeper.ask("look", pids=list(keeper.node.pids()))

    async def _end(self, node: Node) -> dict[str, Any]:
        """What is left in the node's processes, when the helper (or another one, if it is dead) has ended the fault."""
        pids = list(node.pids())
        for keeper in [keeper for keeper in self._keepers if keeper.node.name == node.name]:
            with contextlib.suppress(HelperError):
                return _living(await keeper.ask("end", token=self.token, pids=pids), pids)
        helper = await node.spawn(HELPER, network=False)
        try:
            return _living(await Keeper(node, helper).ask("end", token=self.token, pids=pids), pids)
        finally:
            await helper.close()

    def _nodes(self) -> list[Node]:
        return [self.cluster.nodes[name] for name in self.targets]


def _living(answer: Mapping[str, Any], pids: Sequence[int]) -> dict[str, Any]:
    return {pid: told for pid, told in answer["processes"].items() if int(pid) in pids}


def shifted(motion: Mapping[str, Any], processes: Mapping[str, Any], refused: Mapping[str, str]) -> bool:
    """Whether all these processes show what was asked, and at least one asks for the time where it was changed."""
    shown = all(_shows(motion, told) for told in processes.values())
    asking = any(told["asks_vdso"] is not False for told in processes.values())
    return shown and asking and not refused


def _shows(motion: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    if told["shift_ns"] is None:
        return False
    if motion["strobe"] is not None:
        low, high = sorted((0, motion["strobe"]["by_ns"]))
        swung = told["low_ns"] == low and told["high_ns"] == high
        return swung or (2.2 * motion["strobe"]["every_ns"] > WATCH_S_MAX * 1e9 and told["shift_ns"] in (low, high))
    if motion["drift"] is not None and told["shift_ns"] == 0:
        return False
    return bool(abs(told["shift_ns"] - told["asked_ns"]) <= TOLERANCE_NS)


def even(told: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether every process has the right time of day, and clocks that run evenly."""
    return all(each.get("realtime_ns") == 0 and each["even"] for each in told.values())


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
        motion = {key: resolved.get(key) for key in ("clock", "jump_ns", "drift", "strobe")}
        return ClockFault(targets=tuple(resolved["targets"]), motion=motion, cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> ClockParameters:
        """Jumps of up to a minute, clocks that run wrong, some by far, and swings; on one node or a minority."""
        target = random.choice(["one", "leader"] + (["minority"] if len(nodes) > 2 else []))
        kind: dict[str, Any] = random.choice(
            [
                {"jump": random.choice((-1, 1)) * random.randint(1, 60_000) * 1_000_000},
                {"drift": random.choice((-0.9, -0.5, -0.2, -0.05, 0.05, 0.2, 1.0))},
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
