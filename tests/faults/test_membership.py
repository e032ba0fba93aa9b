"""Membership changes against a cluster and an administration in memory."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from pydantic import ValidationError

from faults.electorate import Agreed
from faults.fakes.admin import FakeAdmin
from faults.fakes.cluster import FakeCluster, no_sleep
from faults.members import OUT_POLLS_MAX, POLLS_PER_TRY, How, Membership, Step, next_step
from faults.membership import MembershipFamily, MembershipParameters
from faults.needs import Member, NotNowError, ProcessState

FAMILY = MembershipFamily()
FIVE = ("n1", "n2", "n3", "n4", "n5")


def made(how: How, *targets: str, nodes: tuple[str, ...] = FIVE) -> tuple[Membership, FakeCluster, FakeAdmin]:
    cluster = FakeCluster(nodes)
    admin = FakeAdmin(cluster)
    return Membership(how=how, targets=targets, cluster=cluster, sleep=no_sleep), cluster, admin


def standing(admin: FakeAdmin) -> dict[str, str]:
    return {member.node: member.id for member in admin.entries.values() if member.voter and member.started}


@pytest.mark.parametrize("target", ["n1", "n2"])
async def test_a_removed_member_comes_back_as_somebody_else(target: str) -> None:
    """Out of the membership, ended and without data, whether it leads or not; healed, a voter under another
    identity.
    """
    fault, cluster, admin = made("remove", target)
    before = standing(admin)
    proof = await fault.inject()
    assert proof.holds, proof
    assert set(standing(admin)) == set(FIVE) - {target}
    assert cluster.fake_nodes[target].stored == []
    assert await cluster.nodes[target].state() is ProcessState.DEAD
    proof = await fault.heal()
    assert proof.holds, proof
    after = standing(admin)
    assert set(after) == set(FIVE)
    assert [name for name in FIVE if after[name] != before[name]] == [target]
    assert (await fault.heal()).holds, "healing twice is safe"
    assert not cluster.undo.entries


async def test_who_leaves_may_end_by_itself() -> None:
    """From before the change until the next start its end is no crash."""
    fault, cluster, _ = made("remove", "n2")
    await fault.inject()
    assert cluster.fake_nodes["n2"].dismissed
    await fault.heal()
    assert not cluster.fake_nodes["n2"].dismissed


async def test_a_replaced_member_is_entered_while_the_fault_lasts() -> None:
    """Killed before it is taken out; a new identity is listed when the injection is over."""
    fault, _, admin = made("replace", "n3")
    proof = await fault.inject()
    assert proof.holds, proof
    assert admin.changes[:2] == ["remove n3", "add n3"]
    assert (await fault.heal()).holds
    assert set(standing(admin)) == set(FIVE)


@pytest.mark.parametrize("how", ["add", "grow"])
async def test_an_added_member_has_its_vote_before_the_injection_is_over(how: How) -> None:
    """That is what bites: the cluster grew under load."""
    fault, _, admin = made(how, "n3", "n4") if how == "grow" else made(how, "n3")
    assert (await fault.inject()).holds
    assert "n3" in standing(admin)
    assert (await fault.heal()).holds
    assert set(standing(admin)) == set(FIVE)


async def test_a_cluster_shrinks_and_grows_one_by_one() -> None:
    """Never are two changes under way."""
    fault, _, admin = made("shrink", "n4", "n2")
    assert (await fault.inject()).holds
    assert admin.changes == ["remove n4", "remove n2"]
    assert (await fault.heal()).holds
    assert admin.changes[2:] == ["add n4", "promote n4", "add n2", "promote n2"]


async def test_nobody_leaves_who_is_needed() -> None:
    """With one of three dead, two voters must stay: refused, and nothing was done."""
    fault, cluster, admin = made("remove", "n1", nodes=FIVE[:3])
    await cluster.nodes["n3"].signal(9)
    with pytest.raises(NotNowError, match="1 of 2 voters would be left"):
        await fault.inject()
    assert admin.changes == []
    await cluster.nodes["n3"].start()
    assert (await fault.heal()).holds


class Interrupted(Membership):
    """Another fault ends n3 as soon as this one has looked for the first time."""

    async def _check_quorum(self, *names: str) -> Agreed:
        found = await super()._check_quorum(*names)
        await self.cluster.nodes["n3"].signal(9)
        return found


async def test_what_another_fault_prevents_at_the_last_moment_was_not_possible_just_then() -> None:
    """It is no fault that did not bite: nobody was asked for anything."""
    _, cluster, admin = made("remove", "n1", nodes=FIVE[:3])
    fault = Interrupted(how="remove", targets=("n1",), cluster=cluster, sleep=no_sleep)
    with pytest.raises(NotNowError, match="1 of 2 voters would be left"):
        await fault.inject()
    assert admin.changes == []


async def test_of_two_voters_none_is_killed_to_be_replaced() -> None:
    """While a third comes back without a vote, the two must agree to everything: also to the removal of one."""
    first, cluster, admin = made("replace", "n2", nodes=FIVE[:3])
    assert (await first.inject()).holds
    second = Membership(how="replace", targets=("n3",), cluster=cluster, sleep=no_sleep)
    with pytest.raises(NotNowError, match="1 of 2 voters would be left"):
        await second.inject()
    assert await cluster.nodes["n3"].state() is ProcessState.RUNNING
    assert (await first.heal()).holds
    assert set(standing(admin)) == set(FIVE[:3])


async def test_who_was_killed_and_is_a_member_still_is_started_before_anybody_is_asked() -> None:
    """A majority that was lost because of the killed one cannot say anything until it is back."""
    fault, cluster, admin = made("replace", "n1", nodes=FIVE[:3])
    before = standing(admin)
    admin.unanswered = 1000
    assert not (await fault.inject()).holds
    await cluster.nodes["n3"].signal(9)
    admin.unanswered = 0
    await fault.heal()
    assert await cluster.nodes["n1"].state() is ProcessState.RUNNING
    assert standing(admin) == before


async def test_one_change_at_a_time() -> None:
    """While one fault brings its member back, another does not begin; it waits with its own healing, too."""
    fault, _, admin = made("remove", "n2")
    async with admin.changing:
        with pytest.raises(NotNowError, match="another change"):
            await fault.inject()
        healing = asyncio.create_task(fault.heal())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not healing.done()
    assert (await healing).holds
    assert admin.changes == []


async def test_without_a_majority_nothing_is_done() -> None:
    """Nobody knows who the members are."""
    fault, cluster, admin = made("replace", "n1", nodes=FIVE[:3])
    for name in ("n2", "n3"):
        await cluster.nodes[name].signal(9)
    with pytest.raises(NotNowError, match="no majority"):
        await fault.inject()
    assert await cluster.nodes["n1"].state() is ProcessState.RUNNING
    assert admin.changes == []


async def test_what_the_system_refuses_is_told_in_its_words() -> None:
    """Refused for good and nothing done yet: not now. The member stays what it was."""
    fault, cluster, admin = made("remove", "n2")
    admin.refusals = ["unhealthy cluster"] * 1000
    with pytest.raises(NotNowError, match="unhealthy cluster"):
        await fault.inject()
    assert cluster.fake_nodes["n2"].stored == ["log"]
    admin.refusals.clear()
    assert (await fault.heal()).holds


async def test_who_was_killed_in_vain_starts_again_with_its_data() -> None:
    """It could not be taken out, and nobody was ever asked to: another fault left no majority, say. Not now."""
    fault, cluster, admin = made("replace", "n2")
    before = standing(admin)
    admin.refusals = ["unhealthy cluster"] * 1000
    with pytest.raises(NotNowError, match=r"n2 was killed, could not be taken out, and was started again: .*unhealthy"):
        await fault.inject()
    assert cluster.fake_nodes["n2"].stored == ["log", "log"], "what it had, and what it wrote when it started"
    assert standing(admin) == before
    assert await cluster.nodes["n2"].state() is ProcessState.RUNNING


async def test_a_refusal_for_a_while_is_waited_out() -> None:
    """Systems refuse changes for a while after a start; replies get lost; both are looked at again, not believed."""
    fault, _, admin = made("remove", "n2")
    admin.refusals = ["unhealthy cluster"] * 2
    admin.lost_replies = 1
    assert (await fault.inject()).holds
    assert admin.changes == ["remove n2"]
    admin.refusals, admin.lost_replies, admin.unready = ["unhealthy cluster"] * 2, 1, 2
    assert (await fault.heal()).holds
    assert admin.changes == ["remove n2", "add n2", "promote n2"]


async def test_what_is_in_doubt_is_seen_through_for_longer() -> None:
    """No answer for as long as a refusal would be waited out, and half as long again; then it is done. Nobody can say
    of a change in doubt that it was not possible, so giving up on it early would leave the run without a verdict.
    """
    fault, _, admin = made("remove", "n2")
    admin.unanswered = OUT_POLLS_MAX // POLLS_PER_TRY * 3 // 2
    assert (await fault.inject()).holds
    assert admin.changes == ["remove n2"]


async def test_a_member_that_does_not_start_is_not_healed() -> None:
    """Entered, started, dead at once: no voter, no healing; mended, it is."""
    fault, cluster, _ = made("remove", "n2")
    await fault.inject()
    cluster.fake_nodes["n2"].broken_start = True
    proof = await fault.heal()
    assert not proof.holds
    assert "n2 is not back" in str(proof.evidence["trouble"])


async def test_data_that_cannot_be_deleted_is_never_started_with() -> None:
    """The new identity must not have the old one's data: the fault fails loudly instead."""
    fault, cluster, admin = made("remove", "n2")
    cluster.fake_nodes["n2"].broken_tools = True
    with pytest.raises(RuntimeError, match="cannot be deleted"):
        await fault.inject()
    with pytest.raises(RuntimeError, match="cannot be deleted"):
        await fault.heal()
    assert "add n2" not in admin.changes


