"""Bugs of snapshots."""

from __future__ import annotations

from collections.abc import Mapping

from node.durable.snapshots import SnapshotStore
from node.durable.storage import Storage
from node.machine import Machine, Session
from node.parts import Parts
from node.raft.core import Raft
from node.raft.messages import Snapshot
from node.zoo.bug import Bug


class SnapshotConflict(Raft):
    """snapshot-conflict (S1): a snapshot is installed beside a log that reaches beyond it, whatever that log holds.

    Figure 13, step 7, is left out: entries that conflict with the snapshot stay, its last index included. The next
    append begins there, does not fit and is refused; the leader sends the snapshot again; and so on without end.
    Published as hashicorp/raft#697.
    """

    def fit_log_to(self, snapshot: Snapshot) -> None:
        """Only a log that ends before the snapshot makes room for it."""
        if self.log.last_index < snapshot.index:
            super().fit_log_to(snapshot)


class OldSnapshotWins(Raft):
    """old-snapshot-wins (S2): a snapshot that comes late, older than what is committed here, is installed all the same.

    The log is reset to its end: newer entries that this server had acknowledged are gone. Published as
    camunda/camunda#6092.
    """

    def snapshot_is_news(self, snapshot: Snapshot) -> bool:  # noqa: ARG002
        """Every snapshot is taken for a new one."""
        return True


class UnsyncedSnapshots(SnapshotStore):
    """Snapshots that are written in place."""

    def publish(self, snapshot: Snapshot, data: bytes, *, suffix: str) -> None:  # noqa: ARG002
        """Under the final name at once, and never synced."""
        self.path(snapshot).write_bytes(data)


class TornSnapshot(Storage):
    """torn-snapshot (S6): a snapshot file is taken for whole before it is: neither synced nor renamed into its place.

    The log is compacted on the strength of it. After a crash a short file lies under the name of a good one, and the
    node can't start. Published as RedisLabs/redisraft#654.
    """

    snapshots = UnsyncedSnapshots


class SessionsNotInSnapshot(Machine):
    """sessions-not-in-snapshot (S8): client sessions are left out of the snapshot.

    Who was built from one knows no session: a retry is not recognised, and what the others apply is refused. Published
    as atomix/atomix#418.
    """

    def _sessions_to_save(self) -> Mapping[int, Session]:
        """None."""
        return {}


ROWS = (
    Bug(
        name="snapshot-conflict",
        row="S1",
        what="installing a snapshot keeps conflicting entries of the log: the follower never catches up",
        provoked_by="lag and a leader change",
        observer="LIVE, INV",
        source="hashicorp/raft#697",
        parts=Parts(core=SnapshotConflict),
    ),
    Bug(
        name="old-snapshot-wins",
        row="S2",
        what="a snapshot that comes late is installed though it is older than what is committed: newer entries go",
        provoked_by="a late InstallSnapshot",
        observer="DUR, INV",
        source="camunda/camunda#6092",
        parts=Parts(core=OldSnapshotWins),
    ),
    Bug(
        name="torn-snapshot",
        row="S6",
        what="a snapshot file is taken for whole though it was not synced: after a crash it is short",
        provoked_by="a power failure after a transfer",
        observer="CRASH, CONV",
        source="RedisLabs/redisraft#654",
        parts=Parts(storage=TornSnapshot),
    ),
    Bug(
        name="sessions-not-in-snapshot",
        row="S8",
        what="client sessions are left out of the snapshot: who is built from one knows no session",
        provoked_by="a snapshot, a restart, a retry",
        observer="LIN, INV",
        source="atomix/atomix#418",
        parts=Parts(machine=SessionsNotInSnapshot),
    ),
)
