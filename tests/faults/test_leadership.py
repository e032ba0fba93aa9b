"""Transfers of leadership against a cluster and an administration in memory."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from pydantic import ValidationError

from faults.fakes.admin import FakeAdmin
from faults.fakes.cluster import FakeCluster, no_sleep
from faults.leadership import How, Leadership, LeadershipFamily, LeadershipParameters
from faults.needs import NotNowError

FAMILY = LeadershipFamily()
THREE = ("n1", "n2", "n3")


def made(how: How, *targets: str) -> tuple[Leadership, FakeCluster, FakeAdmin]:
    cluster = FakeCluster(THREE)
    admin = FakeAdmin(cluster)
    return Leadership(how=how, targets=targets, every_s=0, cluster=cluster, sleep=no_sleep), cluster, admin


async def test_leadership_goes_to_the_first_target_that_does_not_lead() -> None:
    """The leader changes to it, as a majority says; healed, there is one leader."""
    fault, _, admin = made("transfer", "n1", "n3")
    proof = await fault.inject()
    assert proof.holds
    assert proof.evidence["before"] == "n1"
    assert admin.lead == "n3"
    assert (await fault.heal()).holds
    assert (await fault.heal()).holds, "healing twice is safe"


async def test_who_leads_already_cannot_be_given_it() -> None:
    """Nothing to do, and it is said."""
    fault, _, admin = made("transfer", "n1")
    with pytest.raises(NotNowError, match="n1 leads already"):
        await fault.inject()
    assert admin.changes == []


async def test_without_a_leader_there_is_nothing_to_transfer() -> None:
    """No majority, no leader, no transfer; and no healing before there is one."""
    fault, cluster, _ = made("transfer", "n2")
    for name in ("n1", "n3"):
        await cluster.nodes[name].signal(9)
    with pytest.raises(NotNowError, match="no majority"):
        await fault.inject()
    assert not (await fault.heal()).holds
    await cluster.nodes["n3"].start()
    assert (await fault.heal()).holds


async def test_a_refusal_or_a_transfer_without_effect_is_no_bite() -> None:
    """What is refused cannot be done just now, in the system's words."""
    fault, _, admin = made("transfer", "n2")
    admin.refusals = ["not today"]
    with pytest.raises(NotNowError, match="n2: not today"):
        await fault.inject()
    admin.frozen = True
    assert not (await fault.inject()).holds


async def test_a_transfer_that_another_fault_prevented_was_not_possible_just_then() -> None:
    """The system said that it did not come to pass, and somebody else leads by now."""
    fault, _, admin = made("transfer", "n3")
    admin.overtaken_by = "n2"
    with pytest.raises(NotNowError, match="leadership was lost"):
        await fault.inject()


async def test_a_disturbance_goes_on_until_it_is_healed() -> None:
    """Each target leads in turn; refusals on the way end nothing; afterwards nobody asks any more."""
    fault, _, admin = made("disturb", "n2", "n3")
    assert (await fault.inject()).holds
    admin.refusals = ["busy"]
    async with asyncio.timeout(5):
        while admin.changes.count("transfer to n3") < 2:  # noqa: ASYNC110 - the fake sets no event
            await asyncio.sleep(0)
    proof = await fault.heal()
    assert proof.holds
    assert proof.evidence["transfers"] >= 3
    count = len(admin.changes)
    for _ in range(100):
        await asyncio.sleep(0)
    assert len(admin.changes) == count


def test_what_is_resolved_replays_it() -> None:
    """Plain JSON with the order of the targets; the words name them."""
    resolved = FAMILY.resolve(
        LeadershipParameters.model_validate({"how": "disturb", "every": "250ms"}),
        targets=("n2", "n3"),
        nodes=THREE,
        random=Random(1),
    )
    assert sorted(resolved["targets"]) == ["n2", "n3"]
    assert "every 250ms" in FAMILY.summary(resolved)
    assert FAMILY.build(resolved, FakeCluster(THREE)).every_s == 0.25
    with pytest.raises(ValueError, match="cluster of one"):
        FAMILY.resolve(LeadershipParameters(), targets=("n1",), nodes=("n1",), random=Random(1))
    assert {FAMILY.draw(Random(seed), THREE).how for seed in range(20)} == {"transfer", "disturb"}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"how": "transfer", "every": "1s"}, "leave one of them out"),
        ({"how": "disturb", "every": "0s"}, "longer than nothing"),
        ({"target": "leader"}, "leads already"),
    ],
)
def test_what_could_do_nothing_is_refused(said: dict[str, str], words: str) -> None:
    """A pace for what is done once, no time between two, a transfer to who leads."""
    with pytest.raises(ValidationError, match=words):
        LeadershipParameters.model_validate(said)
