"""Bugs of reads that do not go through the log."""

from __future__ import annotations

import time
from collections.abc import Collection

from node.parts import Parts
from node.raft.core import Raft
from node.serving.callers import Callers
from node.zoo.bug import Bug


class LocalRead(Raft):
    """local-read (R1): the leader takes for granted that it hears a majority.

    Published as etcd-io/etcd#741 and hashicorp/consul#54.
    """

    def hears_majority(self, heard: Collection[str]) -> bool:  # noqa: ARG002
        """Nobody needs to be asked: neither before a read is served, nor whether to step down."""
        return True


class EarlyReadIndex(Raft):
    """early-read-index (R2): a new leader reads by its commit index before an entry of its own term is committed; what
    its predecessor acknowledged last may lie beyond it.

    Published as etcd-io/etcd#7331.
    """

    def read_is_allowed(self) -> bool:
        """Whatever was known to be committed when it followed will do."""
        return True


class WallClockLease(Raft):
    """wall-clock-lease (R5): the lease is measured by the time of day; set back, it lasts for as much longer.

    Published as tikv/tikv#964 and sofastack/sofa-jraft#26.
    """

    def lease_time_ns(self, now_ns: int) -> int:  # noqa: ARG002
        """Not the time that passed, but the date."""
        return time.time_ns()


class ReadBeforeApply(Callers):
    """read-before-apply (R7): a follower serves a read as soon as the leader has named the index, not when it has
    applied that far.

    Published as tikv/tikv#16069.
    """

    def is_applied(self, index: int, applied: int) -> bool:  # noqa: ARG002
        """Taken for granted."""
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
    Bug(
        name="early-read-index",
        row="R2",
        what="a new leader serves reads before an entry of its own term is committed",
        provoked_by="the leader changes while followers lag",
        observer="LIN",
        source="etcd-io/etcd#7331",
        parts=Parts(core=EarlyReadIndex),
    ),
    Bug(
        name="wall-clock-lease",
        row="R5",
        what="the lease that a leader reads by is measured by the time of day",
        provoked_by="the leader is isolated while its time of day is set back or runs slow",
        observer="LIN",
        source="tikv/tikv#964, sofastack/sofa-jraft#26",
        parts=Parts(core=WallClockLease),
    ),
    Bug(
        name="read-before-apply",
        row="R7",
        what="a follower serves a read before it has applied the index that the leader named",
        provoked_by="a follower lags",
        observer="LIN",
        source="tikv/tikv#16069",
        parts=Parts(callers=ReadBeforeApply),
    ),
)
