"""Membership changes of the core (section 6; thesis, chapter 4): what is in force when, what is refused, and the
published mistakes by hand. Each mistake is one method of the core that decides wrongly; the situation that breaks it
must leave the correct core whole.
"""

from __future__ import annotations

import random

import pytest

from node.identity import host_of
from node.raft.changes import LEARNER_LAG_ENTRIES_MAX, Refused, Why
from node.raft.core import Raft
from node.raft.membership import decode_configuration, encode_configuration
from node.raft.messages import (
    Adoption,
    AppendEntries,
    AppendReply,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Message,
    Recovered,
    RequestVote,
    Role,
    Snapshot,
    VoteReply,
)
from node.raft.timing import MS, Timing
from tests.node.by_hand import ByHand, Cluster

ABC = ("a", "b", "c")
ABCD = (*ABC, "d")


def to(voters: str, *, learners: str = "") -> Configuration:
    """A configuration of servers with one letter each."""
    return Configuration(voters=tuple(voters), learners=tuple(learners))


def config_entry(index: int, term: int, configuration: Configuration) -> Entry:
    return Entry(index, term, EntryKind.CONFIG, encode_configuration(configuration))


def role_of(member: ByHand) -> Role:
    """Its role now."""
    return member.core.role


def refused(member: ByHand, target: Configuration, *, joint: bool = False) -> Why | None:
    """Why a change is refused; None (and nothing done) if it is not."""
    found = member.core.refusal(target, joint=joint)
    return None if found is None else found.why


def change(member: ByHand, target: Configuration, *, joint: bool = False) -> list[Message]:
    """Begins a change that must be accepted; returns what is sent."""
    begun = member.core.propose_change(target, joint=joint)
    assert not isinstance(begun, Refused), begun
    return member.take()


def leading(voters: tuple[str, ...] = ABC, **options: object) -> ByHand:
    """A leader whose no-op is committed."""
    member = ByHand(voters=voters, **options)  # type: ignore[arg-type]
    member.lead()
    for peer in voters[1:]:
        member.acknowledged(peer, member.core.last_index)
    assert member.core.commit == member.core.last_index
    return member


def cluster(names: str, *, voters: str | None = None, kind: type[Raft] = Raft) -> Cluster:
    """Servers that know each other; those that are no ``voters`` wait to be added."""
    voting = tuple(voters or names)
    return Cluster(ByHand(name, voters=voting if name in voting else (), kind=kind) for name in names)


# In force


def test_a_configuration_is_in_force_as_soon_as_it_is_in_the_log() -> None:
    """Section 6: "a server always uses the latest configuration in its log, regardless of whether it is committed"."""
    leader = leading(ABCD)
    change(leader, to("abc"))
    assert leader.core.voters == ABC
    assert leader.core.configuration_index > leader.core.commit
    follower = ByHand("b", voters=ABCD)
    follower.hear(
        AppendEntries(
            source="a", target="b", term=1, prev_index=0, prev_term=0, entries=(config_entry(1, 1, to("abc")),)
        )
    )
    assert follower.core.voters == ABC


def test_a_configuration_goes_with_its_entry() -> None:
    """Thesis 4.1: a server whose log loses the entry falls back to the one before (M8: canonical/raft#250)."""
    follower = ByHand("b", voters=ABC)
    follower.hear(
        AppendEntries(
            source="a",
            target="b",
            term=1,
            prev_index=0,
            prev_term=0,
            entries=(
                Entry(1, 1, EntryKind.NOOP),
                config_entry(2, 1, to("ab")),
            ),
        )
    )
    assert follower.core.configuration == to("ab")
    follower.hear(
        AppendEntries(source="c", target="b", term=2, prev_index=1, prev_term=1, entries=(Entry(2, 2, EntryKind.NOOP),))
    )
    assert follower.core.configuration == to("abc")
    told = [(one.since, one.configuration) for ready in follower.readies for one in ready.configurations]
    assert told == [(2, to("ab")), (0, to("abc"))]


