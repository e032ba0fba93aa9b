"""Time-outs that fit the network, on request (``--adaptive``): from round trips as they are measured.

The paper asks for broadcast time << election time-out (section 5.6), an order of magnitude. So the shortest time-out
shall be :data:`ROUND_TRIPS` times the round trip to the slowest voter that answers (mean plus four deviations,
:mod:`node.raft.round_trips`), the longest twice that; both within the configured range, and a heartbeat is in the same
proportion to the shortest time-out as in the configuration.

**Who measures.** The leader: every round (:mod:`node.raft.reads`) is a question with an answer, what the follower's
disk and processor add included. It tells followers with each append (``AppendEntries.patience_ns``), so that all are
equally patient. Candidates measure by the answers to their requests; one that gets none doubles its patience each time
(RFC 6298, 5.5), so that a network slower than the configured minimum still elects somebody.

**What stays as configured,** and must be the same on all nodes: the time for which a voter that heard a leader refuses
its vote, and the lease that rests on it (the minimum); a heartbeat is never longer than half a lease, so that the lease
does not lapse between two. A leader that hears no majority steps down after the longest time-out that its followers
were told (CheckQuorum): no sooner than one of them might give up on it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from node.raft.forwarding import Forwarding
from node.raft.messages import AppendEntries, VoteReply
from node.raft.progress import Progress
from node.raft.round_trips import RoundTrips

ROUND_TRIPS = 10
SPREAD = 2
"""The longest time-out, in shortest ones."""
ROUNDS_MAX = 64
"""Rounds whose beginning is remembered."""


class Adaptive(Forwarding):
    """Patience as wide as the round trips ask for."""

    def __init__(self, **given: Any) -> None:
        self.patience_ns = 0
        """The shortest election time-out for now; 0: as configured."""
        self.round_trips: dict[str, RoundTrips] = {}
        self._sent_ns: dict[int, int] = {}
        """When each of the last rounds began."""
        self._asked_ns: int | None = None
        """When this server asked for pre-votes last; None if there was a leader since."""
        self._answered: set[str] = set()
        """Who answered that."""
        self._repeated = False
        """It was asked before, in vain."""
        super().__init__(**given)

    # What it is good for

    def election_interval(self) -> tuple[int, int]:
        """What fits; the layer of preference makes it smaller for some."""
        return self.fitting_interval()

    def fitting_interval(self) -> tuple[int, int]:
        """As configured, or the part of that range that fits."""
        low_ns, high_ns = super().election_interval()
        if not self.patience_ns:
            return low_ns, high_ns
        shortest_ns = min(max(self.patience_ns, low_ns), max(high_ns // SPREAD, low_ns))
        return shortest_ns, max(min(SPREAD * shortest_ns, high_ns), shortest_ns + 1)

    def heartbeat_interval_ns(self) -> int:
        """In the configured proportion to the time-out that followers were told."""
        timing = self.timing
        if not self.patience_ns:
            return timing.heartbeat_ns
        fitting_ns = timing.heartbeat_ns * self.fitting_interval()[0] // timing.election_ns_min
        return max(min(fitting_ns, timing.lease_ns // 2), timing.heartbeat_ns)

    def quorum_patience_ns(self) -> int:
        """After the longest time-out that a follower may have drawn."""
        return self.fitting_interval()[1] if self.patience_ns else super().quorum_patience_ns()

    # What it is learned from

    def told_patience_ns(self) -> int:
        """Every append tells it."""
        return self.patience_ns

    def take_append(self, message: AppendEntries) -> None:
        """The leader knows best. A time-out that was drawn from a range that does not fit any more is drawn anew."""
        if self.timing.adaptive and self.leader_is_current(message):
            self.patience_ns = message.patience_ns
        super().take_append(message)
        low_ns, high_ns = self.election_interval()
        if self.timing.adaptive and not low_ns <= self.election_timeout_ns < high_ns:
            self.restart_election_timer(redraw=True)

    def heartbeat(self) -> None:
        """Looks again at what fits the voters that answer."""
        if self.timing.adaptive:
            since_ns = self.now_ns - self.timing.election_ns_max
            heard = {one.name for one in self.progress.values() if one.contact_ns >= since_ns}
            self._fit(heard & set(self.configuration.electorate))
        super().heartbeat()

    def begin_round(self) -> None:
        """Notes when."""
        super().begin_round()
        if self.timing.adaptive:
            self._sent_ns[self.read_round] = self.now_ns
            self._sent_ns.pop(self.read_round - ROUNDS_MAX, None)

    def round_echoed(self, progress: Progress, read_round: int) -> None:
        """The first echo of a round is an answer to it."""
        sent_ns = self._sent_ns.get(read_round)
        if sent_ns is not None and read_round > progress.read_round:
            self._measured(progress.name, self.now_ns - sent_ns)
        super().round_echoed(progress, read_round)

    def leadership_begins(self) -> None:
        """Rounds begin anew."""
        self._sent_ns = {}
        super().leadership_begins()

    def follow(self, leader: str) -> None:
        """Whatever was asked of voters is over."""
        self._asked_ns, self._repeated = None, False
        super().follow(leader)

    def campaign(self) -> None:
        """Too few have answered the last time: be more patient."""
        if self.timing.adaptive:
            if self._asked_ns is not None and not self.is_quorum({self.name, *self._answered}):
                self.patience_ns = SPREAD * self.fitting_interval()[0]
                self._repeated = True
            self._asked_ns, self._answered = self.now_ns, set()
        super().campaign()

    def take_vote_reply(self, reply: VoteReply) -> None:
        """Whatever it says, it took so long; unless it may answer an earlier request (Karn's rule, RFC 6298, 3)."""
        if self._asked_ns is not None and not self._repeated and reply.pre:
            self._answered.add(reply.source)
            self._measured(reply.source, self.now_ns - self._asked_ns)
            self._fit(self._answered)
        super().take_vote_reply(reply)

    def _measured(self, name: str, ns: int) -> None:
        self.round_trips.setdefault(name, RoundTrips()).measured(ns)

    def _fit(self, names: Iterable[str]) -> None:
        """To the slowest of these; without any answer it stays."""
        known = (self.round_trips[name].expected_ns for name in names if name in self.round_trips)
        slowest_ns = max(known, default=0)
        if slowest_ns:
            self.patience_ns = ROUND_TRIPS * slowest_ns
