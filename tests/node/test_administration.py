"""Operators' calls, from request to reply, over a core driven by hand."""

from __future__ import annotations

import pytest

from node import kv_pb2
from node.raft.membership import encode_configuration
from node.raft.messages import AppendEntries, Configuration, Entry, EntryKind, Role
from node.serving.administration import NODE_BYTES_MAX, PENDING_MAX, Administration, members_reply
from tests.node.by_hand import ByHand


class Desk:
    """A leader of three, and its administration."""

    def __init__(self, name: str = "a") -> None:
        self.member = ByHand(name)
        self.administration = Administration()
        self.replies: list[kv_pb2.Reply] = []
        self._told = 0

    def lead(self) -> Desk:
        self.member.lead()
        self.acknowledge("b")
        return self

    def ask(self, **request: object) -> kv_pb2.Reply | None:
        """The reply, if it came at once."""
        before = len(self.replies)
        self.administration.ask(kv_pb2.AdminRequest(**request), self.replies.append)  # type: ignore[arg-type]
        self.administration.feed(self.member.core)
        self.turn()
        return self.replies[-1] if len(self.replies) > before else None

    def acknowledge(self, by: str) -> None:
        self.member.acknowledged(by, self.member.core.last_index)
        self.turn()

    def turn(self) -> None:
        self.member.take()
        for entry in self.member.applied[self._told :]:
            self.administration.applied(entry, self.member.core)
        self._told = len(self.member.applied)
        self.administration.standing(self.member.core)

    @property
    def outcomes(self) -> list[str]:
        return [kv_pb2.Outcome.Name(reply.outcome) for reply in self.replies]


def test_a_change_is_answered_when_it_is_committed() -> None:
    """Not when it is in the log; and the answer tells the membership, with the identity of who was added."""
    desk = Desk().lead()
    assert desk.ask(add_learner="d") is None
    desk.acknowledge("b")
    assert desk.outcomes == ["OK"]
    learner = desk.replies[-1].members.members[-1]
    assert (learner.node, learner.voter) == ("d", False)
    assert learner.identity.startswith("d~1.")


def test_a_joint_change_is_answered_when_it_is_over() -> None:
    """The joint configuration alone is half of it."""
    desk = Desk().lead()
    assert desk.ask(change_voters=kv_pb2.ChangeVoters(voters=["a", "b"])) is None
    desk.acknowledge("b")
    assert desk.outcomes == []
    assert desk.member.core.voters == ("a", "b")
    desk.acknowledge("b")
    assert desk.outcomes == ["OK"]
    assert not desk.replies[-1].members.joint


def test_what_is_refused_says_whether_it_may_be_granted_later() -> None:
    """BUSY or INVALID, with words; a follower names the leader."""
    desk = Desk().lead()
    desk.ask(add_learner="d")
    desk.ask(remove="b")
    assert desk.outcomes == ["BUSY"]
    assert "another change" in desk.replies[-1].detail
    desk.acknowledge("b")
    learners = [{"add_learner": name} for name in ("d", "d~1.2", "", "é" * NODE_BYTES_MAX)]
    for wrong in ({"remove": "x"}, {"promote": "a"}, *learners, {"transfer": "x"}):
        desk.ask(**wrong)
        assert desk.outcomes[-1] == "INVALID", wrong
    follower = Desk("b")
    follower.member.hear(AppendEntries(source="a", target="b", term=1, prev_index=0, prev_term=0))
    follower.ask(remove="c")
    assert (follower.outcomes, follower.replies[-1].leader) == (["NOT_LEADER"], "a")


def test_a_change_is_in_doubt_when_leadership_is_lost() -> None:
    """Another leader may commit it yet."""
    desk = Desk().lead()
    desk.ask(remove="c")
    desk.member.hear(AppendEntries(source="b", target="a", term=9, prev_index=0, prev_term=0))
    desk.turn()
    assert desk.outcomes == ["UNKNOWN"]


def test_a_change_whose_place_is_taken_never_happens() -> None:
    """Only if another entry is *committed* there; told before anybody asks who leads."""
    desk = Desk().lead()
    desk.ask(remove="c")
    index = desk.member.core.last_index
    other = Entry(index, 9, EntryKind.CONFIG, b"")
    desk.administration.applied(other, desk.member.core)
    assert desk.outcomes == ["NOT_LEADER"]


