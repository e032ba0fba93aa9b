"""Partitions against a cluster in memory, whose links obey the very rules that are handed to the firewall."""

from __future__ import annotations

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from faults import FAMILIES
from faults.cuts import CLIENT
from faults.fakes.cluster import FakeCluster, FakeLinks
from faults.needs import Fault
from faults.packets.firewall import Rule, installation
from faults.shapes import SIDED

FAMILY = FAMILIES["partition"]
NODES = ("n1", "n2", "n3", "n4", "n5")


def resolved(seed: int = 0, targets: tuple[str, ...] = (), **parameters: Any) -> Any:
    return FAMILY.resolve(FAMILY.Parameters(**parameters), targets=targets, nodes=NODES, random=Random(seed))


def isolate(cluster: FakeCluster, node: str, **parameters: Any) -> Fault:
    return FAMILY.build(resolved(targets=(node,), shape="isolate", **parameters), cluster)


async def closed(cluster: FakeCluster) -> set[tuple[str, str]]:
    seen = await cluster.links.probe(cluster.pairs(), timeout_s=0)
    return {pair for pair, is_open in seen.items() if not is_open}


@given(
    seed=st.integers(min_value=0, max_value=10_000),
    shape=st.sampled_from(sorted(SIDED)),
    direction=st.sampled_from(["both", "in", "out"]),
    clients=st.booleans(),
    action=st.sampled_from(["drop", "reject"]),
)
async def test_exactly_the_cuts_are_cut_and_healed(
    seed: int, shape: str, direction: str, clients: bool, action: str
) -> None:
    """Injecting closes the resolved directions and no other; healing opens them, leaves no rule and no undo entry."""
    cluster = FakeCluster(NODES)
    facts = resolved(seed, shape=shape, direction=direction, clients=clients, action=action)
    fault = FAMILY.build(facts, cluster)
    assert (await fault.inject()).holds
    assert await closed(cluster) == {(a, b) for a, b in facts["cuts"] if CLIENT not in (a, b)}
    assert cluster.undo.entries
    assert (await fault.heal()).holds
    assert not await closed(cluster)
    assert all(node.firewall.is_clean() for node in cluster.fake_nodes.values())
    assert not cluster.undo.entries
    assert not cluster.links.cuts.union()


async def test_senders_are_refused_only_when_asked() -> None:
    """``action: reject`` is proved by senders that are told; one that is left without an answer is no bite."""
    cluster = FakeCluster(NODES)
    proof = await isolate(cluster, "n1", action="reject", direction="in").inject()
    assert proof.holds
    assert sorted(proof.evidence["refused"]) == [("n2", "n1"), ("n3", "n1"), ("n4", "n1"), ("n5", "n1")]
    silent = isolate(FakeCluster(NODES), "n1", action="drop")
    proof = await silent.inject()
    assert proof.holds
    assert "refused" not in proof.evidence


async def test_a_rejection_that_nobody_hears_is_no_bite() -> None:
    """Packets that vanish where they should be refused fail the proof, with what was not answered."""
    cluster = FakeCluster(NODES)
    cluster.fake_nodes["n2"].firewall.mute = True
    proof = await isolate(cluster, "n1", action="reject").inject()
    assert not proof.holds
    assert proof.evidence["not_refused"] == [["n2", "n1", "no answer to TCP and UDP"]]


async def test_a_rejection_and_a_cut_of_one_link_compose() -> None:
    """What one partition rejects another may drop: each is proved, and healed on its own."""
    cluster = FakeCluster(NODES)
    dropped, rejected = isolate(cluster, "n1"), isolate(cluster, "n1", action="reject")
    assert (await dropped.inject()).holds
    assert (await rejected.inject()).holds
    assert (await dropped.heal()).holds
    assert ("n1", "n2") in await closed(cluster)
    assert (await rejected.heal()).holds
    assert not await closed(cluster)


async def test_clients_are_cut_only_when_asked() -> None:
    """Clients reach the isolated node unless ``clients: true``; then neither direction works, and others are still
    reached.
    """
    pairs = [(CLIENT, "n1"), ("n1", CLIENT), (CLIENT, "n2"), ("n2", CLIENT)]
    for clients, expected in ((False, [True] * 4), (True, [False, False, True, True])):
        cluster = FakeCluster(NODES)
        proof = await isolate(cluster, "n1", clients=clients).inject()
        assert proof.holds
        assert [(await cluster.links.probe(pairs, timeout_s=0))[pair] for pair in pairs] == expected


