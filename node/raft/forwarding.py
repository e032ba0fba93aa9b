"""Linearizable reads through any node: a follower asks the leader for its read index (thesis 6.4, last paragraph).

The leader treats the question as a read of its own: it joins the next round (:mod:`node.raft.reads`), and the index
that a majority confirmed goes back. The follower serves once it has applied that far. All reads that a follower's shell
brings in one turn are one question, and all questions that reach the leader in one of its turns are one round.

**Never a wrong value.** A question is answered under a number that no other question of this server has had, not even
in a former life: numbers begin at random and at the time of the start (either would do, but seeds may be fixed, and a
clock begins anew when its machine does). An answer that comes late, even from a leader that is deposed by then, is
right all the same: it was confirmed after the question was asked.

**Always an end.** A lost question or answer, a leader that is gone: the read is refused, which is definite, when the
leader changes and at the latest ``Timing.forward_ns`` after it was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node.raft.lease import Lease
from node.raft.messages import ReadReply, ReadRequest, Role
from node.raft.reads import ReadTicket

FORWARDED_MAX = 4096
"""Questions that a follower may have unanswered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forwarded:
    """A question under way to the leader."""

    ticket: ReadTicket
    leader: str
    deadline_ns: int


class Forwarding(Lease):
    """Questions to the leader, and its answers."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.forwarded: dict[int, Forwarded] = {}
        """By number, in the order of their deadlines."""
        self._forward_number = self._random.getrandbits(61) + self.now_ns

    # The follower

    def ask_through(self, ticket: ReadTicket) -> None:
        """A read that any server may serve: as a leader's own, or by asking the leader; refused if none is known."""
        if self.role is Role.LEADER or self.leader is None or len(self.forwarded) >= FORWARDED_MAX:
            self.ask_read(ticket)
            return
        self._forward_number += 1
        self.forwarded[self._forward_number] = Forwarded(
            ticket=ticket, leader=self.leader, deadline_ns=self.now_ns + self.timing.forward_ns
        )
        self.reply(
            ReadRequest(source=self.name, target=self.leader, term=self.term, token=self._forward_number),
        )

    def take_read_reply(self, reply: ReadReply) -> None:
        """The leader's answer; one to a question that was given up, or answered before, is nobody's."""
        forwarded = self.forwarded.pop(reply.token, None)
        if forwarded is not None:
            self.answer(forwarded.ticket, reply.index)

    def forward_deadline_ns(self) -> int | None:
        """When the oldest question must be given up; None if there is none."""
        return next((one.deadline_ns for one in self.forwarded.values()), None)

    def give_up_forwarded(self) -> None:
        """Refuses what was asked of someone who does not lead any more, or too long ago; cheap when nothing was."""
        if not self.forwarded or not self._is_over(next(iter(self.forwarded.values()))):
            return
        for number, one in list(self.forwarded.items()):
            if self._is_over(one):
                del self.forwarded[number]
                self.answer(one.ticket, None)

    def _is_over(self, one: Forwarded) -> bool:
        return one.leader != self.leader or one.deadline_ns <= self.now_ns

    # The leader

    def take_read_request(self, request: ReadRequest) -> None:
        """A follower's question: a read like any other."""
        self.ask_read(ReadTicket(token=request.token, asker=request.source))

    def answer(self, ticket: ReadTicket, index: int | None) -> None:
        """To this server's shell, or to the follower that asked."""
        if ticket.asker is None:
            super().answer(ticket, index)
        else:
            self.reply(
                ReadReply(source=self.name, target=ticket.asker, term=self.term, token=ticket.token, index=index)
            )
