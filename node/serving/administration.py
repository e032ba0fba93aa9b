"""Operators' calls on their way through a node: changes of the membership and of the leadership, from request to reply.

Told as operations of clients are (:mod:`node.serving.callers`): a change succeeded when its entry was applied, told by
index
*and* term, and for a joint one when the configuration behind it was, too; when leadership ends before, it is in doubt.
What the core refuses did not happen. A change is asked of the leader; anybody else says who that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from node import kv_pb2
from node.identity import host_of
from node.raft.changes import Refused, Why
from node.raft.core import Raft
from node.raft.membership import decode_configuration
from node.raft.messages import Configuration, Entry, EntryKind, Role
from node.serving.callers import Answer, not_leader

PENDING_MAX = 64
"""Calls that may be under way; what comes beyond is answered "busy"."""
NODE_BYTES_MAX = 255
"""Of a node's name: it goes into the log, into every snapshot and into every vote."""


@dataclass(frozen=True, slots=True)
class _Asked:
    request: kv_pb2.AdminRequest
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Change:
    """A change that has a place in the log; ``done``: but for the configuration that ends the joint one."""

    index: int
    term: int
    answer: Answer
    done: bool = False


@dataclass(frozen=True, slots=True)
class _Handover:
    target: str
    term: int
    answer: Answer


class Administration:
    """All calls of operators under way at one node."""

    def __init__(self, *, recovered: int = 0) -> None:
        """``recovered``: the index of the configuration with which the node started."""
        self._recovered = recovered
        self._asked: list[_Asked] = []
        self._changes: list[_Change] = []
        self._handovers: list[_Handover] = []

    def ask(self, request: kv_pb2.AdminRequest, answer: Answer) -> None:
        """A call to be taken up with the next turn; ``answer`` is called once."""
        if len(self._asked) + len(self._changes) + len(self._handovers) >= PENDING_MAX:
            answer(kv_pb2.Reply(outcome=kv_pb2.BUSY, detail=f"{PENDING_MAX} calls of operators are under way"))
        else:
            self._asked.append(_Asked(request, answer))

    def members(self, core: Raft, applied: int) -> kv_pb2.Reply:
        """The membership as of what is applied. A node that starts again applies its log anew: until it is as far as
        the configuration that it had, it would tell what was long ago, so it tells nothing.
        """
        if applied < min(self._recovered, core.configuration_index):
            detail = f"started again, and what is committed since index {applied} is not known yet"
            return kv_pb2.Reply(outcome=kv_pb2.BUSY, leader=host_of(core.leader or ""), detail=detail)
        return kv_pb2.Reply(outcome=kv_pb2.OK, index=applied, members=members_reply(core, applied))

    def feed(self, core: Raft) -> None:
        """Hands what came in to the core, in its order."""
        asked, self._asked = self._asked, []
        for one in asked:
            if one.request.HasField("transfer"):
                self._transfer(core, one)
            else:
                self._change(core, one)

    @property
    def await_entries(self) -> bool:
        """Whether anybody waits for a configuration to be committed (:meth:`applied`)."""
        return bool(self._changes)

    def applied(self, entry: Entry, core: Raft) -> None:
        """A configuration is committed."""
        if entry.kind is not EntryKind.CONFIG or not self._changes:
            return
        joint = bool(decode_configuration(entry.data).outgoing)
        self._changes = [
            kept for change in self._changes if (kept := self._judge(change, entry, core, joint=joint)) is not None
        ]

    def standing(self, core: Raft) -> None:
        """Once a turn: what leadership, come or gone, means for those who wait."""
        term = core.term if core.role is Role.LEADER else None
        for change in [change for change in self._changes if change.term != term]:
            self._changes.remove(change)
            change.answer(kv_pb2.Reply(outcome=kv_pb2.UNKNOWN, index=change.index, detail="leadership was lost"))
        self._handovers = [one for one in self._handovers if not self._is_over(one, core)]

    def stop(self) -> None:
        """The node goes down: what was not taken up did not happen, the rest is in doubt."""
        for asked in self._asked:
            asked.answer(kv_pb2.Reply(outcome=kv_pb2.STOPPING))
        for answer in [*(one.answer for one in self._changes), *(one.answer for one in self._handovers)]:
            answer(kv_pb2.Reply(outcome=kv_pb2.UNKNOWN, detail="the node is going down"))
        self._asked, self._changes, self._handovers = [], [], []

    # Changes

    def _change(self, core: Raft, asked: _Asked) -> None:
        if core.role is not Role.LEADER:  # and may know nobody yet
            asked.answer(not_leader(core.leader))
            return
        try:
            target = _target_of(asked.request, core)
        except ValueError as error:
            asked.answer(kv_pb2.Reply(outcome=kv_pb2.INVALID, detail=str(error)))
            return
        place = core.propose_change(target, joint=asked.request.HasField("change_voters"))
        if isinstance(place, Refused):
            asked.answer(_refusal(place, core))
        else:
            self._changes.append(_Change(*place, asked.answer))

    def _judge(self, change: _Change, entry: Entry, core: Raft, *, joint: bool) -> _Change | None:
        if entry.index < change.index:
            return change
        if not change.done and (entry.index, entry.term) != (change.index, change.term):
            change.answer(_missed(change, entry))
            return None
        if joint:
            return replace(change, done=True)
        change.answer(kv_pb2.Reply(outcome=kv_pb2.OK, index=entry.index, members=members_reply(core, entry.index)))
        return None

    # Transfers

    def _transfer(self, core: Raft, asked: _Asked) -> None:
        wanted = asked.request.transfer
        target = _find(wanted, core.configuration.members) or wanted
        refused = core.transfer_leadership(target)
        if refused is not None:
            asked.answer(_refusal(refused, core))
        else:
            self._handovers.append(_Handover(target, core.term, asked.answer))

    @staticmethod
    def _is_over(one: _Handover, core: Raft) -> bool:
        """Answers it if so. Who lost the leadership waits to hear who has it."""
        if core.role is Role.LEADER and core.term == one.term and core.transfer_target is not None:
            return False
        if core.role is not Role.LEADER and core.leader is None:
            return False
        outcome = kv_pb2.OK if core.leader == one.target else kv_pb2.UNKNOWN
        leads = host_of(core.leader or "")
        one.answer(kv_pb2.Reply(outcome=outcome, leader=leads, detail="" if outcome == kv_pb2.OK else f"{leads} leads"))
        return True