async def test_overlapping_partitions_compose() -> None:
    """Two partitions cut the union; healing one leaves the other in force, and is proved although a link of it stays
    cut.
    """
    cluster = FakeCluster(NODES)
    first, second = isolate(cluster, "n1"), isolate(cluster, "n2")
    assert (await first.inject()).holds
    assert (await second.inject()).holds
    assert (await first.heal()).holds
    assert await closed(cluster) == {("n2", other) for other in NODES if other != "n2"} | {
        (other, "n2") for other in NODES if other != "n2"
    }
    assert (await second.heal()).holds
    assert not await closed(cluster)


async def test_a_leaking_cut_is_no_bite() -> None:
    """When packets still pass through a cut direction, the proof fails and names it."""
    cluster = FakeCluster(NODES)
    cluster.links.leaking.add(("n3", "n1"))
    proof = await isolate(cluster, "n1").inject()
    assert not proof.holds
    assert proof.evidence["leaking"] == [("n3", "n1")]


async def test_a_link_that_was_dead_before_is_nobodys_fault() -> None:
    """Only directions that were open before can be collateral damage."""
    cluster = FakeCluster(NODES)
    cluster.links.dead.add(("n4", "n5"))
    assert (await isolate(cluster, "n1").inject()).holds


class Interrupted(FakeLinks):
    """Links of which some are cut, and healed again, while those that should be open are probed."""

    passing: Fault | None = None
    after_deed: bool = False
    """Whether it comes only when n1 is cut off, and not at the look before."""

    async def probe(self, pairs: Any, *, timeout_s: float) -> Any:
        """What is seen is seen during that other cut."""
        now = ("n4", "n2") in pairs and (not self.after_deed or ("n1", "n2") in self.cuts.union())
        if self.passing is None or not now:
            return await super().probe(pairs, timeout_s=timeout_s)
        passing, self.passing = self.passing, None
        await passing.inject()
        seen = await super().probe(pairs, timeout_s=timeout_s)
        await passing.heal()
        return seen


async def test_what_another_cut_closed_for_a_moment_is_nobodys_fault() -> None:
    """One that began and ended while the links were probed: when the probe is over it is in force no more."""
    cluster = FakeCluster(NODES)
    cluster.links = links = Interrupted(cluster.fake_nodes)
    links.passing, links.after_deed = isolate(cluster, "n4"), True
    proof = await isolate(cluster, "n1").inject()
    assert links.passing is None
    assert (proof.holds, proof.evidence["closed_beside"]) == (True, [])


async def test_what_another_cut_closed_for_a_moment_was_healed_nevertheless() -> None:
    """The same while it is looked whether the own cuts are open again; what stays closed by itself is told."""
    cluster = FakeCluster(NODES)
    cluster.links = links = Interrupted(cluster.fake_nodes)
    healed = isolate(cluster, "n4")
    await healed.inject()
    links.passing = isolate(cluster, "n2")
    links.dead = {("n4", "n3")}
    proof = await healed.heal()
    assert links.passing is None
    assert ("n4", "n2") not in proof.evidence["open"]
    assert proof.evidence["closed"] == [("n4", "n3")]


async def test_a_cut_that_is_not_there_is_no_bite() -> None:
    """Rules that never got into the kernel are found out: by datagrams; behind another partition, which stops these
    anyway, and where no datagram ever arrived, by reading the rules back.
    """
    others_cut, deaf = FakeCluster(NODES), FakeCluster(NODES)
    assert (await isolate(others_cut, "n1").inject()).holds
    deaf.links.dead.update(deaf.pairs())
    for cluster, lacking in ((FakeCluster(NODES), None), (others_cut, sorted(NODES)), (deaf, sorted(NODES))):
        for node in cluster.fake_nodes.values():
            node.firewall.toothless = True
        proof = await isolate(cluster, "n1").inject()
        assert not proof.holds
        assert proof.evidence.get("rules_not_there") == lacking


async def test_a_cut_behind_another_is_proved_by_its_rules() -> None:
    """The same partition twice: datagrams show nothing of the second, the kernel does."""
    cluster = FakeCluster(NODES)
    for action in ("drop", "drop", "reject"):
        proof = await isolate(cluster, "n1", action=action).inject()
        assert proof.holds
    assert proof.evidence["rules_not_there"] == []


async def test_a_failed_inject_raises_with_the_node_and_can_be_healed() -> None:
    """When a node's tools fail, injecting says whose; healing takes back what is in force elsewhere, and admits what
    it could not.
    """
    cluster = FakeCluster(NODES)
    cluster.fake_nodes["n2"].broken_tools = True
    fault = isolate(cluster, "n1")
    with pytest.raises(RuntimeError, match="n2"):
        await fault.inject()
    proof = await fault.heal()
    assert not proof.holds
    assert "n2" in proof.evidence["errors"][0]
    assert cluster.undo.entries, "what is not healed for certain stays with the watchdog"
    cluster.fake_nodes["n2"].broken_tools = False
    assert (await fault.heal()).holds
    assert not cluster.undo.entries


