"""PreVote, CheckQuorum, the first election, restarts: what the core adds to section 5.2."""

from __future__ import annotations

import pytest

from node.raft.core import Timing
from node.raft.messages import AppendEntries, AppendReply, RequestVote, Role, Snapshot, VoteReply
from node.raft.timing import MS
from tests.node.by_hand import ByHand, Cluster, append

PRE = RequestVote(source="c", target="a", term=2, last_index=9, last_term=1, pre=True)
REAL = RequestVote(source="c", target="a", term=2, last_index=9, last_term=1)


def trio(**facts: int) -> Cluster:
    """Three servers with empty logs."""
    return Cluster(ByHand(name, **facts) for name in "abc")  # type: ignore[arg-type]


def test_a_pre_vote_binds_nobody() -> None:
    """Thesis 9.6: asking and granting change neither term nor vote, on either side."""
    voter = ByHand(term=1)
    (reply,) = voter.hear(PRE)
    assert isinstance(reply, VoteReply)
    assert (reply.granted, reply.pre, reply.term) == (True, True, 2)
    assert (voter.core.term, voter.core.vote, voter.core.role) == (1, None, Role.FOLLOWER)


def test_who_hears_a_leader_refuses_pre_votes_and_ignores_votes() -> None:
    """Thesis 4.2.3 and 9.6: a server that was cut off must not depose a leader that others hear."""
    voter = ByHand(term=1)
    voter.hear(append(term=1))
    voter.now_ns += 400 * MS
    (refusal,) = voter.hear(PRE)
    assert isinstance(refusal, VoteReply)
    assert (refusal.granted, refusal.term) == (False, 1)
    assert voter.hear(REAL) == []
    assert voter.core.term == 1
    voter.now_ns += 200 * MS
    (grant,) = voter.hear(REAL)
    assert isinstance(grant, VoteReply)
    assert grant.granted


def test_a_leader_ignores_candidates_while_it_leads() -> None:
    """A leader hears itself; if it hears no majority, CheckQuorum ends that."""
    leader = ByHand(term=1)
    leader.lead()
    assert leader.hear(RequestVote(source="c", target="a", term=9, last_index=99, last_term=8)) == []
    assert leader.core.role is Role.LEADER


def test_a_refused_pre_vote_teaches_the_term() -> None:
    """A server that slept through elections learns the term from refusals, or asks in vain for ever (etcd#8243)."""
    late = ByHand(term=1)
    late.time_out()
    late.hear(VoteReply(source="b", target="a", term=7, granted=False, pre=True))
    assert (late.core.role, late.core.term) == (Role.FOLLOWER, 7)
    assert all(isinstance(m, RequestVote) and m.pre and m.term == 8 for m in late.time_out())


def test_a_server_with_a_higher_term_is_not_stuck() -> None:
    """Its refusal of the leader's appends carries the higher term: the leader yields; elections include it."""
    cluster = trio()
    cluster.elect("a")
    odd = ByHand("b", term=9)
    cluster.members["b"] = odd
    leader = cluster.members["a"]
    cluster.deliver(leader.time_out())
    assert (leader.core.role, leader.core.term) == (Role.FOLLOWER, 9)
    cluster.elect("c")  # which only learns the term
    cluster.elect("c")
    assert [member.core.leader for member in cluster.members.values()] == ["c", "c", "c"]


def test_an_isolated_follower_disturbs_nobody_when_it_returns() -> None:
    """PreVote: however long it was cut off, its term has not grown, and the leader stays."""
    cluster = trio()
    cluster.elect("a")
    lonely, leader = cluster.members["c"], cluster.members["a"]
    cluster.isolate("c")
    for _ in range(5):
        cluster.deliver(lonely.time_out())
    cluster.cut = lambda message: False  # noqa: ARG005
    cluster.deliver(leader.time_out())
    cluster.deliver(lonely.time_out())
    assert (leader.core.role, leader.core.term, lonely.core.term) == (Role.LEADER, 1, 1)


def test_check_quorum_steps_down_in_the_same_term() -> None:
    """Thesis 6.2: a leader steps down if an election time-out passes without a round of heartbeats to a majority."""
    leader = ByHand()
    leader.lead()
    leader.acknowledged("b", 1)
    since = leader.now_ns
    while leader.core.role is Role.LEADER:
        leader.time_out()
    silence = leader.now_ns - since
    timing = Timing()
    assert timing.election_ns_max < silence <= timing.election_ns_max + 2 * timing.heartbeat_ns
    assert (leader.core.term, leader.core.vote, leader.core.leader) == (1, "a", None)


