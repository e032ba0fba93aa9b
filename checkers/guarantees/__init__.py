"""Promises that are no linearizability: one file each, one pass each."""

from collections.abc import Mapping

from checkers.guarantees.bank import BANK
from checkers.guarantees.counter_bounds import COUNTER_BOUNDS
from checkers.guarantees.durability import DURABILITY
from checkers.guarantees.guarantee import Guarantee
from checkers.guarantees.leased_lock import LEASED_LOCK
from checkers.guarantees.long_fork import LONG_FORK
from checkers.guarantees.replica_hashes import REPLICA_HASHES
from checkers.guarantees.sessions import SESSIONS
from checkers.guarantees.set_full import SET_FULL
from checkers.guarantees.staleness import STALENESS
from checkers.guarantees.total_queue import TOTAL_QUEUE
from checkers.guarantees.unique_ids import UNIQUE_IDS
from checkers.guarantees.watch import WATCH

GUARANTEES: Mapping[str, Guarantee] = {
    guarantee.name: guarantee
    for guarantee in (
        *(SET_FULL, TOTAL_QUEUE, BANK, UNIQUE_IDS, LONG_FORK, COUNTER_BOUNDS),
        *(SESSIONS, DURABILITY, STALENESS, WATCH, REPLICA_HASHES, LEASED_LOCK),
    )
}
"""Every guarantee by the name that users say."""
