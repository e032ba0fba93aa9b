"""Snapshots as far as consensus goes: section 7 and figure 13.

The bytes are the shell's; :mod:`node.raft.core` says who calls what.
"""

from __future__ import annotations

from node.raft.adaptive import Adaptive
from node.raft.messages import InstallSnapshot, Role, Snapshot, SnapshotReply
from node.raft.progress import ProgressState


class Catchup(Adaptive):
    """Compaction on everyone, sending on a leader, installing on a follower."""

    # Everyone

    def compact(self, snapshot: Snapshot) -> None:
        """Drops what the snapshot stands for, but for a tail that spares slightly slow followers the snapshot."""
        if snapshot.index > self.applied:
            raise ValueError(
                f"snapshot up to {snapshot.index}, but only {self.applied} entries were handed out as committed"
            )
        if snapshot.index <= self.snapshot.index:
            return
        self.snapshot = snapshot
        self.forget_configurations_below(snapshot.index)
        base = snapshot.index - self.timing.log_tail_entries
        if base > self.log.base_index:
            self.log.compact(base, self.log.term_at(base) or 0)

    # Leader

    def wants_chunks(self, target: str) -> bool:
        """Whether this server leads, and this follower still needs a snapshot."""
        progress = self.progress.get(target) if self.role is Role.LEADER else None
        return progress is not None and progress.state is ProgressState.SNAPSHOT

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
