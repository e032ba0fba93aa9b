"""The table of families, and what all families have in common."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from faults import FAMILIES
from faults.fakes.cluster import FakeCluster
from faults.family import Family, conflict
from faults.shapes import SHAPES

NODES = ("n1", "n2", "n3", "n4", "n5")
NEEDED = {"resource": {"cpu": "10%"}}
"""Parameters of families that do nothing by default."""
families = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def test_the_table_is_keyed_by_the_names_in_scenarios() -> None:
    """Every family stands under its own name, and tells a person what it does."""
    assert list(FAMILIES) == [family.name for family in FAMILIES.values()]
    assert all(family.description for family in FAMILIES.values())


@families
@given(seed=st.integers(min_value=0, max_value=1000), count=st.integers(min_value=2, max_value=7))
async def test_what_is_drawn_can_be_done(family: Family, seed: int, count: int) -> None:
    """Parameters drawn among any number of nodes resolve to plain JSON, have words, bite and heal."""
    nodes = tuple(f"n{number}" for number in range(1, count + 1))
    parameters = family.draw(Random(seed), nodes)
    targets = nodes[:1] if getattr(parameters, "target", None) is not None else ()
    facts = family.resolve(parameters, targets=targets, nodes=nodes, random=Random(seed))
    assert json.loads(json.dumps(facts)) == facts
    assert set(facts["targets"]) <= set(nodes)
    assert family.summary(facts)


@families
async def test_parameters_survive_a_file(family: Family) -> None:
    """What schedule.jsonl holds of the parameters loads to the same parameters, lists of names included."""
    given_targets: BaseModel = family.Parameters.model_validate({"target": ["n1", "n2"], **NEEDED.get(family.name, {})})
    again = family.Parameters.model_validate(json.loads(json.dumps(given_targets.model_dump(mode="json"))))
    assert again == given_targets


@pytest.mark.parametrize("name", ["kill", "pause"])
def test_a_target_that_is_nobody_is_refused(name: str) -> None:
    """Unknown nodes and empty targets are refused with the names."""
    family = FAMILIES[name]
    for targets, word in ((("n9",), "n9"), ((), "nobody")):
        with pytest.raises(ValueError, match=word):
            family.resolve(family.Parameters(), targets=targets, nodes=NODES, random=Random(0))


def test_two_faults_compete_for_a_process_but_not_for_a_link() -> None:
    """Kill and pause of one node exclude each other; everything else may overlap."""
    kill, pause, partition = FAMILIES["kill"], FAMILIES["pause"], FAMILIES["partition"]
    assert conflict(kill, {"targets": ["n1", "n2"]}, pause, {"targets": ["n2", "n3"]}) == ("n2",)
    assert conflict(kill, {"targets": ["n1"]}, kill, {"targets": ["n2"]}) == ()
    assert conflict(kill, {"targets": ["n1"]}, partition, {"targets": ["n1"]}) == ()


async def test_the_fake_cluster_starts_healthy() -> None:
    """Everything runs, every link is open, no rule is there."""
    cluster = FakeCluster(NODES)
    assert all((await cluster.links.probe(cluster.pairs(), timeout_s=0)).values())
    assert {await node.state() for node in cluster.nodes.values()} == {"running"}
    assert all(node.firewall.is_clean() for node in cluster.fake_nodes.values())


@families
def test_the_page_describes_every_family_and_parameter(family: Family) -> None:
    """Each family has a page in docs/faults/ (or a section of docs/faults.md) that names each of its parameters, and
    each shape of a partition.
    """
    docs = Path(__file__).parents[2] / "docs"
    own = docs / "faults" / f"{family.name}.md"
    page = (docs / "faults.md").read_text(encoding="utf-8")
    section = page.partition(f"\n## {family.name}\n")[2].partition("\n## ")[0]
    section = own.read_text(encoding="utf-8") if own.exists() else section
    names = [*family.Parameters.model_fields, *(SHAPES if family.name == "partition" else ())]
    assert [name for name in names if f"`{name}`" not in section] == []
    assert "**Bit:**" in section
    assert "**Healed:**" in section
