"""The leader's side of AppendEntries: sections 5.3 and 5.4.2, pipelined (thesis 10.2.1), and CheckQuorum (thesis 6.2).

Nothing is sent when something happens; :meth:`Replication.flush`, called when the shell asks for a Ready, looks at each
follower once and sends what it lacks. That is where proposals, reads, heartbeats and answers of one turn of the shell's
loop melt into one append per follower. Since only a leader flushes, and a leader's term and vote were durable before it
could win, its appends need not wait for its own disk.

A new commit index travels with the next append or heartbeat; it is not worth a message of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

from node.raft.follower import Follower
from node.raft.messages import AppendEntries, AppendReply, Entry, EntryKind, Role
from node.raft.progress import Progress, ProgressState

_Batch = tuple[tuple[Entry, ...], int]
"""Entries for one append, and how many bytes they are."""


class Replication(Follower):
    """A leader and its followers."""

    progress: dict[str, Progress]
    heartbeat_deadline_ns = 0
    term_start = 0
    """Index of the no-op with which this leadership began."""
    _flush_due = False
    _beat_due = False

    def leadership_begins(self) -> None:
        """Section 8: a no-op of the own term, so that earlier entries can be committed and reads be served."""
        self.progress = {
            name: Progress(name, next_index=self.log.last_index + 1, now_ns=self.now_ns) for name in self.others
        }
        self.term_start = self.log.last_index + 1
        self.extend_log([Entry(self.term_start, self.term, EntryKind.NOOP)])
        self.heartbeat_deadline_ns = self.now_ns + self.heartbeat_interval_ns()
        self._flush_due = True
        super().leadership_begins()

    def leadership_ends(self) -> None:
        """Forgets the followers: the next leadership starts from nothing known."""
        self.progress = {}
        self.outbox.snapshots_wanted.clear()
        self._flush_due = self._beat_due = False
        super().leadership_ends()

    def append_commands(self, commands: Sequence[bytes]) -> tuple[int, int] | None:
        """Section 5.3: the leader appends the commands to its log as new entries."""
        if self.role is not Role.LEADER:
            return None
        first, term = self.log.last_index + 1, self.term
        self.log.extend([Entry(index, term, EntryKind.COMMAND, data) for index, data in enumerate(commands, first)])
        self._flush_due = True
        return first, term

    def configuration_changes(self) -> None:
        """Section 6: the leader feeds whoever has just been added. Who has been taken out is fed until that is
        committed, so that it hears of it.
        """
        super().configuration_changes()
        if self.role is Role.LEADER:
            for name in self.others:
                if name not in self.progress:
                    self.progress[name] = Progress(name, next_index=self.log.last_index + 1, now_ns=self.now_ns)

    # Heartbeats and CheckQuorum

    def heartbeat(self) -> None:
        """Section 5.2's heartbeat; but a leader that no longer hears a majority steps down instead (thesis 6.2)."""
        self.heartbeat_deadline_ns = self.now_ns + self.heartbeat_interval_ns()
        if self.must_step_down():
            self.become_follower(self.term, None)
            return
        self._beat_due = self._flush_due = True
        for progress in self.progress.values():
            self._retry_snapshot(progress)

    def must_step_down(self) -> bool:
        """CheckQuorum: no majority was heard for longer than followers bear with a silent leader."""
        since = self.now_ns - self.quorum_patience_ns()
        return not self.hears_majority({p.name for p in self.progress.values() if p.contact_ns >= since})

    def heartbeat_interval_ns(self) -> int:
        """How often every follower is spoken to; adaptive time-outs have a say in it."""
        return self.timing.heartbeat_ns

    def quorum_patience_ns(self) -> int:
        """For how long a leader bears with hearing no majority."""
        return self.timing.election_ns_max

    def told_patience_ns(self) -> int:
        """What followers are told of how patient to be; 0: as configured."""
        return 0

    # Sending

    def flush(self) -> None:
        """Sends each follower what it lacks, as far as its window allows, and a heartbeat if one is due."""
        self._flush_due = False
        beat, self._beat_due = self._beat_due, False
        batches: dict[int, _Batch] = {}  # followers at the same place share one tuple, and the shell its encoding
        for progress in self.progress.values():
            self._feed(progress, batches, beat=beat)

    def _feed(self, progress: Progress, batches: dict[int, _Batch], *, beat: bool) -> None:
        compacted = progress.next <= self.log.base_index
        if compacted and progress.state is not ProgressState.SNAPSHOT and self.is_reachable(progress):
            self._want_snapshot(progress)
        if progress.state is ProgressState.REPLICATE and not compacted:
            self._stream(progress, batches, beat=beat)
        elif progress.state is ProgressState.PROBE and not compacted and not (progress.probing and not beat):
            self._send(progress, self._batch(progress.next, batches)[0])
            progress.probing = True
        elif beat or self.owes_round(progress):
            self.send_bare_heartbeat(progress)

    def is_reachable(self, progress: Progress) -> bool:
        """Whether it answered of late. Who does not is sent no snapshot: it would be lost, and the next one be late."""
        return progress.heard and self.now_ns - progress.contact_ns < self.timing.election_ns_max

    def _stream(self, progress: Progress, batches: dict[int, _Batch], *, beat: bool) -> None:
        last, window, bytes_max = self.log.last_index, self.timing.inflight_appends_max, self.timing.inflight_bytes_max
        must_speak = beat or self.owes_round(progress)
        while progress.next <= last and len(progress.inflight) < window and progress.inflight_bytes < bytes_max:
            entries, size = self._batch(progress.next, batches)
            self._send(progress, entries)
            progress.sent(len(entries), size)
            must_speak = False
        if must_speak:
            self._send(progress, ())

    def _batch(self, first: int, batches: dict[int, _Batch]) -> _Batch:
        batch = batches.get(first)
        if batch is None:
            timing = self.timing
            batch = batches[first] = self.log.batch(
                first, entries_max=timing.entries_per_append_max, bytes_max=timing.bytes_per_append_max
            )
        return batch

    def _send(self, progress: Progress, entries: tuple[Entry, ...]) -> None:
        prev = progress.next - 1
        self.outbox.messages_now.append(
            AppendEntries(
                source=self.name,
                target=progress.name,
                term=self.term,
                prev_index=prev,
                prev_term=self.log.term_at(prev) or 0,
                entries=entries,
                commit=self.commit,
                read_round=self.read_round_of(progress),
                patience_ns=self.told_patience_ns(),
            )
        )

    def send_bare_heartbeat(self, progress: Progress) -> None:
        """A heartbeat that any log accepts (index 0 is in all of them) and that vouches for nothing."""
        self.outbox.messages_now.append(
            AppendEntries(
                source=self.name,
                target=progress.name,
                term=self.term,
                prev_index=0,
                prev_term=0,
                commit=self.commit,
                read_round=self.read_round_of(progress),
                patience_ns=self.told_patience_ns(),
            )
        )

    def owes_round(self, progress: Progress) -> bool:  # noqa: ARG002
        """Whether this follower must be asked to confirm a read round now; the layer of the reads knows."""
        return False

    def read_round_of(self, progress: Progress) -> int:  # noqa: ARG002
        """The read round that an append to this follower carries; the layer of the reads knows."""
        return 0

    # Answers

    def take_append_reply(self, reply: AppendReply) -> None:
        """Figure 2, leaders: on success update nextIndex and matchIndex; on a refusal decrement nextIndex and retry."""
        progress = self.progress.get(reply.source) if self.role is Role.LEADER and reply.term == self.term else None
        if progress is None:
            return
        progress.hear(self.now_ns)
        if reply.success:
            self._accepted(progress, reply.match)
        else:
            self._refused(progress, reply)
        self.round_echoed(progress, reply.read_round)
        self.follower_answered(progress.name)
        self._flush_due = True

    def follower_answered(self, name: str) -> None:
        """A follower answered an append in this term; for the layers above."""

    def _accepted(self, progress: Progress, match: int) -> None:
        progress.acknowledge(match)
        if progress.state is ProgressState.PROBE and match >= progress.next - 1:
            # The probe's own answer, or one that says as much. A late one from before would send us back, and with us a
            # whole window of appends, each of which is answered, late: on a network that reorders that never ends.
            progress.replicate_from(match + 1)
        elif progress.state is ProgressState.SNAPSHOT and match >= self.log.base_index:
            progress.replicate_from(match + 1)  # it caught up, whatever became of the snapshot's own reply
        self.advance_commit(match)

    def _refused(self, progress: Progress, reply: AppendReply) -> None:
        """Section 5.3's optimisation: skip the whole conflicting term.

        A late refusal that slips through may send us back too far; that costs a probe, never safety, because ``match``
        stays. For the same reason a follower that lost what it had acknowledged is fed again, not given up.
        """
        if not self._is_late(progress, reply.refused_index):
            progress.probe_from(max(1, min(reply.refused_index, self._resume_at(reply))))

    @staticmethod
    def _is_late(progress: Progress, refused_index: int) -> bool:
        if progress.state is ProgressState.PROBE:
            return refused_index != progress.next - 1
        return progress.state is ProgressState.SNAPSHOT or refused_index < progress.match

    def _resume_at(self, reply: AppendReply) -> int:
        if reply.conflict_term:
            last = self.log.last_index_of_term(reply.conflict_term)
            if last is not None:
                return last + 1
        return reply.conflict_index

    def round_echoed(self, progress: Progress, read_round: int) -> None:
        """A follower confirmed this leadership as of ``read_round``; for the layer of the reads."""

    # Committing

    def own_match(self) -> int:
        """How far the leader may count its own log: as far as its disk has it (thesis 10.2.1)."""
        return self.log.durable

    def matches(self) -> dict[str, int]:
        """Up to which index each follower is known to agree (figure 2, matchIndex)."""
        return {name: progress.match for name, progress in self.progress.items()}

    def majority_match(self) -> int:
        """The highest index that a quorum of the voters is known to have: of each set of voters, if there are two."""
        return min(self._match_of_majority(voters) for voters in self.configuration.sets)

    def _match_of_majority(self, voters: Sequence[str]) -> int:
        matches = sorted(map(self.match_of, voters), reverse=True)
        size = self.quorum_size(voters)
        return matches[size - 1] if size <= len(matches) else 0

    def match_of(self, name: str) -> int:
        """Up to which index this server is known to have the log; a leader that is no voter is never asked for its own
        (thesis 4.2.2).
        """
        if name == self.name:
            return self.own_match()
        progress = self.progress.get(name)
        return 0 if progress is None else progress.match

    def may_commit(self, index: int) -> bool:
        """Section 5.4.2, figure 8: only entries of the current term are committed by counting replicas."""
        return self.log.term_at(index) == self.term

    def advance_commit(self, hint: int) -> None:
        """Figure 2, leaders, last rule. ``hint`` is the mark that moved: nothing below the commit index can matter."""
        if hint <= self.commit:
            return
        index = self.majority_match()
        if index > self.commit and self.may_commit(index):
            self.learn_commit(index)
            self._flush_due = True

    # Followers too far behind

    def _want_snapshot(self, progress: Progress) -> None:
        progress.wait_for_snapshot(self.now_ns, self.snapshot.index)
        self.outbox.snapshots_wanted.append(progress.name)

    def _retry_snapshot(self, progress: Progress) -> None:
        silence = self.now_ns - progress.snapshot_ns
        if progress.state is ProgressState.SNAPSHOT and silence >= self.timing.snapshot_retry_ns:
            self._want_snapshot(progress)
