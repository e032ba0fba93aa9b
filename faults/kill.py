"""``kill``: a node's processes end, by SIGKILL or SIGTERM; healing starts the node again with the same data.

What a crash of the process costs a system, as opposed to a failure of the power: the page cache survives. With
``signal: terminate`` the node is asked to end (SIGTERM) and may do what it does then; who has not ended after ``grace``
is killed, and the evidence says so. That and a start again is a restart as operators do it.

``how`` is about several targets. *together*: all at once, and all are started at once when the fault is healed.
*staggered*: one after the other, ``gap`` apart, without waiting for anybody's return; healing starts them in the same
order and with the same gaps, so that each was down for the same time. *rolling*: the restart that operators make: each
is down for ``down`` and has to run again before the next goes; the last stays down until the fault is healed. A
rolling round is made while the fault is injected.

Proof of the bite: the whole tree is gone, and it had been there; in a rolling round also that everyone but the last
came back. Proof of healing: the server runs, and still runs a moment later (whether it *serves* is the system's
question). Not covered: lost unsynced writes (family ``power``), a death in the middle of a certain write (``disk``).
"""

from __future__ import annotations

import asyncio
import signal as signals
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Self

from pydantic import model_validator

from faults.durations import Duration, format_duration
from faults.family import Claim, Parameters, Resolved, Target, Unprepared, check_targets
from faults.needs import Cluster, Node, ProcessState, Proof

DEATH_POLL_S = 0.002
DEATH_POLLS_MAX = 2000
"""4 s: a process that waits for a disk (state D) outlives its SIGKILL."""
SETTLE_S = 0.1
"""A server that cannot start (port taken, data refused) is usually dead again after this time."""
GRACE_NS = 2_000_000_000
GAP_NS = 200_000_000
DOWN_NS = 300_000_000
INJECTION_NS_MAX = 8_000_000_000
"""An injection that takes longer is given up by whoever plays the schedule."""
RETURN_NS = 500_000_000
"""What starting a node again is taken to cost when a round is planned; containers take most of it."""

Signal = Literal["kill", "terminate"]
How = Literal["together", "staggered", "rolling"]
_OF_HOW = {"gap": "staggered", "down": "rolling"}


class KillParameters(Parameters):
    """Who ends, and how. For how long is the schedule's ``for``."""

    target: Target = "one"
    signal: Signal = "kill"
    how: How = "together"
    gap: Duration | None = None
    """With ``staggered``: the time from one death to the next."""
    down: Duration | None = None
    """With ``rolling``: how long each but the last is down."""
    grace: Duration | None = None
    """With ``terminate``: how long a node may take to end before it is killed."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, how in _OF_HOW.items():
            value = getattr(self, name)
            if value is not None and self.how != how:
                raise ValueError(f"`{name}` goes with `how: {how}`, not with {self.how}: leave one of them out")
            if value == 0:
                raise ValueError(f"`{name}` must be longer than nothing")
        if self.grace is not None and self.signal != "terminate":
            raise ValueError("`grace` goes with `signal: terminate`: SIGKILL gives nobody time")
        return self


@dataclass(kw_only=True, slots=True)
class Kill:
    """A kill of certain nodes."""

    targets: tuple[str, ...]
    cluster: Cluster
    grace_s: float | None = None
    """Asked to end by SIGTERM first, and given so long; None: SIGKILL at once."""
    gap_s: float = 0.0
    """From one death to the next, and from one start to the next; 0: all at once."""
    down_s: float | None = None
    """Rolling: how long each but the last is down; None: not rolling."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _forced: list[str] = field(default_factory=list, init=False)
    """Who did not end by itself."""

    async def inject(self) -> Proof:
        """Kills; holds if every target had been running and is gone, and in a rolling round all but the last are
        back.
        """
        if self.down_s is not None:
            return await self._roll(self.down_s)
        before = {node.name: await node.state() for node in self._nodes()}
        await self._one_by_one(self._nodes(), self._end)
        left = dict(zip(self.targets, await asyncio.gather(*map(self.wait_dead, self._nodes())), strict=True))
        bit = ProcessState.DEAD not in before.values() and not any(left.values())
        return Proof(holds=bit, evidence={"state_before": before, "pids_left": left, **self._manner()})

    async def heal(self) -> Proof:
        """Starts who is dead; holds if every target runs, with the same processes, a moment later."""
        return await self._revive(self._nodes())

    async def _roll(self, down_s: float) -> Proof:
        turns: list[dict[str, Any]] = []
        for node in self._nodes():
            if turns:
                await self.sleep(down_s)
                back = await self._revive([self.cluster.nodes[turns[-1]["node"]]])
                turns[-1]["back"] = back.holds
                if not back.holds:
                    break  # who goes on would take down a second node
            before = await node.state()
            await self._end(node)
            left = await self.wait_dead(node)
            turns.append({"node": node.name, "state_before": before, "pids_left": left})
        bit = all(turn["state_before"] != ProcessState.DEAD and not turn["pids_left"] for turn in turns)
        back_again = all(turn["back"] for turn in turns[:-1]) and len(turns) == len(self.targets)
        return Proof(holds=bit and back_again, evidence={"turns": turns, **self._manner()})

    async def _revive(self, nodes: Sequence[Node]) -> Proof:
        dead = [node for node in nodes if await node.state() is ProcessState.DEAD]
        await self._one_by_one(dead, lambda node: node.start())
        pids = {node.name: sorted(node.pids())[:1] for node in nodes}
        await self.sleep(SETTLE_S)
        states = {node.name: await node.state() for node in nodes}
        healed = all(state is not ProcessState.DEAD for state in states.values())
        evidence = {"started": [node.name for node in dead], "pid": pids, "state": states}
        return Proof(holds=healed and all(pids.values()), evidence=evidence)

    async def _one_by_one(self, nodes: Sequence[Node], deed: Callable[[Node], Awaitable[None]]) -> None:
        """To each node, so far apart as is asked; nobody waits until the deed is done to another."""

        async def later(place: int, node: Node) -> None:
            if place and self.gap_s:
                await self.sleep(place * self.gap_s)
            await deed(node)

        await asyncio.gather(*(later(place, node) for place, node in enumerate(nodes)))

    async def _end(self, node: Node) -> None:
        if self.grace_s is not None:
            await node.signal(signals.SIGTERM)
            if not await self.wait_dead(node, round(self.grace_s / DEATH_POLL_S)):
                return
            self._forced.append(node.name)
        await node.signal(signals.SIGKILL)

    async def wait_dead(self, node: Node, polls: int = DEATH_POLLS_MAX) -> list[int]:
        """The processes that are left of the tree when the patience is at its end."""
        for _ in range(polls):
            if not node.pids() and await node.state() is ProcessState.DEAD:
                return []
            await self.sleep(DEATH_POLL_S)
        return list(node.pids())

    def _manner(self) -> dict[str, Any]:
        """Who ended when asked, and who had to be killed."""
        if self.grace_s is None:
            return {}
        ended = {name: "SIGKILL after the grace" if name in self._forced else "SIGTERM" for name in self.targets}
        return {"ended_by": ended}

    def _nodes(self) -> list[Node]:
        return [self.cluster.nodes[name] for name in self.targets]


