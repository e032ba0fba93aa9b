"""``power``: the power of some nodes fails; what they had written and not synced is gone when they come back.

A crash of a process (``kill``) loses nothing that it had handed to the kernel. Here each target's processes are killed
and its disk forgets what was not on the platter: the test of whether a store syncs before it acknowledges. How much is
lost is what a real failure would lose: the kernel writes back on its own after some seconds.

``how: together`` fails all targets at once, and they come back when the fault is healed: what an outage does, and what
a majority that acknowledged too early cannot survive. ``how: rotating`` fails them one after the other, again and
again until the fault is healed; each is down for ``down`` and comes back before the next goes: what a rolling outage
does, where a store that trusts its peers' memory loses writes although a majority was up at every moment.

Proof of the bite: the targets had been running and are gone, and on each disk a mark that was synced before is there
while one that was not is gone. Every turn of a rotation proves it; those after the first are told, and judged, when the
fault is healed. Proof of healing: that of ``kill``.

Not covered: a disk that lies about a flush, or tears a block (the family ``disk`` does), and writes that bypass the
page cache (``O_DIRECT`` without a flush), which count as done. Sources: the field notes (NATS JetStream, PySyncObj),
ext4's ``EXT4_IOC_SHUTDOWN``, Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014).
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Literal

from pydantic import model_validator

from faults.durations import Duration, format_duration
from faults.family import Claim, Parameters, Resolved, Setup, Target, Targeted, check_targets
from faults.kill import Kill
from faults.needs import Cluster, Disk, Loss, ProcessState, Proof

DOWN_NS = 500_000_000
FROZEN_POLL_S = 0.1


class PowerParameters(Parameters):
    """Whose power fails, and how. For how long is the schedule's ``for``."""

    target: Target = "one"
    how: Literal["together", "rotating"] = "together"
    down: Duration | None = None
    """With ``rotating``: how long each is down."""

    @model_validator(mode="after")
    def _check(self) -> PowerParameters:
        if self.down is not None and self.how != "rotating":
            raise ValueError("`down` goes with `how: rotating`; together, all are down for the fault's `for`")
        if self.down == 0:
            raise ValueError("`down` must be longer than nothing")
        return self


@dataclass(kw_only=True, slots=True)
class Power:
    """A failure of the power of certain nodes, all at once."""

    targets: tuple[str, ...]
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def inject(self) -> Proof:
        """Kills, then loses; holds if both bit."""
        killed = await self._kill.inject()
        if any(killed.evidence["pids_left"].values()):
            return killed  # somebody still has files open
        disks = [self.cluster.nodes[name].disk for name in self.targets]
        losses = dict(zip(self.targets, await asyncio.gather(*map(_lose, disks)), strict=True))
        bit = all(loss is not None and loss.synced_kept and loss.unsynced_lost for loss in losses.values())
        told = {name: "no disk of its own" if loss is None else _told(loss) for name, loss in losses.items()}
        return replace(killed, holds=killed.holds and bit, evidence={**killed.evidence, "marks": told})

    async def heal(self) -> Proof:
        """Starts who is dead, on a disk that works: where it is not mounted, the node would find its memory empty."""
        for name in self.targets:
            node = self.cluster.nodes[name]
            if node.disk is not None and await node.state() is ProcessState.DEAD:
                await node.disk.revive()
        return await self._kill.heal()

    @property
    def _kill(self) -> Kill:
        return Kill(targets=self.targets, cluster=self.cluster, sleep=self.sleep)


