"""``kill``: SIGKILL to every process of a node's tree; healing starts the node again with the same data.

What a crash of the process costs a system, as opposed to a failure of the power: the page cache survives. Proof of
the bite: the whole tree is gone, and it had been there. Proof of healing: the server runs, and still runs a moment
later (whether it *serves* is the system's question).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from faults.family import Claim, Parameters, Resolved, Target, Targeted
from faults.needs import Cluster, Node, ProcessState, Proof

DEATH_POLL_S = 0.002
DEATH_POLLS_MAX = 2000
"""4 s: a process that waits for a disk (state D) outlives its SIGKILL."""
SETTLE_S = 0.1
"""A server that cannot start (port taken, data refused) is usually dead again after this time."""


class KillParameters(Parameters):
    """Who is killed. For how long is the schedule's ``for``."""

    target: Target = "one"


@dataclass(kw_only=True, slots=True)
class Kill:
    """A kill of certain nodes, all at once."""

    targets: tuple[str, ...]
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def inject(self) -> Proof:
        """Kills; holds if every target had been running and is gone."""
        before = {node.name: await node.state() for node in self._nodes()}
        await asyncio.gather(*(node.signal(signal.SIGKILL) for node in self._nodes()))
        left = dict(zip(self.targets, await asyncio.gather(*map(self._wait_dead, self._nodes())), strict=True))
        bit = ProcessState.DEAD not in before.values() and not any(left.values())
        return Proof(holds=bit, evidence={"state_before": before, "pids_left": left})

    async def heal(self) -> Proof:
        """Starts who is dead; holds if every target runs, with the same processes, a moment later."""
        dead = [node for node in self._nodes() if await node.state() is ProcessState.DEAD]
        await asyncio.gather(*(node.start() for node in dead))
        pids = {node.name: sorted(node.pids())[:1] for node in self._nodes()}
        await self.sleep(SETTLE_S)
        states = {node.name: await node.state() for node in self._nodes()}
        healed = all(state is not ProcessState.DEAD for state in states.values())
        evidence = {"started": [node.name for node in dead], "pid": pids, "state": states}
        return Proof(holds=healed and all(pids.values()), evidence=evidence)

    async def _wait_dead(self, node: Node) -> list[int]:
        """The processes that are left of the tree when the patience is at its end."""
        for _ in range(DEATH_POLLS_MAX):
            if not node.pids() and await node.state() is ProcessState.DEAD:
                return []
            await self.sleep(DEATH_POLL_S)
        return list(node.pids())

    def _nodes(self) -> list[Node]:
        return [self.cluster.nodes[name] for name in self.targets]


class KillFamily(Targeted):
    """See the module."""

    name = "kill"
    description = "SIGKILL to the node's processes; healing starts it again with the same data"
    Parameters = KillParameters
    needs = frozenset({"kill"})
    claims: frozenset[Claim] = frozenset({"process"})

    def summary(self, resolved: Resolved) -> str:
        """Who is killed."""
        return f"{', '.join(resolved['targets'])} killed (SIGKILL)"

    def build(self, resolved: Resolved, cluster: Cluster) -> Kill:
        """The fault."""
        return Kill(targets=tuple(resolved["targets"]), cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> KillParameters:
        """One node in most cases, the leader often, sometimes all that a minority may be, or the whole cluster."""
        choices = ["one", "leader", "leader", "all"] + (["minority"] if len(nodes) > 2 else [])
        return KillParameters(target=random.choice(choices))
