"""The paper's own sentences as tests (Ongaro & Ousterhout 2014, extended version), with its figures 7, 8, 12 and 13.

Each test quotes or paraphrases what it holds the core to. The idea is etcd-io/raft's ``raft_paper_test.go``.
"""

from __future__ import annotations

import pytest

from node.raft.core import Raft, Timing
from node.raft.messages import (
    AppendEntries,
    AppendReply,
    EntryKind,
    InstallSnapshot,
    RequestVote,
    Role,
    Snapshot,
    VoteReply,
)
from tests.node.by_hand import ByHand, Cluster, append, terms_of

FIVE = ("a", "b", "c", "d", "e")


def request(*, term: int, by: str = "b", last: tuple[int, int] = (0, 0)) -> RequestVote:
    """A RequestVote of a candidate whose log ends with (index, term) ``last``."""
    return RequestVote(source=by, target="a", term=term, last_index=last[0], last_term=last[1])


def vote_of(member: ByHand, asked: RequestVote) -> bool:
    """What the member answers."""
    (reply,) = member.hear(asked)
    assert isinstance(reply, VoteReply)
    return reply.granted


# 5.1


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_a_larger_term_is_adopted_by_all(role: Role) -> None:
    """5.1: if a server's term is smaller than the other's, it updates; a candidate or leader reverts to follower."""
    member = ByHand(term=1)
    if role is not Role.FOLLOWER:
        member.lead()
    if role is Role.CANDIDATE:
        member.core.role = Role.CANDIDATE
    term = member.core.term + 5
    member.hear(append(term=term))
    assert (member.core.role, member.core.term, member.core.leader) == (Role.FOLLOWER, term, "b")


def test_a_stale_term_is_rejected() -> None:
    """5.1: if a server receives a request with a stale term number, it rejects the request (and tells its own term)."""
    member = ByHand(log=[1, 2], term=3)
    (reply,) = member.hear(append(term=2, prev=(1, 1), terms=[2, 2]))
    assert isinstance(reply, AppendReply)
    assert (reply.success, reply.term, terms_of(member.core)) == (False, 3, [1, 2])
    assert member.core.leader is None


# 5.2


def test_servers_start_as_followers() -> None:
    """5.2: when servers start up, they begin as followers."""
    assert ByHand(term=4).core.role is Role.FOLLOWER


def test_a_leader_sends_heartbeats_to_all_followers() -> None:
    """5.2: leaders send periodic heartbeats (AppendEntries that carry no log entries) to maintain their authority."""
    leader = ByHand()
    leader.lead()
    for peer in ("b", "c"):
        leader.acknowledged(peer, 1)
    beats = leader.time_out()
    assert {beat.target for beat in beats} == {"b", "c"}
    assert all(isinstance(beat, AppendEntries) and beat.entries == () for beat in beats)


def test_a_silent_leader_is_replaced() -> None:
    """5.2: a follower that hears nothing increments its term, votes for itself and asks all others in parallel."""
    member = ByHand(term=7, log=[7])
    asked = member.time_out()
    assert all(isinstance(m, RequestVote) and m.pre and m.term == 8 for m in asked)
    assert member.core.term == 7  # thesis 9.6: the pre-vote changes no term
    asked = member.hear(VoteReply(source="b", target="a", term=8, granted=True, pre=True))
    assert (member.core.role, member.core.term, member.core.vote) == (Role.CANDIDATE, 8, "a")
    assert {m.target for m in asked if isinstance(m, RequestVote) and not m.pre} == {"b", "c"}


@pytest.mark.parametrize(
    ("size", "grants", "role"),
    [(1, 0, Role.LEADER), (3, 0, Role.CANDIDATE), (3, 1, Role.LEADER), (4, 1, Role.CANDIDATE), (5, 2, Role.LEADER)],
)
def test_a_majority_wins(size: int, grants: int, role: Role) -> None:
    """5.2: a candidate wins an election if it receives votes from a majority of the servers for the same term."""
    member = ByHand(voters=FIVE[:size])
    member.time_out()
    for peer in member.core.peers:
        member.hear(VoteReply(source=peer, target="a", term=1, granted=True, pre=True))
    for peer in member.core.peers[:grants]:
        member.hear(VoteReply(source=peer, target="a", term=1, granted=True))
    assert member.core.role is role


