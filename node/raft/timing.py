"""How patient a server is, and how much it sends at once: the core's only settings.

Safety never depends on any of these numbers (section 5.4 of the paper: "safety must not depend on timing"), but for
reads by lease, which need clocks that run at about the same rate. They decide availability and throughput. The defaults
suit several Python nodes on two cores, where time-outs of 150-300 ms were measured to flap.
"""

from __future__ import annotations

from dataclasses import dataclass

MS = 1_000_000
"""Nanoseconds in a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times in nanoseconds of the shell's monotonic clock, limits in entries, bytes and messages.

    Raises :class:`ValueError` when an interval is empty or a heartbeat is not shorter than an election time-out.
    """

    election_ns_min: int = 500 * MS
    """Shortest election time-out. A server that heard a leader within this time refuses its vote (thesis 4.2.3)."""

    election_ns_max: int = 1000 * MS
    """Longest election time-out; also the time after which a leader that hears no majority steps down (CheckQuorum)."""

    first_election_ns_min: int = 100 * MS
    """The same for a server that has an empty log and knows no leader: see
    :meth:`node.raft.server.Server.election_interval`."""

    first_election_ns_max: int = 300 * MS

    heartbeat_ns: int = 100 * MS
    """A leader speaks to each follower at least this often."""

    adaptive: bool = False
    """Whether election time-outs and heartbeats are fitted to measured round trips, within the range from
    ``election_ns_min`` to ``election_ns_max`` (:mod:`node.raft.adaptive`)."""

    priority: int = 100
    """0 to 100: how much this server is wanted as a leader (:mod:`node.raft.preference`)."""

    handover_ns: int = 5000 * MS
    """For how long another must be the better leader before the leadership is handed over."""

    clock_drift_permille: int = 50
    """While the monotonic clock of one node advances by 1, that of another advances by at most 1 + this / 1000. The
    only number that safety depends on, of reads by lease alone (:mod:`node.raft.lease`); machines in order stay below
    1.
    """

    snapshot_retry_ns: int = 2000 * MS
    """A leader that hears nothing of a snapshot under way for this long asks its shell to send it again."""

    snapshot_patience_ns: int = 10_000 * MS
    """For how long a follower that is being sent a snapshot may be silent (its disk is busy with it, perhaps) before
    what is kept for its sake goes.
    """

    entries_per_append_max: int = 1024
    bytes_per_append_max: int = 1 << 20
    """Bounds one AppendEntries; a single larger entry still travels, alone."""

    inflight_appends_max: int = 64
    """AppendEntries with entries that a follower may have unanswered; a full window is where batches grow."""

    inflight_bytes_max: int = 8 << 20
    """The same in bytes; the last one may exceed it. Far below what waits for a slow connection
    (``node.network.transport.QUEUE_BYTES_MAX``): what is too much there is lost, beginning with what the follower needs
    first.
    """

    read_rounds_max: int = 16
    """ReadIndex rounds under way at once; later reads join the next round."""

    entries_per_ready_max: int = 4096
    """Committed entries handed out by one Ready, so that catching up never holds the shell's loop for long."""

    log_tail_entries: int = 1000
    """Entries below a snapshot that stay in memory, so that a slightly slow follower needs no snapshot."""

    log_tail_bytes_max: int = 32 << 20
    """The same in bytes: fewer entries stay if they are large."""

    log_kept_entries_max: int = 200_000
    log_kept_bytes_max: int = 256 << 20
    """What may stay in memory for the sake of followers that are being sent a snapshot: enough for some seconds of
    writes, so that who has installed it can go on from there.
    """

    @property
    def lease_ns(self) -> int:
        """How long a leader may read without asking, from the sending of a round that a majority echoed."""
        return self.election_ns_min * 1000 // (1000 + self.clock_drift_permille)

    @property
    def forward_ns(self) -> int:
        """How long a follower waits for the leader's answer to a read before it refuses."""
        return self.election_ns_max

    def __post_init__(self) -> None:
        for low, high in (("election_ns_min", "election_ns_max"), ("first_election_ns_min", "first_election_ns_max")):
            if not 0 < getattr(self, low) < getattr(self, high):
                raise ValueError(f"{low}={getattr(self, low)} must be positive and below {high}={getattr(self, high)}")
        if not 0 <= self.priority <= 100:
            raise ValueError(f"priority={self.priority} must be from 0 to 100")
        if not 0 < self.heartbeat_ns < self.election_ns_min:
            raise ValueError(
                f"heartbeat_ns={self.heartbeat_ns} must be positive and below election_ns_min={self.election_ns_min}"
            )
