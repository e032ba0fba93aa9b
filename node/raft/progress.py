"""What a leader knows of one follower, after etcd-io/raft's ``tracker.Progress``.

PROBE --success--> REPLICATE --refusal--> PROBE            (one append at a time | many under way)
  \\------ next entry compacted away ------> SNAPSHOT ------ done, or caught up another way ------> REPLICATE
"""

from __future__ import annotations

import enum
from collections import deque


class ProgressState(enum.Enum):
    """How a follower is fed."""

    PROBE = "probe"
    """Where its log ends in agreement is not known: one append at a time."""
    REPLICATE = "replicate"
    """It keeps up: appends are sent before earlier ones are answered."""
    SNAPSHOT = "snapshot"
    """What it needs is compacted away: the shell sends a snapshot, the core only heartbeats."""


class Progress:
    """Mutable, owned by the leader's replication."""

    __slots__ = (
        "contact_ns",
        "fitness",
        "heard",
        "inflight",
        "inflight_bytes",
        "match",
        "name",
        "next",
        "probing",
        "read_round",
        "snapshot_index",
        "snapshot_ns",
        "state",
    )

    def __init__(self, name: str, *, next_index: int, now_ns: int) -> None:
        self.name = name
        self.state = ProgressState.PROBE
        self.match = 0
        """The highest index known to agree (figure 2, matchIndex)."""
        self.next = next_index
        """The next index to send (figure 2, nextIndex)."""
        self.probing = False
        """A probe is under way; the next one waits for its answer or for a heartbeat."""
        self.inflight: deque[tuple[int, int]] = deque()
        """Last indices and bytes of appends that are under way, in order."""
        self.inflight_bytes = 0
        """All of them together."""
        self.read_round = 0
        """The highest read round that it echoed."""
        self.contact_ns = now_ns
        """When it was last heard in this term."""
        self.fitness = 0
        """How well it would lead, by its own account."""
        self.heard = False
        """Whether it ever was."""
        self.snapshot_ns = 0
        """When a snapshot was last asked for, or last heard of."""
        self.snapshot_index = 0
        """Which one it is sent, or was sent and has not caught up since; 0: none."""

    def hear(self, now_ns: int) -> None:
        """It answered."""
        self.contact_ns = now_ns
        self.heard = True

    def replicate_from(self, index: int) -> None:
        """It agrees up to ``index - 1``: feed it from there."""
        self.state = ProgressState.REPLICATE
        self.next = index
        self.probing = False
        self._forget_inflight()

    def probe_from(self, index: int) -> None:
        """It refused: look for the agreement from ``index`` downwards."""
        self.state = ProgressState.PROBE
        self.next = index
        self.probing = False
        self._forget_inflight()

    def wait_for_snapshot(self, now_ns: int, newest: int) -> None:
        """Nothing but a snapshot helps: the newest one, unless another is under way."""
        if self.state is not ProgressState.SNAPSHOT:
            self.snapshot_index = newest
        self.state = ProgressState.SNAPSHOT
        self.probing = False
        self._forget_inflight()
        self.snapshot_ns = now_ns

    def acknowledge(self, index: int) -> None:
        """It agrees up to ``index``: that much room in the window is free again."""
        if index > self.match:
            self.match = index
        inflight = self.inflight
        while inflight and inflight[0][0] <= index:
            self.inflight_bytes -= inflight.popleft()[1]

    def sent(self, count: int, size: int) -> None:
        """An append with so many entries and bytes is under way."""
        self.next += count
        self.inflight.append((self.next - 1, size))
        self.inflight_bytes += size

    def _forget_inflight(self) -> None:
        self.inflight.clear()
        self.inflight_bytes = 0
