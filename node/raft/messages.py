"""The words of the Raft core: what goes in, what comes out. Plain frozen facts, no I/O.

The core (:mod:`node.raft.core`) is a state machine in the style of etcd-io/raft: messages, proposals and the time go
in; a :class:`Ready` comes out and says what must be durable *before* which messages may be sent. Sources: Ongaro &
Ousterhout, "In Search of an Understandable Consensus Algorithm" (2014), figures 2 and 13; Ongaro's thesis (2014),
3.6, 6.3, 6.4, 9.6 (PreVote); etcd-io/raft ``node.go`` (``Ready``).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import NamedTuple, Self

import msgspec


class Role(enum.StrEnum):
    """The state of a server; pre-candidates ask whether an election could be won before they disturb anyone."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class EntryKind(enum.IntEnum):
    """What an entry carries."""

    NOOP = 0
    COMMAND = 1
    CONFIG = 2
    """A :class:`Configuration`, which is in force from the moment it stands in a log (section 6)."""


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One log entry. ``data`` is opaque to the core.

    A struct of msgspec, because a node makes one of every entry that arrives, and keeps the log's in memory: a fifth of
    a frozen dataclass's time and less space. No garbage is looked for in it: it holds no container.
    """

    index: int
    term: int
    kind: EntryKind
    data: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Who belongs to the cluster (section 6; thesis, chapter 4).

    While ``outgoing`` is not empty the configuration is joint: every decision needs a majority of ``voters`` *and* a
    majority of ``outgoing``. ``learners`` are sent the log and count for nothing.
    """

    voters: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()

    @property
    def sets(self) -> tuple[tuple[str, ...], ...]:
        """The sets of voters of which every decision needs a majority each."""
        return (self.voters, self.outgoing) if self.outgoing else (self.voters,)

    @property
    def electorate(self) -> tuple[str, ...]:
        """All whose votes count, each once."""
        return tuple(dict.fromkeys((*self.voters, *self.outgoing)))

    @property
    def members(self) -> tuple[str, ...]:
        """All who are sent the log, each once."""
        return tuple(dict.fromkeys((*self.voters, *self.outgoing, *self.learners)))


@dataclass(frozen=True, slots=True, kw_only=True)
class HardState:
    """What a server must never forget (figure 2, persistent state), apart from the log."""

    term: int = 0
    vote: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A snapshot's metadata: it stands for every entry up to ``index``. The bytes are the shell's business, in
    chunks."""

    index: int = 0
    term: int = 0
    voters: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()

    @classmethod
    def of(cls, index: int, term: int, configuration: Configuration) -> Self:
        """One up to the entry at ``index``, as of which this configuration is in force."""
        return cls(
            index=index,
            term=term,
            voters=configuration.voters,
            outgoing=configuration.outgoing,
            learners=configuration.learners,
        )

    @property
    def configuration(self) -> Configuration:
        """The cluster as of the last entry that it stands for."""
        return Configuration(voters=self.voters, outgoing=self.outgoing, learners=self.learners)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What the shell read from disk at start: the input from which a core is built."""

    hard_state: HardState = HardState()
    snapshot: Snapshot = Snapshot()
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Common to all messages: who to whom, in which term. ``term`` is the sender's (for PreVote requests: the term
    it would have)."""

    source: str
    target: str
    term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestVote(Message):
    """Figure 2; with ``pre`` it is thesis 9.6's question that changes nobody's state."""

    last_index: int
    last_term: int
    pre: bool = False
    transfer: bool = False
    """The leader itself asked for this election (thesis 3.10): voters that hear it still answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteReply(Message):
    """The answer. ``term`` is the voter's term, or for a granted PreVote the term asked for."""

    granted: bool
    pre: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendEntries(Message):
    """Replication and heartbeat. ``read_round`` confirms leadership for ReadIndex (thesis 6.4): it is echoed in the
    reply. ``patience_ns`` is the shortest election time-out that fits the network as the leader measures it; 0: as
    configured (:mod:`node.raft.adaptive`).
    """

    prev_index: int
    prev_term: int
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    read_round: int = 0
    patience_ns: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendReply(Message):
    """``match`` is the last index known to agree when ``success``; else the hints of conflict-term back-tracking.

    A refusal names the ``prev_index`` that it refuses (``refused_index``), so that a late one is told from a fresh
    one. ``conflict_term`` is the term of the follower's entry there and ``conflict_index`` the first index of that
    term; without such an entry ``conflict_term`` is 0 and ``conflict_index`` the end of the follower's log plus one.
    ``fitness`` says how well the follower would lead, by its own account (:mod:`node.raft.preference`).
    """

    success: bool
    match: int = 0
    refused_index: int = 0
    conflict_index: int = 0
    conflict_term: int = 0
    read_round: int = 0
    fitness: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallSnapshot(Message):
    """One chunk of a snapshot (figure 13)."""

    snapshot: Snapshot
    offset: int
    data: bytes
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotReply(Message):
    """``next_offset`` is the first byte still wanted; ``done`` when the snapshot is installed and durable."""

    index: int
    next_offset: int
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutNow(Message):
    """Leadership transfer (thesis 3.10): the receiver begins an election at once, without asking for pre-votes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRequest(Message):
    """A follower asks the leader for a read index (thesis 6.4, last paragraph). ``token`` is the follower's own."""

    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadReply(Message):
    """The answer: the follower may serve once it has applied up to ``index``; None: not the leader (any more)."""

    token: int
    index: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadState:
    """The fate of one linearizable read: serve it once ``index`` is applied; ``index`` None means "not the leader
    (any more)"."""

    token: int
    index: int | None