async def test_old_views_do_not_prove_anything() -> None:
    """If a majority still lists the member, it has not left; but something was done, so it is no bite."""
    fault, _, admin = made("remove", "n2")
    admin.blind = {"n3", "n4", "n5"}
    assert not (await fault.inject()).holds
    admin.blind = set()
    assert (await fault.heal()).holds


def test_a_majority_is_refused_on_load() -> None:
    """By selector, when the scenario is read; by number, when it is resolved."""
    for target in ("all", "majority", "followers", ("n1", "majority")):
        with pytest.raises(ValidationError, match="may be a majority"):
            MembershipParameters.model_validate({"how": "remove", "target": target})
    with pytest.raises(ValueError, match="may not leave: at most 1"):
        FAMILY.resolve(MembershipParameters(), targets=("n1", "n2"), nodes=FIVE[:3], random=Random(1))


def test_several_leave_unless_it_is_said() -> None:
    """Shrinking and growing are about a minority, everything else about one node."""
    assert MembershipParameters.model_validate({"how": "shrink"}).target == "minority"
    assert MembershipParameters.model_validate({"how": "grow", "target": "leader"}).target == "leader"
    assert MembershipParameters.model_validate({}).target == "one"


@pytest.mark.parametrize(
    ("voter", "started", "state", "step"),
    [
        (False, False, ProcessState.DEAD, Step.START),
        (False, False, ProcessState.RUNNING, Step.WAIT),
        (False, True, ProcessState.RUNNING, Step.PROMOTE),
        (False, True, ProcessState.DEAD, Step.START),
        (True, True, ProcessState.DEAD, Step.START),
        (True, True, ProcessState.RUNNING, Step.DONE),
        (True, True, ProcessState.STOPPED, Step.DONE),
    ],
)
def test_the_next_step_depends_on_what_is_seen(voter: bool, started: bool, state: ProcessState, step: Step) -> None:
    """Nothing is remembered: a healing that was cut off anywhere goes on from there."""
    assert next_step(Member(node="n1", id="1", voter=voter, started=started), state) is step
    assert next_step(None, state) is Step.ENTER


