"""Network faults against namespaces in memory, which understand tc's and the firewall's words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest
from pydantic import ValidationError

from faults import FAMILIES
from faults.cuts import CLIENT, Pair
from faults.fakes.cluster import FakeCluster, FakeLinks, no_sleep
from faults.needs import NotNowError
from faults.network import NetworkFamily
from faults.packets.fates import Effects
from faults.packets.journeys import QUICK, Burst, Journeys, burst_for
from faults.packets.netem import MeansError
from faults.packets.shaping import Network

FAMILY = NetworkFamily()
NODES = ("n1", "n2", "n3", "n4", "n5")
EFFECTS: list[Mapping[str, Any]] = [
    {"delay": "50ms"},
    {"delay": "50ms", "jitter": "10ms"},
    {"delay": "20ms", "jitter": "10ms", "distribution": "pareto"},
    {"delay": "20ms", "jitter": "10ms", "distribution": "uniform"},
    {"loss": "5%"},
    {"loss": "20%", "delay": "5ms", "jitter": "2ms"},
    {"duplicate": "10%"},
    {"delay": "20ms", "reorder": "25%", "duplicate": "10%"},
    {"corrupt": "5%"},
    {"rate": "1mbit"},
    {"rate": "64kbit", "delay": "10ms"},
]


@pytest.fixture(params=["netem", "stand-in"])
def cluster(request: pytest.FixtureRequest) -> FakeCluster:
    """With the kernel's netem, and without."""
    made = FakeCluster(NODES)
    for node in made.fake_nodes.values():
        node.shaping.has_netem = request.param == "netem"
    return made


def resolved(*targets: str, seed: int = 0, **said: Any) -> Any:
    parameters = FAMILY.Parameters.model_validate({"target": list(targets), **said})
    return FAMILY.resolve(parameters, targets=targets, nodes=NODES, random=Random(seed))


def fault(cluster: FakeCluster, *targets: str, **said: Any) -> Network:
    made = FAMILY.build(resolved(*targets, **said), cluster)
    made.sleep = no_sleep
    return made


def is_clean(cluster: FakeCluster) -> bool:
    return all(node.shaping.is_clean() for node in cluster.fake_nodes.values())


@pytest.mark.parametrize("said", EFFECTS, ids=lambda said: " ".join(f"{name} {value}" for name, value in said.items()))
async def test_every_effect_bites_and_heals(cluster: FakeCluster, said: Mapping[str, Any]) -> None:
    """By both means: the proofs hold, and afterwards nothing is left, no undo entry and no link taken."""
    made = fault(cluster, "n1", peers=["n2"], **said)
    bit = await made.inject()
    assert bit.holds, bit.evidence["problems"]
    assert json.loads(json.dumps(bit.evidence)) == bit.evidence
    assert cluster.undo.entries
    healed = await made.heal()
    assert healed.holds, healed.evidence
    assert is_clean(cluster)
    assert not cluster.undo.entries
    assert not cluster.links.shaped.union()
    assert not cluster.links.cuts.union()
    assert (await made.heal()).holds, "healing twice is safe"


async def test_the_record_says_by_which_means(cluster: FakeCluster) -> None:
    """And why it was not the kernel's own."""
    has_netem = cluster.fake_nodes["n1"].shaping.has_netem
    evidence = (await fault(cluster, "n1", peers=["n2"], delay="5ms").inject()).evidence
    assert evidence["means"] == {"tc netem" if has_netem else "stand-in": ["n1 to n2", "n2 to n1"]}
    assert set(evidence["no_netem"]) == (set() if has_netem else {"n1", "n2"})


async def test_what_tc_refuses_is_done_by_the_stand_in() -> None:
    """A node whose ``tc`` refuses is left as it was, and its links go the other way."""
    cluster = FakeCluster(NODES)
    for node in cluster.fake_nodes.values():
        node.shaping.has_netem = True
    cluster.fake_nodes["n1"].shaping.refuses_netem = "cannot mix"
    cluster.fake_nodes["n2"].shaping.own_discipline = "8001:"
    made = fault(cluster, "n1", peers=["n2", "n3"], delay="5ms")
    bit = await made.inject()
    assert bit.holds, bit.evidence
    assert bit.evidence["means"] == {"tc netem": ["n3 to n1"], "stand-in": ["n1 to n2", "n1 to n3", "n2 to n1"]}
    assert "cannot mix" in bit.evidence["no_netem"]["n1"]
    assert "8001:" in bit.evidence["no_netem"]["n2"]
    assert not cluster.fake_nodes["n1"].shaping.root
    assert (await made.heal()).holds
    assert is_clean(cluster)


