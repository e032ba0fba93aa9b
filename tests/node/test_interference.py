"""The hook in the transport: what becomes of messages, by a clock that tests move; and that there is none unless asked
for.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from node import kv_pb2
from node.client import InvalidRequestError, KvClient
from node.network import interference
from node.network.interference import HELD_MAX, TYPES, Interference, Rule, fault_of, type_of
from node.network.rules import interfere, rule_from_proto, rule_to_proto
from node.network.transport import Address, Transport
from node.raft.messages import AppendEntries, AppendReply, Message, RequestVote, VoteReply
from node.serving.service import serve
from tests.node.addresses import free_ports
from tests.node.hand_loop import Loop
from tests.node.test_service import ScriptedNode
from tests.node.test_transport import Received, connected, message


class Wire:
    """A node n1 whose messages are interfered with, and what went on in which order."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.rules = Interference(random.Random(1), ["n2", "n3"], self.loop)
        self.went: list[Message] = []
        self.rules.attach(send=self.went.append, receive=self.went.append)

    def send(self, *messages: Message) -> None:
        for each in messages:
            if self.rules.passes("out", each):
                self.went.append(each)

    def receive(self, each: Message) -> None:
        if self.rules.passes("in", each):
            self.went.append(each)

    def set(self, **facts: Any) -> None:
        values = {"name": "r", **facts}
        for name in ("types", "peers", "directions"):
            if name in values:
                values[name] = frozenset(values[name])
        self.rules.set(Rule(**values), 10.0)


def vote(target: str = "n2", *, pre: bool = False) -> RequestVote:
    return RequestVote(source="n1", target=target, term=1, last_index=0, last_term=0, pre=pre)


def append(target: str = "n2", index: int = 0) -> AppendEntries:
    return AppendEntries(source="n1", target=target, term=1, prev_index=index, prev_term=0)


def test_only_messages_of_the_type_and_peer_are_dropped() -> None:
    """Others go on, in both directions."""
    wire = Wire()
    wire.set(action="drop", types=["AppendEntries"], peers=["n2"])
    wire.send(append("n2"), append("n3"), vote("n2"))
    wire.receive(message(1, "n2", "n1"))
    assert wire.went == [append("n3"), vote("n2"), message(1, "n2", "n1")]
    (tally,) = wire.rules.tallies()
    assert (tally.matched, tally.hits) == (1, 1)


def test_a_direction_is_the_one_that_was_named() -> None:
    """What arrives, or what leaves."""
    wire = Wire()
    wire.set(action="drop", directions=["in"])
    wire.send(append())
    wire.receive(message(1, "n2", "n1"))
    assert wire.went == [append()]


def test_delayed_messages_go_on_late_and_in_order() -> None:
    """And are overtaken by what is not delayed."""
    wire = Wire()
    wire.set(action="delay", types=["AppendEntries"], delay_s=1.0)
    wire.send(append(index=1), append(index=2), vote())
    wire.loop.go(0.9)
    assert wire.went == [vote()]
    wire.loop.go(0.2)
    assert wire.went == [vote(), append(index=1), append(index=2)]


def test_a_doubled_message_goes_at_once_and_once_more() -> None:
    """The second as late as was said."""
    wire = Wire()
    wire.set(action="duplicate", delay_s=1.0)
    wire.send(append(index=1))
    assert wire.went == [append(index=1)]
    wire.loop.go(2)
    assert wire.went == [append(index=1)] * 2


def test_two_messages_change_places() -> None:
    """The first waits for the next on the same way, and for no other; or until its time is over."""
    wire = Wire()
    wire.set(action="reorder", types=["AppendEntries"], delay_s=1.0)
    wire.send(append(index=1), append("n3", index=9), append(index=2))
    wire.loop.go()
    assert wire.went == [append(index=2), append(index=1)]
    wire.send(append(index=3))
    wire.loop.go(1)
    assert wire.went[2:] == [append("n3", index=9), append(index=3)]


