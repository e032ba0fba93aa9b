"""What etcd promises, as its documentation says: linearizable reads and writes by Raft with a synced log; leases and
locks that depend on clocks are not asked for here.
"""

from __future__ import annotations

from checkers.runs.logs import LogPattern
from harness.systems.promises import MayStop, Promise, Promises, minority_failing, more_than_slow, reported_errors

STOPS = frozenset({"CRASH", "panic", "fatal"})
"""etcd stops by logging a fatal error or by a panic."""
REMOVED_PANIC = LogPattern(
    name="removed member panicked",
    regex="failed to find local ID in cluster members",
    message="panicked because it is no member any more",
)
"""A kind of its own, so that it hides no other panic of the node. Seen with 3.4.23 in one of twenty runs that remove
members.
"""


ETCD_PROMISES = Promises(
    table={
        "kill": Promise(words="any number of nodes: the log is synced before an answer"),
        "pause": Promise(words="any number of nodes, for any time"),
        "partition": Promise(words="any cut; it serves where a majority of the nodes reach each other"),
        "network": Promise(words="any delay, loss, repetition, reordering, rate, and corruption that checksums notice"),
        "clock": Promise(words="any error, for reads and writes of keys; leases and locks depend on clocks"),
        "power": Promise(words="any number of nodes, together or in turn"),
        "disk": Promise(
            words="errors of the disks of less than half of the nodes at a time: the node stops",
            covers=minority_failing,
            may_stop=MayStop(
                why="a node that meets an error of its disk has to stop", kinds=STOPS, when=reported_errors
            ),
        ),
        "resource": Promise(
            words="any lack of processor, memory, files or room on the disk: it is slow, refuses writes, or stops",
            may_stop=MayStop(
                why="a node that is given too little memory, files or room may stop", kinds=STOPS, when=more_than_slow
            ),
        ),
        "membership": Promise(
            words="changes by its own calls, one at a time, a new node without data",
            may_stop=MayStop(
                why="who was taken out has to stop; asked for its status at that moment, etcd panics instead "
                "(etcd-io/etcd#21966)",
                kinds=frozenset({REMOVED_PANIC.name}),
            ),
        ),
        "leadership": Promise(words="any transfer of the leadership"),
    },
)
"""Nothing is promised about rot: the pages of its database carry no checksums (the log's records do)."""
