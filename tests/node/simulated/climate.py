"""How rough a run is. Even the *settings* are drawn from the seed (after "swarm testing", Groce et al. 2012): a run
without loss but with tiny append windows finds other bugs than the average of all.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from node.raft.core import Timing
from node.raft.timing import MS

DRIFT_PPM_PROMISED = 24_000
"""A clock that much too fast gains 49 thousandths on one that much too slow: ``Timing.clock_drift_permille`` is 50."""


@dataclass(frozen=True, kw_only=True)
class Climate:
    """Settings of one run. Weights are those of a draw among faults."""

    size: int
    """Servers of the first configuration."""
    loss: float
    duplicate: float
    delay_ns: int
    """The longest ordinary delay of a message."""
    straggle: float
    """Share of messages that take up to two seconds instead."""
    fault_every_ns: int
    call_every_ns: int
    write: float
    """Share of a client's calls that write something."""
    sync_ns: int
    """The longest that an ordinary sync takes."""
    turn_ns: int
    """The longest that a server gathers events before it asks its core what to do."""
    crash: int
    crash_all: float
    """Share of crashes that hit everyone at once."""
    down_ns: int
    """The longest time that a crashed server stays down."""
    partition: int
    pause: int
    slow_disk: int
    clock_step: int
    heal: int
    topple: float
    """Share of new leaders that are struck down within a few messages of their election."""
    compact_every: int
    chunks: int
    """In how many messages a snapshot travels."""
    drift_ppm: int
    """Clocks run at most this much too fast or too slow."""
    change_every_ns: int
    """How often somebody changes the membership or hands the leadership over; 0: never."""
    timing: Timing

    @property
    def drift_is_promised(self) -> bool:
        """Whether clocks are as good as reads by lease rely on."""
        return self.drift_ppm <= DRIFT_PPM_PROMISED


def draw_climate(stream: random.Random) -> Climate:
    """Settings for one run."""
    pick = stream.choice
    return Climate(
        size=pick((1, 2, 3, 3, 3, 3, 4, 5, 5, 5)),
        loss=pick((0, 0, 0.02, 0.2)),
        duplicate=pick((0, 0.02, 0.2)),
        delay_ns=pick((1, 1, 20, 100, 300)) * MS,
        straggle=pick((0, 0, 0.02, 0.1)),
        fault_every_ns=pick((30, 100, 300, 1000)) * MS,
        call_every_ns=pick((2, 10, 10, 50)) * MS,
        write=pick((0.2, 0.7)),
        sync_ns=pick((0, 1, 20)) * MS,
        turn_ns=pick((0, 0, 2, 20)) * MS,
        crash=pick((0, 1, 4)),
        crash_all=pick((0, 0.1, 0.5)),
        down_ns=pick((20, 400, 400, 2000)) * MS,
        partition=pick((0, 1, 4)),
        pause=pick((0, 1)),
        slow_disk=pick((0, 0, 1)),
        clock_step=pick((0, 1, 4)),
        heal=pick((1, 1, 4)),
        topple=pick((0, 0.3, 0.6, 0.9)),
        compact_every=pick((5, 30, 10**9)),
        chunks=pick((1, 3)),
        drift_ppm=pick((0, 200, DRIFT_PPM_PROMISED, 200_000)),
        change_every_ns=pick((0, 20, 100, 400)) * MS,
        timing=_draw_timing(stream),
    )


def _draw_timing(stream: random.Random) -> Timing:
    pick = stream.choice
    # Not many small ones at a time: while the network reorders, each that comes too early is refused and sent again.
    entries, inflight = pick(((1, 1), (1, 2), (1, 8), (2, 1), (2, 8), (64, 1), (64, 2), (64, 64)))
    return Timing(
        election_ns_min=150 * MS,
        election_ns_max=pick((160, 200, 300, 600)) * MS,
        first_election_ns_min=50 * MS,
        first_election_ns_max=150 * MS,
        heartbeat_ns=40 * MS,
        snapshot_retry_ns=300 * MS,
        entries_per_append_max=entries,
        bytes_per_append_max=pick((8, 1 << 20)),
        inflight_appends_max=inflight,
        read_rounds_max=pick((1, 16)),
        entries_per_ready_max=pick((1, 3, 4096)),
        log_tail_entries=pick((0, 3, 100)),
        clock_drift_permille=50,
    )
