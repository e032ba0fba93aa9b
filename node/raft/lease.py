"""Reads by lease: a leader that was confirmed a moment ago serves without asking again (thesis 6.4.1).

**Why it is sound.** A voter that heard a leader refuses every vote for one minimum election time-out *E* from then on
(:meth:`node.raft.election.Election.disturbs`, thesis 4.2.3). A round that a majority echoed was heard by each of them
after it was *sent*. Any other leader needs a vote of one of them; so nobody else is elected within *E* of the sending,
by the clock of that voter. The leader measures by its own: the lease lasts ``Timing.lease_ns``, which is shorter than
*E* by the drift bound (``Timing.clock_drift_permille``: while one node's monotonic clock advances by 1, another's
advances by at most 1 + bound). Clocks are never compared, only durations.

**What would break it, and what is done about it.**

- *A voter forgets.* After a restart a voter cannot know whom it heard, so it counts as having heard a leader at its
  start, and refuses votes for *E* (unless it was never in any term: then it answered nobody). Nor does it forget when
  it learns of a newer term from a third server: what counts is when a leader spoke, see ``Server.hears_leader``.
- *A vote that is meant to pass.* A transfer of the leadership asks voters to vote although they hear a leader (thesis
  3.10). A leader that has ever asked anyone for that, in this term, has no lease until the term ends
  (:meth:`Lease.give_up_lease`): the TimeoutNow may be delayed for any time.
- *Another majority.* Rounds are counted by the configuration in force, and there is no lease while that is joint or not
  committed.
- *Another election time-out.* *E* is the configured minimum, which must be the same on all nodes; adaptive time-outs
  never go below it.
- *A pause.* The time is read when a read is served, after it arrived, never at the beginning of the turn. Between that
  and the reply the process may stop for any time: the value was the newest at the moment of the check, which lies
  between the call and its reply, and nothing else can run in this process between check and value.
- *A leader that knows too little.* As with ReadIndex an entry of its own term must be committed, and the read waits
  until the commit index of the moment is applied.
"""

from __future__ import annotations

from collections import deque

from node.raft.messages import Role
from node.raft.reads import Reads

OPEN_ROUNDS_MAX = 64
"""Rounds whose sending is remembered until a majority echoed them; beyond, the oldest is forgotten, which only makes
the lease shorter.
"""

NEVER_NS = -(1 << 62)


class Lease(Reads):
    """When this leadership was last confirmed, by the leader's own clock."""

    lease_start_ns = NEVER_NS
    """When the newest round was sent that a majority echoed."""
    lease_given_up = False
    """For the rest of this term."""
    _open_rounds: deque[tuple[int, int]]

    def leadership_begins(self) -> None:
        """Nothing is confirmed yet."""
        self.lease_start_ns = NEVER_NS
        self.lease_given_up = False
        self._open_rounds = deque(maxlen=OPEN_ROUNDS_MAX)
        super().leadership_begins()

    def give_up_lease(self) -> None:
        """To be called before anybody is told to stand against this leader (leadership transfer)."""
        self.lease_given_up = True

    def lease_time_ns(self, now_ns: int) -> int:
        """The clock that leases are measured by: it must tell how much time has passed, whatever the time of day."""
        return now_ns

    def heartbeat(self) -> None:
        """Every heartbeat is a round, so that a lease is renewed without any reads."""
        super().heartbeat()
        if self.role is Role.LEADER:
            self.begin_round()

    def begin_round(self) -> None:
        """Notes when, before anything of it is sent."""
        super().begin_round()
        self._open_rounds.append((self.read_round, self.lease_time_ns(self.now_ns)))

    def confirm_reads(self) -> None:
        """Whatever confirms a round may renew the lease."""
        self.renew_lease()
        super().confirm_reads()

    def renew_lease(self) -> None:
        """The lease begins with the newest round that a majority echoed."""
        while self._open_rounds and self.round_is_confirmed(self._open_rounds[0][0]):
            self.lease_start_ns = self._open_rounds.popleft()[1]

    def lease_is_possible(self) -> bool:
        """Whether votes for others would have to come from the majority that confirmed, and would be refused."""
        return self.role is Role.LEADER and not self.lease_given_up and not self.configuration_is_changing()

    def configuration_is_changing(self) -> bool:
        """Whether more than one majority matters at present."""
        return self.configuration_index > self.commit or bool(self.configuration.outgoing)

    def lease_index(self, now_ns: int) -> int | None:
        """Up to which index must be applied before a read that arrived *before* ``now_ns`` is served without asking
        anyone; None when there is no lease that lasts at ``now_ns``.
        """
        if not self.lease_is_possible() or not self.read_is_allowed():
            return None
        if self.lease_time_ns(now_ns) - self.lease_start_ns >= self.timing.lease_ns:
            return None
        return self.commit
