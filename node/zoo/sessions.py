"""Bugs of client sessions and locks."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

from node.machine import Machine, Result, Session
from node.parts import Parts
from node.raft.core import Raft
from node.serving.callers import Callers, Read
from node.zoo.bug import Bug


class DoubleApply(Machine):
    """double-apply (K1): no duplicate suppression; a retry of a write that did happen is applied a second time.

    Published as ktoso/akka-raft#64.
    """

    def _remembered(self, session: Session, sequence: int) -> Result | None:  # noqa: ARG002
        """Every write is taken for a new one."""
        return None


class CrossedReplies(Callers):
    """crossed-replies (K3): when a forwarded read fails, its error is not delivered, and whoever asked stays in line.

    The replies to those behind go to those before; the error comes to the last. Published as RedisLabs/redisraft#26
    (a follower that forwards).
    """

    def refuse(self, reads: list[Read], core: Raft) -> None:
        """Every reply moves up by as many callers as were to be refused."""
        line = chain.from_iterable([reads, *self._rounds.values()])
        answers = iter([read.answer for read in line])
        for token, waiting in self._rounds.items():
            self._rounds[token] = [replace(read, answer=next(answers)) for read in waiting]
        super().refuse([replace(read, answer=next(answers)) for read in reads], core)


class TwoLockHolders(Machine):
    """two-lock-holders (K6): a write under a lock that was lost is taken, though a later holder has written already.

    A lease ends while its holder is paused, and nothing fences the holder off when it goes on. Published as
    jepsen.io/analyses/etcd-3.4.3.
    """

    def _fence_holds(self, fence: int, highest: int) -> bool:  # noqa: ARG002
        """Whatever token comes with the write."""
        return True


ROWS = (
    Bug(
        name="double-apply",
        row="K1",
        what="no duplicate suppression: a write that is retried is applied a second time",
        provoked_by="a lost reply and a retry",
        observer="LIN",
        source="ktoso/akka-raft#64",
        parts=Parts(machine=DoubleApply),
    ),
    Bug(
        name="crossed-replies",
        row="K3",
        what="when a forwarded read fails, the replies to later reads go to those who asked before",
        provoked_by="an answer of the leader to a forwarded read is lost",
        observer="LIN",
        source="RedisLabs/redisraft#26",
        parts=Parts(callers=CrossedReplies),
    ),
    Bug(
        name="two-lock-holders",
        row="K6",
        what="a write under a lock whose lease has ended is taken: tokens of holders are not compared",
        provoked_by="the holder of a lock is paused, or hears nothing, for longer than its lease",
        observer="LIN",
        source="jepsen.io/analyses/etcd-3.4.3",
        parts=Parts(machine=TwoLockHolders),
    ),
)
