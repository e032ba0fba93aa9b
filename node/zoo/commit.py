"""Bugs of committing, and of telling clients what was committed."""

from __future__ import annotations

from collections.abc import Sequence

from node import kv_pb2
from node.parts import Parts
from node.raft.core import Raft
from node.serving.callers import Callers
from node.zoo.bug import Bug


class Figure8(Raft):
    """figure-8 (C1): a leader commits entries of earlier terms by counting replicas; another server's later entries may
    still replace them (figure 8 of the paper).

    Published as logcabin/logcabin#44 and bakwc/PySyncObj#169.
    """

    def may_commit(self, index: int) -> bool:  # noqa: ARG002
        """Whatever a majority has."""
        return True


class CommitPastMatch(Raft):
    """commit-past-match (C2): a follower commits as far as its log reaches, though the append vouched for less: behind
    that the log may hold an old leader's tail.

    Published as scylladb/scylladb#9965.
    """

    def follower_commit(self, leader_commit: int, vouched: int) -> int:  # noqa: ARG002
        """min(leaderCommit, the log's end)."""
        return min(leader_commit, self.log.last_index)


class WrongQuorum(Raft):
    """wrong-quorum (C3): half of the servers, rounded down, is taken for a majority.

    Published as ktoso/akka-raft#42.
    """

    def quorum_size(self, voters: Sequence[str]) -> int:
        """One too few."""
        return super().quorum_size(voters) - 1


class TruncatedSuccess(Callers):
    """truncated-success (C10): a leader that steps down reports the writes under way as done, for they stand in its
    log; then the next leader cuts them off.

    Published as redpanda-data/redpanda#3003.
    """

    def reply_without_leadership(self, index: int) -> kv_pb2.Reply:
        """Success."""
        return kv_pb2.Reply(outcome=kv_pb2.OK, index=index)


ROWS = (
    Bug(
        name="figure-8",
        row="C1",
        what="entries of an earlier term are committed by counting replicas",
        provoked_by="leaders change quickly, each cut off before its entries have reached a majority",
        observer="DUR, INV",
        source="logcabin/logcabin#44, bakwc/PySyncObj#169",
        parts=Parts(core=Figure8),
    ),
    Bug(
        name="commit-past-match",
        row="C2",
        what="a follower commits past what the append vouched for",
        provoked_by="an old leader comes back with a tail",
        observer="CONV, INV",
        source="scylladb/scylladb#9965",
        parts=Parts(core=CommitPastMatch),
    ),
    Bug(
        name="wrong-quorum",
        row="C3",
        what="the quorum is one too small: half of the servers is taken for a majority",
        provoked_by="lagging followers, partitions",
        observer="DUR",
        source="ktoso/akka-raft#42",
        parts=Parts(core=WrongQuorum),
    ),
    Bug(
        name="truncated-success",
        row="C10",
        what="a write is reported successful although its entry was cut off at a leader change",
        provoked_by="a leader steps down with writes under way",
        observer="DUR, LIN",
        source="redpanda-data/redpanda#3003",
        parts=Parts(callers=TruncatedSuccess),
    ),
)