def test_one_voter_counts_once() -> None:
    """5.2: each server will vote for at most one candidate; its reply may arrive twice all the same."""
    member = ByHand(voters=FIVE)
    member.time_out()
    for peer in "bc":
        member.hear(VoteReply(source=peer, target="a", term=1, granted=True, pre=True))
    grant = VoteReply(source="b", target="a", term=1, granted=True)
    member.hear(grant, grant, grant)
    assert member.core.role is Role.CANDIDATE


def test_a_vote_of_an_older_term_does_not_count() -> None:
    """5.2: ... for the same term."""
    member = ByHand(term=4)
    member.time_out()
    member.hear(VoteReply(source="b", target="a", term=5, granted=True, pre=True))
    member.hear(VoteReply(source="c", target="a", term=4, granted=True))
    assert member.core.role is Role.CANDIDATE


@pytest.mark.parametrize(("vote", "candidate", "granted"), [(None, "b", True), ("b", "b", True), ("c", "b", False)])
def test_first_come_first_served(vote: str | None, candidate: str, granted: bool) -> None:
    """5.2: each server will vote for at most one candidate in a given term, on a first-come-first-served basis."""
    assert vote_of(ByHand(term=3, vote=vote), request(term=3, by=candidate)) is granted


def test_the_vote_is_durable_before_it_leaves() -> None:
    """Figure 2: persistent state is updated on stable storage before responding to RPCs."""
    member = ByHand(term=1)
    member.core.receive(request(term=2), 0)
    ready = member.core.ready()
    assert ready.messages_now == ()
    assert ready.hard_state is not None
    assert (ready.hard_state.term, ready.hard_state.vote, ready.must_sync) == (2, "b", True)
    assert isinstance(ready.messages_after_persist[0], VoteReply)


def test_a_candidate_yields_to_the_leader_of_its_term() -> None:
    """5.2: if the leader's term is at least as large as its own, a candidate returns to follower state."""
    member = ByHand()
    member.time_out()
    member.hear(VoteReply(source="b", target="a", term=1, granted=True, pre=True))
    member.hear(append(by="c", term=1))
    assert (member.core.role, member.core.leader, member.core.vote) == (Role.FOLLOWER, "c", "a")


def test_election_timeouts_are_random() -> None:
    """5.2: election timeouts are chosen randomly from a fixed interval, so that split votes are rare."""
    member = ByHand(term=1, log=[1])
    timing = Timing()
    seen = set()
    for _ in range(50):
        member.time_out()
        seen.add(member.core.election_timeout_ns)
    assert len(seen) > 40
    assert all(timing.election_ns_min <= timeout < timing.election_ns_max for timeout in seen)


# 5.3


def test_the_leader_appends_then_replicates_in_parallel() -> None:
    """5.3: the leader appends the command to its log as a new entry, then issues AppendEntries to each other server."""
    leader = ByHand()
    leader.lead()
    for peer in ("b", "c"):
        leader.acknowledged(peer, 1)
    sent = leader.propose(b"x")
    assert leader.core.entry(2) is not None
    assert [(m.target, m.prev_index, len(m.entries)) for m in sent if isinstance(m, AppendEntries)] == [
        ("b", 1, 1),
        ("c", 1, 1),
    ]


def test_committed_once_a_majority_has_it() -> None:
    """5.3: a log entry is committed once the leader that created it has replicated it on a majority of the servers."""
    leader = ByHand(voters=FIVE)
    leader.lead()
    leader.acknowledged("b", 1)
    assert leader.core.commit == 0
    leader.acknowledged("c", 1)
    assert leader.core.commit == 1
    assert [entry.kind for entry in leader.applied] == [EntryKind.NOOP]


def test_the_leader_counts_itself_only_when_its_disk_has_it() -> None:
    """Thesis 10.2.1: the leader may write in parallel with its followers; it counts itself only afterwards."""
    leader = ByHand()
    leader.lead()
    leader.disk_is_stuck = True
    leader.propose(b"x")
    leader.acknowledged("b", 2)
    assert leader.core.commit == 1
    leader.core.persisted(2, leader.core.term)
    assert leader.core.commit == 2


def test_followers_commit_what_the_leader_did() -> None:
    """5.3: once a follower learns that a log entry is committed, it applies it to its state machine, in order."""
    member = ByHand()
    member.hear(append(term=1, terms=[1, 1, 1], commit=2))
    assert [entry.index for entry in member.applied] == [1, 2]


