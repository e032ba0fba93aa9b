"""The Raft core: one server's consensus, with no I/O, no clock and no randomness but what it is handed.

Same state + same input = same output. Messages, proposals, reads and the time go in; :meth:`Raft.ready` says what the shell must do, and what
must be durable *before* what is sent (:class:`node.messages.Ready` states the order of duties). Sources: Ongaro & Ousterhout (2014), figures 2
and 13; Ongaro's thesis (2014), 3.6 (elections), 4.2.3 (disruptive servers), 6.2 (step-down), 6.4 (ReadIndex), 9.6 (PreVote), 10.2 (pipelining).

**How the shell drives it.** On every turn of its loop: feed what arrived (:meth:`~Raft.receive`, :meth:`~Raft.propose`, :meth:`~Raft.read`), call
:meth:`~Raft.tick` when :meth:`~Raft.next_deadline_ns` has passed, then ``while core.has_ready(): do(core.ready())``. Everything fed in between two
Readies is batched: one append per follower, one sync, one round of heartbeats for all reads. There is no ``applied()``: the core hands
each committed entry out once, in order, and trusts the shell to apply it.

**Snapshots, follower's side.** Every InstallSnapshot goes to :meth:`~Raft.receive` first. The core applies the term, leader and timer rules; what is
stale or not newer than its commit index it answers itself. What it accepts comes out in ``Ready.chunks``. The shell writes each accepted
chunk to a temporary file for that ``snapshot`` (when ``offset`` is what it has so far, else it ignores the data) and sends
:meth:`~Raft.chunk_reply` with the next byte it wants. When the ``done`` chunk is in, it verifies the whole, makes it durable under its final name, and
calls :meth:`~Raft.installed`. Only if the next Ready says ``install`` does it reset its log and load the state machine; the core then sends the reply
with ``done``.

**Snapshots, leader's side.** ``Ready.snapshots_wanted`` names followers whose next entry is compacted away. The shell asks
:meth:`~Raft.snapshot_chunk` for each chunk's message and sends it; the answer None means "stop: not needed any more". It passes every SnapshotReply to
:meth:`~Raft.receive` and, when not ``done``, sends the chunk at ``next_offset``. If nothing is heard for ``Timing.snapshot_retry_ns`` the core asks again.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from node.messages import Entry, InstallSnapshot, Message, Ready, Recovered, Role, Snapshot, SnapshotReply
from node.timing import Timing

__all__ = ["Raft", "Timing"]


class Raft:
    """One Raft server. Attributes are for reading only."""

    name: str
    role: Role
    leader: str | None
    """The leader of ``term`` as far as this server knows."""
    term: int
    vote: str | None
    commit: int
    """The highest index known to be committed."""
    voters: tuple[str, ...]
    snapshot: Snapshot
    """The latest snapshot that the shell holds (``index`` 0: none)."""

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

        ``voters`` is the configuration of a fresh cluster; a recovered snapshot's voters take precedence. Raises :class:`ValueError` when
        ``recovered`` can't be what a core once handed out (entries with gaps, terms that fall, a gap behind the snapshot).
        """
        raise NotImplementedError

    @property
    def last_index(self) -> int:
        """Index of the last entry in the log (or of the snapshot that stands for it); 0 when empty."""
        raise NotImplementedError

    @property
    def first_index(self) -> int:
        """Index of the first entry still held in memory (``last_index + 1`` if none)."""
        raise NotImplementedError

    def term_at(self, index: int) -> int | None:
        """Term of the entry at ``index``; None if the log does not reach there or it is compacted away."""
        raise NotImplementedError

    def entry(self, index: int) -> Entry | None:
        """The entry at ``index``, if it is held in memory."""
        raise NotImplementedError

    def tick(self, now_ns: int) -> None:
        """Lets time-outs fire. Cheap when none is due."""
        raise NotImplementedError

    def next_deadline_ns(self) -> int:
        """When :meth:`tick` must be called at the latest."""
        raise NotImplementedError

    def receive(self, message: Message, now_ns: int) -> None:
        """Takes in one message from a peer. Misdirected, stale and repeated messages do no harm."""
        raise NotImplementedError

    def propose(self, commands: Sequence[bytes]) -> tuple[int, int] | None:
        """Appends commands to the leader's log: (first index, term), or None when this server is not the leader.

        A command took effect if and only if the entry at its index comes out in ``Ready.committed`` with this term; another term there means
        that it certainly did not, and never will.
        """
        raise NotImplementedError

    def read(self, token: int, now_ns: int) -> None:
        """Asks for a linearizable read (ReadIndex, thesis 6.4); the answer is a ReadState with this token in some later Ready."""
        raise NotImplementedError

    def has_ready(self) -> bool:
        """Whether :meth:`ready` has anything to say."""
        raise NotImplementedError

    def ready(self) -> Ready:
        """What the shell must do now; each thing is said once."""
        raise NotImplementedError

    def persisted(self, index: int, term: int) -> None:
        """The log is durable up to ``index``, whose entry is of ``term``."""
        raise NotImplementedError

    def compacted(self, snapshot: Snapshot) -> None:
        """The shell made a snapshot of applied state durable: entries up to it may go, but for ``Timing.log_tail_entries``.

        Raises :class:`ValueError` if the snapshot is beyond what was handed out as committed.
        """
        raise NotImplementedError

    def snapshot_chunk(
        self, target: str, snapshot: Snapshot, *, offset: int, data: bytes, done: bool
    ) -> InstallSnapshot | None:
        """The message for one chunk to a follower; None when it is not to be sent (not the leader, or no longer wanted)."""
        raise NotImplementedError

    def chunk_reply(self, chunk: InstallSnapshot, *, next_offset: int) -> SnapshotReply:
        """The shell's answer to a stored (or ignored) chunk: the next byte that it wants. No promise, so it may be sent at once."""
        raise NotImplementedError

    def installed(self, snapshot: Snapshot) -> None:
        """The shell made a received snapshot durable. The next Ready says what becomes of it.

        Figure 13: if the log holds the snapshot's last entry, what follows it stays; else the whole log goes. A snapshot that is not newer than
        the commit index (it came late) changes nothing, and no ``install`` is said.
        """
        raise NotImplementedError
