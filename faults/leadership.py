"""``leadership``: the leader is asked to hand over, once or again and again, by the calls of the system's operators.

In reality: rolling upgrades, balancers that move leaders, operators who move one by hand. A transfer is the only way in
which a leader goes while its lease, its clock and its followers are all well: what it had promised meanwhile (reads by
lease, entries not committed yet) is what the new one must not contradict (Ongaro's dissertation, section 3.10).

``transfer``: once, to the target. ``disturb``: at once and then every so often, to each of the targets in turn, until
the fault is healed.

Proof of the bite: a majority of the voters named one leader before, and names another afterwards: the one that was
asked for. Proof of healing: nobody disturbs any more, and a majority names one leader. Not covered: elections that
nobody asked for (kill, pause and partition force those).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Self

from pydantic import model_validator

from faults.durations import Duration, format_duration
from faults.electorate import Electorate
from faults.family import Claim, Parameters, Resolved, Target, Unprepared, check_targets
from faults.needs import Admin, AdminError, Cluster, NotNowError, Proof

How = Literal["transfer", "disturb"]
EVERY_NS = 500_000_000
POLL_S = 0.02
POLLS_MAX = 250
"""5 s."""
LEADERS_MAX = 100
"""Of the leaders that a disturbance went through, so many are kept as evidence."""


class LeadershipParameters(Parameters):
    """To whom, and how often. For how long is the schedule's ``for``."""

    how: How = "transfer"
    target: Target = "followers"
    """Who shall lead: of several, one that is drawn (``disturb``: all in turn)."""
    every: Duration | None = None
    """Between two transfers of ``disturb``; :data:`EVERY_NS`, unless said."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.every is not None and self.how != "disturb":
            raise ValueError("`every` goes with `how: disturb`; a transfer is made once: leave one of them out")
        if self.every == 0:
            raise ValueError("`every` must be longer than nothing, like 500ms")
        if self.how == "transfer" and self.target in ("leader", ("leader",)):
            raise ValueError("the leader leads already: say who shall, like followers, one or n2")
        return self


@dataclass(kw_only=True, slots=True)
class Leadership:
    """Transfers to nodes in a certain order."""

    how: How
    targets: tuple[str, ...]
    every_s: float
    cluster: Cluster
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _disturbing: asyncio.Task[None] | None = field(default=None, init=False)
    _leaders: list[str] = field(default_factory=list, init=False)
    _refused: list[str] = field(default_factory=list, init=False)

    async def inject(self) -> Proof:
        """Transfers; holds if a majority names the new leader.

        Raises:
            NotNowError: no majority names a leader, the only target leads already, or the system said that it did not
                come to pass: another fault may be in the way just then, and may have made somebody else lead.
        """
        before = await self._electorate.leader()
        if before is None:
            raise NotNowError("no majority of the nodes names one leader, so there is nothing to transfer")
        wanted = [name for name in self.targets if name != before]
        if not wanted:
            raise NotNowError(f"{before} leads already")
        refused = len(self._refused)
        after = await self._transfer(wanted[0])
        if after != wanted[0] and len(self._refused) > refused:
            raise NotNowError(self._refused[-1])
        if self.how == "disturb":
            self._disturbing = asyncio.create_task(self._disturb(), name="disturb leadership")
        evidence = {"before": before, "asked_for": wanted[0], "after": after, "refused": list(self._refused)}
        return Proof(holds=after == wanted[0], evidence=evidence)

    async def heal(self) -> Proof:
        """Ends the disturbance; holds if there is one leader."""
        if self._disturbing is not None:
            self._disturbing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._disturbing
        leader = None
        for _ in range(POLLS_MAX):
            leader = await self._electorate.leader()
            if leader is not None:
                break
            await self.sleep(POLL_S)
        evidence = {
            "leader": leader,
            "transfers": len(self._leaders),
            "leaders": self._leaders[:LEADERS_MAX],
            "refused": self._refused[:LEADERS_MAX],
        }
        return Proof(holds=leader is not None, evidence=evidence)

    async def _disturb(self) -> None:
        """To each in turn. What is refused is noted: another fault may be in the way just then."""
        turn = 1
        while True:
            await self.sleep(self.every_s)
            await self._transfer(self.targets[turn % len(self.targets)])
            turn += 1

    async def _transfer(self, name: str) -> str | None:
        """Asks for it; who leads once it is the one that was asked for, or when the patience is at its end."""
        try:
            await self._admin.transfer(name)
        except AdminError as error:
            self._refused.append(f"{name}: {error}")
            return await self._electorate.leader()
        leader = None
        for _ in range(POLLS_MAX):
            leader = await self._electorate.leader()
            if leader == name:
                self._leaders.append(name)
                break
            await self.sleep(POLL_S)
        return leader

    @property
    def _admin(self) -> Admin:
        assert self.cluster.admin is not None, "systems without it are refused before the cluster starts"
        return self.cluster.admin

    @property
    def _electorate(self) -> Electorate:
        return Electorate(self._admin, tuple(self.cluster.nodes))


class LeadershipFamily(Unprepared):
    """See the module."""

    name = "leadership"
    description = "the leader hands over to another node, once or again and again, by the system's own calls"
    Parameters = LeadershipParameters
    needs = frozenset({"leadership"})
    claims: frozenset[Claim] = frozenset({"members"})

    def resolve(
        self, parameters: LeadershipParameters, *, targets: tuple[str, ...], nodes: tuple[str, ...], random: Random
    ) -> Resolved:
        """The order in which nodes shall lead.

        Raises:
            ValueError: there is nobody to hand over to.
        """
        check_targets(targets, nodes)
        if len(nodes) == 1:
            raise ValueError("a cluster of one has nobody to hand its leadership to")
        order: list[Any] = random.sample(targets, len(targets))
        return {
            "how": parameters.how,
            "targets": order,
            "every_ns": EVERY_NS if parameters.every is None else parameters.every,
        }

    def summary(self, resolved: Resolved) -> str:
        """Who shall lead."""
        names = ", ".join(resolved["targets"])
        if resolved["how"] == "transfer":
            return f"leadership transferred (to the first of {names} that does not lead)"
        return f"leadership transferred every {format_duration(resolved['every_ns'])} to {names} in turn"

    def build(self, resolved: Resolved, cluster: Cluster) -> Leadership:
        """The fault."""
        return Leadership(
            how=resolved["how"],
            targets=tuple(resolved["targets"]),
            every_s=resolved["every_ns"] / 1e9,
            cluster=cluster,
        )

    def draw(self, random: Random, nodes: tuple[str, ...]) -> LeadershipParameters:
        """A transfer as often as a disturbance."""
        del nodes
        return LeadershipParameters(how=random.choice(("transfer", "disturb")))
