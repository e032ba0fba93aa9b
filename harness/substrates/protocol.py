"""What a substrate gives: places to run nodes in, and a cluster of running nodes.

A *system* says how its node is started (:class:`Launch`); a *substrate* makes the places (:class:`Place`), starts the
launches there, and is a :class:`faults.needs.Cluster` while they run. Neither knows the other's kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from faults.family import Setup
from faults.needs import Cluster as FaultCluster


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where one node lives, in paths and addresses *as the node sees them*."""

    name: str
    address: str
    data_dir: str
    """Durable data: what faults on disks damage."""
    log_dir: str
    """Logs and ``trace.jsonl``; never damaged. Its files end up in ``nodes/<name>/`` of the run folder."""
    python: str
    """A Python interpreter that can import our packages there."""
    programs: str | None = None
    """The folder of the image's programs; None where there is no image: then the program's path is this machine's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """How one node's server is started. The substrate sends its output and errors to ``<log_dir>/node.log``."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    packages: Sequence[str] = ()
    """Packages of ours that it imports: brought to hosts where Capsize is not installed."""
    modules: Sequence[str] = ()
    """Modules of others that it imports: whatever interpreter runs it must have them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """What a container substrate runs a system's node in: a target of ``compose/Dockerfile``."""

    target: str
    tag: str
    programs: Mapping[str, str] = field(default_factory=dict)
    """Programs of this machine that are put into it, into ``compose/programs`` of the build: name to path."""


LaunchOf = Callable[[Place, Mapping[str, Place]], Launch]
"""The system's part: the launch of one node, given all places (its own among them)."""


class Cluster(FaultCluster, Protocol):
    """Running nodes. Everything it creates is registered with the watchdog first."""

    @property
    def places(self) -> Mapping[str, Place]:
        """Where each node is."""

    @property
    def clocks(self) -> Mapping[str, int]:
        """By how much (ns) a node's CLOCK_MONOTONIC is ahead of the controller's, where it is another one; known once
        it is started.
        """

    async def start(self) -> None:
        """Creates the places and starts every node; returns when all processes exist (readiness is the system's
        question).
        """

    async def exits(self) -> Mapping[str, int]:
        """Nodes that died by themselves (not by a fault), with their exit status (negative: signal)."""

    async def collect(self) -> None:
        """Brings every node's log folder into the run folder."""

    async def stop(self) -> None:
        """Ends and removes all that it created; verified. Safe to call twice and after a failed start."""


ABILITIES = frozenset({"kill", "pause", "partition", "network", "clock", "power", "disk", "rot", "resource"})
"""What a fault family can need of a substrate; what it can need of a system: ``ABILITIES`` of
:mod:`harness.systems.protocol`.
"""


class Substrate(Protocol):
    """A kind of place."""

    name: str
    one_clock: bool
    """Whether all nodes read the controller's CLOCK_MONOTONIC: only then may events of two nodes be put in order."""
    cannot: Mapping[str, str]
    """Abilities (of :data:`ABILITIES`) that no machine gives to this kind, each with the reason."""

    def missing(self) -> Sequence[str]:
        """What this machine lacks for it, each with the exact line that mends it; empty when it can run."""

    def prepare(self) -> None:
        """Called once at the very start of a run, while the controller has one thread: it may enter namespaces of its
        own.
        """

    def refused(self) -> Mapping[str, str]:
        """Abilities (of :data:`ABILITIES`) that cannot be had here, each with the reason and what would mend it. Quick:
        probed, not guessed.
        """

    async def cluster(
        self,
        *,
        run_id: str,
        nodes: Sequence[str],
        launch: LaunchOf,
        image: Image | None,
        folder: Path,
        undo: object,
        setup: Setup,
    ) -> Cluster:
        """A cluster that is not started yet. ``folder`` is the run folder's ``nodes/``; ``setup`` is what faults will
        need of it.
        """