async def test_exactly_the_asked_directions_are_shaped(cluster: FakeCluster) -> None:
    """Directions are seen from the targets; clients' links only when asked."""
    assert resolved("n1", peers=["n3"], direction="out")["links"] == [["n1", "n3"]]
    assert resolved("n1", peers=["n3"], direction="in")["links"] == [["n3", "n1"]]
    assert len(resolved("n1")["links"]) == 8
    assert len(resolved("n1", "n2")["links"]) == 14, "the link between two targets counts once"
    assert [CLIENT, "n1"] in resolved("n1", clients=True)["links"]
    made = fault(cluster, "n1", peers=["n2"], clients=True, delay="5ms")
    bit = await made.inject()
    assert bit.holds, bit.evidence
    assert set(bit.evidence["links"]) == {"n1 to n2", "n2 to n1", "client to n1", "n1 to client"}
    assert (await made.heal()).holds


async def test_one_peer_is_drawn_and_repeated() -> None:
    """The same seed draws the same peer; what stands in schedule.jsonl is enough to shape the same links."""
    facts = resolved("n1", peers="one", delay="5ms", seed=3)
    assert facts == resolved("n1", peers="one", delay="5ms", seed=3)
    assert len(facts["links"]) == 2
    assert (await FAMILY.build(json.loads(json.dumps(facts)), FakeCluster(NODES)).inject()).holds


async def test_a_stand_in_that_does_nothing_is_no_bite() -> None:
    """Packets that pass through the queues unharmed are seen."""
    for said in EFFECTS:
        cluster = FakeCluster(NODES)
        for node in cluster.fake_nodes.values():
            node.shaping.lame = True
        bit = await fault(cluster, "n1", peers=["n2"], **said).inject()
        assert not bit.holds, said
        assert bit.evidence["problems"], said


async def test_packets_past_the_queue_are_no_bite(cluster: FakeCluster) -> None:
    """A link that is slow by itself proves nothing about ours: the queue must have seen the datagrams."""
    made = fault(cluster, "n1", peers=["n2"], delay="5ms")
    assert (await made.inject()).holds
    burst = burst_for(Effects(delay=5_000_000), 2)
    seen = await cluster.links.measure(made.pairs, burst)
    assert not made._problems(burst, seen, await made._counts())
    assert any("0 through the queue" in problem for problem in made._problems(burst, seen, {}))


class FailingLinks(FakeLinks):
    """A link that nobody touches fails after the first measurement."""

    async def measure(self, pairs: Sequence[Pair], burst: Burst) -> Mapping[Pair, Journeys]:
        found = await super().measure(pairs, burst)
        self.dead.add(("n4", "n5"))
        return found


async def test_a_link_beside_that_gets_slow_is_no_bite(cluster: FakeCluster) -> None:
    """Collateral damage is named; unless a partition cuts that link meanwhile."""
    cluster.links = FailingLinks(cluster.fake_nodes)
    made = fault(cluster, "n1", peers=["n2"], delay="5ms")
    bit = await made.inject()
    assert not bit.holds
    assert [problem.partition(":")[0] for problem in bit.evidence["problems"]] == ["n4 to n5"]
    cluster.links.cuts.enter("somebody", [("n4", "n5")])
    assert not made._disturbed([("n4", "n5")], await cluster.links.measure([("n4", "n5")], QUICK))


async def test_a_link_belongs_to_the_fault_that_came_first(cluster: FakeCluster) -> None:
    """The later one leaves it alone and says so; healing either leaves the other in force."""
    first, second = fault(cluster, "n1", delay="20ms"), fault(cluster, "n2", delay="40ms")
    assert (await first.inject()).holds
    bit = await second.inject()
    assert bit.holds, bit.evidence
    assert sorted(bit.evidence["left_to_other_faults"]) == ["n1 to n2", "n2 to n1"]
    assert (await first.heal()).holds
    assert len(cluster.links.shaped.union()) == 6
    seen = await cluster.links.measure([("n3", "n2"), ("n1", "n2")], QUICK)
    assert seen["n3", "n2"].shortest_ms > 40 > seen["n1", "n2"].shortest_ms
    assert (await second.heal()).holds
    assert is_clean(cluster)


async def test_nothing_free_is_not_now(cluster: FakeCluster) -> None:
    """A fault whose every link is another's, or cut, is not injected at all."""
    assert (await fault(cluster, "n1", delay="20ms").inject()).holds
    later = fault(cluster, "n2", peers=["n1"], delay="40ms")
    with pytest.raises(NotNowError, match="another fault"):
        await later.inject()
    healed = await later.heal()
    assert healed.holds, "who did nothing has nothing to heal"
    cluster.links.cuts.enter("somebody", [("n4", "n5"), ("n5", "n4")])
    with pytest.raises(NotNowError):
        await fault(cluster, "n4", peers=["n5"], delay="40ms").inject()


async def test_a_link_that_a_partition_cuts_is_excused(cluster: FakeCluster) -> None:
    """It is not measured; the others prove the bite."""
    cluster.links.cuts.enter("somebody", [("n1", "n2"), ("n2", "n1")])
    cluster.links.dead |= {("n1", "n2"), ("n2", "n1")}
    made = fault(cluster, "n1", delay="5ms")
    bit = await made.inject()
    assert bit.holds, bit.evidence
    assert sorted(bit.evidence["not_measured"]) == ["n1 to n2", "n2 to n1"]
    assert (await made.heal()).holds


