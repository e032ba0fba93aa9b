"""The Raft core: one server's consensus, with no I/O, no clock and no randomness but what it is handed.

Same state + same input = same output. Messages, proposals, reads and the time go in; :meth:`Raft.ready` says what
the shell must do, and what must be durable *before* what is sent (:class:`node.raft.messages.Ready` states the order of
duties). Sources: Ongaro & Ousterhout (2014), figures 2 and 13; Ongaro's thesis (2014), 3.6 (elections), 4.2.3
(disruptive servers), 6.2 (step-down), 6.4 (ReadIndex), 9.6 (PreVote), 10.2 (pipelining).

**How the shell drives it.** On every turn of its loop: feed what arrived (:meth:`~Raft.receive`,
:meth:`~Raft.propose`, :meth:`~Raft.read`), call :meth:`~Raft.tick` when :meth:`~Raft.next_deadline_ns` has passed,
then ``while core.has_ready(): do(core.ready())``. Everything fed in between two Readies is batched: one append per
follower, one sync, one round of heartbeats for all reads. There is no ``applied()``: the core hands each committed
entry out once, in order, and trusts the shell to apply it.

**Snapshots, follower's side.** Every InstallSnapshot goes to :meth:`~Raft.receive` first. The core applies the
term, leader and timer rules; what is stale or not newer than its commit index it answers itself. What it accepts
comes out in ``Ready.chunks``. The shell writes each accepted chunk to a temporary file for that ``snapshot`` (when
``offset`` is what it has so far, else it ignores the data) and sends :meth:`~Raft.chunk_reply` with the next byte
it wants. When the ``done`` chunk is in, it verifies the whole, makes it durable under its final name, and calls
:meth:`~Raft.installed`. Only if the next Ready says ``install`` does it reset its log and load the state machine;
the core then sends the reply with ``done``.

**Snapshots, leader's side.** ``Ready.snapshots_wanted`` names followers whose next entry is compacted away. The
shell asks :meth:`~Raft.snapshot_chunk` for each chunk's message and sends it; the answer None means "stop: not
needed any more". It passes every SnapshotReply to :meth:`~Raft.receive` and, when not ``done``, sends the chunk at
``next_offset`` *of the same snapshot*, even if there is a newer one by now, or a slow transfer would never end; for the
same reason the core keeps the log behind that one, within limits, whatever is compacted. If nothing is heard for
``Timing.snapshot_retry_ns`` the core asks again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from node.raft.messages import (
    AppendEntries,
    AppendReply,
    Entry,
    InstallSnapshot,
    Message,
    ReadReply,
    ReadRequest,
    Ready,
    Recovered,
    RequestVote,
    Role,
    Snapshot,
    SnapshotReply,
    TimeoutNow,
    VoteReply,
)
from node.raft.outbox import Outbox
from node.raft.preference import Preference
from node.raft.reads import ReadTicket
from node.raft.timing import Timing

__all__ = ["Raft", "Timing"]

NOTHING = Ready()


class Raft(Preference):
    """One Raft server.

    For reading by the shell: ``name``, ``role``, ``leader`` (of this term, as far as known), ``term``, ``vote``,
    ``commit``, ``applied`` (handed out as committed), ``configuration`` (in force), ``snapshot`` (the latest that the
    shell holds; index 0: none).
    """

    def __init__(
        self,
        *,
        name: str,
        voters: tuple[str, ...],
        recovered: Recovered,
        timing: Timing,
        random: random.Random,
        now_ns: int,
    ) -> None:
        """Starts as a follower (section 5.2) from what the disk remembers.

        ``voters`` is the configuration of a fresh cluster (empty: this server joins one, and waits to be told which); a
        recovered snapshot's voters take precedence. Raises
        :class:`ValueError` when ``recovered`` can't be what a core once handed out: entries with gaps or terms that
        fall, or a gap behind the snapshot.
        """
        super().__init__(name=name, voters=voters, recovered=recovered, timing=timing, random=random, now_ns=now_ns)
        self._handlers: dict[type[Message], Callable[[Any], None]] = {
            AppendEntries: self.take_append,
            AppendReply: self.take_append_reply,
            RequestVote: self.take_vote_request,
            VoteReply: self.take_vote_reply,
            InstallSnapshot: self.take_chunk,
            SnapshotReply: self.take_snapshot_reply,
            TimeoutNow: self.take_timeout_now,
            ReadRequest: self.take_read_request,
            ReadReply: self.take_read_reply,
        }

    # The log, for the shell

    @property
    def last_index(self) -> int:
        """Index of the last entry in the log (or of the snapshot that stands for it); 0 when empty."""
        return self.log.last_index

    @property
    def first_index(self) -> int:
        """Index of the first entry still held in memory (``last_index + 1`` if none)."""
        return self.log.base_index + 1

    def term_at(self, index: int) -> int | None:
        """Term of the entry at ``index``; None if the log does not reach there or it is compacted away."""
        return self.log.term_at(index)

    def entry(self, index: int) -> Entry | None:
        """The entry at ``index``, if it is held in memory."""
        return self.log.entry(index)

    # What goes in

    def tick(self, now_ns: int) -> None:
        """Lets time-outs fire. Cheap when none is due."""
        self.observe_time(now_ns)
        self.give_up_forwarded()
        if self.now_ns < self._own_deadline_ns():
            return
        if self.role is Role.LEADER:
            self.heartbeat()
        else:
            self.campaign()

    def next_deadline_ns(self) -> int:
        """When :meth:`tick` must be called at the latest."""
        own_ns, forward_ns = self._own_deadline_ns(), self.forward_deadline_ns()
        return own_ns if forward_ns is None else min(own_ns, forward_ns)

    def _own_deadline_ns(self) -> int:
        return self.heartbeat_deadline_ns if self.role is Role.LEADER else self.election_deadline_ns

    def receive(self, message: Message, now_ns: int) -> None:
        """Takes in one message from a peer. Misdirected, stale and repeated messages do no harm."""
        if message.target != self.name:
            return
        self.observe_time(now_ns)
        if message.term > self.term and self.adopts_term(message):
            self.become_follower(message.term, None)
        self._handlers[type(message)](message)

    def propose(self, commands: Sequence[bytes]) -> tuple[int, int] | None:
        """Appends commands to the leader's log: (first index, term), or None when this server is not the leader.

        A command took effect if and only if the entry at its index comes out in ``Ready.committed`` with this term;
        another term there (or a snapshot over it that another leader sent) leaves no or an unknown effect.
        """
        return self.append_commands(commands)

    def read(self, token: int, now_ns: int) -> None:
        """Asks for a linearizable read (ReadIndex, thesis 6.4), which only a leader grants.

        The answer is a ReadState with this token in some later Ready: at the latest when the leadership ends.
        """
        self.observe_time(now_ns)
        self.ask_read(ReadTicket(token=token))

    def read_through(self, token: int, now_ns: int) -> None:
        """The same at any server: one that does not lead asks the leader (:mod:`node.raft.forwarding`).

        The answer comes at the latest ``Timing.forward_ns`` after that. To read by lease: :meth:`lease_index`.
        """
        self.observe_time(now_ns)
        self.ask_through(ReadTicket(token=token))

    def persisted(self, index: int, term: int) -> None:
        """The log is durable up to ``index``, whose entry is of ``term``."""
        self.log.mark_durable(index, term)
        if self.role is Role.LEADER:
            self.advance_commit(self.log.durable)
        elif self.role is Role.CANDIDATE:
            self.own_vote_persisted()

    def compacted(self, snapshot: Snapshot) -> None:
        """The shell made a snapshot of applied state durable: entries up to it may go, but for a tail in memory.

        Raises :class:`ValueError` if the snapshot is beyond what was handed out as committed. An older one than the
        last is ignored.
        """
        self.compact(snapshot)

    def snapshot_chunk(
        self, target: str, snapshot: Snapshot, *, offset: int, data: bytes, done: bool
    ) -> InstallSnapshot | None:
        """The message for one chunk; None when it must not be sent: not the leader, or not wanted any more."""
        if not self.wants_chunks(target):
            return None
        self.note_chunk(target, snapshot)
        return InstallSnapshot(
            source=self.name,
            target=target,
            term=self.term,
            snapshot=snapshot,
            offset=offset,
            data=data,
            done=done,
        )

    def chunk_reply(self, chunk: InstallSnapshot, *, next_offset: int) -> SnapshotReply:
        """The shell's answer to a stored (or ignored) chunk: the next byte wanted. Sent as step 6 of the Ready says."""
        return self.snapshot_reply(chunk.source, chunk.snapshot, next_offset=next_offset, done=False)

    def installed(self, snapshot: Snapshot) -> None:
        """The shell made a received snapshot durable. The next Ready says what becomes of it.

        Figure 13: if the log holds the snapshot's last entry, what follows it stays; else the whole log goes. A
        snapshot that is not newer than the commit index (it came late) changes nothing: no ``install`` is said.
        """
        self.adopt_snapshot(snapshot)

    # What comes out

    def has_ready(self) -> bool:
        """Whether :meth:`ready` has anything to say."""
        self.give_up_forwarded()
        if self._flush_due and self.role is Role.LEADER:
            self.flush()
        log = self.log
        return bool(
            self.outbox
            or log.last_index != log.handed
            or log.cut is not None
            or self.commit != self._commit_told
            or self.applied < min(self.commit, log.last_index)
            or self._hard_state_told != (self.term, self.vote)
            or self._standing_told != (self.role, self.leader)
        )

    def ready(self) -> Ready:
        """What the shell must do now; each thing is said once."""
        if not self.has_ready():
            return NOTHING
        outbox, self.outbox = self.outbox, Outbox()
        entries, truncate_from = self.log.hand_out()
        hard_state = self.hard_state if self._hard_state_told != (self.term, self.vote) else None
        news = self._standing_told != (self.role, self.leader)
        ready = Ready(
            messages_now=tuple(outbox.messages_now),
            hard_state=hard_state,
            truncate_from=truncate_from,
            entries=entries,
            must_sync=bool(entries or hard_state or outbox.install or truncate_from is not None),
            messages_after_persist=tuple(outbox.messages_after_persist),
            committed=self._hand_out_committed(),
            commit=self.commit if self.commit != self._commit_told else None,
            reads=tuple(outbox.reads),
            snapshots_wanted=tuple(outbox.snapshots_wanted),
            chunks=tuple(outbox.chunks),
            install=outbox.install,
            role=self.role if news else None,
            leader=self.leader if news else None,
            configurations=tuple(outbox.configurations),
        )
        self._hard_state_told = (self.term, self.vote)
        self._standing_told = (self.role, self.leader)
        self._commit_told = self.commit
        return ready

    def _hand_out_committed(self) -> tuple[Entry, ...]:
        if self.commit <= self.applied:
            return ()
        last = min(self.commit, self.applied + self.timing.entries_per_ready_max)
        committed = self.log.slice(self.applied + 1, last)
        self.applied += len(committed)
        return committed
