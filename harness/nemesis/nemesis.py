"""The nemesis: plays a schedule against a cluster, and records what it did.

Each planned fault is one task: wait for its time or trigger, resolve its targets, inject, wait, heal. What is broken
is healed in ``finally``, also when the run is stopped in the middle; injecting and healing are recorded as nemesis
events with the proof that the fault itself took. Which faults may overlap, and who may be hit, is for
:mod:`harness.nemesis.claims` to say; who is left behind when only a majority is healed, for
:mod:`harness.nemesis.leaving`.

Whatever a fault registers with the watchdog has a dead man's limit: the time that the fault is meant to last and
:data:`MARGIN_S`. Then it is undone even if the controller lives on and has forgotten it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from faults import FAMILIES
from faults.needs import Cluster, Fault, NotNowError, Proof
from harness.nemesis.census import Census
from harness.nemesis.claims import ALIVE, Claims
from harness.nemesis.deeds import bounded
from harness.nemesis.executed import ExecutedFault
from harness.nemesis.leaving import Leaving
from harness.nemesis.triggers import Firing, wait_fired
from harness.nemesis.turns import Turns
from harness.nemesis.world import World
from harness.planning.quiet import Quiet
from harness.planning.schedule import FIRING_STRIDE, PlannedFault
from harness.planning.targets import NEEDS_LEADER, Selector
from harness.recorder import Recorder

INJECT_TIMEOUT_S = 20.0
HEAL_TIMEOUT_S = 20.0
HEAL_TRIES = 2
MARGIN_S = 30.0
"""What the dead man's limit adds to the time that a fault is meant to last: to inject it and to heal it."""

logger = logging.getLogger(__name__)


def never_timed(firing: Firing) -> int | None:
    """For nodes whose clocks say nothing about ours."""
    del firing
    return None


