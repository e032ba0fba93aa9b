"""Faults on single messages, against a hook in memory."""

from __future__ import annotations

import asyncio
import json
import signal
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from faults.fakes.cluster import FakeCluster
from faults.fakes.messages import FakeMessages
from faults.message import LEASE_S, RENEW_S, MessageFamily, MessageFault, MessageParameters
from faults.needs import MessageRule, NotNowError

NODES = ("n1", "n2", "n3")


class Lab:
    def __init__(self) -> None:
        self.cluster = FakeCluster(NODES)
        self.messages = FakeMessages()
        self.cluster.messages = self.messages
        self.renewals = asyncio.Event()

    def fault(self, *targets: str) -> MessageFault:
        rule = MessageRule(name="r", action="drop", types=("AppendEntries",))
        return MessageFault(targets=targets, rule=rule, cluster=self.cluster, sleep=self.sleep, now=self.messages.now)

    async def sleep(self, seconds: float) -> None:
        """The renewals happen when the test says so; the rest of time goes by at once."""
        if seconds == RENEW_S:
            await self.renewals.wait()
            self.renewals.clear()
        await self.messages.sleep(seconds)

    async def renew(self) -> None:
        self.renewals.set()
        for _ in range(10):
            await asyncio.sleep(0)


async def test_a_rule_is_in_force_at_the_targets_until_it_is_healed() -> None:
    """Both proofs are what the nodes tell, and what the rule did is told when it ends."""
    lab = Lab()
    fault = lab.fault("n1", "n3")
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence == {"in_force": {"n1": True, "n3": True}, "absent": []}
    assert [len(lab.messages.in_force(name)) for name in NODES] == [1, 0, 1]
    lab.messages.flow("n1", 10)
    healed = await fault.heal()
    assert healed.holds
    assert healed.evidence["ended"] == {"n1": "cleared", "n3": "cleared"}
    assert healed.hit_nothing is None
    assert healed.evidence["counted"]["n1"] == {"matched": 10, "hits": 5}
    assert healed.evidence["counted"]["n3"] == {"matched": 0, "hits": 0}
    assert [len(lab.messages.in_force(name)) for name in NODES] == [0, 0, 0]
    assert (await fault.heal()).holds, "healing twice is safe"


async def test_a_rule_that_met_no_message_says_so_when_it_is_healed() -> None:
    """It was in force, and is gone; that it took hold of nothing is known only then."""
    lab = Lab()
    fault = lab.fault("n1", "n3")
    assert (await fault.inject()).hit_nothing is None
    healed = await fault.heal()
    assert healed.holds
    assert "none of the messages" in (healed.hit_nothing or "")


async def test_what_a_node_had_counted_when_it_was_killed_is_not_known() -> None:
    """So nobody can say that the rule hit nothing."""
    lab = Lab()
    fault = lab.fault("n1")
    await fault.inject()
    await lab.cluster.nodes["n1"].signal(signal.SIGKILL)
    await lab.cluster.nodes["n1"].start()
    healed = await fault.heal()
    assert healed.holds
    assert healed.hit_nothing is None


async def test_a_rule_is_renewed_and_ends_by_itself_when_nobody_does() -> None:
    """The lease is longer than the pause between renewals, and the node ends it alone."""
    lab = Lab()
    fault = lab.fault("n1")
    await fault.inject()
    for _ in range(10):
        await lab.renew()
        assert lab.messages.in_force("n1")
    assert lab.messages.now_s > LEASE_S
    await lab.messages.sleep(LEASE_S)
    assert not lab.messages.in_force("n1")
    await fault.heal()


async def test_a_node_that_starts_again_gets_the_rule_again() -> None:
    """What it had counted before is added up."""
    lab = Lab()
    fault = lab.fault("n1")
    await fault.inject()
    lab.messages.flow("n1", 10)
    await lab.renew()
    lab.messages.restart("n1")
    await lab.renew()
    lab.messages.flow("n1", 4)
    healed = await fault.heal()
    assert healed.evidence["counted"]["n1"] == {"matched": 14, "hits": 7}


async def test_a_node_that_does_not_answer_is_no_bite() -> None:
    """With what was heard of it."""
    lab = Lab()
    lab.messages.silent.add("n2")
    fault = lab.fault("n1", "n2")
    proof = await fault.inject()
    assert not proof.holds
    assert proof.evidence["in_force"] == {"n1": True, "n2": False}
    assert "n2 told nothing" in proof.evidence["trouble"]["n2"]
    await fault.heal()