def test_a_rule_has_had_enough() -> None:
    """``count`` hits, and no more; a probability takes some."""
    wire = Wire()
    wire.set(action="drop", count=2)
    wire.send(*(append(index=number) for number in range(5)))
    assert [each.prev_index for each in wire.went if isinstance(each, AppendEntries)] == [2, 3, 4]
    wire.set(action="drop", probability=0.5)
    wire.send(*(append(index=number) for number in range(1000)))
    (tally,) = wire.rules.tallies()
    assert tally.matched == 1000
    assert 400 < tally.hits < 600


def test_a_rule_ends_by_itself_and_lets_go_of_what_it_holds() -> None:
    """Setting it again lets it last longer, and it goes on counting."""
    wire = Wire()
    wire.set(action="delay", delay_s=60.0)
    wire.send(append(index=1))
    wire.loop.go(9)
    wire.set(action="delay", delay_s=60.0)
    wire.loop.go(9)
    assert wire.went == []
    (tally,) = wire.rules.tallies()
    assert (tally.hits, tally.left_s) == (1, 1.0)
    wire.loop.go(2)
    assert wire.rules.tallies() == []
    assert wire.went == [append(index=1)]
    wire.send(append(index=2))
    assert wire.went[1:] == [append(index=2)]


def test_a_rule_whose_time_is_over_is_none_even_before_its_timer() -> None:
    """A process that was stopped wakes up with messages to handle before timers."""
    wire = Wire()
    wire.set(action="drop")
    wire.loop.now_s = 11.0
    wire.send(append())
    assert wire.went == [append()]


def test_a_cleared_rule_lets_go_of_what_it_holds() -> None:
    """At once; clearing again is no error; another rule of the same name starts anew."""
    wire = Wire()
    wire.set(action="delay", delay_s=5.0)
    wire.send(append())
    wire.rules.clear("r")
    wire.rules.clear("r")
    assert wire.went == [append()]
    wire.set(action="delay", delay_s=5.0)
    wire.send(append())
    wire.set(action="drop")
    assert wire.went == [append()] * 2
    (tally,) = wire.rules.tallies()
    assert tally.hits == 0


def test_only_so_many_messages_are_held() -> None:
    """The rest is lost, as in any full buffer, and counted."""
    wire = Wire()
    wire.set(action="delay", delay_s=5.0)
    wire.send(*(append(index=number) for number in range(HELD_MAX + 3)))
    (tally,) = wire.rules.tallies()
    assert (tally.hits, tally.overflowed) == (HELD_MAX + 3, 3)
    wire.loop.go(6)
    assert len(wire.went) == HELD_MAX


def test_a_node_that_goes_down_sends_nothing_more() -> None:
    """What was held is lost."""
    wire = Wire()
    wire.set(action="delay", delay_s=5.0)
    wire.send(append())
    wire.rules.close()
    wire.loop.go(60)
    assert wire.went == []


def test_every_message_has_a_name() -> None:
    """Those of the protocol, and the two that ask before a vote."""
    assert {type_of(vote()), type_of(vote(pre=True))} == {"RequestVote", "PreVote"}
    reply = VoteReply(source="n2", target="n1", term=1, granted=True, pre=True)
    assert type_of(reply) == "PreVoteReply"
    assert set(TYPES) >= {"AppendEntries", "AppendReply", "InstallSnapshot", "SnapshotReply", "VoteReply"}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"types": frozenset({"Apend"})}, "Apend: types are"),
        ({"peers": frozenset({"n9"})}, "n9"),
        ({"name": ""}, "a rule ''"),
        ({"action": "burn"}, "burn"),
        ({"directions": frozenset()}, "directions out and in"),
        ({"probability": 0.0}, "probability 0"),
        ({"delay_s": 61.0}, "delay 61 s"),
        ({"delay_s": -1.0}, "delay -1 s"),
    ],
)
def test_mistakes_are_named(facts: dict[str, Any], words: str) -> None:
    """With what there is."""
    assert words in str(fault_of(Rule(**{"name": "r", "action": "drop", **facts}), ["n2"]))


def test_rules_survive_the_wire() -> None:
    """There and back again."""
    rule = Rule(
        name="r",
        action="duplicate",
        types=frozenset({"PreVote"}),
        peers=frozenset({"n2"}),
        directions=frozenset({"in"}),
        delay_s=0.25,
        probability=0.125,
        count=3,
    )
    assert rule_from_proto(rule_to_proto(rule, 3.0)) == rule
    assert fault_of(rule, ["n2"]) is None


