"""``rot``: bits of a node's data at rest turn, or get lost, and nobody tells the node.

In reality: disks lose and misdirect sectors, controllers and memory flip bits, file systems lose the ends of files in a
repair (Bairavasundaram et al., "An Analysis of Data Corruption in the Storage Stack", FAST 2008), and what replicated
stores make of it is often wrong (Ganesan et al., "Redundancy Does Not Imply Fault Tolerance", FAST 2017; Alagappan et
al., "Protocol-Aware Recovery", FAST 2018).

Each target is killed (SIGKILL), files of its data folder are damaged (:mod:`faults.disks.decay` says how, and what is
never touched), and it is down until the fault is healed. Then it is started again. It may refuse to start, which is its
right: then it is replaced, without data and under a new identity, where the system has a membership that can be
changed, and stays down where it has none. Or it starts, and must never serve what is wrong. What a node knew that was
damaged it knows no longer, so over a run at most a minority is ever hit (``damages``).

Proof of the bite: the targets had been running and are gone, and the damaged bytes, read back from the disk, are what
they were meant to become and not what they were. Proof of healing: each target was started and still runs some seconds
later, or it ended by itself, with what it said last (``refused``). That a replacement failed is told, but no failure
of the healing: the node stays down.

Not covered: damage while the node runs (a page that it has read already), a disk that returns errors (``disk``), and
the newest records. The damage is for good: nothing is registered with the watchdog.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from pydantic import Field

from faults.disks.decay import possible, rooms
from faults.family import Claim, Parameters, Resolved, Target, Targeted, check_targets
from faults.kill import Kill
from faults.members import Membership
from faults.needs import AdminError, Cluster, Node, NotNowError, ProcessState, Proof
from faults.programs import program

SETTLED_S = 0.5
"""How old what is damaged is at least when the node is killed."""
WATCH_S = 5.0
"""How long it is waited for a server to find out that it does not want to start. One that finds out later ends by
itself all the same, which the run sees; only its last words are not in the evidence.
"""
REPLACE_TIMEOUT_S = 12.0
POLL_S = 0.05
SPARE_TAIL = 4096
AMOUNT_MAX = 100


class RotParameters(Parameters):
    """Whose data rots, and how. For how long it is down meanwhile is the schedule's ``for``."""

    target: Target = "one"
    kind: Literal["any", "flip", "zero", "copy-chunk", "truncate"] = "any"
    files: str = Field(default="*", min_length=1)
    """A pattern for paths below the data folder, or for names (``*.wal``)."""
    amount: int = Field(default=1, ge=1, le=AMOUNT_MAX)
    """Pieces of damage on each target."""
    spare_tail: int = Field(default=SPARE_TAIL, ge=0)
    """Bytes at the end of what is being written that are left alone, beyond what is younger than half a second."""


class RotError(Exception):
    """The program that does the damage failed on a node's host."""


