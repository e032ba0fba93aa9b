"""Linearizable reads without log entries: ReadIndex (thesis 6.4), in batches.

All reads that arrived since the last flush share one *round*: the commit index is noted, the appends of that flush
carry the round's number, and when a majority echoed it (or a later one) the leader was still the leader *after* the
reads arrived. So nothing newer than the noted index can have been acknowledged before they began.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from node.messages import Role
from node.progress import Progress
from node.replication import Replication


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Reads that wait for one confirmation."""

    number: int
    index: int
    tokens: tuple[int, ...]


class Reads(Replication):
    """ReadIndex on the leader."""

    read_round = 0
    """The number of the last round begun in this term."""
    waiting_reads: list[int]
    read_rounds: deque[Round]
    _round_due = False

    def leadership_begins(self) -> None:
        """Rounds count from 1 in each term; replies of older terms never reach them."""
        self.read_round = 0
        self.waiting_reads = []
        self.read_rounds = deque()
        super().leadership_begins()

    def leadership_ends(self) -> None:
        """Whoever waits must ask the next leader."""
        for pending in self.read_rounds:
            for token in pending.tokens:
                self.answer_read(token, None)
        for token in self.waiting_reads:
            self.answer_read(token, None)
        self.waiting_reads = []
        self.read_rounds = deque()
        super().leadership_ends()

    def ask_read(self, token: int) -> None:
        """Queues a read for the next round; refuses it at once if this server doesn't lead."""
        if self.role is Role.LEADER:
            self.waiting_reads.append(token)
            self._flush_due = True
        else:
            self.answer_read(token, None)

    def read_is_allowed(self) -> bool:
        """Thesis 6.4, step 1: a new leader knows what is committed only once an entry of its own term is."""
        return self.commit >= self.term_start

    def flush(self) -> None:
        """Begins a round, if reads wait for one, before the appends that carry it leave."""
        self._round_due = False
        if self.waiting_reads and self.read_is_allowed() and len(self.read_rounds) < self.timing.read_rounds_max:
            self._begin_round()
        super().flush()
        self.confirm_reads()

    def _begin_round(self) -> None:
        self.read_round += 1
        self._round_due = True
        self.read_rounds.append(Round(number=self.read_round, index=self.commit, tokens=tuple(self.waiting_reads)))
        self.waiting_reads = []

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

    def confirm_reads(self) -> None:
        """Thesis 6.4, step 3: answers every round for which this server is known to have been the leader still."""
        while self.read_rounds:
            oldest = self.read_rounds[0]
            if not self.hears_majority({p.name for p in self.progress.values() if p.read_round >= oldest.number}):
                return
            self.read_rounds.popleft()
            for token in oldest.tokens:
                self.answer_read(token, oldest.index)
            if self.waiting_reads:
                self._flush_due = True
