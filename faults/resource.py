"""``resource``: a node gets less of what it needs: processor time, memory, room on its disk, open files.

``cpu`` and ``memory`` are limits of the control group that the node's processes are in, version 1 or 2, the container's
own where there is one (:mod:`faults.resources.burden` is how they are tried); ``files`` is RLIMIT_NOFILE of every
process of the tree (prlimit(2)); ``disk`` fills the node's own disk image. Several may be asked for at once.

Proof of the bite, by tries of the harness's own: a process in the node's group that wants a whole processor is
throttled; one that wants more memory than the limit is killed for it (it makes itself the kernel's first choice, so the
node is killed only for what it wants itself), and under ``pressure`` the group stays at its limit; every process of the
tree has the file limit; a write to the disk fails with ENOSPC. Proof of healing: exactly what was set before is read
back, a write works, and the server runs: a node that ended under it, by the kernel's OOM killer or by its own decision,
is started again.

What is not covered: memory that a node has on huge pages or in the kernel alone, bandwidth of disks (family ``disk``)
and of links (``network``). It claims the process, because memory can kill it, and the storage, because a full disk
would be in the way of what others do to it. Sources: ``cgroups(7)``, ``cgroup-v2.rst``, ``getrlimit(2)``.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from faults.family import Claim, Parameters, Resolved, Setup, Target, check_targets
from faults.needs import Cluster, Node, ProcessState, Proof
from faults.resources.restraints import CpuQuota, FileLimit, FullDisk, MemoryLimit, Restraint

SETTLE_S = 0.1
KINDS = ("cpu", "memory", "files", "disk")
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)%")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(KiB|MiB|GiB)")
_SPARE = re.compile(r"([0-9]+) more")
MEMORY_BYTES_MIN = 4 << 20
MEMORY_PERCENT = (50, 1000)
FILES = (3, 1 << 20)


def read_share(text: str) -> float:
    """``10%`` of one processor, as a share.

    Raises:
        ValueError: no percentage, or not between 1 % and 100 %.
    """
    match = _PERCENT.fullmatch(text)
    if match is None or not 1 <= float(match[1]) <= 100:
        raise ValueError(f"{text!r} is no share of a processor: write a percentage from 1% to 100%, like 10%")
    return float(match[1]) / 100


def read_memory(text: str) -> dict[str, float]:
    """``64MiB`` or ``120%`` of what is in use, as ``bytes`` or ``ratio``.

    Raises:
        ValueError: neither, or out of bounds.
    """
    least, most = MEMORY_PERCENT
    if match := _PERCENT.fullmatch(text):
        if least <= float(match[1]) <= most:
            return {"ratio": float(match[1]) / 100}
        raise ValueError(f"{text!r}: memory can be limited to {least}% to {most}% of what is in use")
    if match := _SIZE.fullmatch(text):
        size = float(match[1]) * _UNITS[match[2]]
        if size >= MEMORY_BYTES_MIN:
            return {"bytes": int(size)}
        raise ValueError(f"{text!r} is less than {MEMORY_BYTES_MIN >> 20}MiB: no process lives in that")
    raise ValueError(f"{text!r} is no amount of memory: write 64MiB, or 120% of what is in use when it begins")


def read_files(value: int | str) -> dict[str, int]:
    """``32``, or ``2 more`` than are open, as ``count`` or ``spare``.

    Raises:
        ValueError: neither, or out of bounds.
    """
    if isinstance(value, str):
        match = _SPARE.fullmatch(value)
        if match is None or int(match[1]) > FILES[1]:
            raise ValueError(f"{value!r} is no limit of open files: write 32, or `2 more` than are open when it begins")
        return {"spare": int(match[1])}
    if not FILES[0] <= value <= FILES[1]:
        raise ValueError(f"{value} is no limit of open files: at least {FILES[0]}, at most {FILES[1]}")
    return {"count": value}


class ResourceParameters(Parameters):
    """Who gets less, and of what. For how long is the schedule's ``for``."""

    target: Target = "one"
    cpu: str | None = None
    """Share of one processor: ``10%``."""
    memory: str | None = None
    """``64MiB``, or ``120%`` of what is in use when it begins."""
    pressure: bool = False
    """With ``memory``: a process of the harness's own takes what is left under the limit, and goes on taking."""
    disk: Literal["full"] | None = None
    files: int | str | None = None
    """Open files of each process: ``32``, or ``2 more`` than are open when it begins."""

    @field_validator("cpu", mode="before")
    @classmethod
    def _check_cpu(cls, value: object) -> object:
        if value is not None:
            read_share(str(value))
        return value

    @field_validator("memory", mode="before")
    @classmethod
    def _check_memory(cls, value: object) -> object:
        if value is not None:
            read_memory(str(value))
        return value

    @field_validator("files")
    @classmethod
    def _check_files(cls, value: int | str | None) -> int | str | None:
        if value is not None:
            read_files(value)
        return value

    @model_validator(mode="after")
    def _check(self) -> Self:
        if all(getattr(self, kind) is None for kind in KINDS):
            raise ValueError(f"of what? say at least one of {', '.join(KINDS)}, like cpu: 10%")
        if self.pressure and self.memory is None:
            raise ValueError("`pressure` goes with `memory`: it fills what is left under that limit")
        return self


