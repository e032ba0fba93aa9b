"""``power``: the power of some nodes fails; what they had written and not synced is gone when they come back.

A crash of a process (``kill``) loses nothing that it had handed to the kernel. Here each target's processes are killed
and its disk forgets what was not on the platter: the test of whether a store syncs before it acknowledges. How much is
lost is what a real failure would lose: the kernel writes back on its own after some seconds.

Proof of the bite: the targets had been running and are gone, and on each disk a mark that was synced just before is
there while one that was not is gone. Proof of healing: that of ``kill``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from random import Random

from faults.family import Claim, Parameters, Resolved, Setup, Target, Targeted
from faults.kill import Kill
from faults.needs import Cluster, Disk, Loss, Proof


class PowerParameters(Parameters):
    """Whose power fails, all at once. For how long they are down is the schedule's ``for``."""

    target: Target = "one"


@dataclass(kw_only=True, slots=True)
class Power:
    """A failure of the power of certain nodes."""

    targets: tuple[str, ...]
    cluster: Cluster
    kill: Kill

    async def inject(self) -> Proof:
        """Kills, then loses; holds if both bit."""
        disks = {name: self.cluster.nodes[name].disk for name in self.targets}
        killed = await self.kill.inject()
        if any(killed.evidence["pids_left"].values()):
            return killed  # somebody still has files open
        losses = dict(zip(disks, await asyncio.gather(*map(_lose, disks.values())), strict=True))
        bit = all(loss is not None and loss.synced_kept and loss.unsynced_lost for loss in losses.values())
        told = {name: None if loss is None else _told(loss) for name, loss in losses.items()}
        return replace(killed, holds=killed.holds and bit, evidence={**killed.evidence, "marks": told})

    async def heal(self) -> Proof:
        """Starts who is dead."""
        return await self.kill.heal()


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

    def summary(self, resolved: Resolved) -> str:
        """Whose power fails."""
        return f"power of {', '.join(resolved['targets'])} failed (unsynced writes lost)"

    def build(self, resolved: Resolved, cluster: Cluster) -> Power:
        """The fault."""
        targets = tuple(resolved["targets"])
        return Power(targets=targets, cluster=cluster, kill=Kill(targets=targets, cluster=cluster))

    def draw(self, random: Random, nodes: tuple[str, ...]) -> PowerParameters:
        """One, the leader, a minority, or all of them."""
        return PowerParameters(target=random.choice(["one", "leader", "all"] + ["minority"] * (len(nodes) > 2)))
