"""Pipelining, windows, batches, refusals late and early: the leader's side, and what a follower never does."""

from __future__ import annotations

import pytest

from node.raft.core import Raft, Timing
from node.raft.messages import AppendEntries, AppendReply, Message
from node.raft.progress import ProgressState
from tests.node.by_hand import ByHand, append, terms_of


def appends(messages: list[Message], to: str = "b") -> list[tuple[int, int]]:
    """(previous index, number of entries) of each AppendEntries to one follower."""
    return [(m.prev_index, len(m.entries)) for m in messages if isinstance(m, AppendEntries) and m.target == to]


def streaming(timing: Timing | None = None, kind: type[Raft] = Raft) -> ByHand:
    """A leader whose followers have its no-op."""
    leader = ByHand(timing=timing, kind=kind)
    leader.lead()
    for peer in ("b", "c"):
        leader.acknowledged(peer, 1)
    return leader


def test_a_probe_is_sent_once_then_entries_stream() -> None:
    """Until a follower agrees there is one append under way; after that they don't wait for each other."""
    leader = ByHand(log=[1, 1], term=1)
    assert appends(leader.lead()) == [(2, 1)]
    assert appends(leader.propose(b"x")) == []
    assert appends(leader.acknowledged("b", 3)) == [(3, 1)]
    assert appends(leader.propose(b"y")) == [(4, 1)]


def test_the_window_is_bounded_and_batches_grow_behind_it() -> None:
    """A slow follower costs a bounded number of appends; what piles up meanwhile travels together."""
    leader = streaming(Timing(inflight_appends_max=2))
    sent = [appends(leader.propose(b"x")) for _ in range(4)]
    assert sent == [[(1, 1)], [(2, 1)], [], []]
    assert appends(leader.acknowledged("b", 2)) == [(3, 2)]


def test_the_window_is_bounded_in_bytes() -> None:
    """The one append that fills it is sent whole. What is answered makes room, and so does a restart of the stream."""
    leader = streaming(Timing(inflight_bytes_max=10, bytes_per_append_max=4))
    assert appends(leader.propose(*[b"xxxx"] * 5)) == [(1, 1), (2, 1), (3, 1)]
    assert appends(leader.acknowledged("b", 2)) == [(4, 1)]
    assert appends(leader.acknowledged("b", 4)) == [(5, 1)]
    leader.refused("b", 5, index=4, term=0)
    assert appends(leader.acknowledged("b", 4)) == [(4, 1), (5, 1)]
    assert leader.core.progress["b"].inflight_bytes == 8
    leader.acknowledged("b", 6)
    assert leader.core.progress["b"].inflight_bytes == 0


def test_appends_are_bounded_in_entries_and_bytes() -> None:
    """A backlog is cut into pieces; an entry above the limit travels alone."""
    by_count = streaming(Timing(entries_per_append_max=2))
    assert appends(by_count.propose(*[b"x"] * 5)) == [(1, 2), (3, 2), (5, 1)]
    by_size = streaming(Timing(bytes_per_append_max=10))
    assert appends(by_size.propose(b"x" * 4, b"x" * 4, b"x" * 50, b"x")) == [(1, 2), (3, 1), (4, 1)]


def test_everything_of_one_turn_shares_one_append() -> None:
    """Several proposals and reads, one append per follower."""
    leader = streaming()
    for number in range(3):
        leader.core.propose([b"x"])
        leader.core.read(number, leader.now_ns)
    sent = leader.take()
    assert appends(sent) == [(1, 3)]
    assert len(sent) == 2


def test_a_lost_append_is_found_by_the_next_heartbeat() -> None:
    """A heartbeat vouches for all that was sent; its refusal restarts the stream at the follower's end."""
    leader = streaming()
    leader.propose(b"x")
    (beat,) = appends(leader.time_out())
    assert beat == (2, 0)
    assert appends(leader.refused("b", 2, index=2, term=0)) == [(1, 1)]


def test_a_lost_probe_is_repeated_by_the_heartbeat() -> None:
    """A follower that never answered is probed again, entries included."""
    leader = ByHand()
    assert appends(leader.lead()) == [(0, 1)]
    assert appends(leader.time_out()) == [(0, 1)]


def test_a_refusal_of_what_was_acknowledged_since_is_late() -> None:
    """Reordered answers must not send a streaming follower back."""
    leader = streaming()
    leader.propose(b"x", b"y")
    leader.acknowledged("b", 3)
    leader.refused("b", 2, index=1, term=0)
    assert leader.core.progress["b"].state is ProgressState.REPLICATE
    assert leader.core.progress["b"].match == 3


