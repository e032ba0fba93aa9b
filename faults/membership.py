"""``membership``: members leave the system's cluster and come back as somebody else, by the calls of its operators.

In reality: an operator takes a broken machine out and puts a new one in, shrinks a cluster and grows it again, while
clients go on. Systems are at their weakest there: quorums change under way, and a node that comes back empty under its
*old* identity can vote twice. So a node never comes back without its data but under a new identity, entered through a
membership change, first without a vote where the system knows such members (Raft, section 6; Ongaro's dissertation,
section 4).

What happens to the targets, one after the other but for ``joint`` and ``hasty``:

* ``remove``, ``shrink``: taken out while they serve (who leads, too), then ended, their data deleted.
* ``replace``: killed first, then taken out, as a machine that is broken; the first one is entered again at once.
* ``joint``: taken out all at once, in one change by joint consensus, where the system has it; they get their votes
  back in one change, too.
* ``hasty``: as ``shrink``, but all requests are made side by side, as by operators who do not know of one another. A
  system that makes one change at a time refuses or queues; what it refused is then asked again, one after the other.
* ``add``, ``grow``: as ``remove``, and the first one has joined again, with a vote, before the injection is over.

Healing enters whoever is not back, starts it, and gives it its vote when it has caught up.

Proof of the bite: a majority of the voters lists nobody at the targets (or the new identity), the old processes are
gone and the data deleted. Proof of healing: a majority lists every target as a voter that has started, under another
identity, and each has applied what the others had when the question was asked.

A majority of the nodes is never the target, and nobody is taken out when that would leave too few voters that
answer. What the system refuses did not bite, with its reason. Not covered: members that are entered and never start,
changes of addresses. Nothing is registered with the watchdog: a membership dies with its cluster.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from pydantic import field_validator, model_validator

from faults.electorate import quorum
from faults.family import Claim, Parameters, Resolved, Target, Unprepared, check_targets
from faults.members import How, Membership
from faults.needs import Cluster

SEVERAL = ("shrink", "grow", "joint", "hasty")
TOO_MANY = frozenset({"all", "majority", "followers"})
"""Selectors that are or may be a majority."""


class MembershipParameters(Parameters):
    """What is done, and to whom. For how long is the schedule's ``for``."""

    how: How = "remove"
    target: Target = "one"
    """``shrink``, ``hasty``, ``joint`` and ``grow``: a minority, unless it is said."""

    @model_validator(mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("how") in SEVERAL and "target" not in given:
            return {**given, "target": "minority"}
        return given

    @field_validator("target")
    @classmethod
    def _few(cls, target: Target) -> Target:
        names = {target} if isinstance(target, str) else set(target)
        if names & TOO_MANY:
            raise ValueError(f"target {target!r} may be a majority: name leader, one, minority, or nodes")
        return target


WORDS: dict[How, str] = {
    "remove": "taken out of the membership",
    "shrink": "taken out of the membership, one after the other",
    "replace": "killed, and replaced under a new identity without data",
    "add": "taken out of the membership, and added under a new identity without data",
    "joint": "taken out of the membership at once, by joint consensus",
    "hasty": "taken out of the membership, by requests side by side",
    "grow": "taken out of the membership, and added one after the other under new identities without data",
}


class MembershipFamily(Unprepared):
    """See the module."""

    name = "membership"
    description = "members are removed, replaced and added by the system's own calls; they come back as somebody else"
    Parameters = MembershipParameters
    needs = frozenset({"membership"})
    claims: frozenset[Claim] = frozenset({"process", "members"})

    def resolve(
        self, parameters: MembershipParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The targets, in the order in which they leave.

        Raises:
            ValueError: a majority, or somebody who is no node.
        """
        check_targets(targets, nodes)
        if len(targets) >= quorum(len(nodes)):
            most = quorum(len(nodes)) - 1
            raise ValueError(f"{len(targets)} of {len(nodes)} nodes are a majority, and may not leave: at most {most}")
        return {"how": parameters.how, "targets": random.sample(targets, len(targets))}

    def summary(self, resolved: Resolved) -> str:
        """Who leaves, and how."""
        return f"{', '.join(resolved['targets'])} {WORDS[resolved['how']]}"

    def build(self, resolved: Resolved, cluster: Cluster) -> Membership:
        """The fault."""
        return Membership(how=resolved["how"], targets=tuple(resolved["targets"]), cluster=cluster)

    def draw(self, random: Random, nodes: tuple[str, ...]) -> MembershipParameters:
        """One node in most cases, often the leader; several where a minority is more than one."""
        hows: Sequence[How] = ("remove", "remove", "replace", "replace", "add")
        if len(nodes) >= 5:
            hows = (*hows, "shrink", "grow", "joint", "hasty", "hasty")
        how = random.choice(hows)
        if how in SEVERAL:
            return MembershipParameters(how=how, target="minority")
        return MembershipParameters(how=how, target=random.choice(("one", "leader")))