@dataclass(kw_only=True, slots=True)
class Rot:
    """Damage to the data of certain nodes, as resolved."""

    resolved: Resolved
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _refused: dict[str, str] = field(default_factory=dict, init=False)
    """Last words of those that did not want to start."""
    _replaced: dict[str, str] = field(default_factory=dict, init=False)

    async def inject(self) -> Proof:
        """Kills and damages; holds if every target is gone and damaged as was meant.

        Raises:
            NotNowError: some target has nothing yet that may be damaged; nobody was touched.
        """
        before = await self._looks()
        await self.sleep(SETTLED_S)
        killed = await self._kill.inject()
        evidence: dict[str, Any] = {**killed.evidence, "edits": {}}
        if killed.holds:
            done = await asyncio.gather(*(self._damage(node, before[node.name]) for node in self._nodes))
            evidence["edits"] = dict(zip(before, done, strict=True))
        return Proof(holds=killed.holds and all(map(_damaged, evidence["edits"].values())), evidence=evidence)

    async def heal(self) -> Proof:
        """Starts who is dead and has not refused; holds if each target runs, or has refused."""
        dead = [node for node in self._nodes if await node.state() is ProcessState.DEAD]
        started = [node for node in dead if node.name not in self._refused]
        await asyncio.gather(*(node.start() for node in started))
        await self._watch(started)
        states = {node.name: await node.state() for node in self._nodes}
        for node in started:
            if states[node.name] is ProcessState.DEAD:
                self._refused[node.name] = await self._last_words(node)
                self._replaced[node.name] = await self._replace(node.name)
                states[node.name] = await node.state()
        down = {name for name, state in states.items() if state is ProcessState.DEAD}
        evidence = {
            "started": [node.name for node in started],
            "state": states,
            "refused": bool(self._refused),
            "last_words": dict(self._refused),
            "replaced": dict(self._replaced),
        }
        return Proof(holds=down <= set(self._refused) and all(self._refused.values()), evidence=evidence)

    async def _looks(self) -> dict[str, Any]:
        """The first look at each target's data."""
        looks = {node.name: await _ask(node, {"do": "look", "data": node.data}) for node in self._nodes}
        for name, seen in looks.items():
            found = rooms(seen, seen, files=self.resolved["files"], spare_tail=self.resolved["spare_tail"])
            if not possible(found, self.resolved["kind"]):
                kind, files = self.resolved["kind"], self.resolved["files"]
                raise NotNowError(f"{name} has no data yet that may rot (kind {kind!r}, files {files!r})")
        return looks

    async def _damage(self, node: Node, before: Any) -> list[dict[str, Any]]:
        asked = {key: self.resolved[key] for key in ("kind", "amount", "files", "spare_tail")}
        seed = f"{self.resolved['seed']} {node.name}"
        done = await _ask(node, {"do": "damage", "data": node.data, "before": before, "seed": seed, **asked})
        return list(done["edits"])

    async def _watch(self, nodes: list[Node]) -> None:
        """Until all of them are dead, or the time is over in which they may refuse."""
        for _ in range(int(WATCH_S / POLL_S)):
            if all([await node.state() is ProcessState.DEAD for node in nodes]):
                return
            await self.sleep(POLL_S)

    async def _replace(self, name: str) -> str:
        """Somebody else in place of a node that refuses: ``yes``, or why not."""
        if self.cluster.admin is None:
            return "no: the system has no membership that can be changed"
        change = Membership(how="replace", targets=(name,), cluster=self.cluster, sleep=self.sleep)
        try:
            async with asyncio.timeout(REPLACE_TIMEOUT_S):
                proof = await change.inject()
                if proof.holds:
                    proof = await change.heal()
        except TimeoutError:
            return f"no: not done within {REPLACE_TIMEOUT_S:g} s"
        except (NotNowError, AdminError, RuntimeError) as error:
            return f"no: {error}"
        return "yes" if proof.holds else f"no: {proof.evidence.get('trouble')}"

    async def _last_words(self, node: Node) -> str:
        return last_words(str(await _ask(node, {"do": "tail", "log": node.log})))

    @property
    def _kill(self) -> Kill:
        return Kill(targets=tuple(self.resolved["targets"]), cluster=self.cluster, sleep=self.sleep)

    @property
    def _nodes(self) -> list[Node]:
        return [self.cluster.nodes[name] for name in self.resolved["targets"]]


def last_words(tail: str) -> str:
    """The last line of a log's end; of a Go program that panicked, why it did, and not the end of its stack."""
    lines = tail.splitlines()
    panics = [line for line in lines if line.startswith("panic: ")]
    return (panics or lines or [""])[-1]


def _damaged(edits: list[Mapping[str, Any]]) -> bool:
    """Whether there is damage, and each piece is on the disk as it was meant to be, and was not there before."""
    return bool(edits) and all(edit["found"] == edit["after"] != edit["before"] for edit in edits)


async def _ask(node: Node, asked: Mapping[str, Any]) -> Any:
    done = await node.host(program("disks.decay"), stdin=json.dumps(asked))
    if done.status != 0:
        raise RotError(f"on {node.name}: {done.stderr.strip()[-500:] or f'status {done.status}'}")
    return json.loads(done.stdout)


class RotFamily(Targeted):
    """See the module."""

    name = "rot"
    description = "bits of the node's data at rest turn or get lost; healing starts it, and it may refuse"
    Parameters = RotParameters
    needs = frozenset({"kill", "rot"})
    claims: frozenset[Claim] = frozenset({"process", "storage"})
    damages = True

    def resolve(
        self, parameters: RotParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The targets, and a seed: with the same files, the same damage.

        Raises:
            ValueError: somebody among them is no node, or nobody is named.
        """
        check_targets(targets, nodes)
        told = parameters.model_dump(mode="json", exclude={"target"})
        return {"targets": list(targets), **told, "seed": random.getrandbits(32)}

    def summary(self, resolved: Resolved) -> str:
        """Whose data rots."""
        kind, files, amount = resolved["kind"], resolved["files"], resolved["amount"]
        damage = kind if kind != "any" else "flip, zero, copy-chunk or truncate"
        often = "" if amount == 1 else f", {amount} times"
        where = "" if files == "*" else f", in {files}"
        return f"data of {', '.join(resolved['targets'])} rotted ({damage}{often}{where})"

    def build(self, resolved: Resolved, cluster: Cluster) -> Rot:
        """The fault."""
        return Rot(resolved=resolved, cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> RotParameters:
        """One node's, of any kind, here and there."""
        del nodes
        return RotParameters(amount=random.choice((1, 1, 3)))
