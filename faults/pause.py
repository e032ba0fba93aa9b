"""``pause``: SIGSTOP to every process of a node's tree; healing continues them.

The node keeps its memory, its connections and its beliefs (that it leads, that its lease lasts) while the world goes
on without it: the classic of stale reads and split brains. Proof of the bite: every thread of every process is in
state T. Proof of healing: they run.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random

from faults.family import Claim, Parameters, Resolved, Target, Targeted
from faults.needs import Cluster, Node, ProcessState, Proof, Undo

STATE_POLL_S = 0.002
STATE_POLLS_MAX = 500


class PauseParameters(Parameters):
    """Who is paused. For how long is the schedule's ``for``."""

    target: Target = "one"


@dataclass(kw_only=True, slots=True)
class Pause:
    """A pause of certain nodes, all at once."""

    targets: tuple[str, ...]
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _undo: list[str] = field(default_factory=list, init=False)

    async def inject(self) -> Proof:
        """Stops; holds if every target had been running and stands still."""
        before = {node.name: await node.state() for node in self._nodes()}
        await asyncio.gather(*(self._register(node, pid) for node in self._nodes() for pid in node.pids()))
        await asyncio.gather(*(node.signal(signal.SIGSTOP) for node in self._nodes()))
        states = await self._wait(lambda state: state is ProcessState.STOPPED)
        were_running = all(state is ProcessState.RUNNING for state in before.values())
        bit = were_running and all(state is ProcessState.STOPPED for state in states.values())
        return Proof(holds=bit, evidence={"state_before": before, "state": states})

    async def heal(self) -> Proof:
        """Continues; holds if every target runs again."""
        await asyncio.gather(*(node.signal(signal.SIGCONT) for node in self._nodes()))
        states = await self._wait(lambda state: state is not ProcessState.STOPPED)
        healed = all(state is ProcessState.RUNNING for state in states.values())
        if ProcessState.STOPPED not in states.values():
            await asyncio.gather(*map(self.cluster.undo.discharge, self._undo))
            self._undo.clear()
        return Proof(holds=healed, evidence={"state": states})

    async def _register(self, node: Node, pid: int) -> None:
        undo = Undo(id=f"pause {node.name} {pid}", kind="continue", arguments={"pid": pid}, node=node.name)
        self._undo.append(undo.id)
        await self.cluster.undo.register(undo)

    async def _wait(self, reached: Callable[[ProcessState], bool]) -> dict[str, ProcessState]:
        """The states of the targets, once all have reached what is waited for, or when the patience is at its end."""
        states: dict[str, ProcessState] = {}
        for _ in range(STATE_POLLS_MAX):
            states = {node.name: await node.state() for node in self._nodes()}
            if all(map(reached, states.values())):
                break
            await self.sleep(STATE_POLL_S)
        return states

    def _nodes(self) -> list[Node]:
        return [self.cluster.nodes[name] for name in self.targets]


class PauseFamily(Targeted):
    """See the module."""

    name = "pause"
    description = "SIGSTOP to the node's processes; healing continues them"
    Parameters = PauseParameters
    needs = frozenset({"pause"})
    claims: frozenset[Claim] = frozenset({"process"})

    def summary(self, resolved: Resolved) -> str:
        """Who is paused."""
        return f"{', '.join(resolved['targets'])} paused (SIGSTOP)"

    def build(self, resolved: Resolved, cluster: Cluster) -> Pause:
        """The fault."""
        return Pause(targets=tuple(resolved["targets"]), cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> PauseParameters:
        """One node or the leader in most cases, else all that a minority may be."""
        choices = ["one", "leader", "leader"] + (["minority"] if len(nodes) > 2 else [])
        return PauseParameters(target=random.choice(choices))