def test_configurations_survive_a_restart() -> None:
    """The log and the snapshot hold all there is to know of the membership."""
    snapshot = Snapshot.of(4, 1, to("abc", learners="d"))
    first = ByHand("b", voters=("x", "y"), snapshot=snapshot)
    assert first.core.configuration == to("abc", learners="d")
    first.hear(
        AppendEntries(
            source="a", target="b", term=1, prev_index=4, prev_term=1, entries=(config_entry(5, 1, to("abcd")),)
        )
    )
    again = ByHand("b", voters=("x", "y"), snapshot=snapshot)
    again.core.extend_log(first.core.log.slice(5, 5))
    assert again.core.voters == ABCD
    assert again.core.configuration_at(4) == to("abc", learners="d")


def test_a_snapshot_holds_the_configuration_as_of_its_last_entry() -> None:
    """Not the one in force, which may be behind it in the log and never be committed."""
    leader = leading(ABCD)
    applied = leader.core.applied
    change(leader, to("abc"))
    assert leader.core.configuration_at(applied) == to("abcd")
    leader.core.compacted(Snapshot.of(applied, 1, leader.core.configuration_at(applied)))
    assert [index for index, _ in leader.core.configurations] == [applied, applied + 1]


def test_a_received_snapshot_brings_its_configuration() -> None:
    """Figure 13 and section 7: it takes the place of all entries up to its last, configurations included."""
    follower = ByHand("d", voters=())
    assert follower.core.voters == ()
    snapshot = Snapshot.of(9, 2, to("abc", learners="d"))
    follower.core.installed(snapshot)
    follower.take()
    assert follower.core.configuration == to("abc", learners="d")


def test_bytes_of_configurations() -> None:
    """What goes into the log comes out."""
    joint = Configuration(voters=("a",), outgoing=("b", "c"), learners=("d~1.2",))
    assert decode_configuration(encode_configuration(joint)) == joint
    with pytest.raises(ValueError, match="not a configuration"):
        decode_configuration(b"\xff\xff")


# Quorums


def test_figure_4_3_disjoint_majorities_are_refused() -> None:
    """Thesis, figure 4.3: from three voters straight to five, two majorities could decide at once. One at a time."""
    leader = leading(ABC)
    assert refused(leader, to("abcde")) is Why.INVALID
    assert refused(leader, to("abx")) is Why.INVALID
    assert refused(leader, to("abc", learners="d")) is None


def test_a_joint_configuration_needs_both_majorities_to_commit() -> None:
    """Section 6: "agreement requires separate majorities from both the old and new configurations"."""
    leader = leading(("a", "b", "c"))
    for name in "de":
        change(leader, Configuration(voters=ABC, learners=(*leader.core.configuration.learners, name)))
        index = leader.core.last_index
        leader.acknowledged("b", index)
        leader.acknowledged(name, index)
    change(leader, to("ade"), joint=True)
    joint = leader.core.configuration_index
    assert leader.core.configuration.outgoing == ABC
    leader.acknowledged("b", joint)
    assert leader.core.commit < joint, "a and b are a majority of the old voters only"
    leader.acknowledged("d", joint)
    assert leader.core.commit >= joint
    assert leader.core.configuration == to("ade"), "the leader proposed the new configuration at once"


def test_what_one_ready_commits_under_two_configurations_is_told_apart() -> None:
    """The joint entry is committed by both majorities; what stands behind it may be by the new one alone, as soon as
    the new one is in the log. Whoever checks must know which was counted by which.
    """
    leader = leading(ABC)
    for name in "de":
        change(leader, Configuration(voters=ABC, learners=(*leader.core.configuration.learners, name)))
        index = leader.core.last_index
        leader.acknowledged("b", index)
        leader.acknowledged(name, index)
    change(leader, to("ade"), joint=True)
    joint = leader.core.configuration_index
    leader.propose(b"x")
    before = len(leader.readies)
    matches = (("b", joint), ("d", joint + 1), ("e", joint + 1))
    leader.hear(*(AppendReply(source=peer, target="a", term=1, success=True, match=index) for peer, index in matches))
    ready = leader.readies[before]
    assert ready.configurations == (Adoption(joint + 2, to("ade"), joint),)
    assert ready.commit == joint + 1


