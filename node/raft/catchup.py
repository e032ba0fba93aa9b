"""Snapshots as far as consensus goes: section 7 and figure 13.

The bytes are the shell's; :mod:`node.raft.core` says who calls what.
"""

from __future__ import annotations

from node.raft.adaptive import Adaptive
from node.raft.messages import InstallSnapshot, Role, Snapshot, SnapshotReply
from node.raft.progress import Progress, ProgressState


class Catchup(Adaptive):
    """Compaction on everyone, sending on a leader, installing on a follower."""

    # Everyone

    def compact(self, snapshot: Snapshot) -> None:
        """Drops what the snapshot stands for, but for a tail that spares slightly slow followers the snapshot, and for
        what those will need who are being sent an older one.
        """
        if snapshot.index > self.applied:
            raise ValueError(
                f"snapshot up to {snapshot.index}, but only {self.applied} entries were handed out as committed"
            )
        if snapshot.index <= self.snapshot.index:
            return
        self.snapshot = snapshot
        self.forget_configurations_below(snapshot.index)
        base = self.log.start_of(
            snapshot.index, entries_max=self.timing.log_tail_entries, bytes_max=self.timing.log_tail_bytes_max
        )
        if self.role is Role.LEADER:
            base = self._kept_behind(base)
        if base > self.log.base_index:
            self.log.compact(base, self.log.term_at(base) or 0)

    # Leader

    def _kept_behind(self, base: int) -> int:
        """Where the log must begin so that a transfer is not in vain: who has installed a snapshot goes on behind it.
        Else, if snapshots are taken faster than they are sent, the next one would be needed, and so on without end (as
        in etcd before etcd-io/etcd commit ab31ba0d). That ends when the follower has caught up, falls silent, or needs
        more than the log may keep.
        """
        needed = [index for progress in self.progress.values() if (index := self._needed_behind(progress, base)) < base]
        if not needed:
            return base
        limit = self.log.start_of(
            self.log.last_index,
            entries_max=self.timing.log_kept_entries_max,
            bytes_max=self.timing.log_kept_bytes_max,
        )
        return min((index for index in needed if index >= limit), default=base)

    def _needed_behind(self, progress: Progress, base: int) -> int:
        """Behind which index this follower will need the log; ``base`` if it needs no more than anybody."""
        index = progress.match
        if progress.state is ProgressState.SNAPSHOT:
            index = max(index, progress.snapshot_index)
        if not progress.snapshot_index or index < self.log.base_index or not self._is_worth_keeping_for(progress):
            return base
        if index >= base and progress.state is ProgressState.REPLICATE:
            progress.snapshot_index = 0  # caught up
        return min(index, base)

    def note_chunk(self, target: str, snapshot: Snapshot) -> None:
        """The shell says which snapshot it sends: one that had begun, perhaps, though there is a newer one."""
        self.progress[target].snapshot_index = snapshot.index

    def wants_chunks(self, target: str) -> bool:
        """Whether this server leads, and this follower still needs a snapshot."""
        progress = self.progress.get(target) if self.role is Role.LEADER else None
        return progress is not None and progress.state is ProgressState.SNAPSHOT

    def awaits_snapshot(self, target: str) -> bool:
        """Whether that follower answers, too: if not, what it is sent need not be kept for it."""
        return self.wants_chunks(target) and self._is_worth_keeping_for(self.progress[target])

    def _is_worth_keeping_for(self, progress: Progress) -> bool:
        return progress.heard and self.now_ns - progress.contact_ns < self.timing.snapshot_patience_ns

    def take_snapshot_reply(self, reply: SnapshotReply) -> None:
        """A follower got on with its snapshot, or has it."""
        progress = self.progress.get(reply.source) if self.role is Role.LEADER and reply.term == self.term else None
        if progress is None:
            return
        progress.hear(self.now_ns)
        progress.snapshot_ns = self.now_ns
        if reply.done:
            progress.acknowledge(reply.index)
            if progress.state is ProgressState.SNAPSHOT:
                progress.replicate_from(reply.index + 1)
            self._flush_due = True

    # Follower

    def take_chunk(self, chunk: InstallSnapshot) -> None:
        """Figure 13, steps 1-5, as far as the core goes: hands on what is neither stale nor known."""
        if not self.leader_is_current(chunk):
            self.reply(self.snapshot_reply(chunk.source, chunk.snapshot, next_offset=0, done=False))
            return
        if self.role is Role.LEADER:
            return  # as in take_append
        self.follow(chunk.source)
        if self.snapshot_is_news(chunk.snapshot):
            self.outbox.chunks.append(chunk)
        else:
            end = chunk.offset + len(chunk.data)
            self.reply(self.snapshot_reply(chunk.source, chunk.snapshot, next_offset=end, done=True))

    def snapshot_is_news(self, snapshot: Snapshot) -> bool:
        """Whether it holds anything that isn't known to be committed here: a late, older one must change nothing."""
        return snapshot.index > self.commit

    def keeps_suffix(self, snapshot: Snapshot) -> bool:
        """Figure 13, step 6: what follows stays only if the log holds the snapshot's last entry, index and term."""
        return self.log.term_at(snapshot.index) == snapshot.term

    def fit_log_to(self, snapshot: Snapshot) -> None:
        """Figure 13, steps 6 and 7: the snapshot takes the place of what it stands for, and of all that conflicts."""
        if self.keeps_suffix(snapshot):
            self.log.keep_behind(snapshot.index, snapshot.term)
        else:
            self.log.reset(snapshot.index, snapshot.term)

    def adopt_snapshot(self, snapshot: Snapshot) -> None:
        """Figure 13, steps 6-8, once the shell has the snapshot durable; tells the leader in any case."""
        if self.snapshot_is_news(snapshot):
            self.fit_log_to(snapshot)
            self.learn_commit(snapshot.index)
            self.applied = max(self.applied, snapshot.index)
            self.snapshot = self.outbox.install = snapshot
            self.adopt_configurations_of(snapshot)
        if self.leader is not None and self.role is Role.FOLLOWER:
            self.reply(self.snapshot_reply(self.leader, snapshot, next_offset=0, done=True))

    def snapshot_reply(self, target: str, snapshot: Snapshot, *, next_offset: int, done: bool) -> SnapshotReply:
        """An answer in this server's term."""
        return SnapshotReply(
            source=self.name,
            target=target,
            term=self.term,
            index=snapshot.index,
            next_offset=next_offset,
            done=done,
        )
