"""Linearizable reads without log entries: ReadIndex (thesis 6.4), in batches.

All reads that arrived since the last flush share one *round*: the commit index is noted, the appends of that flush
carry the round's number, and when a majority echoed it (or a later one) the leader was still the leader *after* the
reads arrived. So nothing newer than the noted index can have been acknowledged before they began.

Layers above: :mod:`node.raft.lease` reads without a round while an earlier one is fresh; :mod:`node.raft.forwarding`
lets followers ask the leader for a read index.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from node.raft.messages import Role
from node.raft.progress import Progress
from node.raft.replication import Replication

WAITING_READS_MAX = 65_536
"""Questions (not clients: a node asks once a turn for all of its clients) that may wait for a round to begin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadTicket:
    """Whose question it is, and the number under which it is answered there."""

    token: int
    asker: str | None = None
    """A follower; None: this server's own shell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Reads that wait for one confirmation."""

    number: int
    index: int
    tickets: tuple[ReadTicket, ...]


class Reads(Replication):
    """ReadIndex on the leader."""

    read_round = 0
    """The number of the last round begun in this term."""
    waiting_reads: list[ReadTicket]
    read_rounds: deque[Round]
    _round_due = False

    def leadership_begins(self) -> None:
        """Rounds count from 1 in each term; replies of older terms never reach them."""
        self.read_round = 0
        self._round_due = False
        self.waiting_reads = []
        self.read_rounds = deque()
        super().leadership_begins()

    def leadership_ends(self) -> None:
        """Whoever waits must ask the next leader."""
        for pending in self.read_rounds:
            self.answer_all(pending.tickets, None)
        self.answer_all(self.waiting_reads, None)
        self.waiting_reads = []
        self.read_rounds = deque()
        super().leadership_ends()

    def ask_read(self, ticket: ReadTicket) -> None:
        """Queues a read for the next round; refuses it at once if this server doesn't lead."""
        if self.role is Role.LEADER and len(self.waiting_reads) < WAITING_READS_MAX:
            self.waiting_reads.append(ticket)
            self._flush_due = True
        else:
            self.answer(ticket, None)

    def answer_all(self, tickets: Iterable[ReadTicket], index: int | None) -> None:
        """Tells each asker the fate of its read."""
        for ticket in tickets:
            self.answer(ticket, index)

    def answer(self, ticket: ReadTicket, index: int | None) -> None:
        """To this server's shell; the layer of forwarding knows how to tell followers."""
        self.answer_read(ticket.token, index)

    def read_is_allowed(self) -> bool:
        """Thesis 6.4, step 1: a new leader knows what is committed only once an entry of its own term is."""
        return self.commit >= self.term_start

    def flush(self) -> None:
        """Begins a round, if reads wait for one, before the appends that carry it leave."""
        if self.waiting_reads and self.read_is_allowed() and len(self.read_rounds) < self.timing.read_rounds_max:
            tickets, self.waiting_reads = tuple(self.waiting_reads), []
            self.begin_round()
            self.read_rounds.append(Round(number=self.read_round, index=self.commit, tickets=tickets))
        super().flush()
        self._round_due = False
        self.confirm_reads()

    def begin_round(self) -> None:
        """From now on appends carry a new number; everyone is asked with this flush."""
        self.read_round += 1
        self._round_due = True

    def owes_round(self, progress: Progress) -> bool:  # noqa: ARG002
        """Everyone is asked when a round begins; lost messages are made up for by the next heartbeat."""
        return self._round_due

    def read_round_of(self, progress: Progress) -> int:  # noqa: ARG002
        """Every append carries the latest round."""
        return self.read_round

    def round_echoed(self, progress: Progress, read_round: int) -> None:
        """An echo counts for its round and all before it."""
        if read_round > progress.read_round:
            progress.read_round = read_round
            self.confirm_reads()

    def round_is_confirmed(self, number: int) -> bool:
        """Whether a majority echoed this round or a later one."""
        return self.hears_majority({p.name for p in self.progress.values() if p.read_round >= number})

    def confirm_reads(self) -> None:
        """Thesis 6.4, step 3: answers every round for which this server is known to have been the leader still."""
        while self.read_rounds and self.round_is_confirmed(self.read_rounds[0].number):
            oldest = self.read_rounds.popleft()
            self.answer_all(oldest.tickets, oldest.index)
            if self.waiting_reads:
                self._flush_due = True
