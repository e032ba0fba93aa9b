"""Time-outs that fit the network: what is measured, what follows from it, and what never changes."""

from __future__ import annotations

import pytest

from node.raft.messages import AppendEntries, Role, VoteReply
from node.raft.round_trips import RoundTrips
from node.raft.timing import MS, Timing
from tests.node.by_hand import ByHand, append

TIMING = Timing(
    election_ns_min=150 * MS,
    election_ns_max=3000 * MS,
    first_election_ns_min=150 * MS,
    first_election_ns_max=300 * MS,
    heartbeat_ns=50 * MS,
    adaptive=True,
)


def test_the_estimator_is_that_of_rfc_6298() -> None:
    """First sample R: mean R, deviation R/2; then 1/8 and 1/4 of what is new, the deviation by the old mean."""
    trips = RoundTrips()
    assert trips.expected_ns == 0
    trips.measured(80)
    assert (trips.mean_ns, trips.deviation_ns, trips.expected_ns) == (80, 40, 240)
    trips.measured(160)
    assert (trips.mean_ns, trips.deviation_ns) == (90, 50)


def test_steady_round_trips_are_expected_as_they_are() -> None:
    """The deviation dies away."""
    trips = RoundTrips()
    for _ in range(60):
        trips.measured(20 * MS)
    assert 20 * MS <= trips.expected_ns < 21 * MS


def leader(*, trip_ms: float, beats: int = 60) -> ByHand:
    """A leader of three that hears both after so long, heartbeat after heartbeat."""
    member = ByHand(timing=TIMING)
    member.lead()
    for number in range(1, beats + 1):
        member.time_out()
        member.now_ns += int(trip_ms * MS)
        for follower in ("b", "c"):
            member.acknowledged(follower, 1, read_round=number)
    return member


def told(member: ByHand) -> set[int]:
    """The patience that the next heartbeat tells."""
    return {message.patience_ns for message in member.time_out() if isinstance(message, AppendEntries)}


@pytest.mark.parametrize(
    ("trip_ms", "shortest_ms", "longest_ms"), [(0.5, 150, 300), (30, 300, 600), (100, 1000, 2000), (400, 1500, 3000)]
)
def test_patience_is_ten_round_trips_within_the_configured_range(
    trip_ms: float, shortest_ms: int, longest_ms: int
) -> None:
    """Section 5.6: an order of magnitude above the broadcast time; never below or above what was configured."""
    low_ns, high_ns = leader(trip_ms=trip_ms).core.election_interval()
    assert low_ns / MS == pytest.approx(shortest_ms, rel=0.02)
    assert high_ns / MS == pytest.approx(longest_ms, rel=0.02)


def test_heartbeats_keep_their_proportion_but_never_let_the_lease_lapse() -> None:
    """A third of the shortest time-out here, but at most half a lease, and never less than configured."""
    assert leader(trip_ms=0.5).core.heartbeat_interval_ns() == 50 * MS
    assert leader(trip_ms=20).core.heartbeat_interval_ns() / MS == pytest.approx(67, rel=0.02)
    assert leader(trip_ms=100).core.heartbeat_interval_ns() == TIMING.lease_ns // 2


def test_a_follower_is_as_patient_as_the_leader_tells_it() -> None:
    """It draws its time-out anew when the one it has does not fit any more, and only then."""
    member = ByHand(timing=TIMING, log=[1], term=1)
    member.hear(append(term=1, patience_ns=500 * MS))
    drawn_ns = member.core.election_timeout_ns
    assert 500 * MS <= drawn_ns < 1000 * MS
    member.hear(append(term=1, patience_ns=499 * MS))
    assert member.core.election_timeout_ns == drawn_ns
    member.hear(append(term=1, patience_ns=1200 * MS))
    assert 1200 * MS <= member.core.election_timeout_ns < 2400 * MS


def test_without_the_option_nothing_adapts() -> None:
    """Whatever others say."""
    member = ByHand(timing=Timing(), log=[1], term=1)
    member.hear(append(term=1, patience_ns=700 * MS))
    assert member.core.election_interval() == (Timing().election_ns_min, Timing().election_ns_max)
    plain = ByHand()
    plain.lead()
    assert told(plain) == {0}


def test_the_promise_of_voters_and_the_lease_stay_as_configured() -> None:
    """What leases rest on is a matter of the whole cluster, not of measurement."""
    member = leader(trip_ms=100)
    assert member.core.timing.lease_ns == TIMING.lease_ns < TIMING.election_ns_min
    follower = ByHand(timing=TIMING, log=[1], term=1)
    follower.hear(append(term=1, patience_ns=10 * MS))
    assert follower.core.election_timeout_ns >= TIMING.election_ns_min


def test_check_quorum_waits_as_long_as_the_most_patient_follower() -> None:
    """Not sooner, or it would give up a leadership that nobody else would have taken; and not much later."""
    member = leader(trip_ms=30)
    silent_since_ns = member.now_ns
    patience_ns = member.core.election_interval()[1]
    while member.core.role is Role.LEADER:
        member.time_out()
    waited_ns = member.now_ns - silent_since_ns
    assert patience_ns <= waited_ns <= patience_ns + 2 * TIMING.lease_ns


def test_a_candidate_that_nobody_answers_doubles_its_patience() -> None:
    """A network slower than the configured minimum must elect somebody some day."""
    member = ByHand(timing=TIMING, log=[1], term=1)
    low = []
    for _ in range(6):
        member.time_out()
        low.append(member.core.election_interval()[0] // MS)
    assert low == [150, 300, 600, 1200, 1500, 1500]


def test_a_split_vote_is_no_reason_for_patience() -> None:
    """Those who answered were quick: the next try comes as soon as the first."""
    member = ByHand(timing=TIMING, log=[1], term=1)
    for _ in range(5):
        member.time_out()
        member.now_ns += 2 * MS
        for peer in ("b", "c"):
            member.hear(VoteReply(source=peer, target="a", term=1, granted=False, pre=True))
    assert member.core.election_interval()[0] == 150 * MS


def test_answers_to_repeated_questions_are_not_measured() -> None:
    """Karn's rule: nobody knows which of them is answered."""
    member = ByHand(timing=TIMING, log=[1], term=1)
    member.time_out()
    member.time_out()
    member.now_ns += MS
    member.hear(VoteReply(source="b", target="a", term=1, granted=False, pre=True))
    assert member.core.round_trips == {}
    assert member.core.election_interval()[0] == 300 * MS