def test_a_joint_configuration_needs_both_majorities_to_elect() -> None:
    """The same for votes."""
    joint = Configuration(voters=("a", "d", "e"), outgoing=ABC)
    candidate = ByHand("a", voters=ABC)
    candidate.core.extend_log([config_entry(1, 1, joint)])
    candidate.take()
    asked = {message.target for message in candidate.time_out() if isinstance(message, RequestVote)}
    assert asked == {"b", "c", "d", "e"}
    term = candidate.core.term + 1
    candidate.hear(*(VoteReply(source=one, target="a", term=term, granted=True, pre=True) for one in "bd"))
    assert role_of(candidate) is Role.CANDIDATE
    candidate.hear(*(VoteReply(source=one, target="a", term=term, granted=True) for one in "de"))
    assert role_of(candidate) is Role.CANDIDATE, "all new voters, but only a itself of the old ones"
    candidate.hear(VoteReply(source="c", target="a", term=term, granted=True))
    assert role_of(candidate) is Role.LEADER


def test_a_joint_configuration_needs_both_majorities_to_be_heard() -> None:
    """CheckQuorum and ReadIndex rest on the same count."""
    member = ByHand("a", voters=ABC)
    member.core.extend_log([config_entry(1, 1, Configuration(voters=("a", "d", "e"), outgoing=ABC))])
    assert not member.core.hears_majority({"d", "e"})
    assert not member.core.hears_majority({"b", "c"})
    assert member.core.hears_majority({"b", "d"})


def test_learners_count_for_nothing() -> None:
    """Thesis 4.2.1: they are sent the log and do not count towards majorities."""
    leader = leading(ABC)
    sent = change(leader, to("abc", learners="de"))
    index = leader.core.last_index
    assert {message.target for message in sent} == {"b", "c", "d", "e"}
    leader.acknowledged("d", index)
    leader.acknowledged("e", index)
    assert leader.core.commit < index
    assert "d" not in leader.core.peers
    leader.acknowledged("b", index)
    assert leader.core.commit == index


# What is refused


def test_a_learner_is_promoted_when_it_has_caught_up() -> None:
    """Thesis 4.2.1, with the bound of LEARNER_LAG_ENTRIES_MAX entries behind the commit index."""
    leader = leading(ABC)
    change(leader, to("abc", learners="d"))
    leader.acknowledged("b", leader.core.last_index)
    assert refused(leader, to("abcd")) is Why.NOT_NOW, "it has not answered"
    leader.propose(*[b"x"] * LEARNER_LAG_ENTRIES_MAX)
    leader.acknowledged("b", leader.core.last_index)
    behind = leader.core.commit - LEARNER_LAG_ENTRIES_MAX
    leader.acknowledged("d", behind - 1)
    assert refused(leader, to("abcd")) is Why.NOT_NOW, "one entry too far behind"
    leader.acknowledged("d", behind)
    assert refused(leader, to("abcd")) is None


def test_nobody_votes_who_was_no_learner() -> None:
    """By joint consensus neither."""
    leader = leading(ABC)
    assert refused(leader, to("abcd")) is Why.INVALID
    assert refused(leader, to("ade"), joint=True) is Why.INVALID


@pytest.mark.parametrize(
    "target",
    [to(""), to("abc"), to("aab"), to("ab", learners="b"), Configuration(voters=("a", "b"), outgoing=ABC)],
)
def test_nonsense_is_refused(target: Configuration) -> None:
    """No voter, no change, somebody named twice, a half-done change."""
    assert refused(leading(ABC), target) is Why.INVALID


def test_followers_refuse() -> None:
    """Only a leader changes anything."""
    assert refused(ByHand("b"), to("ab")) is Why.NOT_LEADER


def test_one_change_at_a_time() -> None:
    """Thesis 4.1: the next may begin when the one before is committed (M5: RedisLabs/redisraft#17)."""
    leader = leading(("a", "b", "c", "d", "e"))
    change(leader, to("abcd"))
    assert refused(leader, to("abc")) is Why.NOT_NOW
    assert refused(leader, to("ab"), joint=True) is Why.NOT_NOW
    for peer in "bc":
        leader.acknowledged(peer, leader.core.last_index)
    assert refused(leader, to("abc")) is None


