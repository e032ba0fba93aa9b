"""The zoo: Raft bugs that were really published, each one small override, all off unless ``--bug NAME`` says so.

They measure how well a tester detects. A row names the classes that take the place of the node's own parts; the
correct parts know nothing of it. A planted bug behaves, logs and traces like the real node: only the line at the start
says what it is.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from node import log_pb2
from node.core import Raft
from node.machine import Machine, Result, Session
from node.messages import HardState
from node.storage import Storage
from node.wal import Wal


@dataclass(frozen=True, kw_only=True)
class Bug:
    """One row: what it is, where it was published, and what replaces the correct part."""

    name: str
    what: str
    """What is wrong, in one sentence."""
    provoked_by: str
    observer: str
    """Who is to see it: LIN, DUR, INV, CONV, LIVE or CRASH."""
    source: str
    """Where it happened in public."""
    core: type[Raft] = Raft
    """The consensus core to run."""
    machine: type[Machine] = Machine
    """The state machine to run."""
    storage: type[Storage] = Storage
    """The storage to run on."""


class LocalRead(Raft):
    """local-read (R1): the leader takes for granted that it hears a majority.

    Published as etcd-io/etcd#741 and hashicorp/consul#54.
    """

    def hears_majority(self, heard: Collection[str]) -> bool:  # noqa: ARG002
        """Nobody needs to be asked: neither before a read is served, nor whether to step down."""
        return True


class DoubleApply(Machine):
    """double-apply (K1): no duplicate suppression; a retry of a write that did happen is applied a second time.

    Published as ktoso/akka-raft#64.
    """

    def _remembered(self, session: Session, sequence: int) -> Result | None:  # noqa: ARG002
        """Every write is taken for a new one."""
        return None


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


BUGS: Mapping[str, Bug] = {
    bug.name: bug
    for bug in (
        Bug(
            name="local-read",
            what="the leader takes for granted that it hears a majority: it serves reads and goes on leading alone",
            provoked_by="isolate the leader",
            observer="LIN",
            source="etcd-io/etcd#741, hashicorp/consul#54",
            core=LocalRead,
        ),
        Bug(
            name="double-apply",
            what="no duplicate suppression: a write that is retried is applied a second time",
            provoked_by="a lost reply and a retry",
            observer="LIN",
            source="ktoso/akka-raft#64",
            machine=DoubleApply,
        ),
        Bug(
            name="vote-not-durable",
            what="the term is written to the disk, but not the vote: after a restart a server votes twice in a term",
            provoked_by="kill a voter in an election",
            observer="INV",
            source="ktoso/akka-raft#62",
            storage=VoteNotDurable,
        ),
        Bug(
            name="ack-before-fsync",
            what="a write is acknowledged before the log is durable: the sync follows up to 100 ms later",
            provoked_by="the power of all nodes fails at once",
            observer="DUR",
            source="etcd-io/etcd#14370",
            storage=AckBeforeFsync,
        ),
    )
}
"""Every planted bug by its name."""
