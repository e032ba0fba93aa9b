"""ReadIndex: thesis 6.4, with rounds shared by all reads of one turn."""

from __future__ import annotations

from collections.abc import Collection

from node.raft.core import Raft, Timing
from node.raft.messages import AppendEntries, AppendReply, Role
from node.zoo import BUGS
from tests.node.by_hand import ByHand, append


def leader(kind: type[Raft] = Raft, timing: Timing | None = None) -> ByHand:
    """A leader of three whose no-op is committed."""
    member = ByHand(kind=kind, timing=timing)
    member.lead()
    member.acknowledged("b", 1)
    member.take()
    return member


def ask(member: ByHand, token: int) -> list[int]:
    """Asks a read; returns the rounds that the resulting appends carry."""
    member.core.read(token, member.now_ns)
    return [m.read_round for m in member.take() if isinstance(m, AppendEntries)]


def test_a_read_is_answered_after_a_majority_echoed_its_round() -> None:
    """Thesis 6.4, step 3: the leader issues a new round of heartbeats and waits for a majority."""
    member = leader()
    assert ask(member, 7) == [1, 1]
    assert member.reads == {}
    member.acknowledged("b", 1, read_round=1)
    assert member.reads == {7: 1}


def test_an_echo_of_an_older_round_confirms_nothing_newer() -> None:
    """A heartbeat that was sent before the read arrived proves nothing about the time after."""
    member = leader()
    ask(member, 1)
    ask(member, 2)
    member.acknowledged("b", 1, read_round=1)
    assert member.reads == {1: 1}
    member.acknowledged("c", 1, read_round=2)
    assert member.reads == {1: 1, 2: 1}


def test_a_read_waits_for_the_leaders_own_noop() -> None:
    """Thesis 6.4, step 1: until an entry of its own term is committed, a leader doesn't know what is."""
    member = ByHand(log=[1, 1], term=1)
    member.lead()
    member.core.read(1, member.now_ns)
    member.take()
    member.refused("b", 2, index=1, term=0)
    assert [ticket.token for ticket in member.core.waiting_reads] == [1]
    sent = member.acknowledged("b", 3)
    assert [m.read_round for m in sent if isinstance(m, AppendEntries)] == [1, 1]
    member.acknowledged("c", 0, read_round=1)
    assert member.reads == {1: 3}


def test_a_refusal_in_this_term_confirms_too() -> None:
    """A follower whose log lags still knows who leads."""
    member = leader()
    ask(member, 1)
    member.hear(
        AppendReply(source="c", target="a", term=1, success=False, refused_index=1, conflict_index=1, read_round=1)
    )
    assert member.reads == {1: 1}


def test_losing_the_leadership_fails_every_read() -> None:
    """None means: not the leader (any more)."""
    member = leader(timing=Timing(read_rounds_max=1))
    ask(member, 1)
    ask(member, 2)
    member.hear(append(term=5))
    assert member.reads == {1: None, 2: None}


def test_check_quorum_fails_reads_of_an_isolated_leader() -> None:
    """An isolated leader answers nothing, and gives up within an election time-out."""
    member = leader()
    ask(member, 1)
    while member.core.role is Role.LEADER:
        member.time_out()
    assert member.reads == {1: None}


def test_a_follower_refuses_at_once() -> None:
    """The shell names the leader instead."""
    member = ByHand()
    ask(member, 1)
    assert member.reads == {1: None}


def test_rounds_under_way_are_bounded_and_later_reads_share_the_next() -> None:
    """A limit on everything: reads that find the window full wait for one round together."""
    member = leader(timing=Timing(read_rounds_max=1))
    assert [ask(member, token) for token in (1, 2, 3)] == [[1, 1], [], []]
    member.acknowledged("b", 1, read_round=1)
    member.acknowledged("b", 1, read_round=2)
    assert member.reads == {1: 1, 2: 1, 3: 1}


def test_a_lost_round_is_repeated_by_the_next_heartbeat() -> None:
    """A heartbeat is a round of its own, and whoever echoes it confirms all rounds before it."""
    member = leader()
    ask(member, 1)
    assert {m.read_round for m in member.time_out() if isinstance(m, AppendEntries)} == {2}
    member.acknowledged("b", 1, read_round=2)
    assert member.reads == {1: 1}


def test_the_only_voter_reads_at_once() -> None:
    """It is its own majority."""
    alone = ByHand(voters=("a",))
    alone.time_out()
    alone.core.read(1, alone.now_ns)
    alone.take()
    assert alone.reads == {1: alone.core.commit}


def test_local_read_is_one_override_for_reads_and_step_down() -> None:
    """Bug R1: with it an isolated leader answers reads at once, and never steps down."""
    member = leader(kind=BUGS["local-read"].parts.core)
    ask(member, 1)
    assert member.reads == {1: 1}
    for _ in range(100):
        member.time_out()
    assert member.core.role is Role.LEADER


def test_hears_majority_is_asked_with_those_that_answered() -> None:
    """The hook that local-read overrides sees exactly the followers that were heard."""
    asked: list[set[str]] = []

    class Spy(Raft):
        def hears_majority(self, heard: Collection[str]) -> bool:
            asked.append(set(heard))
            return super().hears_majority(heard)

    member = leader(kind=Spy)
    ask(member, 1)
    member.acknowledged("c", 1, read_round=1)
    assert asked[-1] == {"c"}


def test_an_echo_of_a_former_leadership_confirms_nothing() -> None:
    """A server leads in term 1, and again in term 3; an append of term 1 that was delayed until then reaches a follower
    of term 3, whose refusal is of term 3. What it echoed was a round of term 1, and confirmed a read of term 3 without
    asking anybody (found by the simulation, seed 1009).
    """
    follower = ByHand("b", term=3)
    (refusal,) = follower.hear(append("b", by="a", term=1, read_round=5))
    assert isinstance(refusal, AppendReply)
    assert (refusal.success, refusal.term) == (False, 3)

    again = ByHand(term=2)
    again.lead()
    again.acknowledged("b", 1)
    ask(again, 9)
    again.hear(refusal)
    assert again.reads == {}
    again.acknowledged("c", 1, read_round=1)
    assert again.reads == {9: 1}
