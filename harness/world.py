"""All that faults may touch: the running nodes of a substrate, and the administration of the system on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from faults.needs import Admin, Links, Messages, Node, UndoList
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

    @classmethod
    def of(cls, cluster: Cluster, session: Session) -> World:
        """A cluster that runs, and the harness's access to its system."""
        return cls(
            nodes=cluster.nodes,
            links=cluster.links,
            undo=cluster.undo,
            admin=session.admin,
            messages=session.messages,
        )