class KillFamily(Unprepared):
    """See the module."""

    name = "kill"
    description = "the node's processes end by SIGKILL or SIGTERM; healing starts it again with the same data"
    Parameters = KillParameters
    needs = frozenset({"kill"})
    claims: frozenset[Claim] = frozenset({"process"})

    def resolve(
        self, parameters: KillParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The targets, in the order of their deaths, and the times.

        Raises:
            ValueError: somebody among them is no node, or nobody is named, or it would take too long.
        """
        check_targets(targets, nodes)
        order = list(targets) if parameters.how == "together" else random.sample(targets, len(targets))
        resolved: dict[str, Any] = {"targets": order, "signal": parameters.signal, "how": parameters.how}
        if parameters.signal == "terminate":
            resolved["grace_ns"] = GRACE_NS if parameters.grace is None else parameters.grace
        if parameters.how == "staggered":
            resolved["gap_ns"] = GAP_NS if parameters.gap is None else parameters.gap
        if parameters.how == "rolling":
            resolved["down_ns"] = DOWN_NS if parameters.down is None else parameters.down
        _check_length(resolved)
        return resolved

    def summary(self, resolved: Resolved) -> str:
        """Who ends, and how."""
        names = ", ".join(resolved["targets"])
        if resolved.get("signal", "kill") == "terminate":
            grace = format_duration(resolved["grace_ns"])
            words = f"{names} terminated (SIGTERM, SIGKILL after {grace})"
        else:
            words = f"{names} killed (SIGKILL)"
        if resolved.get("gap_ns") and len(resolved["targets"]) > 1:
            return f"{words} one after the other, {format_duration(resolved['gap_ns'])} apart"
        if resolved.get("down_ns") and len(resolved["targets"]) > 1:
            return f"{words} in a rolling restart, each back before the next"
        return words

    def build(self, resolved: Resolved, cluster: Cluster) -> Kill:
        """The fault."""
        grace, down = resolved.get("grace_ns"), resolved.get("down_ns")
        return Kill(
            targets=tuple(resolved["targets"]),
            cluster=cluster,
            grace_s=None if grace is None else grace / 1e9,
            gap_s=resolved.get("gap_ns", 0) / 1e9,
            down_s=None if down is None else down / 1e9,
        )

    def draw(self, random: Random, nodes: tuple[str, ...]) -> KillParameters:
        """One node in most cases, the leader often, sometimes all that a minority may be, or the whole cluster; SIGTERM
        in one of four cases, several one after the other in half of them, by a rolling restart often.
        """
        signal: Signal = random.choice(("kill", "kill", "kill", "terminate"))
        target = random.choice(["one", "leader", "leader", "all"] + (["minority"] if len(nodes) > 2 else []))
        if target in ("one", "leader"):
            return KillParameters(target=target, signal=signal)
        hows: list[How] = ["together", "together", "staggered", "rolling"]
        rolled = len(nodes) * (DOWN_NS + RETURN_NS + (GRACE_NS if signal == "terminate" else 0))
        how = random.choice(hows if rolled <= INJECTION_NS_MAX else hows[:3])
        return KillParameters(target=target, signal=signal, how=how)


def _check_length(resolved: Resolved) -> None:
    """Refuses what would still go on when the injection is given up.

    Raises:
        ValueError: with the times.
    """
    count, grace = len(resolved["targets"]), resolved.get("grace_ns", 0)
    needed = grace + (count - 1) * resolved.get("gap_ns", 0)
    if resolved["how"] == "rolling":
        needed = count * grace + (count - 1) * (resolved["down_ns"] + RETURN_NS)
    if needed > INJECTION_NS_MAX:
        raise ValueError(
            f"{count} nodes {resolved['how']} may take {format_duration(needed)}, and an injection may take at most "
            f"{format_duration(INJECTION_NS_MAX)}: choose a shorter grace, gap or down time, or fewer targets"
        )