def test_a_change_is_not_taken_for_that_of_a_later_leader() -> None:
    """A leader that slept through its deposition wakes up to its successor's log, all at once: whatever the successor
    has committed further on says nothing of the change that was under way.
    """
    desk = Desk().lead()
    desk.ask(remove="c")
    index = desk.member.core.last_index
    other = encode_configuration(Configuration(voters=("a", "b", "c"), learners=("d~2.4",)))
    entries = (Entry(index, 2, EntryKind.NOOP), Entry(index + 1, 2, EntryKind.CONFIG, other))
    desk.member.hear(
        AppendEntries(
            source="b", target="a", term=2, prev_index=index - 1, prev_term=1, entries=entries, commit=index + 1
        )
    )
    desk.turn()
    assert desk.member.core.configuration.voters == ("a", "b", "c")
    assert desk.outcomes == ["UNKNOWN"]


def test_a_leader_that_removes_itself_says_that_it_is_done() -> None:
    """Though it steps down in the same moment."""
    desk = Desk().lead()
    desk.acknowledge("c")
    desk.ask(remove="a")
    desk.acknowledge("b")
    assert desk.outcomes == []
    desk.acknowledge("c")
    assert desk.outcomes == ["OK"]
    assert desk.member.core.role is Role.FOLLOWER


def test_a_transfer_is_answered_when_the_target_leads() -> None:
    """Or, if it was given up or somebody else won, as in doubt: a message may be under way still."""
    desk = Desk().lead()
    desk.acknowledge("c")
    assert desk.ask(transfer="c") is None
    desk.member.hear(AppendEntries(source="c", target="a", term=2, prev_index=0, prev_term=0))
    desk.turn()
    assert desk.outcomes == ["OK"]
    desk = Desk().lead()
    desk.ask(transfer="c")
    for _ in range(11):
        desk.acknowledge("b")
        desk.acknowledge("c")
        desk.member.after(100)
        desk.turn()
    assert desk.outcomes == ["UNKNOWN"]
    assert desk.member.core.role is Role.LEADER


def test_members_as_of_an_index() -> None:
    """Who leaves a joint configuration votes until it is left."""
    core = ByHand("a").core
    core.configurations.append((3, Configuration(voters=("a", "d~1.2"), outgoing=("a", "b"), learners=("e",))))
    assert [member.node for member in members_reply(core, 2).members] == ["a", "b", "c"]
    told = members_reply(core, 3)
    assert told.joint
    standing = {member.node: (member.identity, member.voter, member.leaving) for member in told.members}
    assert standing == {
        "a": ("a", True, False),
        "d": ("d~1.2", True, False),
        "b": ("b", False, True),
        "e": ("e", False, False),
    }


def test_too_many_calls_are_refused() -> None:
    """A limit on everything."""
    desk = Desk()
    for _ in range(PENDING_MAX + 1):
        desk.administration.ask(kv_pb2.AdminRequest(remove="b"), desk.replies.append)
    assert desk.outcomes == ["BUSY"]


@pytest.mark.parametrize("taken_up", [False, True])
def test_a_node_that_stops_leaves_nobody_waiting(taken_up: bool) -> None:
    """What was not taken up did not happen; the rest is in doubt."""
    desk = Desk().lead()
    desk.administration.ask(kv_pb2.AdminRequest(remove="c"), desk.replies.append)
    if taken_up:
        desk.administration.feed(desk.member.core)
    desk.administration.stop()
    assert desk.outcomes == (["UNKNOWN"] if taken_up else ["STOPPING"])


def test_a_node_that_starts_again_does_not_tell_what_was_long_ago() -> None:
    """Its log is applied anew, and the configurations of long ago come by; the one that it had may have been cut,
    though.
    """
    core = ByHand("a").core
    core.configurations.append((7, Configuration(voters=("a", "b"))))
    administration = Administration(recovered=7)
    assert administration.members(core, 3).outcome == kv_pb2.BUSY
    told = administration.members(core, 7)
    assert (told.outcome, [member.node for member in told.members.members]) == (kv_pb2.OK, ["a", "b"])
    core.roll_back(7)
    assert administration.members(core, 3).outcome == kv_pb2.OK


def test_who_knows_nobody_refuses_as_any_follower() -> None:
    """Not because the members that are named are unknown to it: that would be for ever."""
    desk = Desk()
    desk.member = ByHand("d", voters=())
    desk.ask(change_voters=kv_pb2.ChangeVoters(voters=["a", "b"]))
    assert desk.outcomes == ["NOT_LEADER"]