@dataclass(kw_only=True, slots=True)
class Resource:
    """Restraints on certain nodes."""

    targets: tuple[str, ...]
    facts: Resolved
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _restraints: dict[str, dict[str, Restraint]] = field(default_factory=dict, init=False)
    """By node and kind."""

    async def inject(self) -> Proof:
        """Holds if every restraint on every target does, and all of them had been running."""
        nodes = [self.cluster.nodes[name] for name in self.targets]
        before = {node.name: await node.state() for node in nodes}
        self._restraints = {node.name: self._of(node) for node in nodes}
        proofs = dict(zip(self.targets, await asyncio.gather(*map(self._apply, self.targets)), strict=True))
        running = all(state is ProcessState.RUNNING for state in before.values())
        holds = running and all(proof.holds for each in proofs.values() for proof in each.values())
        told = {name: {kind: proof.evidence for kind, proof in each.items()} for name, each in proofs.items()}
        return Proof(holds=holds, evidence={"state_before": before, **told})

    async def heal(self) -> Proof:
        """Lifts every restraint, starts who is dead; holds if what was there is read back and every server runs."""
        await asyncio.gather(*(each.lift() for parts in self._restraints.values() for each in parts.values()))
        nodes = [self.cluster.nodes[name] for name in self.targets]
        dead = [node for node in nodes if await node.state() is ProcessState.DEAD]
        await asyncio.gather(*(node.start() for node in dead))
        if dead:
            await self.sleep(SETTLE_S)
        states = {node.name: await node.state() for node in nodes}
        told: dict[str, Any] = {}
        holds = ProcessState.DEAD not in states.values()
        for name, parts in self._restraints.items():
            proofs = {kind: await part.lifted() for kind, part in parts.items()}
            holds = holds and all(proof.holds for proof in proofs.values())
            told[name] = {kind: proof.evidence for kind, proof in proofs.items()}
        evidence = {"state": states, "started": [node.name for node in dead], **told}
        return Proof(holds=holds, evidence=evidence)

    def _of(self, node: Node) -> dict[str, Restraint]:
        """The disk last: what is set before it must not need room there."""
        makers: dict[str, Callable[[Any], Restraint]] = {
            "files": lambda facts: FileLimit(node=node, cluster=self.cluster, **facts),
            "memory": lambda facts: MemoryLimit(
                node=node,
                cluster=self.cluster,
                size=facts.get("bytes"),
                ratio=facts.get("ratio"),
                pressure=facts["pressure"],
                sleep=self.sleep,
            ),
            "cpu": lambda facts: CpuQuota(node=node, cluster=self.cluster, share=facts),
            "disk": lambda _: FullDisk(node=node, cluster=self.cluster),
        }
        return {kind: make(self.facts[kind]) for kind, make in makers.items() if kind in self.facts}

    async def _apply(self, name: str) -> dict[str, Proof]:
        """One after the other: the try of one must not be held to the next."""
        return {kind: await restraint.apply() for kind, restraint in self._restraints[name].items()}


class ResourceFamily:
    """See the module."""

    name = "resource"
    description = "a node gets less processor time, memory, room on its disk or open files than it needs"
    Parameters = ResourceParameters
    needs = frozenset({"resource"})
    claims: frozenset[Claim] = frozenset({"resources", "process", "storage"})
    damages = False

    def setup(self, parameters: ResourceParameters) -> Setup:
        """Control groups for processor and memory, a disk of its own to be filled."""
        grouped = parameters.cpu is not None or parameters.memory is not None
        return Setup(groups=grouped, storage=frozenset({"image"} if parameters.disk else ()))

    def resolve(
        self, parameters: ResourceParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The targets, and the amounts as numbers.

        Raises:
            ValueError: somebody among them is no node, or nobody is named.
        """
        del random
        check_targets(targets, nodes)
        facts: dict[str, Any] = {"targets": list(targets)}
        if parameters.cpu is not None:
            facts["cpu"] = read_share(parameters.cpu)
        if parameters.memory is not None:
            facts["memory"] = {**read_memory(parameters.memory), "pressure": parameters.pressure}
        if parameters.files is not None:
            facts["files"] = read_files(parameters.files)
        if parameters.disk is not None:
            facts["disk"] = parameters.disk
        return facts

    def summary(self, resolved: Resolved) -> str:
        """Who gets how little of what."""
        words = []
        if "cpu" in resolved:
            words.append(f"{resolved['cpu']:.0%} of a processor")
        if memory := resolved.get("memory"):
            size = f"{memory['bytes'] / (1 << 20):g} MiB" if "bytes" in memory else f"{memory['ratio']:.0%} of its use"
            words.append(f"memory limited to {size}{' under pressure' if memory['pressure'] else ''}")
        if files := resolved.get("files"):
            words.append(f"{files['count']} open files" if "count" in files else f"{files['spare']} more open files")
        if "disk" in resolved:
            words.append("a full disk")
        return f"{', '.join(resolved['targets'])}: {', '.join(words)}"

    def build(self, resolved: Resolved, cluster: Cluster) -> Resource:
        """The fault."""
        return Resource(targets=tuple(resolved["targets"]), facts=resolved, cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> ResourceParameters:
        """One restraint, on one node or the leader in most cases, else on all that a minority may be."""
        target = random.choice(["one", "leader", "leader"] + ["minority"] * (len(nodes) > 2))
        kinds: dict[str, Callable[[], dict[str, Any]]] = {
            "cpu": lambda: {"cpu": random.choice(("5%", "10%", "20%"))},
            "memory": lambda: {"memory": random.choice(("110%", "150%", "200%")), "pressure": random.random() < 0.5},
            "files": lambda: {"files": random.choice(("0 more", "2 more", "8 more"))},
            "disk": lambda: {"disk": "full"},
        }
        return ResourceParameters(target=target, **kinds[random.choice(KINDS)]())
