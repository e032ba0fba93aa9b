"""What every fault family is: parameters, a pure resolution, words, and a deed.

A scenario names a family and its parameters. When its time has come, the harness resolves the ``target`` selector to
node names (who leads is not known here), :meth:`Family.resolve` turns both into plain JSON that is enough to inject
the very same fault again (``schedule.jsonl``, replay), and :meth:`Family.build` makes a :class:`faults.needs.Fault`
of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Annotated, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from faults.needs import Cluster, Fault

Resolved = Mapping[str, Any]
"""Plain JSON; ``targets`` holds the names of the nodes that the fault is aimed at."""

Target = str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
"""A selector (``leader``, ``minority``, ...), a node's name, or a list of names. Resolved by the harness."""


class Parameters(BaseModel):
    """What a scenario says about a fault: strict, nothing unknown, never changed afterwards."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Claim = Literal["process", "network", "clock", "storage", "resources", "members", "messages"]
"""What a fault can take for itself at its targets."""

Storage = Literal["image", "fuse"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What must be there from the start of a cluster, so that a fault can be injected later."""

    storage: frozenset[Storage] = frozenset()
    """What nodes' data is on: ``image`` (an ext4 file system of the node's own), ``fuse`` (a user-space file system
    above it); both may be wanted.
    """
    groups: bool = False
    """Whether each node's processes are in control groups of the node's own, where the machine allows it."""
    hooks: frozenset[str] = frozenset()
    """Hooks that the system's nodes are started with: ``messages``."""

    def __or__(self, other: Setup) -> Setup:
        """Everything that either wants."""
        return Setup(
            storage=self.storage | other.storage, groups=self.groups or other.groups, hooks=self.hooks | other.hooks
        )


class Family(Protocol):
    """A kind of fault."""

    @property
    def name(self) -> str:
        """The identifier in scenarios."""

    @property
    def description(self) -> str:
        """One line for people."""

    @property
    def Parameters(self) -> type[BaseModel]:  # noqa: N802 - it is a class
        """The model of its parameters; a ``target`` among them is resolved by the harness."""

    @property
    def needs(self) -> frozenset[str]:
        """Abilities that a substrate must have for it."""

    @property
    def claims(self) -> frozenset[Claim]:
        """What it takes for itself at its targets: two faults that claim the same never hold one node at a time."""

    @property
    def damages(self) -> bool:
        """Whether it destroys data that a node had synced. Over a run at most a minority of the nodes may be its
        targets, for good: what a majority remembers must not be lost (a node with a new identity counts as whole).
        """

    def setup(self, parameters: Any) -> Setup:
        """What must be there from the start of the cluster."""

    def resolve(self, parameters: Any, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random) -> Resolved:
        """Everything that is needed to inject it, as plain JSON. Pure: the same arguments give the same fault.

        Raises:
            ValueError: it cannot exist among these nodes.
        """

    def summary(self, resolved: Resolved) -> str:
        """What it does, in words."""

    def build(self, resolved: Resolved, cluster: Cluster) -> Fault:
        """The fault, ready to be injected once and healed once."""

    def draw(self, random: Random, nodes: tuple[str, ...]) -> BaseModel:
        """Parameters drawn at random, such as make sense among these nodes."""


class Unprepared:
    """Families that can be injected into any cluster, and destroy nothing: a base."""

    damages = False

    def setup(self, parameters: Any) -> Setup:
        """Nothing."""
        del parameters
        return Setup()


class Targeted(Unprepared):
    """The resolution of families whose targets are all there is to it: a base, so that each says only what it does."""

    def resolve(self, parameters: Any, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random) -> Resolved:
        """The targets.

        Raises:
            ValueError: somebody among them is no node, or nobody is named.
        """
        del parameters, random
        check_targets(targets, nodes)
        return {"targets": list(targets)}


def conflict(first: Family, first_resolved: Resolved, second: Family, second_resolved: Resolved) -> tuple[str, ...]:
    """Nodes for which both faults compete; empty if the two may overlap in time.

    The rule: who kills or pauses needs a target's process for itself (a paused node that is killed could prove
    neither), who damages its storage needs that, and so on; partitions compose with everything, and with each other.
    """
    if not first.claims & second.claims:
        return ()
    return tuple(sorted(set(first_resolved["targets"]) & set(second_resolved["targets"])))


def check_targets(targets: tuple[str, ...], nodes: tuple[str, ...]) -> None:
    """Refuses targets that are no nodes, and no targets at all.

    Raises:
        ValueError: with the names.
    """
    unknown = [name for name in targets if name not in nodes]
    if unknown:
        raise ValueError(f"no such node: {', '.join(unknown)}; there are {', '.join(nodes)}")
    if not targets:
        raise ValueError("nobody to hit: the target is no node at all; name a node or another selector")
