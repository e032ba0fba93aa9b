"""Who may be hit: nobody twice, nobody dead, and of the data of the nodes a minority at most."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults import FAMILIES
from faults.family import Claim, Family
from harness.nemesis.claims import Choice, Claims
from harness.planning.targets import SELECTORS, Selector

NODES = ("n1", "n2", "n3", "n4", "n5")


class Ruin:
    """A family that destroys what was synced, as the claims see it."""

    name = "ruin"
    claims: frozenset[Claim] = frozenset({"process", "storage"})
    damages = True


RUIN: Any = Ruin()


def choose(
    claims: Claims,
    selector: Selector,
    family: Family = FAMILIES["kill"],
    *,
    dead: Collection[str] = (),
    drawn: bool = True,
    seed: int = 0,
) -> Choice:
    """Chooses with n2 as the leader and n3 as the subject."""
    return claims.choose(selector, family, dead=dead, leader="n2", subject="n3", random=Random(seed), drawn=drawn)


def test_who_is_held_is_passed_over() -> None:
    """By a fault that claims the same, until it is released; one that claims something else is no obstacle."""
    claims = Claims(nodes=NODES)
    claims.hold(1, FAMILIES["pause"], ["n2"])
    assert choose(claims, "all").targets == ("n1", "n3", "n4", "n5")
    assert choose(claims, "leader").nobody == "nobody to hit: n2 is held by another fault"
    assert choose(claims, "leader", FAMILIES["clock"]).targets == ("n2",)
    claims.release(1)
    assert choose(claims, "leader").targets == ("n2",)


def test_who_is_dead_is_passed_over() -> None:
    """A node that died by itself cannot be killed; a link of it can be cut all the same."""
    claims = Claims(nodes=NODES)
    assert choose(claims, "all", dead=("n1",)).targets == ("n2", "n3", "n4", "n5")
    assert choose(claims, "leader", dead=("n2",)).nobody == "nobody to hit: n2 does not run"
    assert choose(claims, "n1", FAMILIES["network"], dead=("n1",)).targets == ("n1",)


@given(seed=st.integers(0, 10_000), selectors=st.lists(st.sampled_from([*SELECTORS, "n1", "n4"]), max_size=12))
def test_what_is_drawn_damages_a_minority_at_most(seed: int, selectors: list[str]) -> None:
    """Over a whole run, whatever the selectors say; who is damaged already may be damaged again."""
    claims = Claims(nodes=NODES)
    for number, selector in enumerate(selectors):
        choice = choose(claims, selector, RUIN, seed=seed + number)
        claims.hold(number, RUIN, choice.targets)
        claims.release(number)
    assert len(claims.damaged) <= 2


def test_a_damaged_node_may_be_damaged_again() -> None:
    """When the minority is used up, ``one`` is one of them, and others are passed over."""
    claims = Claims(nodes=NODES, damaged={"n1", "n4"})
    assert {choose(claims, "one", RUIN, seed=seed).targets for seed in range(20)} == {("n1",), ("n4",)}
    assert "a minority's is already" in str(choose(claims, "leader", RUIN).nobody)


@pytest.mark.parametrize(("selector", "count"), [("all", 5), ("majority", 3), (("n1", "n2", "n3"), 3), ("minority", 2)])
def test_who_asks_for_more_than_a_minority_gets_it(selector: Selector, count: int) -> None:
    """In so many words, in a fault that a scenario names: that is beyond any promise, and meant so."""
    assert len(choose(Claims(nodes=NODES), selector, RUIN, drawn=False).targets) == count
    assert len(choose(Claims(nodes=NODES), selector, RUIN, drawn=True).targets) <= 2


def test_no_leader_is_told() -> None:
    """Nobody leads, so nobody is wanted."""
    choice = Claims(nodes=NODES).choose(
        "leader", FAMILIES["kill"], dead=(), leader=None, subject=None, random=Random(0), drawn=True
    )
    assert choice.nobody == "nobody to hit: target 'leader' is no node just now"
