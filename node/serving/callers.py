"""Operations of clients on their way through a node: from request to reply.

**What a client is told.** A write is acknowledged when its entry was applied, told by index *and* term. When leadership
ends, every write under way is answered "unknown": that its entry was cut from this log would prove nothing, for another
node may still hold it, be elected and commit it. Only another entry *committed* at its index proves that it never
happens. A read has no effect, so it is simply refused; one that was granted, but whose index this node does not come to
apply, is refused after a while.

Replies gather and go out at the end of a turn (:meth:`Callers.let_replies_go`), after the trace.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from node import kv_pb2
from node.identity import host_of
from node.machine import OK, Machine, Result, ResultKind
from node.operation_codec import put_value, value_to_proto
from node.raft.core import Raft
from node.raft.messages import Entry, ReadState, Role

PENDING_MAX = 4096
"""Operations that may be under way; what comes beyond is answered "busy"."""

_log = logging.getLogger("node.callers")

Answer = Callable[[kv_pb2.Reply], None]
"""Takes the reply to one operation; called once, in the loop."""


class _Write(msgspec.Struct, frozen=True):  # this and the next: every write makes one of each
    command: bytes
    answer: Answer


class _Logged(msgspec.Struct, frozen=True):
    """A write that has a place in the log."""

    term: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Read:
    """A read, and who waits for it."""

    request: kv_pb2.ExecuteRequest
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Granted:
    """Reads that may be served once ``index`` is applied."""

    index: int
    deadline_ns: int
    reads: list[Read]


class Callers:
    """All operations under way at one node."""

    def __init__(self) -> None:
        self._writes: list[_Write] = []
        self._reads: list[Read] = []
        self._reads_through: list[Read] = []
        """The same, that any node may serve."""
        self._logged: dict[int, _Logged] = {}
        """By log index."""
        self._rounds: dict[int, list[Read]] = {}
        """Reads whose leadership is being confirmed, by the core's token."""
        self._token = 0
        self._granted: deque[_Granted] = deque()
        self._reads_under_way = 0
        self._replies: list[tuple[Answer, kv_pb2.Reply]] = []
        self.acknowledged = 0
        """The highest index acknowledged since the trace was told; 0: none."""

    @property
    def waiting(self) -> int:
        """Operations that are under way."""
        fresh = len(self._writes) + len(self._reads) + len(self._reads_through)
        return fresh + len(self._logged) + self._reads_under_way

    @property
    def full(self) -> bool:
        """Whether further operations must be refused."""
        return self.waiting >= PENDING_MAX

    def write(self, command: bytes, answer: Answer) -> None:
        """A command that shall go into the log with the next turn."""
        self._writes.append(_Write(command, answer))

    def read(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        """A linearizable read at the leader, to be asked with the next turn."""
        self._reads.append(Read(request, answer))

    def read_through(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        """The same at any node."""
        self._reads_through.append(Read(request, answer))

    def read_at(self, index: int, core: Raft, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        """A read that needs no question, but that ``index`` is applied."""
        self._reads_under_way += 1
        self._grant(index, core, [Read(request, answer)])

    def feed(self, core: Raft, now_ns: int) -> None:
        """Hands what came in to the core: all writes as one proposal; all reads share one question."""
        if self._writes:
            self._propose(core)
        if self._reads:
            core.read(self._ask(self._reads), now_ns)
            self._reads = []
        if self._reads_through:
            core.read_through(self._ask(self._reads_through), now_ns)
            self._reads_through = []
        while self._granted and self._granted[0].deadline_ns <= now_ns:
            self.refuse(self._granted.popleft().reads, core)

    def _ask(self, reads: list[Read]) -> int:
        self._token += 1
        self._rounds[self._token] = reads
        self._reads_under_way += len(reads)
        return self._token

    @property
    def await_entries(self) -> bool:
        """Whether anybody waits for an entry to be applied (:meth:`applied`): at a follower, nobody does."""
        return bool(self._logged)

    def applied(self, entry: Entry, result: Result) -> None:
        """An entry went through the state machine: its writer gets the result, if it was ours."""
        logged = self._logged.pop(entry.index, None)
        if logged is None:
            return
        if logged.term == entry.term:
            self.acknowledged = entry.index
            self._replies.append((logged.answer, _result_reply(entry.index, result)))
        else:  # another entry is committed where ours would be: ours never happens
            self._replies.append((logged.answer, not_leader(None)))

    def confirmed(self, state: ReadState, core: Raft) -> None:
        """The fate of a round of reads."""
        reads = self._rounds.pop(state.token)
        if state.index is None:
            self.refuse(reads, core)
        else:
            self._grant(state.index, core, reads)

    def _grant(self, index: int, core: Raft, reads: list[Read]) -> None:
        self._granted.append(_Granted(index, core.now_ns + core.timing.forward_ns, reads))

    def refuse(self, reads: list[Read], core: Raft) -> None:
        """Answers reads that cannot be served here."""
        self._reads_under_way -= len(reads)
        self._replies += [(read.answer, not_leader(core.leader)) for read in reads]

    def serve_reads(self, applied: int, machine: Machine) -> None:
        """Answers the reads whose index is applied, in the order in which they were granted: whoever comes behind one
        with a higher index waits a little longer than need be.
        """
        while self._granted and self.is_applied(self._granted[0].index, applied):
            reads = self._granted.popleft().reads
            self._reads_under_way -= len(reads)
            self._replies += [(read.answer, read_reply(read.request, machine, applied)) for read in reads]

    def is_applied(self, index: int, applied: int) -> bool:
        """Whether the state machine, which has applied up to ``applied``, knows all that a read of ``index`` must."""
        return index <= applied

    def leadership(self, term: int | None) -> None:
        """Says in which term this node leads now (None: it does not): writes of any other term are left in doubt."""
        for index in [index for index, logged in self._logged.items() if logged.term != term]:
            self._replies.append((self._logged.pop(index).answer, self.reply_without_leadership(index)))

    def reply_without_leadership(self, index: int) -> kv_pb2.Reply:
        """What the writer of the entry at ``index`` is told when leadership ends before it was applied."""
        return kv_pb2.Reply(outcome=kv_pb2.UNKNOWN, index=index)

    def stop(self) -> None:
        """The node goes down: what has not reached the log did not happen, the rest is in doubt."""
        self._replies += [(write.answer, kv_pb2.Reply(outcome=kv_pb2.STOPPING)) for write in self._writes]
        self._writes.clear()
        asked = [self._reads, self._reads_through, *self._rounds.values()]
        waiting = [*asked, *(granted.reads for granted in self._granted)]
        self._replies += [(read.answer, kv_pb2.Reply(outcome=kv_pb2.STOPPING)) for reads in waiting for read in reads]
        self.leadership(None)

    def let_replies_go(self) -> None:
        """Calls the answers that gathered."""
        replies, self._replies = self._replies, []
        for answer, reply in replies:
            answer(reply)

    def _propose(self, core: Raft) -> None:
        writes, self._writes = self._writes, []
        place = core.propose([write.command for write in writes])
        if place is None:
            refusal = not_leader if core.role is not Role.LEADER else _handing_over
            self._replies += [(write.answer, refusal(core.leader)) for write in writes]
            return
        first, term = place
        for index, write in enumerate(writes, start=first):
            self._logged[index] = _Logged(term, write.answer)


def not_leader(leader: str | None) -> kv_pb2.Reply:
    """The reply that names who to ask, if that is known."""
    return kv_pb2.Reply(outcome=kv_pb2.NOT_LEADER, leader=host_of(leader or ""))


def _handing_over(leader: str | None) -> kv_pb2.Reply:
    """The reply of a leader that takes no writes, because it hands over (:mod:`node.raft.transfer`)."""
    return kv_pb2.Reply(outcome=kv_pb2.BUSY, leader=host_of(leader or ""), detail="the leadership is being handed over")


def read_reply(request: kv_pb2.ExecuteRequest, machine: Machine, index: int) -> kv_pb2.Reply:
    """The reply to a read of any kind, by what the machine holds now."""
    return _result_reply(index, machine.answer(request))


_OUTCOMES = {kind: kv_pb2.Outcome.ValueType(kind) for kind in ResultKind}


def _result_reply(index: int, result: Result) -> kv_pb2.Reply:
    if result is OK:  # as good as always there is nothing else to say
        return kv_pb2.Reply(outcome=kv_pb2.OK, index=index)
    try:
        return _telling_reply(index, result)
    except ValueError as error:  # a number that protobuf does not take: nothing that should reach the log leads here
        _log.exception("the result of the operation at %d can't be told", index)
        return kv_pb2.Reply(outcome=kv_pb2.UNKNOWN, index=index, detail=f"the result can't be told: {error}")


def _telling_reply(index: int, result: Result) -> kv_pb2.Reply:
    reply = kv_pb2.Reply(outcome=_OUTCOMES[result.kind], index=index)
    reply.session, reply.detail = result.session, result.detail
    put_value(reply, result.value)
    if result.reads:
        reply.reads.values.extend(map(value_to_proto, result.reads))
    return reply