def test_the_consistency_check() -> None:
    """5.3: if the follower does not find an entry with the same index and term, it refuses the new entries."""
    member = ByHand(log=[1, 1, 2], term=2)
    assert not _success(member, append(term=3, prev=(3, 3), terms=[3]))
    assert not _success(member, append(term=3, prev=(9, 3), terms=[3]))
    assert terms_of(member.core) == [1, 1, 2]


def _success(member: ByHand, message: AppendEntries) -> bool:
    (reply,) = member.hear(message)
    assert isinstance(reply, AppendReply)
    return reply.success


@pytest.mark.parametrize(
    ("log", "prev", "terms", "result"),
    [
        ([1, 1, 2, 2], (2, 1), [3], [1, 1, 3]),  # a conflict: it and all that follow go
        ([1, 1, 3, 3], (1, 1), [1, 3], [1, 1, 3, 3]),  # known already: nothing goes
        ([1, 1, 3, 3], (2, 1), [], [1, 1, 3, 3]),  # a heartbeat vouches for a prefix and cuts nothing
        ([1, 1], (2, 1), [2, 3], [1, 1, 2, 3]),
        ([1, 2, 2], (0, 0), [1, 3], [1, 3]),  # from the very first index on, it compares all the same
    ],
)
def test_conflicts_are_cut_and_nothing_else(
    log: list[int], prev: tuple[int, int], terms: list[int], result: list[int]
) -> None:
    """Figure 2, step 3: if an existing entry conflicts with a new one, delete it and all that follow it."""
    member = ByHand(log=log, term=3)
    assert _success(member, append(term=3, prev=prev, terms=terms))
    assert terms_of(member.core) == result


FIGURE_7 = {
    "leader": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6],
    "a": [1, 1, 1, 4, 4, 5, 5, 6, 6],
    "b": [1, 1, 1, 4],
    "c": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    "e": [1, 1, 1, 4, 4, 4, 4],
    "f": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
}


@pytest.mark.parametrize("follower", "abcdef")
def test_figure_7_every_follower_is_brought_into_line(follower: str) -> None:
    """Figure 7: the leader at the top comes to power in term 8; any of (a)-(f) may be its follower's log."""
    names = ("leader", follower, "silent")
    leader = ByHand("leader", voters=names, log=FIGURE_7["leader"], term=7)
    other = ByHand(follower, voters=names, log=FIGURE_7[follower], term=7)
    silent = ByHand("silent", voters=names, term=7)
    cluster = Cluster([leader, other, silent])
    cluster.cut = lambda message: isinstance(message, AppendEntries) and message.target == "silent"
    cluster.elect("leader")
    if leader.core.role is not Role.LEADER:  # (c) and (d) rightly refuse; an empty log does not
        pytest.fail("the leader of figure 7 has the votes of those that are behind it")
    cluster.deliver(leader.propose(b"x"))
    assert terms_of(other.core) == [*FIGURE_7["leader"], 8, 8] == terms_of(leader.core)


def test_figure_7_takes_one_refusal_a_term_not_an_entry() -> None:
    """5.3: with the optimisation one AppendEntries is required for each term with conflicting entries."""
    names = ("leader", "f", "silent")
    leader = ByHand("leader", voters=names, log=FIGURE_7["leader"], term=7)
    follower = ByHand("f", voters=names, log=FIGURE_7["f"], term=7)
    (probe, _) = [m for m in leader.lead() if isinstance(m, AppendEntries)]
    refusals = 0
    while True:
        (reply,) = follower.hear(probe)
        assert isinstance(reply, AppendReply)
        if reply.success:
            break
        refusals += 1
        (probe,) = [m for m in leader.hear(reply) if isinstance(m, AppendEntries) and m.target == "f"]
    assert refusals <= 3  # terms 3 and 2 conflict; entry by entry it would be seven


# 5.4


@pytest.mark.parametrize(
    ("mine", "last", "granted"),
    [
        ([1, 2], (2, 2), True),
        ([1, 2], (3, 2), True),
        ([1, 2], (1, 3), True),
        ([1, 2], (1, 2), False),
        ([1, 2], (5, 1), False),
        ([], (0, 0), True),
    ],
)
def test_the_election_restriction(mine: list[int], last: tuple[int, int], granted: bool) -> None:
    """5.4.1: the voter denies its vote if its own log is more up-to-date than that of the candidate."""
    assert vote_of(ByHand(log=mine, term=3), request(term=4, last=last)) is granted


