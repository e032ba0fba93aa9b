"""Compaction, InstallSnapshot and what a restart makes of both: section 7, as far as the core goes."""

from __future__ import annotations

import pytest

from node.raft.core import Timing
from node.raft.log import Log
from node.raft.messages import AppendEntries, Entry, EntryKind, InstallSnapshot, Message, Snapshot, SnapshotReply
from node.raft.progress import ProgressState
from node.raft.timing import MS
from tests.node.by_hand import ByHand, append, log_of, terms_of

ABC = ("a", "b", "c")
NO_TAIL = Timing(log_tail_entries=0)


def snapshot(index: int, term: int = 1) -> Snapshot:
    """A snapshot's metadata."""
    return Snapshot(index=index, term=term, voters=ABC)


def chunk(of: Snapshot, *, term: int = 1, by: str = "b") -> InstallSnapshot:
    """The only chunk of a small snapshot."""
    return InstallSnapshot(source=by, target="a", term=term, snapshot=of, offset=0, data=b"state", done=True)


def compacted_leader() -> ByHand:
    """A leader with five committed entries, compacted up to the last, and a follower (c) that has none."""
    leader = ByHand(timing=NO_TAIL)
    leader.lead()
    leader.acknowledged("b", 1)
    leader.propose(b"2", b"3", b"4", b"5")
    leader.acknowledged("b", 5)
    leader.core.compacted(snapshot(5))
    leader.take()
    return leader


def done(index: int, *, by: str = "c") -> Message:
    """The reply that ends a transfer."""
    return SnapshotReply(source=by, target="a", term=1, index=index, next_offset=0, done=True)


def test_a_tail_stays_for_slow_followers() -> None:
    """What a snapshot stands for may go, but for the stated tail."""
    member = ByHand(timing=Timing(log_tail_entries=2))
    member.hear(append(term=1, terms=[1] * 6, commit=6))
    member.core.compacted(snapshot(5))
    assert (member.core.first_index, member.core.last_index) == (4, 6)
    assert member.core.term_at(3) == 1
    assert member.core.term_at(2) is None


def test_the_tail_is_bounded_in_bytes() -> None:
    """A thousand entries of a megabyte are no tail."""
    leader = ByHand(timing=Timing(log_tail_entries=4, log_tail_bytes_max=10))
    leader.lead()
    for peer in ("b", "c"):
        leader.acknowledged(peer, 1)
    leader.propose(b"1234", b"1234", b"1234", b"1234", b"behind the snapshot")
    leader.acknowledged("b", 6)
    leader.core.compacted(snapshot(5))
    assert (leader.core.first_index, leader.core.last_index) == (4, 6)


def test_only_what_was_handed_out_may_be_compacted() -> None:
    """A snapshot of entries that nobody applied is a mistake of the shell."""
    member = ByHand(log=[1, 1], term=1)
    with pytest.raises(ValueError, match="snapshot up to 2, but only 0"):
        member.core.compacted(snapshot(2))


def test_a_follower_behind_the_log_is_sent_a_snapshot() -> None:
    """7: the leader must occasionally send snapshots to followers that lag behind."""
    leader = compacted_leader()
    leader.refused("c", 0, index=1, term=0)
    assert [r.snapshots_wanted for r in leader.readies if r.snapshots_wanted] == [("c",)]
    message = leader.core.snapshot_chunk("c", leader.core.snapshot, offset=0, data=b"x", done=True)
    assert message is not None
    assert (message.term, message.target, message.snapshot.index) == (1, "c", 5)
    assert leader.core.snapshot_chunk("b", leader.core.snapshot, offset=0, data=b"x", done=True) is None


def test_who_does_not_answer_is_sent_no_snapshot() -> None:
    """It would be lost; until there is an answer, heartbeats that any log accepts ask for one."""
    leader = compacted_leader()
    sent = [m for m in leader.after(100) if m.target == "c"]
    assert [(type(m), m.prev_index) for m in sent if isinstance(m, AppendEntries)] == [(AppendEntries, 0)]
    assert not any(ready.snapshots_wanted for ready in leader.readies)
    leader.acknowledged("c", 0)
    assert [r.snapshots_wanted for r in leader.readies if r.snapshots_wanted] == [("c",)]


def test_after_the_snapshot_the_log_goes_on() -> None:
    """The reply with ``done`` puts the follower back into the stream."""
    leader = compacted_leader()
    leader.refused("c", 0, index=1, term=0)
    leader.hear(done(5))
    assert leader.core.progress["c"].state is ProgressState.REPLICATE
    sent = [m for m in leader.propose(b"6") if isinstance(m, AppendEntries) and m.target == "c"]
    assert [(m.prev_index, len(m.entries)) for m in sent] == [(5, 1)]


