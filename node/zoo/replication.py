"""Bugs of log replication."""

from __future__ import annotations

from node.durable.disk import Disk
from node.parts import Parts
from node.raft.core import Raft
from node.raft.messages import AppendEntries, Message, Role
from node.shell import Shell
from node.zoo.bug import Bug


class StaleAppendTruncates(Raft):
    """stale-append-truncates (L1): whatever stands behind the point where an append begins is cut, though it agrees
    with it; a late append cuts what came after it.

    Published as ktoso/akka-raft#66 and zhebrak/raftos#26.
    """

    def truncation_point(self, message: AppendEntries) -> int | None:
        """Right behind the entry that the append follows."""
        first = message.entries[0].index
        return first if first <= self.log.last_index else None


class PrevZero(Raft):
    """prev-zero (L2): an append that begins with the very first entry has no entry before it to agree on, and is
    taken to agree with everything: what stands in the log stays, whatever it is.

    Published as willemt/raft#118.
    """

    def truncation_point(self, message: AppendEntries) -> int | None:
        """Nothing conflicts with an append that follows nothing."""
        return None if message.prev_index == 0 else super().truncation_point(message)


class FailedWriteReuse(Shell):
    """failed-write-reuse (L4): a leader whose disk refuses a write takes the entries out of its log and goes on
    leading: their indexes are given to other entries of the same term, though followers may have got the first ones.

    Published as canonical/raft#320.
    """

    def _disk_failed(self, error: BaseException) -> None:
        """Only followers give up."""
        if self._core.role is not Role.LEADER:
            super()._disk_failed(error)
            return
        self._core.truncate_log(self._durable_index + 1)
        self._disk = Disk(self._storage, self._loop, self._disk_failed)
        self._schedule()


class CatchupOldLeader(Raft):
    """catchup-old-leader (L5): entries are taken from whoever sends them; only heartbeats of a leader of an older term
    are refused.

    Published as nats-io/nats-server#6951.
    """

    def leader_is_current(self, message: Message) -> bool:
        """What brings something is welcome."""
        brings = not isinstance(message, AppendEntries) or bool(message.entries)
        return brings or super().leader_is_current(message)


ROWS = (
    Bug(
        name="stale-append-truncates",
        row="L1",
        what="an append cuts all that stands behind its beginning, though it agrees: a late one cuts newer entries",
        provoked_by="appends that are delayed or duplicated",
        observer="INV, DUR",
        source="ktoso/akka-raft#66, zhebrak/raftos#26",
        parts=Parts(core=StaleAppendTruncates),
    ),
    Bug(
        name="prev-zero",
        row="L2",
        what="an append from the very first index is not compared with the entries that are already there",
        provoked_by="a first leader that nobody hears, and a second one",
        observer="INV",
        source="willemt/raft#118",
        parts=Parts(core=PrevZero),
    ),
    Bug(
        name="failed-write-reuse",
        row="L4",
        what="after a failed write a leader goes on, and gives the same indexes of the same term to other entries",
        provoked_by="the leader's disk fails or is full",
        observer="INV, CONV",
        source="canonical/raft#320",
        parts=Parts(shell=FailedWriteReuse),
    ),
    Bug(
        name="catchup-old-leader",
        row="L5",
        what="entries are accepted from a leader of a lower term",
        provoked_by="an old leader's appends arrive after the next election",
        observer="DUR",
        source="nats-io/nats-server#6951",
        parts=Parts(core=CatchupOldLeader),
    ),
)