def test_drawn_parameters_are_possible() -> None:
    """Whatever is drawn is valid, and every way is drawn among five nodes."""
    drawn = [FAMILY.draw(Random(seed), FIVE) for seed in range(100)]
    assert {parameters.how for parameters in drawn} == {"remove", "add", "replace", "shrink", "grow", "joint", "hasty"}
    assert all(FAMILY.summary({"how": each.how, "targets": ["n1"]}) for each in drawn)


async def test_a_joint_change_is_one_change_each_way() -> None:
    """All targets leave at once, and get their votes back at once when all have started."""
    fault, cluster, admin = made("joint", "n1", "n4")
    before = standing(admin)
    proof = await fault.inject()
    assert proof.holds, proof
    assert admin.changes == ["voters n2 n3 n5"]
    assert [cluster.fake_nodes[name].stored for name in ("n1", "n4")] == [[], []]
    proof = await fault.heal()
    assert proof.holds, proof
    assert admin.changes[1:] == ["add n1", "add n4", "voters n2 n3 n5 n1 n4"]
    after = standing(admin)
    assert [name for name in FIVE if after[name] != before[name]] == ["n1", "n4"]


async def test_a_joint_change_in_doubt_is_asked_for_again() -> None:
    """A leader may be lost while it is under way."""
    fault, _, admin = made("joint", "n1", "n4")
    admin.refusals.append("leadership was lost")
    assert (await fault.inject()).holds
    assert set(standing(admin)) == {"n2", "n3", "n5"}


async def test_a_joint_change_that_is_refused_leaves_everything_as_it_is() -> None:
    """It is asked for again for a while; nobody ended."""
    fault, cluster, admin = made("joint", "n1", "n4")
    admin.refusals += ["another change is under way"] * 1_000
    with pytest.raises(NotNowError, match="another change"):
        await fault.inject()
    assert await cluster.nodes["n4"].state() is ProcessState.RUNNING
    admin.refusals.clear()
    assert (await fault.heal()).holds is True
    assert set(standing(admin)) == set(FIVE)


async def test_requests_side_by_side_are_made_before_any_is_seen_through() -> None:
    """Both are asked for at once, and both leave."""
    fault, cluster, admin = made("hasty", "n1", "n4")
    before = standing(admin)
    proof = await fault.inject()
    assert proof.holds, proof
    assert admin.changes == ["remove n1", "remove n4"]
    assert [cluster.fake_nodes[name].stored for name in ("n1", "n4")] == [[], []]
    assert (await fault.heal()).holds
    after = standing(admin)
    assert [name for name in FIVE if after[name] != before[name]] == ["n1", "n4"]


async def test_of_requests_side_by_side_the_refused_one_is_made_again() -> None:
    """A careful system takes one change at a time; the other target leaves after the first."""
    fault, _, admin = made("hasty", "n1", "n4")
    admin.refusals.append("another change is under way")
    proof = await fault.inject()
    assert proof.holds, proof
    assert admin.changes == ["remove n4", "remove n1"]
    assert (await fault.heal()).holds
