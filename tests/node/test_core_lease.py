"""Reads by lease: when a leader may read without asking, and why nobody else can lead meanwhile."""

from __future__ import annotations

import pytest

from node.raft.core import Raft
from node.raft.messages import AppendReply, Configuration, Message, RequestVote, Role, VoteReply
from node.raft.timing import MS, Timing
from node.zoo import BUGS
from tests.node.by_hand import ByHand, append

TIMING = Timing(election_ns_min=500 * MS, election_ns_max=1000 * MS, heartbeat_ns=100 * MS, clock_drift_permille=250)
LEASE_MS = 400
"""500 ms, seen by a clock that others outrun by a quarter."""


def leader(*, kind: type[Raft] = Raft) -> ByHand:
    """A leader of three whose first entry is committed, and that has not begun a round yet."""
    member = ByHand(kind=kind, timing=TIMING)
    member.lead()
    member.acknowledged("b", 1)
    assert member.core.commit == 1
    return member


def beat(member: ByHand) -> None:
    """A heartbeat goes out; nobody has answered yet."""
    member.time_out()


def index_after(member: ByHand, ms: float) -> int | None:
    """What a read is told that arrives so long after the leader's present time."""
    return member.core.lease_index(member.now_ns + int(ms * MS))


def asked_by(candidate: str, *, term: int, last: tuple[int, int], pre: bool = False, transfer: bool = False) -> Message:
    """A candidate's request to "a" whose log ends in ``last`` (index, term)."""
    return RequestVote(
        source=candidate,
        target="a",
        term=term,
        last_index=last[0],
        last_term=last[1],
        pre=pre,
        transfer=transfer,
    )


def granted(sent: list[Message]) -> list[bool]:
    """What was answered to candidates."""
    return [message.granted for message in sent if isinstance(message, VoteReply)]


# The leader


def test_a_lease_lasts_from_the_sending_not_from_the_answer() -> None:
    """Thesis 6.4.1: the majority heard the leader after the round was sent; when the answer came says nothing."""
    member = leader()
    beat(member)
    assert index_after(member, 0) is None
    member.now_ns += 300 * MS
    member.acknowledged("b", 1, read_round=1)
    assert index_after(member, 99) == 1
    assert index_after(member, 100) is None


def test_a_lease_is_shorter_than_the_patience_of_voters_by_the_drift_bound() -> None:
    """A voter's clock that runs faster by the bound has seen exactly one minimum election time-out at the end."""
    assert TIMING.lease_ns * (1000 + TIMING.clock_drift_permille) == TIMING.election_ns_min * 1000
    member = leader()
    beat(member)
    member.acknowledged("b", 1, read_round=1)
    assert index_after(member, LEASE_MS - 0.001) == 1
    assert index_after(member, LEASE_MS) is None


def test_the_time_that_counts_is_that_of_the_read_not_of_the_last_turn() -> None:
    """A leader that was stopped and goes on takes requests before its first turn: the core's own time is stale then."""
    member = leader()
    beat(member)
    member.acknowledged("b", 1, read_round=1)
    assert member.core.now_ns == member.now_ns
    assert index_after(member, 10_000) is None


def test_heartbeats_keep_the_lease_and_silence_ends_it() -> None:
    """No read is needed to renew it; an old round's echo renews nothing."""
    member = leader()
    for number in range(1, 20):
        beat(member)
        member.acknowledged("c", 1, read_round=number)
        assert index_after(member, 0) == 1
    beat(member)
    member.acknowledged("b", 1, read_round=5)
    assert index_after(member, LEASE_MS - 100 - 0.001) == 1
    assert index_after(member, LEASE_MS - 100) is None


def test_without_a_majority_there_is_no_lease() -> None:
    """One of five is not enough, two with the leader itself are."""
    member = ByHand(voters=("a", "b", "c", "d", "e"), timing=TIMING)
    member.lead()
    member.acknowledged("b", 1)
    member.acknowledged("c", 1)
    beat(member)
    member.acknowledged("b", 1, read_round=1)
    assert index_after(member, 0) is None
    member.acknowledged("d", 0, read_round=1)
    assert index_after(member, 0) == 1


def test_a_new_leader_reads_only_when_its_own_entry_is_committed() -> None:
    """As with ReadIndex (thesis 6.4, step 1): before that it does not know what its predecessor acknowledged."""
    member = ByHand(timing=TIMING, log=[1, 1], term=1)
    member.lead()
    beat(member)
    member.refused("b", 2, index=1, term=0)
    member.hear(append_echo(member, read_round=1))
    assert index_after(member, 0) is None
    member.acknowledged("b", 3)
    assert index_after(member, 0) == 3


def append_echo(member: ByHand, *, read_round: int) -> Message:
    """A follower's echo that says nothing about its log."""
    return AppendReply(
        source="b", target="a", term=member.core.term, success=False, refused_index=0, read_round=read_round
    )


def test_a_read_must_know_all_that_was_committed_by_now() -> None:
    """The index is the commit index of the moment: a follower may have shown it to somebody already."""
    member = leader()
    member.propose(b"x")
    beat(member)
    member.acknowledged("b", 2, read_round=1)
    assert index_after(member, 0) == 2


def test_who_steps_down_has_no_lease() -> None:
    """Whatever the clock says."""
    member = leader()
    beat(member)
    member.acknowledged("b", 1, read_round=1)
    member.hear(append(term=9))
    assert index_after(member, 0) is None