class Adoption(NamedTuple):
    """A configuration came into force: ``since`` is the index of its entry, ``commit`` the commit index then, if that
    had moved since the last Ready.
    """

    since: int
    configuration: Configuration
    commit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What the shell must do now, in this order:

    1. send ``messages_now`` (a leader's AppendEntries: replication may overlap the leader's own disk write, thesis
       10.2.1);
    2. persist, in this order: write ``hard_state``; cut the log from ``truncate_from`` on; if ``install`` is set,
       reset the durable log to begin after ``install.index`` (see below); append ``entries`` -- then one sync if
       ``must_sync``. A crash may leave any prefix of this;
    3. tell the core ``persisted(last durable index, its term)`` -- a leader counts itself only then;
    4. send ``messages_after_persist`` (votes, append replies: promises that the disk must be able to keep);
    5. if ``install`` is set, load the state machine from that snapshot; apply ``committed``, answer their
       proposers, then serve ``reads`` whose index is applied;
    6. act on ``snapshots_wanted``: for each named follower, send the current snapshot in chunks
       (:meth:`node.raft.core.Raft.snapshot_chunk`); act on ``chunks``: store each, see
       :meth:`node.raft.core.Raft.installed`.

    Several Readies may be under way (an asynchronous sync), as long as each one's steps 2-5 are done after those of
    the one before.

    ``install`` means: the durable log must from now on say "begins after ``install.index``, ``install.term``", so that
    a replay forgets every older entry up to that index. With it, ``truncate_from`` says whether the entries behind the
    snapshot go too (figure 13); those must be cut *before* the mark is written, or a crash in between would leave a
    suffix that does not belong to the snapshot. It may also come in the first Ready after a start, when a crash fell
    between storing a snapshot and resetting the log.

    ``role`` and ``leader`` are both set when either changed (``role`` None: no news), for traces and for refusing
    clients that ask the wrong node. ``commit`` is set when the commit index moved; ``committed`` may lag behind it
    by a batch limit and follows in the next Ready.

    ``configurations``: each that came into force, by an entry or by the cut of one, in order. What was committed before
    was counted by the one before: a leader may append a configuration and commit more within one Ready.
    After an ``install`` the core's whole history (:attr:`node.raft.membership.Membership.configurations`) is new.
    """

    messages_now: tuple[Message, ...] = ()
    hard_state: HardState | None = None
    truncate_from: int | None = None
    entries: tuple[Entry, ...] = ()
    must_sync: bool = False
    messages_after_persist: tuple[Message, ...] = ()
    committed: tuple[Entry, ...] = ()
    commit: int | None = None
    reads: tuple[ReadState, ...] = ()
    snapshots_wanted: tuple[str, ...] = ()
    chunks: tuple[InstallSnapshot, ...] = ()
    install: Snapshot | None = None
    role: Role | None = None
    leader: str | None = None
    configurations: tuple[Adoption, ...] = ()
