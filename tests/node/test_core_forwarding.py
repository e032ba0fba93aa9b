"""Reads through any node: a follower asks the leader for its read index, and always comes to an end."""

from __future__ import annotations

from node.raft.messages import AppendReply, Message, ReadReply, ReadRequest, RequestVote, Role
from node.raft.timing import MS, Timing
from tests.node.by_hand import ByHand, Cluster, append

TIMING = Timing(election_ns_min=500 * MS, election_ns_max=1000 * MS)


def follower() -> ByHand:
    """Follows b in term 1, and holds its first entry, which is committed."""
    member = ByHand(timing=TIMING)
    member.hear(append(term=1, terms=[1], commit=1))
    return member


def ask(member: ByHand, token: int) -> ReadRequest:
    """A read at a follower: the question that it sends."""
    member.core.read_through(token, member.now_ns)
    (request,) = member.take()
    assert isinstance(request, ReadRequest)
    return request


def answer(request: ReadRequest, index: int | None, *, by: str = "b", term: int = 1) -> ReadReply:
    """A leader's answer."""
    return ReadReply(source=by, target=request.source, term=term, token=request.token, index=index)


def test_a_follower_asks_the_leader_and_gets_its_read_index() -> None:
    """Thesis 6.4, last paragraph."""
    member = follower()
    request = ask(member, 7)
    assert (request.target, request.term) == ("b", 1)
    assert member.reads == {}
    member.hear(answer(request, 1))
    assert member.reads == {7: 1}


def test_all_of_a_cluster_see_what_was_acknowledged_before() -> None:
    """The index that any server gets is not below what was committed when it asked."""
    cluster = Cluster([ByHand(name, timing=TIMING) for name in "abc"])
    cluster.elect("a")
    cluster.deliver(cluster.members["a"].propose(b"x"))
    committed = cluster.members["a"].core.commit
    for name, member in cluster.members.items():
        member.core.read_through(1, member.now_ns)
        cluster.deliver(member.take())
        assert member.reads == {1: committed}, name


def test_a_question_waits_for_a_round_that_begins_after_it() -> None:
    """The leader treats it as a read of its own: an echo of an older round confirms nothing."""
    leader = ByHand(timing=TIMING)
    leader.lead()
    leader.acknowledged("b", 1)
    leader.time_out()
    sent = leader.hear(ReadRequest(source="c", target="a", term=1, token=5))
    assert not any(isinstance(message, ReadReply) for message in sent)
    assert not replies(leader.acknowledged("b", 1, read_round=1))
    (reply,) = replies(leader.acknowledged("b", 1, read_round=2))
    assert (reply.target, reply.token, reply.index) == ("c", 5, 1)


def replies(sent: list[Message]) -> list[ReadReply]:
    """The answers to followers among what was sent."""
    return [message for message in sent if isinstance(message, ReadReply)]


def test_questions_of_one_turn_share_a_round() -> None:
    """Batches: however many followers and reads, one confirmation."""
    leader = ByHand(timing=TIMING)
    leader.lead()
    leader.acknowledged("b", 1)
    for source, token in (("b", 1), ("c", 1), ("c", 2)):
        leader.core.receive(ReadRequest(source=source, target="a", term=1, token=token), leader.now_ns)
    leader.core.read(9, leader.now_ns)
    leader.take()
    assert leader.core.read_round == 1
    answered = replies(leader.acknowledged("b", 1, read_round=1))
    assert [(one.target, one.token, one.index) for one in answered] == [("b", 1, 1), ("c", 1, 1), ("c", 2, 1)]
    assert leader.reads == {9: 1}


def test_who_does_not_lead_says_so_and_so_does_who_ceases_to() -> None:
    """None: the follower refuses its read."""
    member = follower()
    (reply,) = replies(member.hear(ReadRequest(source="c", target="a", term=1, token=5)))
    assert (reply.target, reply.index) == ("c", None)
    leader = ByHand(timing=TIMING)
    leader.lead()
    leader.hear(ReadRequest(source="c", target="a", term=1, token=6))
    (reply,) = replies(leader.hear(append(term=4)))
    assert (reply.token, reply.index) == (6, None)


def test_a_refusal_of_the_leader_refuses_the_read() -> None:
    """Definite: nothing was read."""
    member = follower()
    member.hear(answer(ask(member, 7), None))
    assert member.reads == {7: None}


def test_a_lost_question_ends_in_a_refusal() -> None:
    """Within one longest election time-out, although the leader goes on to be heard."""
    member = follower()
    ask(member, 7)
    for _ in range(9):
        member.now_ns += 100 * MS
        member.hear(append(term=1, prev=(1, 1), commit=1))
        assert member.core.next_deadline_ns() <= 1000 * MS
        assert member.reads == {}
    member.after(100)
    assert member.reads == {7: None}


def test_a_new_leader_ends_in_a_refusal_at_once() -> None:
    """Also when nobody leads for now: the node campaigns, or learns of a newer term."""
    member = follower()
    ask(member, 1)
    member.hear(append(by="c", term=2, prev=(1, 1)))
    assert member.reads == {1: None}
    ask(member, 2)
    member.hear(AppendReply(source="b", target="a", term=3, success=False))
    assert member.reads == {1: None, 2: None}
    member = follower()
    member.core.timing = Timing(election_ns_min=500 * MS, election_ns_max=60_000 * MS)
    ask(member, 3)
    assert [type(message) for message in member.time_out()] == [RequestVote, RequestVote]
    assert member.reads == {3: None}


def test_a_read_without_a_known_leader_is_refused_at_once() -> None:
    """Nobody is there to ask."""
    member = ByHand(timing=TIMING)
    member.core.read_through(1, member.now_ns)
    member.take()
    assert member.reads == {1: None}


def test_a_repeated_or_late_answer_is_nobodys() -> None:
    """Each question has one fate."""
    member = follower()
    request = ask(member, 7)
    member.hear(answer(request, 1), answer(request, 1), answer(request, None))
    assert member.reads == {7: 1}
    lost = ask(member, 8)
    member.now_ns += 1000 * MS
    member.after(0)
    member.hear(answer(lost, 1))
    assert member.reads == {7: 1, 8: None}


def test_an_answer_to_a_former_life_is_not_taken_for_one_to_this() -> None:
    """A question's number never comes again after a restart, even with the same seed: the old index may be too low."""
    first = follower()
    old = ask(first, 1)
    second = ByHand(timing=TIMING, started_ns=MS)
    second.hear(append(term=1, terms=[1], commit=1))
    new = ask(second, 1)
    assert new.token != old.token
    second.hear(answer(old, 0))
    assert second.reads == {}


def test_a_leader_serves_its_own_without_asking_itself() -> None:
    """Through any node includes the leader."""
    leader = ByHand(timing=TIMING)
    leader.lead()
    leader.acknowledged("b", 1)
    leader.core.read_through(1, leader.now_ns)
    leader.take()
    leader.acknowledged("c", 1, read_round=1)
    assert leader.core.role is Role.LEADER
    assert leader.reads == {1: 1}
