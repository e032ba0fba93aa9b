"""Leadership transfer of the core (thesis 3.10)."""

from __future__ import annotations

from node.raft.changes import Why
from node.raft.core import Raft
from node.raft.messages import AppendReply, Configuration, Message, RequestVote, Role, TimeoutNow
from tests.node.by_hand import ByHand, Cluster


def cluster() -> Cluster:
    """Three servers, led by a."""
    servers = Cluster(ByHand(name) for name in "abc")
    servers.elect("a")
    return servers


def timeouts(messages: list[Message]) -> list[str]:
    """Who is told to stand."""
    return [message.target for message in messages if isinstance(message, TimeoutNow)]


def leader_of(servers: Cluster) -> set[str]:
    """Who leads in the newest term."""
    newest = max(member.core.term for member in servers.members.values())
    return {
        name
        for name, member in servers.members.items()
        if member.core.term == newest and member.core.role is Role.LEADER
    }


def test_the_target_leads_at_once() -> None:
    """Nobody waits for a time-out, and nobody refuses because it hears a leader."""
    servers = cluster()
    a = servers.members["a"]
    assert a.core.transfer_leadership("b") is None
    servers.deliver(a.take())
    assert leader_of(servers) == {"b"}
    assert a.core.transfer_target is None


def test_the_target_is_brought_up_to_date_first() -> None:
    """Thesis 3.10, step 2: it is told only when its log is the leader's; what is proposed meanwhile is refused."""
    a = cluster().members["a"]
    held = a.propose(b"one")
    assert a.core.transfer_leadership("b") is None
    assert timeouts(a.take()) == []
    assert a.core.propose([b"two"]) is None
    assert a.core.role is Role.LEADER
    assert held
    assert timeouts(a.acknowledged("c", a.core.last_index)) == []
    assert timeouts(a.acknowledged("b", a.core.last_index)) == ["b"]


def test_it_is_given_up_after_an_election_timeout() -> None:
    """Thesis 3.10: the leader goes on; until then it repeats the message, which may be lost."""
    servers = cluster()
    a = servers.members["a"]
    servers.cut = lambda message: isinstance(message, TimeoutNow)
    assert a.core.transfer_leadership("b") is None
    repeated = 0
    sent = a.take()
    for _ in range(11):
        repeated += len(timeouts(sent))
        servers.deliver(sent)
        sent = a.after(100)
    assert repeated > 1
    servers.deliver(sent)
    assert leader_of(servers) == {"a"}
    assert a.core.propose([b"on"]) is not None


def test_a_lease_ends_when_somebody_is_told_to_stand() -> None:
    """Voters answer a transfer though they hear the leader, so nothing rests on their silence; whatever comes of it."""
    servers = cluster()
    a = servers.members["a"]
    servers.deliver(a.after(100))
    assert a.core.lease_index(a.now_ns) is not None
    a.core.transfer_leadership("b")
    a.take()
    assert a.core.lease_index(a.now_ns) is None


def test_who_can_be_asked() -> None:
    """A voter that was heard lately, and one at a time."""
    servers = cluster()
    a, b = servers.members["a"], servers.members["b"]
    for member, target, why in ((b, "a", Why.NOT_LEADER), (a, "a", Why.INVALID), (a, "x", Why.INVALID)):
        found = member.core.transfer_leadership(target)
        assert found is not None
        assert found.why is why
    servers.deliver(a.propose(b"x"))
    a.propose(b"y")
    assert a.core.transfer_leadership("b") is None
    found = a.core.transfer_leadership("c")
    assert found is not None
    assert found.why is Why.NOT_NOW
    changing = a.core.refusal(Configuration(voters=("a", "b")), joint=False)
    assert changing is not None
    assert changing.why is Why.NOT_NOW


def test_a_late_timeout_now_costs_an_election_only() -> None:
    """It counts in its own term, and asks for votes as anybody does."""
    servers = cluster()
    b = servers.members["b"]
    late = TimeoutNow(source="a", target="b", term=0)
    assert b.hear(late) == []
    stale = ByHand("b", log=[1], term=1)
    asked = stale.hear(TimeoutNow(source="a", target="b", term=1))
    assert all(isinstance(message, RequestVote) and message.transfer for message in asked)
    votes = [servers.members[message.target].hear(message) for message in asked]
    assert stale.core.role is Role.CANDIDATE
    assert votes


def test_a_leader_that_is_no_longer_a_member_names_a_successor() -> None:
    """Thesis 4.2.2 with 3.10: it steps down when its removal is committed, and nobody waits for a time-out."""
    servers = cluster()
    a = servers.members["a"]
    a.core.propose_change(Configuration(voters=("b", "c")))
    servers.deliver(a.take())
    assert leader_of(servers) & {"b", "c"}


def test_answers_of_others_change_nothing() -> None:
    """Only the target's log counts."""
    a = cluster().members["a"]
    a.propose(b"x")
    a.core.transfer_leadership("b")
    a.take()
    reply = AppendReply(source="c", target="a", term=a.core.term, success=True, match=a.core.last_index)
    assert timeouts(a.hear(reply)) == []
    assert isinstance(a.core, Raft)