def test_no_change_before_an_entry_of_the_own_term_is_committed() -> None:
    """The bug that was announced on raft-dev in July 2015 (M1), its remedy."""
    leader = ByHand("a", voters=ABCD)
    leader.lead()
    assert refused(leader, to("abc")) is Why.NOT_NOW
    for peer in "bc":
        leader.acknowledged(peer, leader.core.last_index)
    assert refused(leader, to("abc")) is None


def test_a_cluster_that_could_not_go_on_is_refused() -> None:
    """Of the voters that there would be, a majority must have been heard lately."""
    leader = leading(ABC)
    leader.now_ns += 900 * MS
    leader.acknowledged("b", leader.core.last_index)
    leader.now_ns += 900 * MS
    leader.acknowledged("b", leader.core.last_index)
    assert refused(leader, to("ac")) is Why.NOT_NOW, "c was not heard for 1.8 s"
    assert refused(leader, to("ab")) is None


def test_a_new_leader_does_not_take_the_dead_for_the_living() -> None:
    """Whom it never heard in its term may be gone for ever: with it, no majority would be left without the one that is
    to be taken out.
    """
    leader = ByHand("a", voters=ABC)
    leader.lead()
    leader.acknowledged("b", leader.core.last_index)
    assert refused(leader, to("ac")) is Why.NOT_NOW, "c has not said a word"
    assert refused(leader, to("ab")) is None


# Whole changes


def test_from_nothing_to_a_vote() -> None:
    """A server that knows nobody is added, catches up, and is promoted."""
    servers = cluster("abcd", voters="abc")
    a, d = servers.members["a"], servers.members["d"]
    servers.elect("a")
    assert d.core.voters == ()
    assert d.time_out() == [], "who belongs nowhere stands for nothing"
    servers.deliver(a.propose(b"one", b"two"))
    servers.deliver(change(a, to("abc", learners="d")))
    servers.deliver(a.after(100))
    servers.deliver(a.after(100))
    assert d.core.configuration == to("abc", learners="d")
    servers.deliver(change(a, to("abcd")))
    servers.deliver(a.after(100))
    assert [entry.data for entry in d.applied if entry.kind is EntryKind.COMMAND] == [b"one", b"two"]
    assert all(member.core.voters == ABCD for member in servers.members.values())


def test_everybody_is_replaced_at_once() -> None:
    """Section 6: by joint consensus, three voters make way for three others, the leader among them."""
    servers = cluster("abcdef", voters="abc")
    a = servers.members["a"]
    servers.elect("a")
    for so_far in ("d", "de", "def"):
        servers.deliver(change(a, to("abc", learners=so_far)))
        servers.deliver(a.after(100))
    servers.deliver(a.after(100))
    servers.deliver(change(a, to("def"), joint=True))
    for member in servers.members.values():
        servers.deliver(member.after(100))
    leaders = [name for name, member in servers.members.items() if member.core.role is Role.LEADER]
    assert len(leaders) == 1
    assert leaders[0] in "def", "a stepped down and told one of the new voters to stand"
    (leader,) = leaders
    assert servers.members[leader].core.voters == ("d", "e", "f")
    servers.deliver(servers.members[leader].propose(b"on"))
    assert servers.members["e"].core.last_index == servers.members[leader].core.last_index


def test_a_joint_change_survives_its_leader() -> None:
    """Section 6: a new leader that has the joint configuration in its log ends what the old one began."""
    servers = cluster("abcd", voters="abc")
    a, b = servers.members["a"], servers.members["b"]
    servers.elect("a")
    servers.deliver(change(a, to("abc", learners="d")))
    servers.deliver(a.after(100))
    for message in change(a, to("bd"), joint=True):
        if message.target in "bd":
            servers.members[message.target].hear(message)
    assert b.core.configuration.outgoing == ABC
    servers.isolate("a")
    servers.elect("b")
    assert b.core.role is Role.LEADER
    assert b.core.configuration == to("bd")
    assert b.core.commit == b.core.last_index


