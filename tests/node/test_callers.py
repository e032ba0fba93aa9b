"""What clients are told when leadership changes under their operations."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from node import kv_pb2
from node.machine import Machine, Result, ResultKind
from node.operation_codec import event_to_proto, mode_of, write_command
from node.raft.core import Raft
from node.raft.messages import Entry, EntryKind, HardState, ReadState, Recovered, Role
from node.raft.timing import Timing
from node.serving.callers import PENDING_MAX, Callers, read_reply
from node.serving.requests import fault_of
from node.zoo import BUGS
from tests.node.drawn_requests import NUMBERS, requests
from tests.node.machine_model import opened

OK = Result(ResultKind.OK)


class Alone:
    """A one-node core, led through its Readies by hand, with the replies that callers got."""

    def __init__(self, *, leads: bool = True) -> None:
        self.core = Raft(
            name="n1",
            voters=("n1",) if leads else ("n1", "n2"),
            recovered=Recovered(hard_state=HardState(term=4)),
            timing=Timing(),
            random=random.Random(1),
            now_ns=0,
        )
        self.callers = Callers()
        self.replies: dict[str, kv_pb2.Reply] = {}
        if leads:
            self.core.tick(10**10)
            while self.core.has_ready():
                ready = self.core.ready()
                if ready.entries:
                    self.core.persisted(ready.entries[-1].index, ready.entries[-1].term)
            assert self.core.role is Role.LEADER

    def write(self, name: str) -> None:
        self.callers.write(name.encode(), lambda reply: self.replies.__setitem__(name, reply))

    def read(self, name: str) -> None:
        self.callers.read(kv_pb2.ExecuteRequest(key=name), lambda reply: self.replies.__setitem__(name, reply))

    def outcome(self, name: str) -> int:
        self.callers.let_replies_go()
        return self.replies[name].outcome if name in self.replies else 0


def entry(index: int, term: int) -> Entry:
    return Entry(index, term, EntryKind.COMMAND)


def test_a_write_is_acknowledged_by_index_and_term() -> None:
    """Only the entry that was proposed acknowledges it; another one committed in its place proves that it never
    happens.
    """
    node = Alone()
    node.write("mine")
    node.write("lost")
    node.callers.feed(node.core, 0)
    term, first = node.core.term, node.core.last_index - 1
    node.callers.applied(entry(first - 1, term), OK)
    assert (node.outcome("mine"), node.outcome("lost")) == (0, 0)
    node.callers.applied(entry(first, term), OK)
    node.callers.applied(entry(first + 1, term + 1), OK)
    assert (node.outcome("mine"), node.outcome("lost")) == (kv_pb2.OK, kv_pb2.NOT_LEADER)
    assert node.callers.acknowledged == first


def test_losing_leadership_leaves_writes_in_doubt() -> None:
    """Even if they are cut from this log, others may still commit them; and a later leadership does not adopt them."""
    node = Alone()
    node.write("a")
    node.callers.feed(node.core, 0)
    node.callers.leadership(node.core.term)
    assert node.outcome("a") == 0
    node.callers.leadership(None)
    assert node.outcome("a") == kv_pb2.UNKNOWN
    node.write("b")
    node.callers.feed(node.core, 0)
    node.callers.leadership(node.core.term + 1)
    assert node.outcome("b") == kv_pb2.UNKNOWN


def test_a_write_that_nobody_could_propose_did_not_happen() -> None:
    """Leadership was gone before the turn."""
    node = Alone(leads=False)
    node.write("a")
    node.callers.feed(node.core, 0)
    assert node.outcome("a") == kv_pb2.NOT_LEADER


def test_reads_wait_until_their_index_is_applied() -> None:
    """All reads of a turn share one confirmation; a refused one is definite."""
    node = Alone()
    machine = Machine()
    node.read("a")
    node.callers.feed(node.core, 0)
    node.read("b")
    node.callers.feed(node.core, 0)
    node.callers.confirmed(ReadState(token=1, index=5), node.core)
    node.callers.serve_reads(4, machine)
    assert node.outcome("a") == 0
    node.callers.serve_reads(5, machine)
    node.callers.confirmed(ReadState(token=2, index=None), node.core)
    assert (node.outcome("a"), node.outcome("b")) == (kv_pb2.OK, kv_pb2.NOT_LEADER)


def test_a_granted_read_whose_index_is_never_applied_is_refused_after_a_while() -> None:
    """The leader has answered, and then nothing more arrives: definite, not silent."""
    node = Alone()
    machine = Machine()
    node.read("a")
    node.callers.feed(node.core, 0)
    node.callers.confirmed(ReadState(token=1, index=500), node.core)
    deadline_ns = node.core.now_ns + node.core.timing.forward_ns
    node.callers.serve_reads(499, machine)
    node.callers.feed(node.core, deadline_ns - 1)
    assert node.outcome("a") == 0
    node.callers.feed(node.core, deadline_ns)
    assert node.outcome("a") == kv_pb2.NOT_LEADER
    node.callers.serve_reads(500, machine)


def test_read_before_apply_serves_whatever_was_granted() -> None:
    """Bug R7."""
    node = Alone()
    node.callers = BUGS["read-before-apply"].parts.callers()
    node.read("a")
    node.callers.feed(node.core, 0)
    node.callers.confirmed(ReadState(token=1, index=500), node.core)
    node.callers.serve_reads(4, Machine())
    assert node.outcome("a") == kv_pb2.OK


def test_stopping_tells_what_is_certain() -> None:
    """What is not in the log did not happen; what is in it may."""
    node = Alone()
    node.write("logged")
    node.read("read")
    node.callers.feed(node.core, 0)
    node.write("new")
    node.callers.stop()
    assert node.outcome("logged") == kv_pb2.UNKNOWN
    assert (node.outcome("new"), node.outcome("read")) == (kv_pb2.STOPPING, kv_pb2.STOPPING)


def test_the_number_under_way_is_bounded_and_comes_down_again() -> None:
    """Whatever becomes of operations, their places are free afterwards."""
    node = Alone()
    for number in range(PENDING_MAX // 2):
        node.write(f"w{number}")
        node.read(f"r{number}")
    assert node.callers.full
    node.callers.feed(node.core, 0)
    assert node.callers.full
    node.callers.confirmed(ReadState(token=1, index=None), node.core)
    assert not node.callers.full
    for number in range(PENDING_MAX // 2):
        node.read(f"r{number}")
    assert node.callers.full
    node.callers.leadership(None)
    assert not node.callers.full


@settings(max_examples=40)
@given(st.lists(requests(NUMBERS), min_size=20, max_size=30))
def test_every_result_of_an_accepted_request_can_be_told(wishes: list[kv_pb2.ExecuteRequest]) -> None:
    """Whatever numbers it holds, up to the ends of their types: nothing that a client may ask can fail on the way to
    its reply, nor on the way to those who watch the key.
    """
    node, machine = Alone(), Machine()
    machine.apply(1, opened())
    for number, wish in enumerate(wishes, start=1):
        wish.session, wish.sequence = 1, number
        wish.key = "" if wish.HasField("transaction") else wish.key or "a"
        if fault_of(wish) is not None:
            continue
        if mode_of(wish) is not None:
            reply = read_reply(wish, machine, number)
        else:
            result = _applied(node, machine, write_command(wish, number if wish.HasField("acquire") else 0))
            reply = node.replies.pop("write")
            assert int(reply.outcome) == result.kind
        assert reply.outcome != kv_pb2.UNKNOWN
        assert kv_pb2.Reply.FromString(reply.SerializeToString()) == reply
        assert [event_to_proto(event).key for event in machine.events] == [event.key for event in machine.events]


def test_a_result_that_can_not_be_told_is_its_clients_trouble_alone() -> None:
    """A log of an earlier version may hold a fence that no reply can: the outcome is in doubt, and the node goes on."""
    node, machine = Alone(), Machine()
    machine.apply(1, opened())
    for number, fence in enumerate((1 << 63, 1), start=1):
        put = kv_pb2.Put(value=b"x", fence=fence)
        request = kv_pb2.ExecuteRequest(session=1, sequence=number, key="k", put=put)
        _applied(node, machine, write_command(request, 0))
    assert node.outcome("write") == kv_pb2.UNKNOWN
    assert "out of range: 9223372036854775808" in node.replies["write"].detail


def _applied(node: Alone, machine: Machine, command: bytes) -> Result:
    """Through the log of one node, and to the reply."""
    node.callers.write(command, lambda reply: node.replies.__setitem__("write", reply))
    node.callers.feed(node.core, 0)
    result = machine.apply(node.core.last_index, command)
    node.callers.applied(entry(node.core.last_index, node.core.term), result)
    node.callers.let_replies_go()
    return result