def test_a_lost_done_is_made_up_for_by_a_heartbeat() -> None:
    """While a snapshot is under way the core sends heartbeats that any log accepts; the answer tells the rest."""
    leader = compacted_leader()
    leader.refused("c", 0, index=1, term=0)
    beat = next(m for m in leader.time_out() if isinstance(m, AppendEntries) and m.target == "c")
    assert (beat.prev_index, beat.entries) == (0, ())
    leader.acknowledged("c", 5)
    assert leader.core.progress["c"].state is ProgressState.REPLICATE


def test_a_silent_transfer_is_asked_for_again() -> None:
    """Nothing heard for the retry time-out: the shell starts over."""
    leader = compacted_leader()
    leader.refused("c", 0, index=1, term=0)
    asked_ns = leader.now_ns
    wanted = 1
    while wanted < 2:
        leader.time_out()
        leader.acknowledged("b", 5)
        wanted = sum(len(ready.snapshots_wanted) for ready in leader.readies)
    waited = leader.now_ns - asked_ns
    assert NO_TAIL.snapshot_retry_ns <= waited <= NO_TAIL.snapshot_retry_ns + 200 * MS


def busy_leader(timing: Timing) -> ByHand:
    """It sends c snapshot 5, and is asked to write on."""
    leader = ByHand(timing=timing)
    leader.lead()
    leader.acknowledged("b", 1)
    write_to(leader, 5)
    leader.core.compacted(snapshot(5))
    leader.refused("c", 0, index=1, term=0)
    return leader


def write_to(leader: ByHand, last: int) -> None:
    """Commits entries up to this index, with b's help; c answers heartbeats."""
    leader.propose(*[b"%4d" % index for index in range(leader.core.last_index + 1, last + 1)])
    leader.acknowledged("b", last)


def send_chunk(leader: ByHand, of: Snapshot) -> None:
    """As the shell does."""
    assert leader.core.snapshot_chunk("c", of, offset=0, data=b"x", done=False) is not None


def test_snapshots_that_are_taken_faster_than_sent_do_not_overtake_the_transfer() -> None:
    """What follows the snapshot that a follower is being sent stays in the log until it has caught up, so one transfer
    is enough, however often the leader compacts meanwhile.
    """
    leader = busy_leader(NO_TAIL)
    for index in (10, 20, 30):
        write_to(leader, index)
        leader.core.compacted(snapshot(index))
        leader.acknowledged("c", 0)
        assert leader.core.first_index == 6
    leader.hear(done(5))
    assert leader.core.progress["c"].state is ProgressState.REPLICATE
    write_to(leader, 31)
    leader.core.compacted(snapshot(31))
    assert leader.core.first_index == 6
    leader.acknowledged("c", 31)
    write_to(leader, 40)
    leader.acknowledged("c", 39)
    leader.core.compacted(snapshot(38))
    assert leader.core.first_index == 39
    assert [ready.snapshots_wanted for ready in leader.readies if ready.snapshots_wanted] == [("c",)]


def test_the_log_is_kept_for_the_snapshot_that_is_really_sent() -> None:
    """Asked again, the shell may go on with the one that had begun, or have to begin with the newest."""
    leader = busy_leader(NO_TAIL)
    write_to(leader, 10)
    leader.core.compacted(snapshot(10))
    send_chunk(leader, snapshot(5))
    write_to(leader, 20)
    leader.core.compacted(snapshot(20))
    assert leader.core.first_index == 6
    send_chunk(leader, snapshot(20))
    write_to(leader, 30)
    leader.core.compacted(snapshot(30))
    assert leader.core.first_index == 21


@pytest.mark.parametrize(
    "timing",
    [Timing(log_tail_entries=0, log_kept_entries_max=10), Timing(log_tail_entries=0, log_kept_bytes_max=40)],
    ids=["entries", "bytes"],
)
def test_the_log_is_not_kept_beyond_its_limits(timing: Timing) -> None:
    """A follower that is slower than the writes must not fill the memory: then all goes, since a part is no use."""
    leader = busy_leader(timing)
    for index, first in ((15, 6), (16, 17)):
        write_to(leader, index)
        leader.core.compacted(snapshot(index))
        assert leader.core.first_index == first