async def test_healing_twice_is_safe() -> None:
    """A second healing changes nothing and holds."""
    cluster = FakeCluster(NODES)
    fault = isolate(cluster, "n1")
    await fault.inject()
    assert (await fault.heal()).holds
    assert (await fault.heal()).holds


async def test_a_closed_link_after_healing_is_no_healing() -> None:
    """When a freed direction stays closed, the proof fails and names it."""
    cluster = FakeCluster(NODES)
    fault = isolate(cluster, "n1")
    await fault.inject()
    cluster.links.dead.add(("n1", "n4"))
    proof = await fault.heal()
    assert not proof.holds
    assert proof.evidence["closed"] == [("n1", "n4")]


@given(seed=st.integers(min_value=0, max_value=10_000))
async def test_resolved_is_json_and_enough_to_repeat(seed: int) -> None:
    """What stands in schedule.jsonl builds the same partition again."""
    facts = resolved(seed, shape="random")
    cluster = FakeCluster(NODES)
    assert (await FAMILY.build(json.loads(json.dumps(facts)), cluster).inject()).holds
    assert await closed(cluster) == {(a, b) for a, b in facts["cuts"]}


def test_words() -> None:
    """Summaries are sentences that a person understands without the code."""
    say = FAMILY.summary
    assert say(resolved(targets=("n1",), shape="isolate")) == "n1 cut off from n2, n3, n4, n5 in both directions"
    outwards = say(resolved(targets=("n1",), shape="isolate", direction="out"))
    assert outwards == "n1 receives but cannot send (cut off from n2, n3, n4, n5 in one direction)"
    inwards = say(resolved(targets=("n1",), shape="isolate", direction="in"))
    assert inwards.startswith("n1 can send but receives nothing")
    assert "and the clients" in say(resolved(targets=("n1",), shape="isolate", clients=True))
    assert "n3 reaches both sides" in say(resolved(targets=("n3",), shape="bridge"))
    assert "different majority" in say(resolved(shape="majorities-ring"))
    assert say(resolved(targets=("n1", "n2"), shape="link")) == "n1 cut off from n2 in both directions"
    refused = say(resolved(targets=("n1",), shape="minority-third", action="reject"))
    assert refused == "n1 cut off from n2, n3, n4, n5 in both directions; senders are refused"


def test_what_a_replay_of_an_older_schedule_lacks_is_dropping() -> None:
    """A schedule recorded before there was an action still has words and can be injected."""
    facts = {name: value for name, value in resolved(shape="isolate").items() if name != "action"}
    assert "refused" not in FAMILY.summary(facts)
    FAMILY.build(facts, FakeCluster(NODES))


def test_rules_as_iptables_says_them() -> None:
    """The text for iptables-restore: dropped where it arrives, refused by kind of packet."""
    rules = [Rule(hook="INPUT", peer="10.0.0.9"), Rule(hook="OUTPUT", peer="10.0.0.8", verdict="reject")]
    assert installation("c", rules).splitlines() == [
        "*filter",
        ":c-i - [0:0]",
        ":c-o - [0:0]",
        "-A c-i ! -i lo -s 10.0.0.9/32 -j DROP",
        "-A c-o -d 10.0.0.8/32 -p tcp -j REJECT --reject-with tcp-reset",
        "-A c-o -d 10.0.0.8/32 -j REJECT --reject-with icmp-port-unreachable",
        "-I INPUT -j c-i",
        "-I OUTPUT -j c-o",
        "COMMIT",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"shape": "thirds"},
        {"direction": "sideways"},
        {"shape": "random", "direction": "in"},
        {"shape": "majorities-ring", "target": "leader"},
        {"shape": "random", "clients": True},
        {"clients": "yes"},
        {"action": "ignore"},
        {"shape": "random", "target": "one"},
        {"hosts": ["n1"]},
    ],
)
def test_bad_parameters_are_refused(wrong: dict[str, Any]) -> None:
    """Unknown names and values, and what a shape without sides cannot mean."""
    with pytest.raises(ValidationError):
        FAMILY.Parameters.model_validate(wrong)


def test_unknown_endpoints_are_refused() -> None:
    """A cut towards somebody who is not there cannot be built."""
    with pytest.raises(ValueError, match="n9"):
        FAMILY.build({"cuts": [["n9", "n1"]]}, FakeCluster(NODES))