def test_a_second_leadership_begins_without_a_lease() -> None:
    """Rounds of an earlier term prove nothing."""
    member = leader()
    beat(member)
    member.acknowledged("b", 1, read_round=1)
    member.hear(append(term=2, prev=(1, 1), terms=[2], commit=2))
    member.time_out()
    member.lead()
    member.acknowledged("b", 3)
    assert index_after(member, 0) is None


def test_a_transfer_ends_the_lease_for_the_whole_term() -> None:
    """Thesis 3.10: voters answer a candidate that the leader asked for; and its TimeoutNow may come at any later time,
    so that even a transfer that was given up leaves no lease.
    """
    member = leader()
    beat(member)
    member.acknowledged("b", 1, read_round=1)
    member.core.give_up_lease()
    assert index_after(member, 0) is None
    beat(member)
    member.acknowledged("b", 1, read_round=2)
    assert index_after(member, 0) is None


def test_there_is_no_lease_while_the_configuration_changes() -> None:
    """Not while it is joint, and not before it is committed."""
    member = leader()
    beat(member)
    member.acknowledged("b", 1, read_round=1)
    voters = member.core.configuration.voters
    member.core.configurations.append((2, Configuration(voters=voters)))
    assert index_after(member, 0) is None
    member.core.configurations[-1] = (1, Configuration(voters=voters, outgoing=voters))
    assert index_after(member, 0) is None
    member.core.configurations[-1] = (1, Configuration(voters=voters))
    assert index_after(member, 0) == 1


def test_the_only_voter_has_a_lease_of_its_own() -> None:
    """It is its own majority."""
    alone = ByHand(voters=("a",), timing=TIMING)
    alone.time_out()
    alone.time_out()
    assert index_after(alone, 0) == alone.core.commit > 0


def test_a_wall_clock_lease_lasts_longer_when_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bug R5: with it, ten minutes later it still reads."""
    date = 10**18
    monkeypatch.setattr("node.zoo.reads.time.time_ns", lambda: date)
    member = leader(kind=BUGS["wall-clock-lease"].parts.core)
    beat(member)
    member.acknowledged("b", 1, read_round=1)
    date -= 600_000 * MS
    assert index_after(member, 600_000) == 1


# The voters


def voter(*, restarted: bool = False) -> ByHand:
    """Has been in term 1; its log ends there."""
    return ByHand(log=[1], term=1, timing=TIMING, restarted=restarted)


@pytest.mark.parametrize("pre", [True, False])
def test_who_heard_a_leader_votes_for_nobody_for_one_minimum_time_out(*, pre: bool) -> None:
    """Thesis 4.2.3: the promise that leases rest on."""
    member = voter()
    member.hear(append(term=1))
    member.now_ns += 500 * MS - 1
    assert True not in granted(member.hear(asked_by("c", term=2, last=(1, 1), pre=pre)))
    assert member.core.term == 1
    member.now_ns += 1
    assert granted(member.hear(asked_by("c", term=2, last=(1, 1), pre=pre))) == [True]


def test_a_newer_term_learned_from_a_third_server_frees_nobody() -> None:
    """A late refusal of a pre-vote carries a newer term. Who adopts it has no leader any more, but the leader of the
    older term was heard all the same, and reads by its lease.
    """
    member = voter()
    member.time_out()
    member.hear(append(term=1))
    member.hear(VoteReply(source="c", target="a", term=7, granted=False, pre=True))
    assert (member.core.term, member.core.leader) == (7, None)
    assert granted(member.hear(asked_by("c", term=7, last=(1, 1)))) == [False]
    assert granted(member.hear(asked_by("c", term=8, last=(1, 1), pre=True))) == [False]
    member.now_ns += 500 * MS
    assert granted(member.hear(asked_by("c", term=7, last=(1, 1)))) == [True]


def test_a_restarted_voter_counts_as_having_heard_a_leader() -> None:
    """It has forgotten whom it heard, but the leader that it heard has not."""
    member = voter(restarted=True)
    assert granted(member.hear(asked_by("c", term=2, last=(1, 1), pre=True))) == [False]
    assert granted(member.hear(asked_by("c", term=2, last=(1, 1)))) == []
    assert member.core.term == 1
    member.now_ns += 500 * MS
    assert granted(member.hear(asked_by("c", term=2, last=(1, 1)))) == [True]


def test_a_server_that_was_never_in_a_term_need_not_wait() -> None:
    """It answered nobody: a cluster that starts for the first time elects at once."""
    member = ByHand(timing=TIMING, restarted=True)
    assert granted(member.hear(asked_by("c", term=1, last=(0, 0)))) == [True]


def test_nobody_stands_for_election_within_the_promise_either() -> None:
    """A candidate's vote for itself is a vote: its own time-out is never shorter than the promise."""
    member = voter(restarted=True)
    assert member.core.next_deadline_ns() >= 500 * MS
    member.hear(append(term=1))
    heard_ns = member.now_ns
    member.hear(VoteReply(source="c", target="a", term=7, granted=False, pre=True))
    assert member.core.next_deadline_ns() - heard_ns >= 500 * MS


def test_a_transfer_passes() -> None:
    """The leader itself asked for this candidate, and has given up its lease."""
    member = voter()
    member.hear(append(term=1))
    assert granted(member.hear(asked_by("c", term=2, last=(1, 1), transfer=True))) == [True]
    assert member.core.role is Role.FOLLOWER
