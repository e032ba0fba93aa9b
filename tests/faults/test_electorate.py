"""A membership counts only when a majority of its own voters describes it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from faults.electorate import Electorate, agreed, quorum
from faults.fakes.admin import FakeAdmin
from faults.fakes.cluster import FakeCluster
from faults.needs import Member


def voters(*names: str) -> list[Member]:
    return [Member(node=name, id=name * 2, voter=True, started=True) for name in names]


def test_a_majority_of_the_voters_decides() -> None:
    """Two of three that agree are enough; one is not, and neither are two of different opinions."""
    three = voters("n1", "n2", "n3")
    found = agreed({"n1": three, "n3": list(reversed(three))})
    assert found is not None
    assert found.witnesses == ("n1", "n3")
    assert found.of("n2") == three[1]
    assert agreed({"n1": three}) is None
    assert agreed({"n1": three, "n2": voters("n1", "n2")}) is None
    assert agreed({}) is None


def test_who_has_left_or_has_no_vote_is_no_witness() -> None:
    """A removed node still lists itself; a learner lists everybody; neither makes up a majority."""
    learner = Member(node="n3", id="9", voter=False, started=True)
    two = [*voters("n1", "n2"), learner]
    assert agreed({"n1": two, "n3": two}) is None
    assert agreed({"n1": two, "n2": two, "n4": voters("n1", "n2", "n4")}) is not None


@given(st.lists(st.sampled_from(["old", "new", None]), min_size=5, max_size=5))
def test_no_two_memberships_can_be_agreed_on(answers: list[str | None]) -> None:
    """Of two memberships that follow each other (one member less), at most one has its majority."""
    names = ["n1", "n2", "n3", "n4", "n5"]
    known = {"old": voters(*names), "new": voters(*names[:4])}
    views = {name: known[said] for name, said in zip(names, answers, strict=True) if said is not None}
    by_opinion = [agreed({name: view for name, view in views.items() if view is known[said]}) for said in known]
    both = all(found is not None for found in by_opinion)
    assert not both or set(by_opinion[0].witnesses).isdisjoint(by_opinion[1].witnesses)  # type: ignore[union-attr]
    assert not both, "each would need three of the same five, or of the first four"


def test_quorums() -> None:
    """More than half, and any two share a member."""
    for count in range(1, 8):
        names = range(count)
        sets = [set(some) for some in itertools.combinations(names, quorum(count))]
        assert all(one & other for one in sets for other in sets)


async def test_the_leader_is_whom_a_majority_names() -> None:
    """With all alive, the first; nobody, when no majority answers."""
    cluster = FakeCluster(["n1", "n2", "n3"])
    electorate = Electorate(FakeAdmin(cluster), tuple(cluster.nodes))
    assert await electorate.leader() == "n1"
    await cluster.nodes["n1"].signal(9)
    assert await electorate.leader() == "n2"
    await cluster.nodes["n2"].signal(9)
    assert await electorate.leader() is None