def test_the_log_is_not_kept_for_who_is_silent() -> None:
    """A dead follower holds up nothing; it will need another snapshot."""
    leader = busy_leader(NO_TAIL)
    assert leader.core.awaits_snapshot("c")
    heard_ns = leader.now_ns
    while leader.core.awaits_snapshot("c"):
        leader.time_out()
        leader.acknowledged("b", 5)
    write_to(leader, 10)
    leader.core.compacted(snapshot(10))
    assert leader.core.first_index == 11
    assert leader.now_ns - heard_ns <= NO_TAIL.snapshot_patience_ns + 200 * MS


def test_a_snapshot_from_an_old_leader_is_refused() -> None:
    """Figure 13, step 1: reply immediately if term < currentTerm."""
    member = ByHand(term=3)
    (reply,) = member.hear(chunk(snapshot(9), term=2))
    assert isinstance(reply, SnapshotReply)
    assert (reply.term, reply.done) == (3, False)
    assert all(not ready.chunks for ready in member.readies)


def test_a_snapshot_keeps_the_leader_alive() -> None:
    """A long transfer must not look like a dead leader."""
    member = ByHand(term=1)
    member.now_ns = 400 * MS
    member.hear(chunk(snapshot(9)))
    assert member.core.leader == "b"
    assert member.core.election_deadline_ns >= 900 * MS


def test_a_late_older_snapshot_changes_nothing() -> None:
    """At the first chunk or at the last: what is committed is never cut (camunda#6092)."""
    member = ByHand()
    member.hear(append(term=1, terms=[1] * 6, commit=4))
    (reply,) = member.hear(chunk(snapshot(3)))
    assert isinstance(reply, SnapshotReply)
    assert (reply.done, reply.index) == (True, 3)
    member.core.installed(snapshot(4))
    member.take()
    assert (member.core.last_index, member.core.commit, member.core.first_index) == (6, 4, 1)
    assert all(ready.install is None for ready in member.readies)


def test_install_resets_and_answers() -> None:
    """Figure 13, steps 7-8: the log begins behind the snapshot; the reply leaves after the disk is reset."""
    member = ByHand(log=[1, 1, 1], term=1)
    member.hear(chunk(snapshot(9)))
    member.core.installed(snapshot(9))
    (reply,) = member.take()
    assert isinstance(reply, SnapshotReply)
    assert (reply.done, reply.index) == (True, 9)
    ready = member.readies[-1]
    assert (ready.install, ready.truncate_from, ready.commit, ready.must_sync) == (snapshot(9), 10, 9, True)
    member.hear(append(term=1, prev=(9, 1), terms=[1], commit=10))
    assert [entry.index for entry in member.applied] == [10]


def test_a_restart_between_snapshot_and_reset_repeats_the_reset() -> None:
    """The disk has the snapshot, but the old, conflicting log: the first Ready says ``install`` again."""
    member = ByHand(snapshot=snapshot(5, term=3), term=3)
    assert not member.core.has_ready()
    torn = Log()
    assert torn.restore(snapshot(5, term=3), log_of([1] * 8)) is False
    assert (torn.base_index, torn.last_index, torn.hand_out()) == (5, 5, ((), 6))


def test_a_restart_keeps_what_follows_its_own_snapshot() -> None:
    """Entries that agree with the snapshot stay, the tail below it too; the term before them is not needed."""
    log = Log()
    entries = log_of([1, 1, 2, 2, 2], first=4)
    assert log.restore(snapshot(6, term=2), entries) is True
    assert (log.base_index, log.base_term, log.last_index, log.durable) == (4, 1, 8, 8)
    whole = Log()
    assert whole.restore(snapshot(2), log_of([1, 1, 1])) is True
    assert (whole.base_index, whole.last_index) == (0, 3)


def test_a_gap_behind_the_snapshot_is_refused() -> None:
    """Lost entries are not something to start with."""
    with pytest.raises(ValueError, match="begins at index 9, but the snapshot ends at 6"):
        Log().restore(snapshot(6), log_of([1], first=9))
    with pytest.raises(ValueError, match="broken"):
        Log().restore(Snapshot(), [*log_of([1]), Entry(3, 1, EntryKind.NOOP)])


def test_a_new_leader_finds_where_a_compacted_follower_is() -> None:
    """A follower whose log begins later than the probe answers from its commit index."""
    member = ByHand(timing=NO_TAIL)
    member.hear(append(term=1, terms=[1] * 6, commit=6))
    member.core.compacted(snapshot(6))
    member.hear(append(term=2, prev=(3, 1), terms=[1, 1, 1, 2]))
    assert terms_of(member.core) == [2]
