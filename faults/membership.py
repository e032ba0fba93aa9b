"""``membership``: members leave the system's cluster and come back as somebody else, by the calls of its operators.

In reality: an operator takes a broken machine out and puts a new one in, shrinks a cluster and grows it again, while
clients go on. Systems are at their weakest there: quorums change under way, and a node that comes back empty under its
*old* identity can vote twice. So a node never comes back without its data but under a new identity, entered through a
membership change, first without a vote where the system knows such members (Raft, section 6; Ongaro's dissertation,
section 4).

What happens to the targets, one after the other:

* ``remove``, ``shrink``: taken out while they serve (who leads, too), then ended, their data deleted.
* ``replace``: killed first, then taken out, as a machine that is broken; the first one is entered again at once.
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

import asyncio
import enum
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from pydantic import field_validator, model_validator

from faults.electorate import Agreed, Electorate, quorum
from faults.family import Claim, Parameters, Resolved, Target, Unprepared, check_targets
from faults.needs import Admin, AdminError, Cluster, Member, Node, NotNowError, ProcessState, Proof

How = Literal["remove", "add", "replace", "shrink", "grow"]
SEVERAL = ("shrink", "grow")
BACK_AT_ONCE = ("replace", "add", "grow")
WITH_VOTE = ("add", "grow")
TOO_MANY = frozenset({"all", "majority", "followers"})
"""Selectors that are or may be a majority."""

POLL_S = 0.05
POLLS_MAX = 300
"""15 s: etcd refuses to enter a member for 5 s after any other has come back."""
OUT_POLLS_MAX = 130
"""6.5 s: as long as etcd may refuse to take a member out after it started."""
POLLS_PER_TRY = 4
DEATH_POLLS_MAX = 80


class MembershipParameters(Parameters):
    """What is done, and to whom. For how long is the schedule's ``for``."""

    how: How = "remove"
    target: Target = "one"
    """``shrink`` and ``grow``: a minority, unless it is said."""

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


class Step(enum.StrEnum):
    """What brings a node a little further on its way back."""

    ENTER = "enter"
    START = "start"
    PROMOTE = "promote"
    WAIT = "wait"
    DONE = "done"


def next_step(member: Member | None, state: ProcessState) -> Step:
    """What is to be done about a node that shall be a voter that runs, as its membership and its process are."""
    if member is None:
        return Step.ENTER
    if state is ProcessState.DEAD:
        return Step.START
    if not member.started:
        return Step.WAIT
    return Step.DONE if member.voter else Step.PROMOTE


