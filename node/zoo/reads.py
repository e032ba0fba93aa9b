"""Bugs of reads that do not go through the log."""

from __future__ import annotations

from collections.abc import Collection

from node.core import Raft
from node.parts import Parts
from node.zoo.bug import Bug


class LocalRead(Raft):
    """local-read (R1): the leader takes for granted that it hears a majority.

    Published as etcd-io/etcd#741 and hashicorp/consul#54.
    """

    def hears_majority(self, heard: Collection[str]) -> bool:  # noqa: ARG002
        """Nobody needs to be asked: neither before a read is served, nor whether to step down."""
        return True


ROWS = (
    Bug(
        name="local-read",
        row="R1",
        what="the leader takes for granted that it hears a majority: it serves reads and goes on leading alone",
        provoked_by="isolate the leader",
        observer="LIN",
        source="etcd-io/etcd#741, hashicorp/consul#54",
        parts=Parts(core=LocalRead),
    ),
)