class CommitsByCounting(Raft):
    """What figure 8 warns of."""

    def may_commit(self, index: int) -> bool:  # noqa: ARG002
        return True


@pytest.mark.parametrize(("kind", "commit"), [(Raft, 0), (CommitsByCounting, 2)])
def test_figure_8_an_old_entry_on_a_majority_is_not_committed(kind: type[Raft], commit: int) -> None:
    """Figure 8 (c): S1, leader of term 4, has its entry of term 2 on a majority; it must not call it committed."""
    timing = Timing(entries_per_append_max=1)
    s1 = ByHand("a", voters=FIVE, log=[1, 2], term=3, timing=timing, kind=kind)
    s1.lead()
    assert s1.core.term == 4
    for peer in "bc":
        s1.refused(peer, 2, index=2, term=0)
        s1.acknowledged(peer, 2)  # index 2, of term 2, now on a, b and c
    assert s1.core.commit == commit


def test_figure_8_d_the_old_entry_may_be_overwritten() -> None:
    """Figure 8 (d): S5 can still win (with votes from S2, S3 and S4) and overwrite the entry of term 2 everywhere."""
    s5 = ByHand("e", voters=FIVE, log=[1, 3], term=4)
    others = [ByHand(name, voters=FIVE, log=log, term=4) for name, log in (("b", [1, 2]), ("c", [1, 2]), ("d", [1]))]
    cluster = Cluster([s5, *others])
    cluster.elect("e")
    assert s5.core.role is Role.LEADER
    assert all(terms_of(member.core) == [1, 3, 5] for member in cluster.members.values())


def test_figure_8_e_an_entry_of_its_own_term_commits_all_before_it() -> None:
    """Figure 8 (e): once S1 has an entry of term 4 on a majority, it and all before it are committed; S5 cannot win."""
    s1 = ByHand("a", voters=FIVE, log=[1, 2], term=3)
    members = [s1, *(ByHand(name, voters=FIVE, log=[1], term=3) for name in "bc")]
    s5 = ByHand("e", voters=FIVE, log=[1, 3], term=3)
    cluster = Cluster(members)
    cluster.elect("a")
    assert s1.core.commit == 3
    cluster.members["e"] = s5
    cluster.isolate("a", "d")
    cluster.elect("e")
    assert s5.core.role is not Role.LEADER


def _elect(cluster: Cluster, name: str) -> None:
    """Lets it try until it leads: a server that was away must first learn how far the terms have gone."""
    for _ in range(3):
        if cluster.members[name].core.role is not Role.LEADER:
            cluster.elect(name)
    assert cluster.members[name].core.role is Role.LEADER


def _figure_8_until_c(kind: type[Raft]) -> Cluster:
    timing = Timing(entries_per_append_max=1)
    # (a) S1, leader of term 2, has its entry at index 2 on S1 and S2.
    logs = {"a": [1, 2], "b": [1, 2], "c": [1], "d": [1], "e": [1]}
    cluster = Cluster(ByHand(n, voters=FIVE, log=log, term=2, timing=timing, kind=kind) for n, log in logs.items())
    # (b) S1 is away; S5 is elected for term 3 by S3, S4 and itself, and has another entry at index 2, alone.
    cluster.cut = lambda m: {"a", "b"} & {m.source, m.target} != set() or isinstance(m, AppendEntries)
    _elect(cluster, "e")
    assert (cluster.members["e"].core.term, terms_of(cluster.members["e"].core)) == (3, [1, 3])
    # (c) S5 is away; S1 is elected for term 4 and goes on to replicate: index 2, of term 2, is on S1, S2 and S3.
    cluster.cut = lambda m: (
        {"d", "e"} & {m.source, m.target} != set()
        or (
            isinstance(m, AppendEntries)
            and any(entry.term == 4 for entry in m.entries)
            and cluster.members[m.target].core.last_index == 2
        )
    )
    _elect(cluster, "a")
    cluster.deliver(cluster.members["a"].time_out())
    cluster.deliver(cluster.members["a"].acknowledged("b", 2))  # which S2 has had since (a)
    cluster.members["e"].time_out()
    assert cluster.members["e"].core.role is Role.FOLLOWER  # it heard nobody for long
    assert cluster.members["a"].core.term == 4
    assert [terms_of(cluster.members[name].core) for name in "abcde"] == [[1, 2, 4], [1, 2], [1, 2], [1], [1, 3]]
    return cluster