def test_figure_4_6_a_leader_removes_itself() -> None:
    """Thesis 4.2.2: of two servers, the leader removes itself. It does not count itself, leads on until the change is
    committed, and stands again if it must, for the other can't win without the entry.
    """
    servers = cluster("ab")
    a, b = servers.members["a"], servers.members["b"]
    servers.elect("a")
    servers.isolate("a")
    servers.deliver(change(a, to("b")))
    assert role_of(a) is Role.LEADER
    assert a.core.commit < a.core.last_index, "its own copy does not count"
    a.after(2000)
    assert role_of(a) is Role.FOLLOWER, "it hears no majority"
    servers.isolate()
    servers.elect("b")
    assert b.core.role is not Role.LEADER, "the log of a is longer"
    servers.elect("a")
    servers.deliver(a.after(100))
    assert b.core.voters == ("b",)
    assert role_of(a) is Role.FOLLOWER, "it stepped down when its removal was committed"
    assert not a.core.may_campaign()


def test_a_removed_server_cannot_disturb() -> None:
    """Thesis 4.2.3: one that never hears of its removal times out for ever, and deposes nobody."""
    servers = cluster("abc")
    a, c = servers.members["a"], servers.members["c"]
    servers.elect("a")
    servers.isolate("c")
    servers.deliver(change(a, to("ab")))
    servers.isolate()
    term = a.core.term
    for _ in range(3):
        servers.deliver(a.after(100))
        servers.members["b"].now_ns = a.now_ns
        servers.deliver(c.time_out())
    assert "c" in c.core.voters
    assert (a.core.role, a.core.term) == (Role.LEADER, term)


def test_who_is_out_hears_of_it() -> None:
    """The leader tells a removed server of the commit before it forgets it."""
    servers = cluster("abc")
    servers.elect("a")
    a, c = servers.members["a"], servers.members["c"]
    servers.deliver(change(a, to("ab")))
    assert "c" not in a.core.progress
    assert c.core.commit == a.core.commit
    assert not c.core.may_campaign()


def test_who_comes_back_is_somebody_else() -> None:
    """No two additions make up the same identity, so late answers of the first can't pass for the second's."""
    leader = leading(ABC)
    first = leader.core.next_identity("d")
    change(leader, Configuration(voters=ABC, learners=(first,)))
    second = leader.core.next_identity("d")
    assert first != second
    assert host_of(first) == host_of(second) == "d"
    assert leader.core.next_identity(second) == second


# Published mistakes, by hand


class ChangesEarly(Raft):
    """M1: a change is accepted before an entry of the leader's own term is committed."""

    def may_change_now(self) -> bool:
        return True


class ForgetsToRollBack(Raft):
    """M8: the configuration stays when its entry is cut."""

    def roll_back(self, index: int) -> None:
        del index


class ChangesAtOnce(Raft):
    """M5: an isolated leader takes one member out after the other, and goes on alone."""

    def change_in_flight(self) -> bool:
        return False


def agree(one: list[Entry], other: list[Entry]) -> bool:
    """State machine safety: the same entry at each index that both applied."""
    mine = {entry.index: entry for entry in one}
    return all(mine.get(entry.index, entry) == entry for entry in other)


def elect_in_the_end(servers: Cluster, name: str) -> None:
    """Some must first learn of the others' term."""
    for _ in range(3):
        if servers.members[name].core.role is not Role.LEADER:
            servers.elect(name)
    assert servers.members[name].core.role is Role.LEADER


