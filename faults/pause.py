"""``pause``: a node stands still, and goes on when healed.

It keeps its memory, its connections and its beliefs (that it leads, that its lease lasts) while the world goes on
without it: the classic of stale reads and split brains.

By *signal*: SIGSTOP to every process of the tree, SIGCONT to heal. Parents and the processes themselves can see it
(SIGCHLD, WUNTRACED). By *freezer*: the control group that they are all in is frozen (``cgroups(7)``; version 1
``freezer.state``, version 2 ``cgroup.freeze``), which nobody inside can see, notice or refuse, and which holds whom
they fork, too; engines pause containers so. *any*: the freezer where the node has one, else the signal.

Proof of the bite: by signal, every thread of every process is in state T (``/proc/PID/task/*/stat``); by the freezer,
every process of the tree is in the group, the kernel says that all of it is frozen, and its processor time does not
grow (frozen tasks are not in state T). Proof of healing: they are not stopped or frozen any more, and the server lives.
Not covered: timers go on meanwhile, and so do the kernel's own answers for the node (it acknowledges TCP segments until
its buffers are full).
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Literal

from faults.family import Claim, Parameters, Resolved, Setup, Target, Targeted
from faults.needs import Cluster, Limits, Node, ProcessState, Proof, Undo

STATE_POLL_S = 0.002
STATE_POLLS_MAX = 500
STILL_S = 0.05
"""How long the processor time of a frozen group is watched."""

By = Literal["signal", "freezer", "any"]


class PauseParameters(Parameters):
    """Who is paused, and by what. For how long is the schedule's ``for``."""

    target: Target = "one"
    by: By = "signal"


@dataclass(kw_only=True, slots=True)
class Pause:
    """A pause of certain nodes, all at once."""

    targets: tuple[str, ...]
    cluster: Cluster
    by: By = "signal"
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _undo: list[str] = field(default_factory=list, init=False)
    _frozen: list[str] = field(default_factory=list, init=False)
    """Who stands still by the freezer."""

    async def inject(self) -> Proof:
        """Stops; holds if every target had been running and stands still.

        Raises:
            RuntimeError: the freezer was asked for, and a node has none.
        """
        before = {node.name: await node.state() for node in self._nodes()}
        means = {node.name: self._freezer_of(node) for node in self._nodes()}
        await asyncio.gather(*(self._stop(node, means[node.name]) for node in self._nodes()))
        states = await self._wait(lambda state: state is ProcessState.STOPPED)
        were_running = all(state is ProcessState.RUNNING for state in before.values())
        frozen = {node.name: await self._frozen_proof(node) for node in self._nodes() if node.name in self._frozen}
        bit = were_running and all(state is ProcessState.STOPPED for state in states.values())
        holds = bit and all(proof.holds for proof in frozen.values())
        told = {"frozen": {name: proof.evidence for name, proof in frozen.items()}} if frozen else {}
        by = {name: "freezer" if name in self._frozen else "signal" for name in self.targets}
        return Proof(holds=holds, evidence={"state_before": before, "state": states, "by": by, **told})

    async def heal(self) -> Proof:
        """Lets go on; holds if every target runs again."""
        await asyncio.gather(*(self._continue(node) for node in self._nodes()))
        states = await self._wait(lambda state: state is not ProcessState.STOPPED)
        healed = all(state is ProcessState.RUNNING for state in states.values())
        if ProcessState.STOPPED not in states.values():
            await asyncio.gather(*map(self.cluster.undo.discharge, self._undo))
            self._undo.clear()
        return Proof(holds=healed, evidence={"state": states})

    def _freezer_of(self, node: Node) -> Limits | None:
        limits = node.limits
        if self.by == "signal" or (self.by == "any" and (limits is None or "freezer" not in limits.able)):
            return None
        if limits is None or "freezer" not in limits.able:
            raise RuntimeError(
                f"{node.name} is in no control group that could be frozen here (`capsize doctor` tells why): "
                "pause by: signal, or by: any"
            )
        return limits

    async def _stop(self, node: Node, freezer: Limits | None) -> None:
        if freezer is None:
            await asyncio.gather(*(self._register_signal(node, pid) for pid in node.pids()))
            await node.signal(signal.SIGSTOP)
            return
        argv = {"argv": list(freezer.thawing())}
        undo = Undo(id=f"freeze {node.name}", kind="run", arguments=argv, node=node.name)
        self._undo.append(undo.id)
        await self.cluster.undo.register(undo)
        self._frozen.append(node.name)
        await freezer.freeze()

    async def _continue(self, node: Node) -> None:
        if node.name in self._frozen and node.limits is not None:
            await node.limits.thaw()
        else:
            await node.signal(signal.SIGCONT)

    async def _frozen_proof(self, node: Node) -> Proof:
        assert node.limits is not None
        outside, before = await node.limits.outside(node.pids()), (await node.limits.usage()).cpu_s
        await self.sleep(STILL_S)
        used_s = (await node.limits.usage()).cpu_s - before
        is_frozen = await node.limits.frozen()
        evidence = {"group_frozen": is_frozen, "processes_outside": list(outside), "cpu_used_s": used_s}
        return Proof(holds=is_frozen and not outside and used_s == 0, evidence=evidence)

    async def _register_signal(self, node: Node, pid: int) -> None:
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
    description = "the node stands still, by SIGSTOP or by the freezer of its control group; healing lets it go on"
    Parameters = PauseParameters
    needs = frozenset({"pause"})
    claims: frozenset[Claim] = frozenset({"process"})

    def setup(self, parameters: PauseParameters) -> Setup:
        """A control group for the freezer."""
        return Setup(groups=parameters.by != "signal")

    def resolve(
        self, parameters: PauseParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The targets, and by what.

        Raises:
            ValueError: somebody among them is no node, or nobody is named.
        """
        return {**super().resolve(parameters, targets=targets, nodes=nodes, random=random), "by": parameters.by}

    def summary(self, resolved: Resolved) -> str:
        """Who is paused, and by what."""
        by = {"signal": "SIGSTOP", "freezer": "the freezer", "any": "the freezer, or SIGSTOP"}
        return f"{', '.join(resolved['targets'])} paused ({by[resolved.get('by', 'signal')]})"

    def build(self, resolved: Resolved, cluster: Cluster) -> Pause:
        """The fault."""
        return Pause(targets=tuple(resolved["targets"]), cluster=cluster, by=resolved.get("by", "signal"))

    def draw(self, random: Random, nodes: tuple[str, ...]) -> PauseParameters:
        """One node or the leader in most cases, else all that a minority may be; by the freezer, if there is one, in
        one of three cases.
        """
        choices = ["one", "leader", "leader"] + (["minority"] if len(nodes) > 2 else [])
        by: By = random.choice(("signal", "signal", "any"))
        return PauseParameters(target=random.choice(choices), by=by)