@pytest.mark.parametrize(("kind", "lost"), [(Raft, False), (CommitsByCounting, True)])
def test_figure_8_a_b_c_d(kind: type[Raft], lost: bool) -> None:
    """Figure 8, (a) to (d): S5 is elected for term 5 by S2, S3 and S4, and its entry of term 3 takes the place of the
    one of term 2 on all of them: which S1 must not have called committed.
    """
    cluster = _figure_8_until_c(kind)
    told = [entry.term for entry in cluster.members["a"].applied]
    cluster.isolate("a")
    _elect(cluster, "e")
    cluster.deliver(cluster.members["e"].time_out())
    assert cluster.members["e"].core.term == 5
    assert all(terms_of(cluster.members[name].core) == [1, 3, 5] for name in "bcde")
    assert (2 in told) is lost


def test_figure_8_a_b_c_e() -> None:
    """Figure 8, (a) to (c) and (e): S1 brings an entry of its own term to a majority before it falls. Then all before
    it is committed too, and S5 cannot win: not with any votes that there are.
    """
    cluster = _figure_8_until_c(Raft)
    cluster.isolate("d", "e")
    cluster.deliver(cluster.members["a"].time_out())
    assert [terms_of(cluster.members[name].core) for name in "abc"] == [[1, 2, 4]] * 3
    assert cluster.members["a"].core.commit == 3
    cluster.isolate("a")
    for _ in range(3):
        cluster.elect("e")
        assert cluster.members["e"].core.role is not Role.LEADER


# 7 and 8


def test_figure_13_a_snapshot_that_describes_a_prefix_keeps_the_suffix() -> None:
    """7: if the snapshot describes a prefix of its log, what it covers is deleted, but what follows it remains."""
    member = ByHand(log=[1, 1, 2, 2], term=2)
    _install(member, Snapshot(index=3, term=2, voters=("a", "b", "c")))
    assert (member.core.first_index, member.core.last_index, member.core.commit) == (4, 4, 3)


def test_figure_13_a_snapshot_with_new_information_replaces_the_log() -> None:
    """7: the follower discards its entire log; it is all superseded and may have entries that conflict."""
    member = ByHand(log=[1, 1, 1, 1, 1], term=2)
    _install(member, Snapshot(index=3, term=2, voters=("a", "b", "c")))
    assert (member.core.first_index, member.core.last_index, member.core.commit) == (4, 3, 3)
    assert [ready.truncate_from for ready in member.readies if ready.install] == [4]


def _install(member: ByHand, snapshot: Snapshot) -> None:
    chunk = InstallSnapshot(source="b", target="a", term=2, snapshot=snapshot, offset=0, data=b"state", done=True)
    member.hear(chunk)
    assert member.readies[-1].chunks == (chunk,)
    member.core.installed(snapshot)
    member.take()


def test_a_leader_begins_with_a_noop() -> None:
    """8: the leader commits a blank no-op entry into the log at the start of its term."""
    leader = ByHand(log=[1, 1], term=1)
    leader.lead()
    entry = leader.core.entry(3)
    assert entry is not None
    assert (entry.kind, entry.term) == (EntryKind.NOOP, 2)


def test_figure_12_a_snapshot_takes_the_place_of_committed_entries() -> None:
    """Figure 12: the state up to the last committed index, with that index and its term, replaces the entries; what
    follows stays, and the consistency check of the first entry behind it still works.
    """
    member = ByHand(term=3, timing=Timing(log_tail_entries=0))
    member.hear(append(term=3, terms=[1, 1, 1, 2, 3, 3, 3], commit=5))
    member.core.compacted(Snapshot(index=5, term=3, voters=("a", "b", "c")))
    assert (member.core.first_index, member.core.last_index, member.core.term_at(5)) == (6, 7, 3)
    assert member.core.snapshot.index == 5
    assert _success(member, append(term=3, prev=(5, 3), terms=[3, 3, 3]))
    assert not _success(member, append(term=3, prev=(9, 3), terms=[3]))