@dataclass(kw_only=True, slots=True)
class Membership:
    """Certain nodes leave, and come back."""

    how: How
    targets: tuple[str, ...]
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _before: dict[str, str] = field(default_factory=dict, init=False)
    """Identities of those that have left."""
    _asked: bool = field(default=False, init=False)
    """Whether the system may have taken somebody out: not every request was refused."""
    _trouble: list[str] = field(default_factory=list, init=False)

    async def inject(self) -> Proof:
        """Takes the targets out; holds if a majority says so.

        Raises:
            NotNowError: no majority answers, too few voters would be left, or another change is under way.
        """
        if self._admin.changing.locked():
            raise NotNowError("another change of the membership is under way")
        async with self._admin.changing:
            return await self._inject()

    async def _inject(self) -> Proof:
        await self._check_quorum(self.targets[0])
        for name in self.targets:
            if not await self._leave(name):
                break
        left = await self._electorate.membership()
        evidence: dict[str, Any] = {"before": dict(self._before), "left": left.to_json() if left else None}
        out = left is not None and all(self._is_out(left, name) for name in self.targets)
        empty = [name for name in self.targets if await self._is_gone(name)]
        back = True
        if out and self.how in BACK_AT_ONCE:
            back = await self._bring_back(self.targets[0], until=Step.DONE if self.how in WITH_VOTE else Step.PROMOTE)
            after = await self._electorate.membership()
            evidence["after"] = after.to_json() if after else None
        evidence |= {"ended_and_emptied": empty, "trouble": list(self._trouble)}
        return Proof(holds=out and back and len(empty) == len(self.targets), evidence=evidence)

    async def heal(self) -> Proof:
        """Brings back who is not; holds if all are voters that have caught up."""
        self._trouble.clear()
        async with self._admin.changing:
            await self._wake()
            back = {name: await self._bring_back(name, until=Step.DONE) for name in self.targets}
        caught_up = all(back.values()) and await self._wait_caught_up()
        found = await self._electorate.membership()
        renewed = found is not None and all(self._is_renewed(found, name) for name in self._before)
        evidence = {
            "before": dict(self._before),
            "after": found.to_json() if found else None,
            "caught_up": caught_up,
            "trouble": list(self._trouble),
        }
        return Proof(holds=caught_up and renewed, evidence=evidence)

    # ---- out

    async def _check_quorum(self, name: str) -> Agreed:
        """Refuses to take somebody out where too few voters would be left that answer."""
        found = await self._electorate.membership()
        if found is None:
            raise NotNowError("no majority of the nodes agrees on who the members are")
        if name not in found.voters:
            raise NotNowError(f"{name} has no vote, so nothing would be lost with it")
        others = set(found.voters) - {name}
        answering = others & set(found.witnesses)
        deciding = found.voters if self.how == "replace" else others  # who is dead agrees to nothing
        if len(answering) < quorum(len(deciding)):
            said = f"{len(answering)} of {len(deciding)} voters would be left that answer"
            raise NotNowError(f"without {name} the cluster could not go on: {said}")
        return found

    async def _leave(self, name: str) -> bool:
        """Out, ended and without data; False (and the reason) if it could not be taken out.

        Raises:
            NotNowError: it was refused, and nothing had been done before.
        """
        node = self.cluster.nodes[name]
        try:
            member = (await self._check_quorum(name)).of(name)
        except NotNowError as error:
            self._note(f"{name} was not taken out: {error}")
            return False
        assert member is not None
        node.dismiss()
        if self.how == "replace":
            await self._end(node)
        if not await self._take_out(member):
            if not self._asked and self.how != "replace":
                raise NotNowError("; ".join(self._trouble))
            return False
        self._before[name] = member.id
        await self._end(node)
        await self._empty(node)
        return True

    async def _take_out(self, member: Member) -> bool:
        """Whether a majority comes to say that it is no member. What is refused is tried again: systems refuse for a
        while after a start or an election.
        """
        for attempt in range(OUT_POLLS_MAX):
            found = await self._electorate.membership()
            if found is not None and found.of(member.node) is None:
                return True
            if found is not None and attempt % POLLS_PER_TRY == 0 and await self._has_leader(member):
                try:
                    await self._admin.remove(member)
                    self._asked = True
                except AdminError as error:
                    self._note(f"remove {member.node}: {error}")
                    self._asked = self._asked or not error.refused
            await self.sleep(POLL_S)
        return False

    async def _has_leader(self, leaving: Member) -> bool:
        """Whether somebody leads who lives: a request to followers of a dead leader would only wait."""
        leader = await self._electorate.leader()
        if leader is None or (self.how == "replace" and leader == leaving.node):
            self._note("no majority names a leader that lives")
            return False
        return True

    async def _end(self, node: Node) -> None:
        await node.signal(signal.SIGKILL)
        for _ in range(DEATH_POLLS_MAX):
            if await node.state() is ProcessState.DEAD:
                return
            await self.sleep(POLL_S)
        raise RuntimeError(f"{node.name} outlives SIGKILL")

    async def _empty(self, node: Node) -> None:
        done = await node.host(["find", node.data, "-mindepth", "1", "-delete"])
        if done.status != 0:
            raise RuntimeError(f"the data of {node.name} cannot be deleted: {done.stderr.strip()}")

    async def _is_gone(self, name: str) -> bool:
        """Whether nothing of its process and its data is left."""
        node = self.cluster.nodes[name]
        found = await node.host(["find", node.data, "-mindepth", "1", "-print", "-quit"])
        return await node.state() is ProcessState.DEAD and found.status == 0 and not found.stdout.strip()

    def _is_out(self, found: Agreed, name: str) -> bool:
        return found.of(name) is None and name in self._before

    # ---- in again

    async def _wake(self) -> None:
        """Starts whoever was ended and still has its data and its membership: without it there may be no majority to
        say anything else about it.
        """
        for name in self.targets:
            node = self.cluster.nodes[name]
            if name not in self._before and await node.state() is ProcessState.DEAD:
                await node.start()

    async def _bring_back(self, name: str, *, until: Step) -> bool:
        """Step by step, as it is found to be; a step that is refused is tried again. True if it got so far."""
        for _ in range(POLLS_MAX):
            found = await self._electorate.membership()
            if found is not None:
                step = next_step(found.of(name), await self.cluster.nodes[name].state())
                if step in (until, Step.DONE):
                    return True
                await self._take(step, name, found)
            await self.sleep(POLL_S)
        self._trouble.append(f"{name} is not back after {POLLS_MAX} attempts")
        return False

    async def _take(self, step: Step, name: str, found: Agreed) -> None:
        node, member = self.cluster.nodes[name], found.of(name)
        try:
            if step is Step.ENTER:
                await self._end(node)
                await self._empty(node)  # nobody knows it: whatever it has is no member's
                await self._admin.add(name)
            elif step is Step.START:
                if member is not None and not member.started:
                    node.argv = await self._admin.joining(name, node.argv)
                await node.start()
            elif step is Step.PROMOTE and member is not None:
                await self._admin.promote(member)
        except AdminError as error:
            self._note(f"{step} {name}: {error}")

    def _note(self, trouble: str) -> None:
        if trouble not in self._trouble:
            self._trouble.append(trouble)

    async def _wait_caught_up(self) -> bool:
        """Whether each target comes to apply what anybody had applied when we began to ask."""
        names = tuple(self.cluster.nodes)
        reached = [index for index in await asyncio.gather(*map(self._admin.applied, names)) if index is not None]
        for _ in range(POLLS_MAX):
            now = await asyncio.gather(*map(self._admin.applied, self.targets))
            if reached and all(index is not None and index >= max(reached) for index in now):
                return True
            await self.sleep(POLL_S)
        return False

    def _is_renewed(self, found: Agreed, name: str) -> bool:
        member = found.of(name)
        return member is not None and member.voter and member.id != self._before[name]

    @property
    def _admin(self) -> Admin:
        assert self.cluster.admin is not None, "systems without it are refused before the cluster starts"
        return self.cluster.admin

    @property
    def _electorate(self) -> Electorate:
        return Electorate(self._admin, tuple(self.cluster.nodes))


WORDS: dict[How, str] = {
    "remove": "taken out of the membership",
    "shrink": "taken out of the membership, one after the other",
    "replace": "killed, and replaced under a new identity without data",
    "add": "taken out of the membership, and added under a new identity without data",
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
            hows = (*hows, "shrink", "grow")
        how = random.choice(hows)
        if how in SEVERAL:
            return MembershipParameters(how=how, target="minority")
        return MembershipParameters(how=how, target=random.choice(("one", "leader")))
