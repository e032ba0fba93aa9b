"""What ``raftkv`` promises (docs/node.md): it syncs before it answers, reads by asking a majority (ReadIndex) unless it
is asked to read by lease, and stops rather than go on with a disk that it cannot trust.
"""

from __future__ import annotations

from faults.rot import SPARE_TAIL
from harness.systems.promises import (
    Hit,
    MayStop,
    Promise,
    Promises,
    minority_damaged,
    more_than_slow,
    reported_errors,
)

CLOCK_ERROR_MAX = 0.02
"""Of the rate of a node's CLOCK_MONOTONIC: two nodes that err in opposite directions stay within the 5 % by which a
lease is shorter than the patience of voters (``Timing.clock_drift_permille``).
"""

EXIT_DAMAGED = 65
EXIT_DISK = 74
EXIT_PYTHON = 1
"""Of a node that was started with too few files to be read as a program: before it could say anything itself."""
STOPS = frozenset({"CRASH", "fatal"})
"""A node that gives up says so in its log; a defect that it says so about is still known by its status."""


def older_data_of_a_minority(hit: Hit) -> bool:
    """Damage in the newest records looks like a torn write, which a node cuts off: nobody can tell them apart."""
    return minority_damaged(hit) and hit.resolved.get("spare_tail", SPARE_TAIL) >= SPARE_TAIL


def clocks_that_leases_bear(hit: Hit) -> bool:
    """Any error, unless the load reads by lease: that rests on durations, measured by CLOCK_MONOTONIC."""
    if hit.reads != "lease" or hit.resolved.get("clock") != "monotonic":
        return True
    drift = hit.resolved.get("drift")
    return drift is not None and abs(drift) <= CLOCK_ERROR_MAX


RAFTKV_PROMISES = Promises(
    one_way_progress=True,
    table={
        "kill": Promise(words="any number of nodes, as often as you like: entries and votes are synced before answers"),
        "pause": Promise(words="any number of nodes, for any time"),
        "partition": Promise(
            words="any cut, in one direction too; it serves where a majority of the nodes reach each other"
        ),
        "network": Promise(words="any delay, loss, repetition, reordering, rate, and corruption that checksums notice"),
        "clock": Promise(
            words="any error of CLOCK_REALTIME; of CLOCK_MONOTONIC any, too, for what is acknowledged, and for reads "
            "that are not by lease: only the time of elections depends on it. For reads by lease no jump of "
            "CLOCK_MONOTONIC, and a rate that is wrong by 2 % at most",
            covers=clocks_that_leases_bear,
        ),
        "power": Promise(words="any number of nodes, together or in turn"),
        "disk": Promise(
            words="any error that the disk reports, on any number of nodes: the node stops (status 74), starts again "
            "when the disk works, and loses nothing that was acknowledged",
            may_stop=MayStop(
                why="a node that meets an error of its disk has to stop",
                statuses=frozenset({EXIT_DISK}),
                when=reported_errors,
            ),
        ),
        "rot": Promise(
            words="in the data of less than half of the nodes over the life of the cluster, but not in the last group "
            "commit of a log: the node refuses to start (status 65) or goes on with what is right",
            covers=older_data_of_a_minority,
            may_stop=MayStop(
                why="a node whose data is damaged has every right not to start",
                statuses=frozenset({EXIT_DISK, EXIT_DAMAGED}),
                kinds=STOPS,
            ),
        ),
        "resource": Promise(
            words="any lack of processor, memory, files or room on the disk: it is slow, or stops, and loses nothing",
            may_stop=MayStop(
                why="a node that is given too little memory, files or room may stop",
                statuses=frozenset({EXIT_DISK, EXIT_PYTHON, -9, 137}),
                kinds=STOPS | {"traceback"},
                when=more_than_slow,
            ),
        ),
        "membership": Promise(
            words="changes by its own calls, one at a time or joint, of any member, the leader too; who joins does so "
            "without data and under the identity that it was given"
        ),
        "leadership": Promise(words="any transfer of the leadership"),
        "message": Promise(words="any delay, loss, repetition or reordering of any messages"),
    },
)
