"""The follower's side of AppendEntries: section 5.3 and figure 2's receiver rules, with conflict-term back-tracking.

Everything up to the commit index is known to agree with any leader of this or a later term (leader completeness,
section 5.4.3); so entries up to there are neither compared nor ever cut. Where an append begins is compared as long as
the log holds that place: a log that disagrees with its leader must not be built upon, whatever the cause.
"""

from __future__ import annotations

from node.raft.election import Election
from node.raft.messages import AppendEntries, AppendReply, Message, Role


class Follower(Election):
    """What a server does with what a leader sends."""

    fitness = 0
    """How well this server would lead; the layer of preference knows."""

    def leader_is_current(self, message: Message) -> bool:
        """Section 5.1: a leader of an older term is refused, in catching up as in replication."""
        return message.term >= self.term

    def take_append(self, message: AppendEntries) -> None:
        """Figure 2, AppendEntries, steps 1-5."""
        if not self.leader_is_current(message):
            self._refuse_stale(message)
            return
        if self.role is Role.LEADER:
            return  # two leaders in one term: impossible (section 5.2); with a planted bug the trace tells, not a crash
        self.follow(message.source)
        if not self.prev_matches(message.prev_index, message.prev_term):
            self._refuse_with_hint(message)
            return
        self._put(message)
        vouched = message.prev_index + len(message.entries)
        self.learn_commit(self.follower_commit(message.commit, vouched))
        self.reply(
            AppendReply(
                source=self.name,
                target=message.source,
                term=self.term,
                success=True,
                match=max(vouched, self.commit),
                read_round=message.read_round,
                fitness=self.fitness,
            )
        )

    def prev_matches(self, prev_index: int, prev_term: int) -> bool:
        """Figure 2, step 2: the log holds an entry at ``prev_index`` with ``prev_term`` (what is compacted did)."""
        return prev_index < self.log.base_index or self.log.term_at(prev_index) == prev_term

    def _put(self, message: AppendEntries) -> None:
        entries = message.entries
        if not entries:
            return
        log = self.log
        if message.prev_index != log.last_index:
            cut = self.truncation_point(message)
            if cut is not None:
                self.truncate_log(cut)
            entries = entries[log.last_index - message.prev_index :]
        self.extend_log(entries)

    def truncation_point(self, message: AppendEntries) -> int | None:
        """Figure 2, step 3: the first index where an existing entry conflicts with a new one.

        To conflict is to have the same index and another term. None when nothing conflicts, however old the message is:
        an append that was delayed or repeated must not cut what came after it.
        """
        for entry in message.entries[max(self.commit - message.prev_index, 0) :]:
            if entry.index > self.log.last_index:
                return None
            if self.log.term_at(entry.index) != entry.term:
                return entry.index
        return None

    def follower_commit(self, leader_commit: int, vouched: int) -> int:
        """Figure 2, step 5: min(leaderCommit, index of last new entry).

        The last *new* entry: behind it the log may hold a tail that this append says nothing of.
        """
        return min(leader_commit, vouched)

    def learn_commit(self, index: int) -> None:
        """The commit index never falls."""
        if index > self.commit:
            self.commit = index

    def _refuse_with_hint(self, message: AppendEntries) -> None:
        term = self.log.term_at(message.prev_index)
        if term is None:
            self._refuse(message, conflict_index=self.log.last_index + 1, conflict_term=0)
        else:
            self._refuse(message, conflict_index=self.log.first_index_of_term(term), conflict_term=term)

    def _refuse_stale(self, message: AppendEntries) -> None:
        """Tells an old leader the newer term, and nothing else.

        It may lead again in that term when this arrives, and must not take an echo of a read round of its former
        leadership for one of the new: rounds count from 1 in each.
        """
        self.reply(AppendReply(source=self.name, target=message.source, term=self.term, success=False))

    def _refuse(self, message: AppendEntries, *, conflict_index: int, conflict_term: int) -> None:
        """A refusal still tells the leader that we are there, and in which term: it confirms a read round too."""
        self.reply(
            AppendReply(
                source=self.name,
                target=message.source,
                term=self.term,
                success=False,
                refused_index=message.prev_index,
                conflict_index=conflict_index,
                conflict_term=conflict_term,
                read_round=message.read_round,
                fitness=self.fitness,
            )
        )
