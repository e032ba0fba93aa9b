"""The state of one Raft server, and the few transitions that every part of the algorithm shares.

The core is layered by inheritance, one part of the algorithm a file, each layer leaning only on those before it:
:class:`Server` -> :class:`~node.raft.membership.Membership` -> :class:`~node.raft.election.Election` ->
:class:`~node.raft.follower.Follower` -> :class:`~node.raft.replication.Replication` -> :class:`~node.raft.reads.Reads`
-> :class:`~node.raft.lease.Lease` -> :class:`~node.raft.forwarding.Forwarding` -> :class:`~node.raft.adaptive.Adaptive`
-> :class:`~node.raft.catchup.Catchup` -> :class:`~node.raft.changes.Changes` -> :class:`~node.raft.transfer.Transfer`
-> :class:`~node.raft.preference.Preference` -> :class:`~node.raft.core.Raft`. Inheritance, because each safety decision
of the whole algorithm must be one method of one class: that is what a planted bug overrides (:mod:`node.zoo`). The two
hooks at the end are how a lower layer tells the upper ones that leadership begins or ends.
"""

from __future__ import annotations

import random

from node.raft.log import Log
from node.raft.messages import HardState, Message, ReadState, Recovered, Role
from node.raft.outbox import Outbox
from node.raft.timing import Timing


class Server:
    """Figure 2's state, the clock as last told, and what waits for the next Ready."""

    def __init__(
        self,
        *,
        name: str,
        recovered: Recovered,
        timing: Timing,
        random: random.Random,
        now_ns: int,
    ) -> None:
        self.name = name
        self.timing = timing
        self.now_ns = now_ns
        self._random = random

        self.term = recovered.hard_state.term
        self.vote = recovered.hard_state.vote
        self.snapshot = recovered.snapshot
        self.log = Log()
        log_conflicted = not self.log.restore(recovered.snapshot, recovered.entries)
        if self.log.last_term > self.term:
            # A crash fell between writing entries and the term that came with them. Nobody was answered in that
            # term, or it would be on disk: so no vote was given in it.
            self.enter_term(self.log.last_term)

        self.role = Role.FOLLOWER
        self.leader: str | None = None
        self.commit = self.applied = (
            recovered.snapshot.index
        )  # figure 2 says 0; a snapshot holds only what is committed
        self.leader_contact_ns = now_ns - (0 if self.term else timing.election_ns_min)
        """When a leader was last heard. A server that has been in a term may have heard one just before it crashed, and
        that leader may read by a lease that rests on it (:mod:`node.raft.lease`); so it counts as having heard one
        now.
        """
        self.restart_election_timer(redraw=True)

        self.outbox = Outbox()
        if log_conflicted:  # a crash fell between storing a snapshot and resetting the log: the disk must be told again
            self.outbox.install = self.snapshot
        self._hard_state_told = (recovered.hard_state.term, recovered.hard_state.vote)
        self._standing_told: tuple[Role, str | None] = (self.role, self.leader)
        self._commit_told = self.commit

    # Time

    def observe_time(self, now_ns: int) -> None:
        """The shell's clock; a step backwards is ignored."""
        if now_ns > self.now_ns:
            self.now_ns = now_ns

    def election_interval(self) -> tuple[int, int]:
        """The range from which the next election time-out is drawn.

        A server with an empty log that knows no leader is most likely one of a cluster that starts for the first time,
        with nobody to wait for. Its impatience is safe: time-outs never decide safety, an empty log wins no vote from
        anyone who holds an entry (section 5.4.1), and PreVote keeps it from disturbing a leader that others hear.
        """
        if self.log.last_index == 0 and self.leader is None and not self.hears_leader():
            return self.timing.first_election_ns_min, self.timing.first_election_ns_max
        return self.timing.election_ns_min, self.timing.election_ns_max

    def restart_election_timer(self, *, redraw: bool = False) -> None:
        """Begins a new election time-out; ``redraw`` draws its length anew (section 5.2: randomised)."""
        if redraw:
            low, high = self.election_interval()
            self.election_timeout_ns = self._random.randrange(low, high)
        self.election_deadline_ns = self.now_ns + self.election_timeout_ns

    # Roles and terms

    def enter_term(self, term: int, vote: str | None = None) -> None:
        """Begins a new term; what was voted in an older one is void."""
        self.term = term
        self.vote = vote

    def become_follower(self, term: int, leader: str | None) -> None:
        """Section 5.1: a server that sees a newer term, or learns that another leads its own, is a follower.

        The vote of the term stays, whatever the server was before. A server that was a follower already keeps its
        timer: a newer term alone is no sign of life from a leader.
        """
        before = self.role
        if term > self.term:
            self.enter_term(term)
        self.role = Role.FOLLOWER
        self.leader = leader
        if before is not Role.FOLLOWER:
            self.restart_election_timer(redraw=True)
        if before is Role.LEADER:
            self.leadership_ends()

    def follow(self, leader: str) -> None:
        """The leader of this term spoke."""
        if self.role is not Role.FOLLOWER:
            self.become_follower(self.term, leader)
        news = self.leader != leader
        self.leader = leader
        self.leader_contact_ns = self.now_ns
        self.restart_election_timer(redraw=news)

    def hears_leader(self) -> bool:
        """Thesis 4.2.3: whether a leader was heard within the minimum election time-out.

        What counts is when it spoke, not whether this server still takes it for its leader: meanwhile a newer term may
        have been learned from somebody else, but the leader of the older one may still read by its lease
        (:mod:`node.raft.lease`). A leader counts as hearing itself: CheckQuorum sees to it that it can't do so for long
        without a majority.
        """
        return self.role is Role.LEADER or self.now_ns - self.leader_contact_ns < self.timing.election_ns_min

    # What the shell is told

    def reply(self, message: Message) -> None:
        """Queues a message that promises something: it leaves once the state that it speaks of is durable."""
        self.outbox.messages_after_persist.append(message)

    def answer_read(self, token: int, index: int | None) -> None:
        """Queues the fate of a read."""
        self.outbox.reads.append(ReadState(token=token, index=index))

    @property
    def hard_state(self) -> HardState:
        """Term and vote as they must be on disk before any reply of now leaves."""
        return HardState(term=self.term, vote=self.vote)

    # Hooks for the layers above

    def leadership_begins(self) -> None:
        """Called once when this server has become leader."""

    def leadership_ends(self) -> None:
        """Called once when this server has stopped being leader; role and term are the new ones already."""