@dataclass(slots=True, kw_only=True)
class Nemesis:
    """Plays ``schedule`` against ``cluster`` until everything is healed, or everything but who is left behind."""

    schedule: tuple[PlannedFault, ...]
    cluster: Cluster
    leader: Callable[[], Awaitable[str | None]]
    """Asks the system who leads now."""
    recorder: Recorder
    clock: Callable[[], int]
    seed: int
    file: Path
    """schedule.jsonl"""
    folders: Mapping[str, Path]
    """Log folders of the nodes, for triggers."""
    event_ns: Callable[[Firing], int | None] = never_timed
    """When, in ns of the run, a line was written that fired a trigger."""
    quiet: Quiet | None = None
    leaving: Leaving | None = None
    """Who is left behind when the faults end; may be changed until then."""
    leaving_ns: int = 0
    """How long they are left behind at most."""
    freeze_s: float = 0.0
    """How long everything may stand still for inspection."""
    executed: list[ExecutedFault] = field(default_factory=list)
    active: dict[int, str] = field(default_factory=dict)
    """Summaries of the faults in force, by id (for progress)."""
    left: tuple[str, ...] = ()
    """Who was left behind."""
    frozen: bool = False
    """While it is set nothing is injected and nothing healed: somebody looks at the cluster as it is."""
    thawed: asyncio.Event = field(default_factory=asyncio.Event)
    claims: Claims = field(init=False)
    turns: Turns = field(default_factory=Turns, init=False)
    _behind: list[tuple[ExecutedFault, Fault]] = field(default_factory=list, init=False)
    """What keeps them behind."""
    _unplanned: list[ExecutedFault] = field(default_factory=list, init=False)
    _parting: bool = field(default=False, init=False)
    """Whether the faults are over, and who stays behind is being cut off."""

    def __post_init__(self) -> None:
        """Nothing is claimed yet."""
        self.claims = Claims(nodes=tuple(self.cluster.nodes))

    @property
    def _census(self) -> Census:
        return Census(cluster=self.cluster, leader=self.leader)

    def freeze(self) -> None:
        """Leaves everything as it is, until :meth:`thaw`. What is being injected or healed just now is finished."""
        self.frozen = True
        self.thawed.clear()

    def thaw(self) -> None:
        """Goes on."""
        self.frozen = False
        self.thawed.set()

    async def _wait_thawed(self) -> None:
        while self.frozen:
            await self.thawed.wait()

    async def play(self, stop: asyncio.Event) -> None:
        """Runs every fault; returns when all are healed, but for who is left behind (:meth:`release`). ``stop`` ends
        waiting, and heals at once.
        """
        self.file.touch()
        changes_end, end = (stop, stop) if self.leaving is None else (asyncio.Event(), asyncio.Event())
        changing = _begun(self._play_one(each, changes_end) for each in self.schedule if _changes_members(each))
        others = _begun(self._play_one(each, end) for each in self.schedule if not _changes_members(each))
        playing = asyncio.gather(changing, others)
        ending = asyncio.ensure_future(stop.wait())
        waits: set[asyncio.Future[Any]] = {ending} if self.leaving is not None else {ending, playing}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        try:
            if end is not stop:
                changes_end.set()
                await asyncio.wait([changing])  # who is a member is settled first: a majority of whom, otherwise?
                self._parting = True
                await self._leave_behind()
        finally:  # whatever became of that, everything else is healed before this returns
            if end is not stop:
                end.set()
            await playing
        await self._stop_left()

    async def release(self) -> None:
        """Heals whoever was left behind."""
        await self._wait_thawed()
        while self._behind:
            await self._end(*self._behind.pop())

    async def _play_one(self, planned: PlannedFault, stop: asyncio.Event) -> None:
        """One planned fault, as often as its trigger allows. A trigger whose node another fault holds just then did not
        count: it waits for the next one.
        """
        fired = 0
        while fired < (planned.when.times if planned.when is not None else 1):
            executed = ExecutedFault(planned=planned, number=planned.id + FIRING_STRIDE * fired)
            if not await self._wait_begin(executed, stop):
                return
            await self._choose(executed)
            if self.frozen:
                await self._wait_thawed()
                if stop.is_set():
                    self.claims.release(executed.number)
                    return
            if planned.when is not None and executed.nobody is not None:
                continue
            fired += 1
            self.executed.append(executed)
            executed.nobody = executed.nobody or self._too_late(executed, stop)
            await self._inject_and_heal(executed, stop)

    def _too_late(self, executed: ExecutedFault, stop: asyncio.Event) -> str | None:
        """Why it is no longer begun, if it waited too long for somebody who leads."""
        if stop.is_set() and executed.planned.drawn:
            return "the load ended first"
        if self.quiet is not None and self.quiet.left_ns(self.clock()) == 0:
            return "a quiet phase began first"
        return None

    async def _wait_begin(self, executed: ExecutedFault, stop: asyncio.Event) -> bool:
        """Waits for the fault's time or trigger; False if the run was stopped before."""
        planned = executed.planned
        if planned.when is None:
            executed.planned_ns = planned.at_ns
            return not await wait_event(stop, ((planned.at_ns or 0) - self.clock()) / 1e9)
        await wait_event(stop, (planned.when.after - self.clock()) / 1e9)
        passed = 0
        while (firing := await wait_fired(planned.when, self.folders, stop)) is not None:
            passed += 1
            if passed < planned.nth:
                continue
            if self.quiet is None or self.quiet.allowed_ns(self.clock(), planned.for_ns) > 0:
                self._note_fired(executed, firing, self.clock())
                return True
        return False

    def _note_fired(self, executed: ExecutedFault, firing: Firing, seen_ns: int) -> None:
        assert executed.planned.when is not None
        executed.planned_ns = seen_ns
        fields = executed.planned.when.model_dump(exclude_none=True, exclude={"times", "after"})
        executed.trigger = {**fields, "node": firing.node, "event_ns": self.event_ns(firing), "seen_ns": seen_ns}

    async def _inject_and_heal(self, executed: ExecutedFault, stop: asyncio.Event) -> None:
        """From the deed to its healing; trouble on the way is a fault that did not bite, never a run that fails."""
        fault: Fault | None = None
        try:
            fault = self._build(executed)
            if fault is not None and await self._inject_in_turn(executed, fault):
                await wait_event(stop, self._lasts_ns(executed) / 1e9)
                if self._parting:  # those left behind are cut off before anything is healed, be its time over or not
                    await stop.wait()
                await self._wait_thawed()
        except Exception as error:
            logger.exception("fault %d failed", executed.number)
            executed.bit = Proof(holds=False, evidence={"reason": f"{type(error).__name__}: {error}"})
        finally:
            await self._end(executed, fault)

    async def _end(self, executed: ExecutedFault, fault: Fault | None) -> None:
        """Heals, if there was anything; nothing is held any more, and the line is written."""
        if fault is not None and executed.began:
            await self._heal(executed, fault)
        self.active.pop(executed.number, None)
        self.claims.release(executed.number)
        with self.file.open("ab") as file:
            file.write(orjson.dumps(executed.to_json(), option=orjson.OPT_APPEND_NEWLINE))

    def _lasts_ns(self, executed: ExecutedFault) -> int:
        """How long it stays in force from now on: until its time is over, or it has to be quiet."""
        for_ns, now = executed.planned.for_ns, self.clock()
        return for_ns if self.quiet is None else min(for_ns, self.quiet.left_ns(now))

    async def _choose(self, executed: ExecutedFault) -> None:
        """Resolves the targets and takes what the fault claims. Between the two nothing else runs, so that two faults
        never take the same; who leads, and who is alive, is asked before.
        """
        selector, family = executed.selector, FAMILIES[executed.planned.family]
        if selector is None:
            return
        wanted = {selector} if isinstance(selector, str) else set(selector)
        subject = str(executed.trigger["node"]) if executed.trigger else None
        leader = await self._census.wait_leader() if wanted & NEEDS_LEADER else None
        asked = _asked(selector, subject, tuple(self.cluster.nodes))
        choice = self.claims.choose(
            selector,
            family,
            dead=await self._census.dead(asked) if family.claims & ALIVE else (),
            leader=leader,
            subject=subject,
            random=executed.planned.stream(self.seed, executed.number),
            drawn=executed.planned.drawn,
        )
        executed.targets, executed.nobody = choice.targets, choice.nobody
        self.claims.hold(executed.number, family, choice.targets)

    def _build(self, executed: ExecutedFault) -> Fault | None:
        """The fault, or None with the reason why there is none."""
        planned, family = executed.planned, FAMILIES[executed.planned.family]
        if executed.nobody is None:
            stream, nodes = planned.stream(self.seed, executed.number), tuple(self.cluster.nodes)
            resolved = family.resolve(planned.parameters, targets=executed.targets, nodes=nodes, random=stream)
            executed.resolved, executed.summary = resolved, family.summary(resolved)
            if not executed.targets:
                executed.targets = tuple(resolved.get("targets", ()))
                executed.nobody = self._take_found(executed)
        if executed.nobody is not None:
            executed.did_not_begin(executed.nobody)
            return None
        after_s = planned.for_ns / 1e9 + self.freeze_s + MARGIN_S
        return family.build(executed.resolved, World.limited(self.cluster, after_s))

    def _take_found(self, executed: ExecutedFault) -> str | None:
        """Takes what a family claims at targets that it found itself; why not, if it must not have them."""
        family = FAMILIES[executed.planned.family]
        contested = self.claims.contested(family, executed.targets)
        if contested:
            return f"nobody to hit: {', '.join(contested)} held by another fault"
        if executed.planned.drawn and self.claims.too_many(family, executed.targets):
            return "more than a minority would lose data"
        self.claims.hold(executed.number, family, executed.targets)
        return None

    async def _inject_in_turn(self, executed: ExecutedFault, fault: Fault) -> bool:
        """Whether it began. Who was free when the targets were chosen may have been killed while it waited."""
        family = FAMILIES[executed.planned.family]
        async with self.turns.turn(family, executed.targets):
            if executed.planned.drawn and family.claims & ALIVE and (dead := await self._census.dead(executed.targets)):
                executed.did_not_begin(f"nobody to hit: {', '.join(dead)} was killed just now")
                return False
            return await self._inject(executed, fault)

    async def _inject(self, executed: ExecutedFault, fault: Fault) -> bool:
        """Whether it began (it may still not have bitten)."""
        number, begin = executed.number, self.clock()
        self.active[number] = executed.summary
        self.recorder.nemesis("invoke", "inject", executed.intent())
        if executed.trigger is not None:
            executed.trigger |= {"fired_ns": begin, "delay_ms": _delay_ms(executed.trigger["event_ns"], begin)}
        try:
            executed.bit = await bounded(fault.inject, INJECT_TIMEOUT_S)
            executed.injected_ns = [begin, self.clock()]
            if executed.trigger is not None:
                executed.trigger |= {"in_force_ms": _delay_ms(executed.trigger["event_ns"], executed.injected_ns[1])}
        except NotNowError as error:
            executed.did_not_begin(str(error))
        logger.info("fault %d: %s; bit: %s", number, executed.summary, executed.bite)
        self.recorder.nemesis("info", "inject", executed.event(executed.bit))
        return executed.began

    async def _heal(self, executed: ExecutedFault, fault: Fault) -> None:
        """Heals; once more if the first time could not be verified."""
        number, begin = executed.number, self.clock()
        self.recorder.nemesis("invoke", "heal", {"id": number, "family": executed.planned.family})
        for _ in range(HEAL_TRIES):
            executed.healed = await asyncio.shield(bounded(fault.heal, HEAL_TIMEOUT_S))
            if executed.healed.holds:
                break
            await self._wait_thawed()  # what was frozen while it was being healed could not be seen to be healed
        assert executed.healed is not None
        executed.healed_ns = [begin, self.clock()]
        logger.info("fault %d healed: %s", number, executed.healed.holds)
        self.recorder.nemesis("info", "heal", executed.event(executed.healed))

    async def _leave_behind(self) -> None:
        """Cuts some nodes off before anything else is healed: from now on they help nobody."""
        await self._wait_thawed()
        leaving = self.leaving
        if leaving is None:
            return
        if leaving.leader:
            leaving = leaving.behind_leader(await self._census.wait_leader())
        # Who lost data may refuse to start, and who is dead already does not help anyway: they are left behind first.
        self.left = leaving.left({*await self._dead_by_themselves(), *self.claims.damaged})
        if leaving.way == "messages" and not await self._census.all_run(self.left):
            self.leaving = leaving = leaving.by_packets()
        family, parameters = leaving.fault(self.left)
        await self._begin(family, parameters, self.left)

    async def _dead_by_themselves(self) -> tuple[str, ...]:
        """Nodes that do not run though no fault keeps them down."""
        down = {node for held in self.claims.held.values() for node, claim in held if claim == "process"}
        return await self._census.dead([name for name in self.cluster.nodes if name not in down])

    async def _stop_left(self) -> None:
        """Kills those who are left behind, if that was drawn, now that no other fault holds them."""
        if self.leaving is None or not self.left or self.leaving.way != "stopped":
            return
        dead = await self._census.dead(self.left)
        alive = tuple(name for name in self.left if name not in dead)
        cut = self._behind.pop()
        if alive:
            await self._begin("kill", {"target": list(alive)}, alive)
        await self._end(*cut)

    async def _begin(self, name: str, parameters: Mapping[str, object], targets: tuple[str, ...]) -> None:
        """A fault that nobody planned: it lasts until :meth:`release`."""
        number = max((each.id for each in self.schedule), default=0) + len(self._unplanned) + 1
        planned = PlannedFault(
            id=number,
            family=name,
            parameters=FAMILIES[name].Parameters.model_validate(parameters),
            for_ns=self.leaving_ns,
        )
        executed = ExecutedFault(planned=planned, number=number, targets=targets, planned_ns=self.clock())
        self.executed.append(executed)
        self._unplanned.append(executed)
        self.claims.hold(number, FAMILIES[name], targets)
        fault = self._build(executed)
        assert fault is not None
        await self._inject(executed, fault)
        self._behind.append((executed, fault))


async def wait_event(event: asyncio.Event, timeout_s: float) -> bool:
    """Waits for an event at most so long; says whether it is set."""
    if timeout_s > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)
    return event.is_set()


def _begun(plays: Iterable[Coroutine[None, None, None]]) -> asyncio.Future[None]:
    """All of them as one task."""

    async def together() -> None:
        await asyncio.gather(*plays)

    return asyncio.ensure_future(together())


def _changes_members(planned: PlannedFault) -> bool:
    return "members" in FAMILIES[planned.family].claims


def _asked(selector: Selector, subject: str | None, nodes: tuple[str, ...]) -> tuple[str, ...]:
    """Of whom it must be known whether they are alive; a trigger's fault must not wait for the others."""
    if selector == "subject":
        return (subject,) if subject in nodes and subject is not None else ()
    return nodes


def _delay_ms(event_ns: int | None, begin_ns: int) -> float | None:
    return None if event_ns is None else round((begin_ns - event_ns) / 1e6, 3)
