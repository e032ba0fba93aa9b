"""What a system under test must tell the harness. One file a system implements it; nothing else knows the system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from checkers.runs.logs import LogPattern
from faults.needs import Admin, Messages
from harness.clients import Client
from harness.substrates.protocol import Image, Launch, Place
from harness.systems.promises import Promises


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeStatus:
    """What a node says of itself when asked. Indexes are None where a system has none to tell."""

    leader: str | None
    leads: bool
    term: int
    commit: int | None = None
    applied: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class StateHash:
    """What a node's state comes to: nodes that have applied the same must tell the same hash."""

    applied: int
    hash: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PlantedBug:
    """A bug that a system can be started with, for measuring ourselves."""

    name: str
    what: str
    provoked_by: str
    observer: str
    source: str
    row: str = ""
    """Its number in a published list of bugs, if it is in one."""


class Session(Protocol):
    """The harness's access to one running cluster of the system; made once a run, on the controller's event loop."""

    async def status(self, node: str, *, timeout_s: float) -> NodeStatus | None:
        """What the node says; None if it does not answer in time. Never raises for a node's trouble."""

    async def state(self, node: str, *, timeout_s: float) -> StateHash | None:
        """A hash of the node's whole state, and the index that it is of; None if it does not answer in time, or the
        system has none to tell. Never raises for a node's trouble.
        """

    def client(self, process: int, node: str) -> Client:
        """A client for one process, pinned to a node. Its replies are mapped to ok, fail and info in the system's one
        deciding place.
        """

    @property
    def admin(self) -> Admin | None:
        """Who belongs to the cluster and who leads it, for faults; None if the system has no calls for that."""

    @property
    def messages(self) -> Messages | None:
        """The hook in its nodes' transport; None if there is none."""

    async def date(self, node: str) -> float | None:
        """Seconds since the epoch by the server's own clock; None if it does not answer within :data:`DATE_TIMEOUT_S`.
        Never raises for a node's trouble.
        """

    @property
    def date_precision_s(self) -> float:
        """How far what :meth:`date` says may lie behind what the server's clock shows."""

    async def close(self) -> None:
        """Releases connections without waiting for nodes."""


DATE_TIMEOUT_S = 0.5

ABILITIES = frozenset({"membership", "leadership", "message"})
"""What a fault family can need of a system."""


class System(Protocol):
    """A system under test."""

    name: str
    title: str
    traces: bool
    """Whether nodes write ``trace.jsonl``."""
    states: bool
    """Whether nodes tell a hash of their whole state (:meth:`Session.state`)."""
    workloads: frozenset[str]
    """Workloads that its clients understand."""
    reads: frozenset[str]
    """Of :data:`harness.workloads.protocol.READS`, the ways of reading that its clients can ask for."""
    promises: Promises
    """What it promises to survive, by fault family; what else provokes is beyond promise."""
    abilities: frozenset[str]
    """Of :data:`ABILITIES`, those that it has."""
    log_patterns: Sequence[LogPattern]
    """Lines of its log that mean something of their own: looked for before those that mean trouble anywhere."""
    bugs: Mapping[str, PlantedBug]
    Options: type[BaseModel]
    """What a scenario may say under ``options``."""

    def missing(self, options: Any) -> Sequence[str]:
        """What this machine lacks to run it with these options, each with the line that mends it."""

    def image(self, options: Any) -> Image | None:
        """What container substrates run it in; None if it cannot run in containers."""

    def launch(
        self,
        place: Place,
        places: Mapping[str, Place],
        options: Any,
        *,
        seed: int,
        bug: str | None,
        announce_bug: str | None,
        hooks: frozenset[str] = frozenset(),
    ) -> Launch:
        """How the node at ``place`` is started. ``announce_bug`` makes it log a bug's line with the bug off; ``hooks``
        are those of :class:`faults.family.Setup`, of which only known ones are asked for.
        """

    def session(self, addresses: Mapping[str, str], options: Any) -> Session:
        """Access to the nodes at these addresses."""