def _missed(change: _Change, entry: Entry) -> kv_pb2.Reply:
    """The reply to a change that was not seen committed, now that another configuration is, there or further on.

    Another one in its very place: it never happens. Further on: something else was committed there, or a snapshot stood
    for it; this one, of whoever leads now, says nothing of it.
    """
    if entry.index == change.index:
        return not_leader(None)
    return kv_pb2.Reply(outcome=kv_pb2.UNKNOWN, index=change.index, detail="leadership was lost")


def members_reply(core: Raft, index: int) -> kv_pb2.MembersReply:
    """The membership as of an index."""
    configuration = core.configuration_at(index)
    return kv_pb2.MembersReply(
        members=[
            kv_pb2.Member(
                node=host_of(identity),
                identity=identity,
                voter=identity in configuration.voters,
                leaving=identity not in (*configuration.voters, *configuration.learners),
            )
            for identity in configuration.members
        ],
        joint=bool(configuration.outgoing),
    )


_OUTCOMES: Mapping[Why, kv_pb2.Outcome.ValueType] = {Why.NOT_NOW: kv_pb2.BUSY, Why.INVALID: kv_pb2.INVALID}


def _refusal(refused: Refused, core: Raft) -> kv_pb2.Reply:
    if refused.why is Why.NOT_LEADER:
        return not_leader(core.leader)
    return kv_pb2.Reply(outcome=_OUTCOMES[refused.why], detail=refused.words)


# What is asked for, as a configuration. Members are named by their nodes or by their identities.


def _target_of(request: kv_pb2.AdminRequest, core: Raft) -> Configuration:
    """Raises :class:`ValueError` if it names nobody that there is."""
    which = request.WhichOneof("request") or ""
    return _TARGETS[which](request, core)


def _add_learner(request: kv_pb2.AdminRequest, core: Raft) -> Configuration:
    old, node = core.configuration, request.add_learner
    if not node or "~" in node or len(node.encode()) > NODE_BYTES_MAX:
        raise ValueError(f"{node!r:.100} is no name of a node (1 to {NODE_BYTES_MAX} bytes without ~)")
    if _find(node, old.members) is not None:
        raise ValueError(f"{node} is a member already")
    return Configuration(voters=old.voters, learners=(*old.learners, core.next_identity(node)))


def _promote(request: kv_pb2.AdminRequest, core: Raft) -> Configuration:
    old, name = core.configuration, _member(request.promote, core)
    if name in old.voters:
        raise ValueError(f"{host_of(name)} is a voter already")
    return Configuration(voters=(*old.voters, name), learners=_without(old.learners, name))


def _remove(request: kv_pb2.AdminRequest, core: Raft) -> Configuration:
    old, name = core.configuration, _member(request.remove, core)
    return Configuration(voters=_without(old.voters, name), learners=_without(old.learners, name))


def _change_voters(request: kv_pb2.AdminRequest, core: Raft) -> Configuration:
    """Who was a voter and is not named leaves; who was a learner and is not named stays one."""
    voters = tuple(_member(name, core) for name in request.change_voters.voters)
    learners = tuple(name for name in core.configuration.learners if name not in voters)
    return Configuration(voters=voters, learners=learners)


_TARGETS: Mapping[str, Callable[[kv_pb2.AdminRequest, Raft], Configuration]] = {
    "add_learner": _add_learner,
    "promote": _promote,
    "remove": _remove,
    "change_voters": _change_voters,
}
"""By the names of ``kv.proto`` AdminRequest's fields."""


def _member(name: str, core: Raft) -> str:
    found = _find(name, core.configuration.members)
    if found is None:
        there = ", ".join(core.configuration.members)
        raise ValueError(f"{name!r} is no member: there are {there or 'none'}")
    return found


def _find(name: str, members: Sequence[str]) -> str | None:
    """The member of this identity, or the one on this node."""
    return next((one for one in members if name in (one, host_of(one))), None)


def _without(names: Sequence[str], name: str) -> tuple[str, ...]:
    return tuple(one for one in names if one != name)