@dataclass(kw_only=True, slots=True)
class Rotation:
    """Failures of the power of one node after the other, in this order, round and round until healed."""

    order: tuple[str, ...]
    down_s: float
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    turns: list[dict[str, Any]] = field(default_factory=list)
    """What each turn proved, as evidence."""
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _task: asyncio.Task[None] | None = None

    async def inject(self) -> Proof:
        """Fails the first; the others follow by themselves."""
        proof = await self._fail(self.order[0])
        if proof.holds:
            self._task = asyncio.create_task(self._go_round(), name="rotating power failures")
        return Proof(holds=proof.holds, evidence={"turns": self.turns})

    async def heal(self) -> Proof:
        """Ends the rotation and starts who is dead; holds if they run, and every turn bit and ended well."""
        self._ended.set()
        if self._task is not None:
            await self._task
        healed = await self._power(*self.order).heal()
        failed = [turn for turn in self.turns if not turn["bit"] or turn.get("back") is False]
        return Proof(
            holds=healed.holds and not failed,
            evidence={**healed.evidence, "turns": len(self.turns), "turns_failed": failed},
        )

    async def _go_round(self) -> None:
        for turn in itertools.count(1):
            await self._wait(self.down_s)
            if self._ended.is_set() or not await self._return(self.order[(turn - 1) % len(self.order)]):
                return
            if not (await self._fail(self.order[turn % len(self.order)])).holds:
                return

    async def _return(self, name: str) -> bool:
        """Brings the node of this turn back; not while the cluster is frozen, so that nothing moves in it."""
        while await self._frozen() and not self._ended.is_set():
            await self._wait(FROZEN_POLL_S)
        proof = await _guarded(self._power(name).heal)
        self.turns[-1]["back"] = proof.holds
        return proof.holds and not self._ended.is_set()

    async def _fail(self, name: str) -> Proof:
        proof = await _guarded(self._power(name).inject)
        self.turns.append({"node": name, "bit": proof.holds, **proof.evidence})
        return proof

    async def _frozen(self) -> bool:
        """Whether all nodes that live stand still: somebody looks at the cluster as it is."""
        states = {await node.state() for node in self.cluster.nodes.values()} - {ProcessState.DEAD}
        return states == {ProcessState.STOPPED}

    async def _wait(self, seconds: float) -> None:
        """Until the time is over, or the rotation is ended."""
        waits = {asyncio.ensure_future(self.sleep(seconds)), asyncio.ensure_future(self._ended.wait())}
        _, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in pending:
            wait.cancel()

    def _power(self, *names: str) -> Power:
        return Power(targets=names, cluster=self.cluster, sleep=self.sleep)


async def _guarded(deed: Callable[[], Awaitable[Proof]]) -> Proof:
    """Trouble in a turn is a turn that failed: nobody awaits the rotation until it is healed."""
    try:
        return await deed()
    except Exception as error:  # noqa: BLE001 - the edge of a task
        return Proof(holds=False, evidence={"reason": f"{type(error).__name__}: {error}"})


async def _lose(disk: Disk | None) -> Loss | None:
    return None if disk is None else await disk.lose_unsynced()


def _told(loss: Loss) -> dict[str, bool]:
    return {"synced_kept": loss.synced_kept, "unsynced_lost": loss.unsynced_lost}


class PowerFamily(Targeted):
    """See the module."""

    name = "power"
    description = "the node's power fails: what it had not synced is lost; healing starts it again"
    Parameters = PowerParameters
    needs = frozenset({"kill", "power"})
    claims: frozenset[Claim] = frozenset({"process", "storage"})

    def setup(self, parameters: object) -> Setup:
        """Each node on a disk of its own."""
        del parameters
        return Setup(storage=frozenset({"image"}))

    def resolve(
        self, parameters: PowerParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The targets; for a rotation their order, which is drawn, and how long each is down.

        Raises:
            ValueError: somebody among them is no node, or nobody is named.
        """
        check_targets(targets, nodes)
        if parameters.how == "together":
            return {"targets": list(targets), "how": "together"}
        order = random.sample(targets, len(targets))
        return {"targets": list(targets), "how": "rotating", "order": order, "down_ns": parameters.down or DOWN_NS}

    def summary(self, resolved: Resolved) -> str:
        """Whose power fails."""
        if resolved["how"] == "together":
            return f"power of {', '.join(resolved['targets'])} failed (unsynced writes lost)"
        down = format_duration(resolved["down_ns"])
        return f"power of {', '.join(resolved['order'])} fails in turn, each for {down} (unsynced writes lost)"

    def build(self, resolved: Resolved, cluster: Cluster) -> Power | Rotation:
        """The fault."""
        if resolved["how"] == "together":
            return Power(targets=tuple(resolved["targets"]), cluster=cluster)
        return Rotation(order=tuple(resolved["order"]), down_s=resolved["down_ns"] / 1e9, cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> PowerParameters:
        """One, the leader, a minority, or all of them; all of them in turn, too."""
        if random.random() < ROTATING_SHARE:
            return PowerParameters(target="all", how="rotating")
        return PowerParameters(target=random.choice(["one", "leader", "all"] + ["minority"] * (len(nodes) > 2)))


ROTATING_SHARE = 0.25
"""Of the faults that are drawn at random."""