def test_a_rule_that_is_refused_changes_nothing() -> None:
    """Too many, too long, or wrong: the reply says why."""
    wire = Wire()
    good = rule_to_proto(Rule(name="good", action="drop"), 3.0)
    assert not interfere(kv_pb2.InterfereRequest(set=good), wire.rules).fault
    bad = [
        (rule_to_proto(Rule(name="r", action="drop"), 61.0), "at most 60 s"),
        (rule_to_proto(Rule(name="r", action="drop"), 0.0), "more than nothing"),
        (rule_to_proto(Rule(name="r", action="drop", peers=frozenset({"n9"})), 3.0), "n9"),
    ]
    for proto, words in bad:
        reply = interfere(kv_pb2.InterfereRequest(set=proto), wire.rules)
        assert words in reply.fault
        assert [each.rule.name for each in reply.rules] == ["good"]
    for number in range(interference.RULES_MAX):
        reply = interfere(
            kv_pb2.InterfereRequest(set=rule_to_proto(Rule(name=f"r{number}", action="drop"), 3.0)), wire.rules
        )
    assert "clear one first" in reply.fault
    reply = interfere(kv_pb2.InterfereRequest(clear=["good"]), wire.rules)
    assert "good" not in [each.rule.name for each in reply.rules]


@asynccontextmanager
async def two_nodes(rules: Interference | None) -> AsyncIterator[tuple[Transport, Received]]:
    addresses = {name: Address("127.0.0.1", port) for name, port in zip(("n1", "n2"), free_ports(2), strict=True)}
    received = Received()
    n1 = Transport("n1", addresses, Received(), rules)
    n2 = Transport("n2", addresses, received)
    await n1.start()
    await n2.start()
    await connected(n1, "n2")
    try:
        yield n1, received
    finally:
        await n1.close()
        await n2.close()


async def test_the_transport_asks_the_hook() -> None:
    """What is held leaves by itself, between two turns."""
    loop = Loop()
    rules = Interference(random.Random(1), ["n2"], loop)
    async with two_nodes(rules) as (n1, received):
        rules.set(Rule(name="r", action="delay", delay_s=1.0, count=1), 10.0)
        n1.send(message(1))
        n1.send(message(2))
        n1.flush()
        assert await received.wait(1) == [message(2)]
        loop.go(1)
        assert await received.wait(2) == [message(2), message(1)]


async def test_without_a_hook_there_is_nothing_to_ask() -> None:
    """What arrives goes straight to the node, and the service has no such method."""
    received = Received()
    (port,) = free_ports(1)
    assert Transport("n1", {"n1": Address("127.0.0.1", port)}, received).received is received
    server = await serve(ScriptedNode(), Address("127.0.0.1", port))
    client = KvClient({"n1": f"127.0.0.1:{port}"})
    with pytest.raises(InvalidRequestError, match="without --hook"):
        await client.interfere("n1", 5.0)
    await client.close()
    await server.stop(0)


async def test_rules_are_set_through_the_client_port() -> None:
    """And refused there, with the node's own words."""
    wire = Wire()
    (port,) = free_ports(1)
    server = await serve(ScriptedNode(), Address("127.0.0.1", port), wire.rules)
    client = KvClient({"n1": f"127.0.0.1:{port}"})
    rule = Rule(name="r", action="drop", types=frozenset({"AppendReply"}))
    (tally,) = await client.interfere("n1", 5.0, rule=rule, lasts_s=3.0)
    assert (tally.rule, tally.left_s) == (rule, 3.0)
    wire.receive(AppendReply(source="n2", target="n1", term=1, success=True))
    (tally,) = await client.interfere("n1", 5.0)
    assert tally.hits == 1
    with pytest.raises(InvalidRequestError, match="at most 60 s, not 100 s"):
        await client.interfere("n1", 5.0, rule=rule, lasts_s=100.0)
    assert await client.interfere("n1", 5.0, clear=["r"]) == []
    await client.close()
    await server.stop(0)
