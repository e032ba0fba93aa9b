"""Bugs of what must never be forgotten: term, vote, log."""

from __future__ import annotations

import time

from node import log_pb2
from node.messages import HardState
from node.parts import Parts
from node.storage import Storage
from node.wal import Wal
from node.zoo.bug import Bug


class VoteNotDurable(Storage):
    """vote-not-durable (P1): the term is written to the disk, but not who got the vote in it; a restart forgets it.

    Published as ktoso/akka-raft#62.
    """

    def _hard_state_to_proto(self, state: HardState) -> log_pb2.HardState:
        """Leaves the vote out."""
        return log_pb2.HardState(term=state.term)


SYNCED_EVERY_S = 0.1


class LateSync(Wal):
    """A log that is synced ten times a second while it is written, and when it is idle."""

    _synced_s = 0.0

    def sync(self) -> None:
        """Only if the last time is long ago: what was written since is not durable yet, but is taken to be."""
        now_s = time.monotonic()
        if now_s - self._synced_s >= SYNCED_EVERY_S:
            super().sync()
            self._synced_s = now_s

    def seal(self) -> None:
        """Nothing more is written for a while: time to sync."""
        super().sync()
        super().seal()


class AckBeforeFsync(Storage):
    """ack-before-fsync (P3): acknowledged before the log is durable; the sync follows up to 100 ms later.

    Published as etcd-io/etcd#14370.
    """

    wal = LateSync


ROWS = (
    Bug(
        name="vote-not-durable",
        row="P1",
        what="the term is written to the disk, but not the vote: after a restart a server votes twice in a term",
        provoked_by="kill a voter in an election",
        observer="INV",
        source="ktoso/akka-raft#62",
        parts=Parts(storage=VoteNotDurable),
    ),
    Bug(
        name="ack-before-fsync",
        row="P3",
        what="a write is acknowledged before the log is durable: the sync follows up to 100 ms later",
        provoked_by="the power of all nodes fails at once",
        observer="DUR",
        source="etcd-io/etcd#14370",
        parts=Parts(storage=AckBeforeFsync),
    ),
)