def two_leaders_change(kind: type[Raft]) -> tuple[list[Entry], list[Entry]]:
    """The example of the raft-dev announcement: four servers. s1 adds s5, and reaches nobody else with that. s2 leads
    without having heard of it, removes s1 at once, and reaches s3: two of the three. Then s1 is elected by s4 and s5:
    three of the five. Returns what s2 and s1 come to have applied.
    """
    servers = Cluster(ByHand(name, voters=("1", "2", "3", "4") if name != "5" else (), kind=kind) for name in "12345")
    one, two = servers.members["1"], servers.members["2"]
    servers.elect("1")
    servers.isolate("1", "5")
    one.core.append_configuration(to("12345"))
    servers.deliver(one.take())
    one.after(2_000)
    outside = ("1", "5")
    servers.cut = lambda message: (
        isinstance(message, AppendEntries) or (message.source in outside) != (message.target in outside)
    )
    elect_in_the_end(servers, "2")
    begun = two.core.propose_change(to("234"))
    servers.isolate("2", "3")
    if not isinstance(begun, Refused):
        two.propose(b"lost")
    for _ in range(3):
        servers.deliver(two.after(100))
    servers.isolate("1", "4", "5")
    elect_in_the_end(servers, "1")
    servers.deliver(one.propose(b"another"))
    return two.applied, one.applied


def test_the_announcement_of_2015() -> None:
    """With the remedy s2 must commit its own no-op among the first four before it removes anybody; without it two
    entries are committed at one index.
    """
    assert agree(*two_leaders_change(Raft))
    assert not agree(*two_leaders_change(ChangesEarly))


def isolated_removals(kind: type[Raft]) -> tuple[list[Entry], list[Entry]]:
    """A leader that is cut off is asked to remove the two others, and to go on; the others elect another leader."""
    servers = cluster("abc", kind=kind)
    a, b = servers.members["a"], servers.members["b"]
    servers.elect("a")
    servers.isolate("a")
    a.core.propose_change(to("ab"))
    a.core.propose_change(to("a"))
    a.core.propose([b"alone"])
    a.take()
    a.after(100)
    a.after(2_000)
    elect_in_the_end(servers, "b")
    servers.deliver(b.propose(b"together"))
    return a.applied, b.applied


def test_an_isolated_leader_cannot_go_on_alone() -> None:
    """M5: the first removal is not committed, so there is no second."""
    assert agree(*isolated_removals(Raft))
    assert not agree(*isolated_removals(ChangesAtOnce))


def test_a_cut_configuration_misleads_whoever_keeps_it() -> None:
    """M8: e, which leads for a moment, puts a change to e alone into its log. It is cut, and e keeps to it: so it takes
    itself for the only voter, and decides alone.
    """
    for kind, alone in ((Raft, False), (ForgetsToRollBack, True)):
        server = ByHand("e", voters=("d", "e"), kind=kind)
        server.hear(append_of_config("d", "e", term=1, to=to("e")))
        server.hear(
            AppendEntries(
                source="d", target="e", term=2, prev_index=0, prev_term=0, entries=(Entry(1, 2, EntryKind.NOOP),)
            )
        )
        server.now_ns += 5_000 * MS
        server.time_out()
        server.time_out()
        assert (server.core.role is Role.LEADER) is alone


def append_of_config(source: str, target: str, *, term: int, to: Configuration) -> AppendEntries:
    """The first entry of a log is a configuration."""
    return AppendEntries(
        source=source, target=target, term=term, prev_index=0, prev_term=0, entries=(config_entry(1, term, to),)
    )


def test_a_leader_that_demoted_itself_stands_again_after_a_restart() -> None:
    """Thesis 4.2.2, after a crash: it holds the change that takes its vote, and the one before that gave it; which of
    them is committed it has forgotten. Nobody else's log is complete, so if it does not stand, nobody wins any more
    (found by the simulation, seed 20366).
    """
    recovered = Recovered(
        hard_state=HardState(term=3, vote="a"),
        snapshot=Snapshot.of(39, 2, to("b", learners="a")),
        entries=(config_entry(40, 3, to("ab")), config_entry(41, 3, to("b", learners="a"))),
    )
    core = Raft(name="a", voters=(), recovered=recovered, timing=Timing(), random=random.Random(0), now_ns=0)
    core.tick(core.next_deadline_ns())
    (asked,) = core.ready().messages_after_persist
    assert isinstance(asked, RequestVote)
    assert (asked.target, asked.last_index) == ("b", 41)