def test_a_repeated_success_changes_nothing() -> None:
    """matchIndex increases monotonically (figure 2)."""
    leader = streaming()
    leader.propose(b"x", b"y")
    leader.acknowledged("b", 3)
    leader.acknowledged("b", 1)
    assert (leader.core.progress["b"].match, leader.core.commit) == (3, 3)


def test_a_reply_of_an_older_term_is_ignored() -> None:
    """What a follower held in an older term says nothing about this one."""
    leader = ByHand(log=[1, 1, 1], term=1)
    leader.lead()
    leader.hear(AppendReply(source="b", target="a", term=1, success=True, match=3))
    assert leader.core.progress["b"].match == 0


def test_a_late_append_never_cuts_a_matched_suffix() -> None:
    """Delivered twice and out of order, appends leave the log as the last of them did."""
    member = ByHand()
    early, late = append(term=1, terms=[1, 1]), append(term=1, prev=(2, 1), terms=[1, 1])
    member.hear(early, late, early, append(term=1), early)
    assert terms_of(member.core) == [1, 1, 1, 1]
    assert all(ready.truncate_from is None for ready in member.readies)


def test_a_follower_commits_only_what_the_append_vouched_for() -> None:
    """Figure 2, step 5: behind the last new entry there may be a tail that the leader doesn't know."""
    member = ByHand(log=[1, 1, 1], term=1)
    member.hear(append(term=2, prev=(1, 1), commit=3))
    assert member.core.commit == 1


def test_an_append_below_the_commit_index_is_answered_with_it() -> None:
    """What is committed agrees with every later leader; saying so saves the leader the search."""
    member = ByHand()
    member.hear(append(term=1, terms=[1, 1, 1], commit=3))
    (reply,) = member.hear(append(term=2))
    assert isinstance(reply, AppendReply)
    assert (reply.success, reply.match) == (True, 3)


def test_entries_are_said_once_and_cuts_before_them() -> None:
    """A Ready has what changed since the last: where to cut, then what to append."""
    member = ByHand(log=[1, 1, 2], term=2)
    member.core.receive(append(term=3, prev=(1, 1), terms=[3, 3]), 0)
    ready = member.core.ready()
    assert (ready.truncate_from, [e.index for e in ready.entries], ready.must_sync) == (2, [2, 3], True)
    assert not member.core.has_ready()


def test_committed_entries_come_in_bounded_portions() -> None:
    """Catching up must not hold the shell's loop."""
    member = ByHand(timing=Timing(entries_per_ready_max=2))
    member.hear(append(term=1, terms=[1] * 5, commit=5))
    assert [len(ready.committed) for ready in member.readies] == [2, 2, 1]


def test_a_proposal_tells_index_and_term_or_none() -> None:
    """The shell answers clients by (index, term)."""
    leader = streaming()
    assert leader.core.propose([b"x", b"y"]) == (2, 1)
    assert ByHand().core.propose([b"x"]) is None


def test_followers_at_the_same_place_share_one_batch() -> None:
    """The shell may encode a batch once: it is the same tuple."""
    leader = streaming()
    first, second = (m for m in leader.propose(b"x") if isinstance(m, AppendEntries))
    assert first.entries is second.entries


@pytest.mark.parametrize(
    "wrong", [{"election_ns_min": 0}, {"election_ns_max": 1}, {"heartbeat_ns": 10**12}, {"first_election_ns_max": 1}]
)
def test_impossible_timing_is_refused(wrong: dict[str, int]) -> None:
    """The error names the setting and its value."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Timing(**wrong)


def test_a_late_success_does_not_move_a_probe() -> None:
    """Only an answer that vouches for what the probe asks about ends it: an older one, overtaken by the refusal of a
    newer append, would start a whole window of appends again and again on a network that reorders.
    """
    leader = ByHand(log=[1] * 10, term=1)
    leader.lead()
    leader.refused("b", 10, index=7, term=0)
    assert [m for m in leader.acknowledged("b", 3) if isinstance(m, AppendEntries) and m.target == "b"] == []
    sent = [m for m in leader.acknowledged("b", 6) if isinstance(m, AppendEntries) and m.target == "b"]
    assert [(m.prev_index, len(m.entries)) for m in sent] == [(6, 5)]
