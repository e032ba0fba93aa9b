"""Selectors resolve to nodes, or are refused before anything starts."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.planning.targets import SELECTORS, check_selector, resolve_targets

NODES = ("n1", "n2", "n3", "n4", "n5")


@given(st.sampled_from(sorted(SELECTORS)), st.integers(), st.sampled_from([None, *NODES]))
def test_targets_are_nodes_in_order(selector: str, seed: int, leader: str | None) -> None:
    """Whatever is drawn are nodes of the cluster, each once, in cluster order."""
    targets = resolve_targets(selector, nodes=NODES, leader=leader, random=Random(seed), subject="n2")
    assert list(targets) == [node for node in NODES if node in targets]


@given(st.integers())
def test_minority_and_majority_are_what_they_say(seed: int) -> None:
    """A minority is the most that is less than half; a majority the least that is more."""
    assert len(resolve_targets("minority", nodes=NODES, leader=None, random=Random(seed))) == 2
    assert len(resolve_targets("majority", nodes=NODES, leader=None, random=Random(seed))) == 3


def test_leader_and_followers_split_the_cluster() -> None:
    """With a leader they are disjoint and everybody; without one, both are nobody."""
    assert resolve_targets("leader", nodes=NODES, leader="n3", random=Random(0)) == ("n3",)
    assert resolve_targets("followers", nodes=NODES, leader="n3", random=Random(0)) == ("n1", "n2", "n4", "n5")
    assert resolve_targets("followers", nodes=NODES, leader=None, random=Random(0)) == ()


@given(st.integers())
def test_a_follower_is_one_of_those_who_do_not_lead(seed: int) -> None:
    """Anyone of them; without a leader, nobody can tell."""
    (name,) = resolve_targets("follower", nodes=NODES, leader="n3", random=Random(seed))
    assert name != "n3"
    assert resolve_targets("follower", nodes=NODES, leader=None, random=Random(seed)) == ()


@pytest.mark.parametrize(
    ("selector", "targets"),
    [
        (["leader", "n2"], ("n2", "n4")),
        (["n5", "n1"], ("n1", "n5")),
        (["n2", "subject", "n2"], ("n2", "n3")),
        (["followers", "leader"], NODES),
        (["all", "n1"], NODES),
    ],
)
def test_a_list_means_everybody_it_names(selector: list[str], targets: tuple[str, ...]) -> None:
    """Selectors in a list count as much as names do: the union, in cluster order."""
    assert resolve_targets(selector, nodes=NODES, leader="n4", random=Random(0), subject="n3") == targets


def test_a_list_that_misses_its_leader_is_nobody() -> None:
    """Hitting the rest of it would be another fault than the scenario's."""
    assert resolve_targets(["leader", "n2"], nodes=NODES, leader=None, random=Random(0)) == ()


@pytest.mark.parametrize(
    ("selector", "nodes", "message"),
    [
        ("n9", NODES, "cannot exist here"),
        ("leadr", NODES, "did you mean 'leader'"),
        ("minority", ("n1", "n2"), "nobody among 2"),
        ("followers", ("n1",), "nobody in a cluster of one"),
        ("subject", NODES, "needs a trigger"),
        (["n1", "n8"], NODES, "'n8' cannot exist"),
        ([], NODES, "is nobody"),
    ],
)
def test_impossible_targets_are_refused(selector: str, nodes: tuple[str, ...], message: str) -> None:
    """The error names the value and what would be right."""
    with pytest.raises(ValueError, match=message):
        check_selector(selector, nodes, triggered=False)
