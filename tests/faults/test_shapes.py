"""Shapes of partitions, for any number of nodes and any draw."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.shapes import SHAPES, Division

counts = st.integers(min_value=4, max_value=9)
seeds = st.integers(min_value=0, max_value=10_000)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"n{number}" for number in range(1, count + 1))


def reached(node: str, nodes: tuple[str, ...], cuts: set[tuple[str, str]]) -> set[str]:
    """Whom a node can talk with in both directions, itself included."""
    return {other for other in nodes if not {(node, other), (other, node)} & cuts}


@given(count=counts, seed=seeds, shape=st.sampled_from(sorted(SHAPES)))
def test_every_shape_cuts_something_and_nobody_from_itself(count: int, seed: int, shape: str) -> None:
    """A shape always cuts at least one link, only between two different nodes, and in both directions if asked for
    both.
    """
    cuts = set(SHAPES[shape]((), names(count), Random(seed)).cuts("both"))
    assert cuts
    assert all(source != target and {source, target} <= set(names(count)) for source, target in cuts)
    assert {(target, source) for source, target in cuts} == cuts


@given(count=counts, seed=seeds, shape=st.sampled_from(sorted(SHAPES)))
def test_a_draw_repeats(count: int, seed: int, shape: str) -> None:
    """The same random stream gives the same partition."""
    shapes = [SHAPES[shape]((), names(count), Random(seed)) for _ in range(2)]
    assert shapes[0] == shapes[1]


@given(count=counts, seed=seeds)
def test_halves_leave_two_connected_sides(count: int, seed: int) -> None:
    """Halves: every node reaches exactly its own side, and the sides differ by at most one node."""
    nodes = names(count)
    division = SHAPES["halves"]((), nodes, Random(seed))
    cuts = set(division.cuts("both"))
    sides = {frozenset(reached(node, nodes, cuts)) for node in nodes}
    assert sides == {frozenset(division.first), frozenset(division.second)}
    assert len(division.second) - len(division.first) in (0, 1)


@given(count=counts, seed=seeds)
def test_a_ring_gives_every_node_a_majority_of_its_own(count: int, seed: int) -> None:
    """Majorities-ring: everyone reaches a majority, no two the same, so that no two nodes need agree who is there."""
    nodes = names(count)
    cuts = set(SHAPES["majorities-ring"]((), nodes, Random(seed)).cuts("both"))
    views = [frozenset(reached(node, nodes, cuts)) for node in nodes]
    assert all(len(view) > count // 2 for view in views)
    assert len(set(views)) == count


@given(count=counts, seed=seeds)
def test_a_bridge_reaches_everybody_and_is_the_only_one(count: int, seed: int) -> None:
    """Bridge: the target reaches all; the others reach their half and the target."""
    nodes = names(count)
    division = SHAPES["bridge"](("n2",), nodes, Random(seed))
    cuts = set(division.cuts("both"))
    assert reached("n2", nodes, cuts) == set(nodes)
    assert all(reached(node, nodes, cuts) == {*division.first, "n2"} for node in division.first)
    assert all(reached(node, nodes, cuts) == {*division.second, "n2"} for node in division.second)


@given(count=counts, seed=seeds, size=st.integers(min_value=1, max_value=3))
def test_the_isolated_stay_together(count: int, seed: int, size: int) -> None:
    """Isolate: the targets reach each other and nobody else."""
    nodes = names(count)
    cuts = set(SHAPES["isolate"](nodes[:size], nodes, Random(seed)).cuts("both"))
    assert all(reached(node, nodes, cuts) == set(nodes[:size]) for node in nodes[:size])
    assert all(reached(node, nodes, cuts) == set(nodes[size:]) for node in nodes[size:])


@given(count=counts, seed=seeds, targets=st.integers(min_value=0, max_value=2))
def test_a_link_is_cut_between_two_nodes_only(count: int, seed: int, targets: int) -> None:
    """Link: the two directions between one pair, the targets among its ends."""
    nodes = names(count)
    division = SHAPES["link"](nodes[:targets], nodes, Random(seed))
    (one,), (other,) = division.first, division.second
    assert set(division.cuts("both")) == {(one, other), (other, one)}
    assert set(nodes[:targets]) <= {one, other}


@given(count=counts, seed=seeds, aimed=st.booleans())
def test_a_minority_third_is_less_than_a_third(count: int, seed: int, aimed: bool) -> None:
    """Minority-third: the first side is the largest that is strictly less than a third, with the target in it."""
    nodes = names(count)
    division = SHAPES["minority-third"](nodes[:1] if aimed else (), nodes, Random(seed))
    size = len(division.first)
    assert size * 3 < count <= (size + 1) * 3
    assert not aimed or nodes[0] in division.first
    assert set(division.second) == set(nodes) - set(division.first)


def test_directions_are_seen_from_the_first_side() -> None:
    """``in``: nothing reaches the first side; ``out``: nothing leaves it; both are the union."""
    division = Division(first=("n1",), second=("n2", "n3"))
    assert division.cuts("in") == (("n2", "n1"), ("n3", "n1"))
    assert division.cuts("out") == (("n1", "n2"), ("n1", "n3"))
    assert set(division.cuts("both")) == {*division.cuts("in"), *division.cuts("out")}


@pytest.mark.parametrize(
    ("shape", "targets", "count", "word"),
    [
        ("halves", (), 1, "at least 2 nodes"),
        ("halves", ("n1", "n2"), 3, "do not fit"),
        ("isolate", ("n1", "n2"), 2, "every node is a target"),
        ("bridge", (), 2, "at least 3 nodes"),
        ("bridge", ("n1", "n2"), 5, "exactly one"),
        ("majorities-ring", (), 3, "at least 4 nodes"),
        ("random", (), 1, "at least 2 nodes"),
        ("link", (), 1, "at least 2 nodes"),
        ("link", ("n1", "n2", "n3"), 5, "two ends"),
        ("minority-third", (), 3, "at least 4 nodes"),
        ("minority-third", ("n1", "n2"), 5, "do not fit"),
    ],
)
def test_impossible_shapes_are_refused_in_words(shape: str, targets: tuple[str, ...], count: int, word: str) -> None:
    """What cannot exist among so many nodes is refused with the shape and the reason."""
    with pytest.raises(ValueError, match=word) as refused:
        SHAPES[shape](targets, names(count), Random(0))
    assert shape in str(refused.value)