def test_one_follower_of_two_is_majority_enough() -> None:
    """CheckQuorum counts the leader itself."""
    leader = ByHand()
    leader.lead()
    for _ in range(50):
        leader.time_out()
        leader.acknowledged("b", 1)
    assert leader.core.role is Role.LEADER


def test_the_first_election_of_a_fresh_cluster_is_fast() -> None:
    """An empty log and no leader known: the time-out is short; it is the ordinary one as soon as either changes."""
    timing = Timing()
    fresh = ByHand()
    assert timing.first_election_ns_min <= fresh.core.election_timeout_ns < timing.first_election_ns_max
    fresh.hear(append(term=1))
    assert fresh.core.election_timeout_ns >= timing.election_ns_min
    assert ByHand(log=[1], term=1).core.election_timeout_ns >= timing.election_ns_min


def test_granting_a_vote_defers_the_own_candidacy() -> None:
    """5.2: a follower campaigns if it neither hears from the leader nor grants a vote to a candidate."""
    voter = ByHand(term=1, log=[1])
    voter.now_ns = voter.core.election_deadline_ns - 1
    voter.hear(REAL)
    voter.now_ns += 1
    voter.core.tick(voter.now_ns)
    assert voter.core.role is Role.FOLLOWER


def test_a_newer_term_alone_is_no_sign_of_life() -> None:
    """A candidate with a poor log, asking again and again, must not keep better ones from campaigning."""
    voter = ByHand(term=1, log=[1])
    deadline = voter.core.election_deadline_ns
    voter.now_ns = deadline - 1
    voter.hear(RequestVote(source="c", target="a", term=5, last_index=0, last_term=0))
    assert (voter.core.term, voter.core.election_deadline_ns) == (5, deadline)


def test_the_only_voter_leads_once_its_vote_is_durable() -> None:
    """A crash before that must leave no trace of a leadership that nobody remembers."""
    alone = ByHand(voters=("a",))
    alone.disk_is_stuck = True
    alone.time_out()
    assert alone.core.role.value == "candidate"
    alone.core.persisted(alone.core.last_index, 1)
    alone.take()
    assert alone.core.role is Role.LEADER


def test_role_and_leader_are_news_only_when_they_change() -> None:
    """Ready.role None means no news; a change of leader alone says the role too."""
    member = ByHand(term=1)
    member.hear(append(term=1))
    member.hear(append(term=1))
    assert [(ready.role, ready.leader) for ready in member.readies] == [(Role.FOLLOWER, "b"), (None, None)]


def test_a_torn_write_of_the_term_is_mended() -> None:
    """Entries of a term that the hard state doesn't know: a crash fell between the two writes; nobody was answered."""
    member = ByHand(log=[1, 5], term=4, vote="c")
    assert (member.core.term, member.core.vote) == (5, None)
    assert member.core.has_ready()


@pytest.mark.parametrize(("log", "snapshot"), [([3, 2], Snapshot()), ([1], Snapshot(index=4, term=3))])
def test_an_impossible_disk_is_refused(log: list[int], snapshot: Snapshot) -> None:
    """Terms never fall along a log: such a disk was never written by a core."""
    with pytest.raises(ValueError, match="term"):
        ByHand(log=log, snapshot=snapshot, term=9)


def test_misdirected_messages_are_ignored() -> None:
    """An address that was reused must not confuse two servers."""
    member = ByHand(term=1)
    member.core.receive(append(to="somebody", term=9), 0)
    assert (member.core.term, member.core.has_ready()) == (1, False)


def test_a_stale_leader_is_told_the_new_term() -> None:
    """5.1, from the other side: the refusal makes a leader of an older term step down."""
    cluster = trio()
    cluster.elect("a")
    cluster.isolate("a")
    cluster.elect("b")
    old = cluster.members["a"]
    assert old.core.role is Role.LEADER
    refusals = cluster.members["c"].hear(append(to="c", by="a", term=1))
    assert isinstance(refusals[0], AppendReply)
    old.hear(*refusals)
    assert (old.core.role, old.core.term) == (Role.FOLLOWER, 2)
    assert not any(isinstance(m, AppendEntries) for m in old.take())
