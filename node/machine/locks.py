"""Locks: a key is held by one owner at a time, under a lease, with a fencing token.

**Tokens** are log indexes of the entry that took the lock, so they rise for ever, whatever was deleted, and no lock's
token is ever another's.

**Time.** Leases need time, and a deterministic machine has no clock. So the machine's time is what the log says: the
leader stamps the commands that need it, and the machine's time is the highest stamp that it has applied (it never goes
back). The stamps come from :class:`LeaderClock`: the machine's time when the node began to lead, plus what has passed
since on its *monotonic* clock; the construction is LogCabin's cluster clock (Ongaro's thesis, 6.3, needs the like for
sessions).

A lease may last longer than asked, never shorter, because the machine's time never runs faster than real time. Take an
owner whose command a leader stamped at some moment, and the stamp that ends its lease:

- Both by one leader: they differ by what its monotonic clock counted in between, or by less if it had to catch up with
  stamps of an earlier leader meanwhile. Steps of the wall clock don't touch that; pauses of the process count, rightly,
  for the owner's time passes too.
- The end by a later leader: it had the owner's entry in its log when it was elected, and began at a time that the log
  held, stamped by an earlier leader. The time in between is not counted at all: leases last longer by it.
- An entry that is committed late, or a second time by a retry with an older stamp, moves the machine's time by nothing.

The bound is the drift of two monotonic clocks, the leader's and the owner's. The owner, for its part, must count its
lease from the moment *before* it asked; and because it may be paused between looking at its clock and acting, what it
writes elsewhere must carry its token (a fence), and be refused if a higher one was seen. That is what a Put with a
fence is for (the planted bug two-lock-holders shows what happens without).

A lock is seen as held until a command is stamped behind the end of its lease. The owner that takes it again while it is
held keeps its token and renews the lease from now.
"""

from __future__ import annotations

from node import kv_pb2
from node.machine.held import Lock, bytes_of
from node.machine.result import OK, Result, ResultKind
from node.machine.state import FULL, State, new_weight, wrong_type
from node.serving.events import EventKind


class LeaderClock:
    """The time that a leader stamps commands with, in milliseconds of the machine's time."""

    def __init__(self) -> None:
        self._term = 0
        self._machine_ms = 0
        self._since_ns = 0

    def stamp_ms(self, term: int, machine_ms: int, now_ns: int) -> int:
        """The stamp of a command that arrived just now at the leader of ``term``; ``machine_ms`` is the machine's time,
        ``now_ns`` the monotonic clock.
        """
        stamp_ms = self._machine_ms + (now_ns - self._since_ns) // 1_000_000
        if term != self._term or machine_ms > stamp_ms:  # a new leader, or one that catches up with those before it
            self._term, self._machine_ms, self._since_ns = term, machine_ms, now_ns
            return max(machine_ms, 1)
        return max(stamp_ms, 1)


def acquire(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Takes the lock if it is free, or renews the owner's lease; tells the token, the holder's if somebody else holds
    it.
    """
    key, wish, lock = request.key, request.acquire, state.get(request.key)
    if lock is not None and not isinstance(lock, Lock):
        return wrong_type(key, lock, "lock")
    token = lock.token_at(state.now_ms) if lock is not None else 0
    if token and lock is not None and lock.owner != wish.owner:
        return Result(ResultKind.MISMATCH, token)
    token = token or state.index
    until_ms = state.now_ms + wish.lease_ms if wish.lease_ms else 0
    growth = bytes_of(wish.owner) - bytes_of(lock.owner) if lock else new_weight(key) + bytes_of(wish.owner) + 24
    if not state.has_room(growth):
        return FULL
    state.put(key, Lock(wish.owner, token, until_ms), growth)
    state.tell(EventKind.PUT, key, token)
    return Result(ResultKind.OK, token)


def release(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Frees the lock, if this owner holds it (by this token)."""
    key, wish, lock = request.key, request.release, state.get(request.key)
    if lock is None:
        return Result(ResultKind.MISMATCH, 0)
    if not isinstance(lock, Lock):
        return wrong_type(key, lock, "lock")
    token = lock.token_at(state.now_ms)
    if not token or lock.owner != wish.owner or wish.token not in (0, token):
        return Result(ResultKind.MISMATCH, token)
    state.put(key, Lock("", 0, 0), -bytes_of(lock.owner))
    state.tell(EventKind.PUT, key, 0)
    return OK
