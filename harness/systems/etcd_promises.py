"""What etcd promises, as its documentation says: linearizable reads and writes by Raft with a synced log; leases and
locks that depend on clocks are not asked for here.
"""

from __future__ import annotations

from harness.systems.promises import Hit, MayStop, Promise, Promises

STOPS = frozenset({"CRASH", "panic", "fatal"})
"""etcd stops by logging a fatal error or by a panic."""


def minority_hit(hit: Hit) -> bool:
    """Less than half of the nodes at a time."""
    return len(set(hit.targets)) * 2 < len(hit.nodes)


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
            covers=minority_hit,
            may_stop=MayStop(why="a node that meets an error of its disk has to stop", kinds=STOPS),
        ),
        "resource": Promise(
            words="any lack of processor, memory, files or room on the disk: it is slow, refuses writes, or stops",
            may_stop=MayStop(why="a node that is given too little may stop", kinds=STOPS),
        ),
        "membership": Promise(words="changes by its own calls, one at a time, a new node without data"),
        "leadership": Promise(words="any transfer of the leadership"),
    },
)
"""Nothing is promised about rot: the pages of its database carry no checksums (the log's records do)."""
