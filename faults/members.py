"""Members on their way out of the system's cluster and back, step by step: what ``membership`` does
(:mod:`faults.membership` says why).

Every step is found out from how things are, and tried again until they are as wanted, because with other faults in
force any call may be refused, or be in doubt.
"""

from __future__ import annotations

import asyncio
import enum
import signal
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from faults.electorate import Agreed, Electorate, quorum
from faults.needs import Admin, AdminError, Cluster, JointAdmin, Member, Node, NotNowError, ProcessState, Proof

How = Literal["remove", "add", "replace", "shrink", "grow", "joint", "hasty"]
BACK_AT_ONCE = ("replace", "add", "grow")
WITH_VOTE = ("add", "grow")

POLL_S = 0.05
POLLS_MAX = 300
"""15 s: etcd refuses to enter a member for 5 s after any other has come back."""
OUT_POLLS_MAX = 130
"""6.5 s: as long as etcd may refuse to take a member out after it started."""
DOUBT_POLLS_MAX = 260
"""13 s: a change in doubt can no longer be called impossible, so it is seen through;
whoever other faults cut off comes back meanwhile."""
POLLS_PER_TRY = 4
DEATH_POLLS_MAX = 80


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
        if self.how == "joint":
            await self._leave_together()
        elif self.how == "hasty":
            await self._leave_side_by_side()
        else:
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
            if self.how == "joint":
                await self._vote_together()
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

    async def _check_quorum(self, *names: str) -> Agreed:
        """Refuses to take somebody out where too few voters would be left that answer."""
        found = await self._electorate.membership()
        if found is None:
            raise NotNowError("no majority of the nodes agrees on who the members are")
        for name in names:
            if name not in found.voters:
                raise NotNowError(f"{name} has no vote, so nothing would be lost with it")
        others = set(found.voters) - set(names)
        answering = others & set(found.witnesses)
        deciding = found.voters if self.how == "replace" else others  # who is dead agrees to nothing
        if len(answering) < quorum(len(deciding)):
            said = f"{len(answering)} of {len(deciding)} voters would be left that answer"
            raise NotNowError(f"without {', '.join(names)} the cluster could not go on: {said}")
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
            if not self._asked:  # another fault came in between, and nothing has happened yet
                raise
            self._note(f"{name} was not taken out: {error}")
            return False
        assert member is not None
        node.dismiss()
        if self.how == "replace":
            await self._end(node)
        return await self._see_out(member)

    async def _see_out(self, member: Member) -> bool:
        if not await self._take_out(member):
            if not self._asked:
                raise NotNowError(await self._as_before(member.node))
            return False
        self._before[member.node] = member.id
        await self._end(self.cluster.nodes[member.node])
        await self._empty(self.cluster.nodes[member.node])
        return True

    async def _as_before(self, name: str) -> str:
        """Nobody was ever asked to take it out, so whoever was only killed starts again, with its data; in words."""
        why = "; ".join(self._trouble)
        if await self.cluster.nodes[name].state() is not ProcessState.DEAD:
            return why
        await self._wake()
        return f"{name} was killed, could not be taken out, and was started again: {why}"

    async def _leave_together(self) -> None:
        """Out in one change, then ended and without data.

        Raises:
            NotNowError: the system knows no such change, or refuses it now.
        """
        admin = self._admin
        if not isinstance(admin, JointAdmin):
            raise NotNowError("the system has no call for a joint change")
        found = await self._check_quorum(*self.targets)
        for name in self.targets:
            self.cluster.nodes[name].dismiss()
        if not await self._take_out_together(admin):
            if not self._asked:
                raise NotNowError("; ".join(self._trouble))
            return
        for name in self.targets:
            member = found.of(name)
            self._before[name] = member.id if member else ""
            await self._end(self.cluster.nodes[name])
            await self._empty(self.cluster.nodes[name])

    async def _take_out_together(self, admin: JointAdmin) -> bool:
        """Whether a majority comes to say that none of them is a member; as :meth:`_take_out`."""
        for attempt in self._attempts():
            found = await self._electorate.membership()
            if found is not None and not any(found.of(name) for name in self.targets):
                return True
            if found is not None and attempt % POLLS_PER_TRY == 0:
                try:
                    await admin.change_voters([name for name in found.voters if name not in self.targets])
                    self._asked = True
                except AdminError as error:
                    self._note(f"joint change: {error}")
                    self._asked = self._asked or not error.refused
            await self.sleep(POLL_S)
        return False

    async def _leave_side_by_side(self) -> None:
        """All requests at once; what was refused of them is asked for again, one after the other.

        Raises:
            NotNowError: too few voters would be left that answer, or everything was refused.
        """
        found = await self._check_quorum(*self.targets)
        leaving = [member for name in self.targets if (member := found.of(name)) is not None]
        for member in leaving:
            self.cluster.nodes[member.node].dismiss()
        await asyncio.gather(*map(self._ask_out, leaving))
        for member in leaving:
            if not await self._see_out(member):
                break

    async def _ask_out(self, member: Member) -> None:
        try:
            await self._admin.remove(member)
            self._asked = True
        except AdminError as error:
            self._note(f"remove {member.node}: {error}")
            self._asked = self._asked or not error.refused

    def _attempts(self) -> Iterator[int]:
        """Numbers of the attempts to take somebody out: more of them once the system may have begun to."""
        for attempt in range(DOUBT_POLLS_MAX):
            if attempt >= OUT_POLLS_MAX and not self._asked:
                return
            yield attempt

    async def _take_out(self, member: Member) -> bool:
        """Whether a majority comes to say that it is no member. What is refused is tried again: systems refuse for a
        while after a start or an election.
        """
        for attempt in self._attempts():
            found = await self._electorate.membership()
            if found is not None and found.of(member.node) is None:
                return True
            if found is not None and attempt % POLLS_PER_TRY == 0 and await self._has_leader(member):
                await self._ask_out(member)
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

    async def _vote_together(self) -> None:
        """All have started before any of them has a vote; then they get it in one change. What is left to do after
        that is done one by one.
        """
        admin = self._admin
        if not isinstance(admin, JointAdmin) or not self._before:
            return
        for name in self.targets:
            if not await self._bring_back(name, until=Step.PROMOTE):
                return
        for _ in range(POLLS_MAX):
            found = await self._electorate.membership()
            if found is not None and all(name in found.voters for name in self.targets):
                return
            if found is not None:
                try:
                    await admin.change_voters([*found.voters, *(n for n in self.targets if n not in found.voters)])
                except AdminError as error:
                    self._note(f"joint change: {error}")
            await self.sleep(POLL_S)

    async def _bring_back(self, name: str, *, until: Step) -> bool:
        """Step by step, as it is found to be; a step that is refused is tried again. True if it got so far."""
        for _ in range(POLLS_MAX):
            found = await self._electorate.membership()
            member = None if found is None else found.of(name)
            if found is not None and (member is None or member.id != self._before.get(name)):  # else an old view
                step = next_step(member, await self.cluster.nodes[name].state())
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