async def test_who_is_dead_or_stopped_gets_the_rule_when_it_is_back() -> None:
    """The others prove the bite; if there are none, nothing was done."""
    lab = Lab()
    await lab.cluster.nodes["n1"].signal(signal.SIGKILL)
    await lab.cluster.nodes["n2"].signal(signal.SIGSTOP)
    lab.messages.silent |= {"n1", "n2"}
    with pytest.raises(NotNowError, match="n1, n2"):
        await lab.fault("n1", "n2").inject()
    fault = lab.fault("n1", "n2", "n3")
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence["absent"] == ["n1", "n2"]
    lab.messages.silent.clear()
    await lab.renew()
    assert lab.messages.in_force("n1")
    assert (await fault.heal()).holds


async def test_a_node_that_is_just_starting_is_waited_for() -> None:
    """It runs, and does not answer yet."""
    lab = Lab()
    lab.messages.silent.add("n1")
    fault = lab.fault("n1")

    async def sleep(seconds: float) -> None:
        lab.messages.silent.clear()
        await lab.sleep(seconds)

    fault.sleep = sleep
    assert (await fault.inject()).holds
    await fault.heal()


async def test_a_node_that_keeps_no_rule_is_no_bite() -> None:
    """An answer alone proves nothing."""
    lab = Lab()
    lab.messages.deaf.add("n1")
    fault = lab.fault("n1")
    assert not (await fault.inject()).holds
    await fault.heal()


async def test_healing_does_not_need_a_node_that_answers() -> None:
    """A dead one took the rule with it; of one that cannot be reached the lease runs out, which is waited for."""
    lab = Lab()
    fault = lab.fault("n1", "n2")
    await fault.inject()
    lab.messages.silent |= {"n1", "n2"}
    await lab.cluster.nodes["n1"].signal(signal.SIGKILL)
    healed = await fault.heal()
    assert healed.holds
    assert healed.evidence["ended"] == {"n1": "dead with the process", "n2": "run out"}
    assert not lab.messages.in_force("n2")


async def test_a_rule_that_stays_is_no_healing() -> None:
    """As read back."""
    lab = Lab()
    fault = lab.fault("n1")
    await fault.inject()
    lab.messages.stubborn.add("n1")
    healed = await fault.heal()
    assert not healed.holds
    assert healed.evidence["ended"] == {"n1": "unknown"}
    lab.messages.stubborn.clear()
    assert (await fault.heal()).holds


async def test_without_a_hook_nothing_is_injected() -> None:
    """The ability is refused before, and the fault itself does not pretend."""
    lab = Lab()
    lab.cluster.messages = None
    fault = lab.fault("n1")
    proof = await fault.inject()
    assert not proof.holds
    assert "no hook" in proof.evidence["trouble"]["n1"]
    assert (await fault.heal()).holds


def resolved(**parameters: Any) -> dict[str, Any]:
    family = MessageFamily()
    asked = MessageParameters.model_validate({"target": "n1", **parameters})
    facts = family.resolve(asked, targets=("n1",), nodes=NODES, random=Random(1))
    assert json.loads(json.dumps(facts)) == facts
    return dict(facts)


def test_names_become_a_rule() -> None:
    """Lists and single names; ``all`` is an empty list; peers drawn at random are written down."""
    facts = resolved(type=["VoteReply", "PreVote"], peers="n2", direction="out", action="delay", delay="2s")
    assert (facts["types"], facts["peers"], facts["directions"]) == (["VoteReply", "PreVote"], ["n2"], ["out"])
    assert facts["delay_ns"] == 2_000_000_000
    assert resolved()["peers"] == resolved()["types"] == []
    assert set(resolved(peers="one")["peers"]) < {"n2", "n3"}
    assert MessageFamily().setup(None).hooks == {"messages"}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({}, "messages from and to n1 dropped"),
        (
            {"type": "AppendEntries", "direction": "out", "peers": ["n2"], "action": "duplicate"},
            "AppendEntries from n1 (with n2) doubled, 50ms apart",
        ),
        (
            {"type": "VoteReply", "direction": "in", "probability": 0.5, "count": 3},
            "50% of the first 3 of VoteReply to n1 dropped",
        ),
        ({"action": "reorder", "delay": "1s"}, "messages from and to n1 overtaken (within 1s)"),
    ],
)
def test_what_it_does_in_words(parameters: dict[str, Any], words: str) -> None:
    """For people."""
    assert MessageFamily().summary(resolved(**parameters)) == words


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"type": "AppendEntry"}, "AppendEntries"),
        ({"type": []}, "empty"),
        ({"peers": ["n9"]}, "n9"),
        ({"peers": ["n1"]}, "itself"),
        ({"action": "delay", "delay": "0s"}, "changes nothing"),
        ({"action": "drop", "delay": "20ms"}, "leave one out"),
        ({"delay": "2m"}, "less than or equal"),
        ({"probability": 0.0}, "greater than 0"),
        ({"count": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused(parameters: dict[str, Any], words: str) -> None:
    """With the reason."""
    with pytest.raises((ValidationError, ValueError), match=words):
        resolved(**parameters)