async def test_links_that_carry_no_probe_are_nobody_elses_fault(cluster: FakeCluster) -> None:
    """While packets are mostly lost, or queue up behind a rate, partitions excuse the links; a short delay does not."""
    for said, excused in (({"loss": "80%"}, True), ({"rate": "1mbit"}, True), ({"delay": "5ms"}, False)):
        made = fault(cluster, "n1", peers=["n2"], **said)
        await made.inject()
        assert (("n1", "n2") in cluster.links.cuts.union()) is excused
        assert (await made.heal()).holds


async def test_a_dead_stand_in_is_said() -> None:
    """It let packets pass for an unknown time, so healing is not called proved; nothing is left all the same."""
    cluster = FakeCluster(NODES)
    made = fault(cluster, "n1", peers=["n2"], delay="5ms")
    assert (await made.inject()).holds
    await cluster.fake_nodes["n1"].shaping.living()[0].close()
    healed = await made.heal()
    assert not healed.holds
    assert "dead" in healed.evidence["died"]
    assert is_clean(cluster)


async def test_a_failed_inject_can_be_healed() -> None:
    """When a node's tools fail, the error says whose, and what was done elsewhere is undone."""
    cluster = FakeCluster(NODES)
    made = fault(cluster, "n1", delay="5ms")
    cluster.fake_nodes["n3"].broken_tools = True
    with pytest.raises(MeansError, match="n3"):
        await made.inject()
    assert not (await made.heal()).holds
    cluster.fake_nodes["n3"].broken_tools = False
    assert (await made.heal()).holds
    assert is_clean(cluster)
    assert not cluster.undo.entries


async def test_what_cannot_be_taken_out_stays_with_the_watchdog(cluster: FakeCluster) -> None:
    """Healing says what is left, and keeps the undo entry."""
    made = fault(cluster, "n1", peers=["n2"], delay="5ms")
    assert (await made.inject()).holds
    cluster.fake_nodes["n1"].shaping.stubborn = True
    healed = await made.heal()
    assert not healed.holds
    assert "n1" in healed.evidence["errors"][0]
    assert cluster.undo.entries
    cluster.fake_nodes["n1"].shaping.stubborn = False
    assert (await made.heal()).holds
    assert not cluster.undo.entries


async def test_a_link_that_stays_slow_is_no_healing(cluster: FakeCluster) -> None:
    """When packets travel worse than before, the proof fails and names the link."""
    made = fault(cluster, "n1", peers=["n2"], delay="5ms")
    assert (await made.inject()).holds
    cluster.links.dead.add(("n1", "n2"))
    healed = await made.heal()
    assert not healed.holds
    assert healed.evidence["not_as_before"][0].startswith("n1 to n2")


async def test_the_undo_works_without_a_controller(cluster: FakeCluster) -> None:
    """What is registered names what was put there, as a command for that node."""
    made = fault(cluster, "n1", peers=["n2"], delay="5ms")
    await made.inject()
    argvs = [entry.arguments["argv"] for entry in cluster.undo.entries.values()]
    assert {argv[1] for argv in argvs} == {"n1", "n2"}
    word = "netem" if cluster.fake_nodes["n1"].shaping.has_netem else "capsize-net-"
    assert all(word in argv[-1] for argv in argvs)


def test_words() -> None:
    """Summaries are sentences that a person understands."""
    say = FAMILY.summary
    assert say(resolved("n1", peers=["n2"])) == "delay 50ms +- 10ms on n1-n2"
    said = say(resolved("n1", peers=["n2"], direction="out", loss="5%", duplicate="1%", rate="1mbit"))
    assert said == "loss 5%, duplicates 1%, rate 1mbit on n1 to n2"


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"delay": "0ms"}, "no packet would notice"),
        ({"delay": "10s"}, "at most 5s"),
        ({"rate": "1kbit"}, "8kbit"),
        ({"correlation": "5%", "loss": "1%"}, "correlation needs a delay"),
        ({"direction": "sideways"}, "in"),
    ],
)
def test_bad_parameters_are_refused(wrong: dict[str, Any], complaint: str) -> None:
    """With what to write instead."""
    with pytest.raises(ValidationError, match=complaint):
        FAMILY.Parameters.model_validate(wrong)


def test_peers_that_are_nobody_are_refused() -> None:
    """Unknown names, and a target without a peer."""
    with pytest.raises(ValueError, match="n9"):
        resolved("n1", peers=["n9"])
    with pytest.raises(ValueError, match="no link"):
        resolved("n1", peers=["n1"])
    with pytest.raises(ValueError, match="n9"):
        FAMILY.build({"links": [["n9", "n1"]], "impairment": {"delay": "1ms"}, "seed": 1}, FakeCluster(NODES))


def test_it_is_in_the_table() -> None:
    """Scenarios call it ``network``; two of them never hold one target."""
    assert isinstance(FAMILIES["network"], NetworkFamily)
    assert FAMILIES["network"].claims == {"network"}
