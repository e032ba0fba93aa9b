"""All that faults may touch: the running nodes of a substrate, and the administration of the system on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from faults.needs import Admin, Dates, Links, Messages, Node, Undo, UndoList
from faults.needs import Cluster as FaultCluster
from harness.substrates.protocol import Cluster
from harness.systems.protocol import Session


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """Implements :class:`faults.needs.Cluster`."""

    nodes: Mapping[str, Node]
    links: Links
    undo: UndoList
    admin: Admin | None
    messages: Messages | None
    dates: Dates | None

    @classmethod
    def of(cls, cluster: Cluster, session: Session) -> World:
        """A cluster that runs, and the harness's access to its system."""
        return cls(
            nodes=cluster.nodes,
            links=cluster.links,
            undo=cluster.undo,
            admin=session.admin,
            messages=session.messages,
            dates=session,
        )

    @classmethod
    def limited(cls, cluster: FaultCluster, after_s: float) -> World:
        """The same as one fault sees it: whatever it registers has the dead man's limit."""
        return cls(
            nodes=cluster.nodes,
            links=cluster.links,
            undo=LimitedUndoList(held=cluster.undo, after_s=after_s),
            admin=cluster.admin,
            messages=cluster.messages,
            dates=cluster.dates,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitedUndoList:
    """Implements :class:`faults.needs.UndoList`: entries get a dead man's limit, unless the fault itself set one."""

    held: UndoList
    after_s: float

    async def register(self, undo: Undo) -> None:
        """See the protocol."""
        await self.held.register(undo if undo.after_s is not None else replace(undo, after_s=self.after_s))

    async def discharge(self, undo_id: str) -> None:
        """See the protocol."""
        await self.held.discharge(undo_id)
