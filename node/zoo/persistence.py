"""Bugs of what must never be forgotten: term, vote, log."""

from __future__ import annotations

import os
from threading import Timer

from node import log_pb2
from node.durable.entries import decode_entries
from node.durable.storage import LogReplay, Storage
from node.durable.wal import Wal
from node.parts import Parts
from node.raft.messages import HardState
from node.zoo.bug import Bug


class VoteNotDurable(Storage):
    """vote-not-durable (P1): the term is written to the disk, but not who got the vote in it; a restart forgets it.

    Published as ktoso/akka-raft#62.
    """

    def _hard_state_to_proto(self, state: HardState) -> log_pb2.HardState:
        """Leaves the vote out."""
        return log_pb2.HardState(term=state.term)


class TermGoesBack(Storage):
    """term-goes-back (P2): the term is not written to the disk: a restart falls back to the term of the last entry.

    Published as camunda/camunda#19290.
    """

    def _hard_state_to_proto(self, state: HardState) -> log_pb2.HardState:
        """Leaves the term out."""
        return log_pb2.HardState(vote=state.vote)


SYNC_AFTER_S = 0.1


class LateSync(Wal):
    """A log that is synced in the background, a little later."""

    _later: Timer | None = None

    def sync(self) -> None:
        """Not now: what was written is taken to be durable, and will be so in a moment."""
        if self._later is None or not self._later.is_alive():
            self._later = Timer(SYNC_AFTER_S, _sync_and_close, [os.dup(self._fd)])
            self._later.daemon = True
            self._later.start()


def _sync_and_close(fd: int) -> None:
    os.fdatasync(fd)
    os.close(fd)


class AckBeforeFsync(Storage):
    """ack-before-fsync (P3): acknowledged before the log is durable; the sync follows up to 100 ms later.

    Published as etcd-io/etcd#14370.
    """

    wal = LateSync


class SkippingReplay(LogReplay):
    """A log that is read as entries alone: each takes the place of what stands at its index and behind it."""

    def change(self, change: log_pb2.Change) -> None:
        """Passes over what the snapshot covers; and so over what such an entry cut off behind the snapshot."""
        for entry in decode_entries(change.entries):
            if entry.index > self.base_index:
                del self.entries[entry.index - self.base_index - 1 :]
                self.entries.append(entry)


class ReplayRevives(Storage):
    """replay-revives (P7): at a restart the log is read from the newest snapshot on, and a cut below that snapshot is
    skipped: entries that were cut off above it are alive again.

    Published as etcd-io/etcd#22442.
    """

    def log_replay(self) -> LogReplay:
        """Begins at the newest snapshot."""
        newest = next(iter(self._store.paths()), None)
        return SkippingReplay(base_index=int(newest.name.split("-")[0], 16) if newest else 0)


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
        name="term-goes-back",
        row="P2",
        what="the term is not written to the disk: a restart falls back to the term of the last entry",
        provoked_by="kill a voter in an election",
        observer="INV",
        source="camunda/camunda#19290",
        parts=Parts(storage=TermGoesBack),
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
    Bug(
        name="replay-revives",
        row="P7",
        what="replay skips cuts below the newest snapshot: entries that were cut off above it are alive again",
        provoked_by="a tail is cut, a snapshot taken, the node killed",
        observer="CRASH, INV, DUR",
        source="etcd-io/etcd#22442",
        parts=Parts(storage=ReplayRevives),
    ),
)
