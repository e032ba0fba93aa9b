"""The nemesis: plays a schedule against a cluster, and records what it did.

Each planned fault is one task: wait for its time or trigger, resolve its targets, inject, wait, heal. What is broken
is healed in ``finally``, also when the run is stopped in the middle; injecting and healing are recorded as nemesis
events with the proof that the fault itself took.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from faults import FAMILIES
from faults.family import Claim
from faults.needs import Cluster, Fault, Proof
from harness.recorder import Recorder
from harness.schedule import PlannedFault
from harness.targets import NEEDS_LEADER, Selector, resolve_targets
from harness.triggers import TriggerWatch

INJECT_TIMEOUT_S = 10.0
HEAL_TIMEOUT_S = 20.0
HEAL_TRIES = 2
LEADER_TIMEOUT_S = 5.0
LEADER_POLL_S = 0.05
FIRING_STRIDE = 100_000

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ExecutedFault:
    """A fault as it really happened: a line of ``schedule.jsonl``."""

    planned: PlannedFault
    number: int
    """The planned fault's id; further firings of a trigger get numbers of their own."""
    targets: tuple[str, ...] = ()
    resolved: Mapping[str, Any] = field(default_factory=dict)
    summary: str = ""
    trigger: Mapping[str, Any] | None = None
    planned_ns: int | None = None
    injected_ns: list[int] | None = None
    healed_ns: list[int] | None = None
    bit: Proof | None = None
    healed: Proof | None = None

    def to_json(self) -> dict[str, Any]:
        """As docs/formats.md says."""
        planned = self.planned
        return {
            "id": self.number,
            "family": planned.family,
            "parameters": planned.parameters.model_dump(mode="json"),
            "targets": self.targets,
            "resolved": self.resolved,
            "planned_ns": self.planned_ns,
            "for_ns": planned.for_ns,
            "trigger": self.trigger,
            "injected_ns": self.injected_ns,
            "healed_ns": self.healed_ns,
            "bit": _proof_json(self.bit),
            "healed": _proof_json(self.healed),
            "summary": self.summary,
        }


def _proof_json(proof: Proof | None) -> dict[str, Any] | None:
    return None if proof is None else {"holds": proof.holds, "evidence": proof.evidence}


@dataclass(slots=True, kw_only=True)
class Nemesis:
    """Plays ``schedule`` against ``cluster`` until everything is healed."""

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
    executed: list[ExecutedFault] = field(default_factory=list)
    active: dict[int, str] = field(default_factory=dict)
    """Summaries of the faults in force, by id (for progress)."""
    held: dict[int, frozenset[tuple[str, Claim]]] = field(default_factory=dict)
    """What faults in force claim, by id: (node, claim). No second fault may claim the same."""
    leader_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    frozen: bool = False
    """While it is set nothing is injected and nothing healed: somebody looks at the cluster as it is."""
    thawed: asyncio.Event = field(default_factory=asyncio.Event)

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
        """Runs every fault; returns when all are healed. ``stop`` ends waiting, and heals at once."""
        self.file.touch()
        await asyncio.gather(*(self._play_one(planned, stop) for planned in self.schedule))

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
                    return
            if planned.when is not None and self._nobody(executed):
                continue
            fired += 1
            self.executed.append(executed)
            await self._inject_and_heal(executed, stop)

    async def _wait_begin(self, executed: ExecutedFault, stop: asyncio.Event) -> bool:
        """Waits for the fault's time or trigger; False if the run was stopped before."""
        planned = executed.planned
        if planned.when is None:
            executed.planned_ns = planned.at_ns
            return not await wait_event(stop, ((planned.at_ns or 0) - self.clock()) / 1e9)
        await wait_event(stop, (planned.when.after - self.clock()) / 1e9)
        watch = asyncio.ensure_future(TriggerWatch(planned.when, self.folders).wait_fired())
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait({watch, stopped}, return_when=asyncio.FIRST_COMPLETED)
        watch.cancel()
        stopped.cancel()
        if stop.is_set():
            return False
        executed.planned_ns = self.clock()
        fields = planned.when.model_dump(exclude_none=True, exclude={"times", "after"})
        executed.trigger = {**fields, "node": watch.result(), "fired_ns": self.clock()}
        return True

    def _nobody(self, executed: ExecutedFault) -> bool:
        return not executed.targets and _selector(executed) is not None

    async def _inject_and_heal(self, executed: ExecutedFault, stop: asyncio.Event) -> None:
        """From the deed to its healing; trouble on the way is a fault that did not bite, never a run that fails."""
        fault: Fault | None = None
        try:
            fault = self._build(executed)
            if fault is not None:
                await self._inject(executed, fault)
                await wait_event(stop, executed.planned.for_ns / 1e9)
                await self._wait_thawed()
        except Exception as error:
            logger.exception("fault %d failed", executed.number)
            executed.bit = Proof(holds=False, evidence={"reason": f"{type(error).__name__}: {error}"})
        finally:
            if fault is not None:
                await self._heal(executed, fault)
            self.active.pop(executed.number, None)
            self.held.pop(executed.number, None)
            self._write(executed)

    async def _choose(self, executed: ExecutedFault) -> None:
        """Resolves the targets."""
        selector = _selector(executed)
        executed.targets = await self._resolve(selector, executed, executed.number) if selector is not None else ()

    def _build(self, executed: ExecutedFault) -> Fault | None:
        """The fault, or None with the reason why there is none."""
        planned, family = executed.planned, FAMILIES[executed.planned.family]
        if self._nobody(executed):
            executed.summary = f"{family.name}: nobody to hit (target {_selector(executed)!r} is no free node)"
            executed.bit = Proof(holds=False, evidence={"reason": executed.summary})
            return None
        stream = planned.stream(self.seed, executed.number)
        nodes = tuple(self.cluster.nodes)
        executed.resolved = family.resolve(planned.parameters, targets=executed.targets, nodes=nodes, random=stream)
        executed.targets = executed.targets or tuple(executed.resolved.get("targets", ()))
        executed.summary = family.summary(executed.resolved)
        return family.build(executed.resolved, self.cluster)

    async def _inject(self, executed: ExecutedFault, fault: Fault) -> None:
        number, begin = executed.number, self.clock()
        self.active[number] = executed.summary
        self.recorder.nemesis("invoke", "inject", {"id": number, "family": executed.planned.family})
        executed.bit = await _bounded(fault.inject, INJECT_TIMEOUT_S)
        executed.injected_ns = [begin, self.clock()]
        logger.info("fault %d: %s; bit: %s", number, executed.summary, executed.bit.holds)
        self.recorder.nemesis("info", "inject", self._event(executed, number, executed.bit))

    async def _resolve(self, selector: Selector, executed: ExecutedFault, number: int) -> tuple[str, ...]:
        """Names to hit. One fault at a time is resolved, so that two never take the same process."""
        async with self.leader_lock:
            wanted = {selector} if isinstance(selector, str) else set(selector)
            leader = await self._wait_leader() if wanted & NEEDS_LEADER else None
            claims = FAMILIES[executed.planned.family].claims
            taken = {node for held in self.held.values() for node, claim in held if claim in claims}
            candidates = tuple(node for node in self.cluster.nodes if node not in taken)
            subject = str(executed.trigger["node"]) if executed.trigger else None
            pool = candidates if selector == "one" and candidates else tuple(self.cluster.nodes)
            stream = executed.planned.stream(self.seed, number)
            targets = resolve_targets(selector, nodes=pool, leader=leader, random=stream, subject=subject)
            free = tuple(node for node in targets if node in candidates)
            self.held[number] = frozenset((node, claim) for node in free for claim in claims)
            return free

    async def _wait_leader(self) -> str | None:
        """The leader, waiting while there is none (an election may be under way)."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LEADER_TIMEOUT_S):
                while (leader := await self.leader()) is None:  # noqa: ASYNC110 - nodes can only be asked
                    await asyncio.sleep(LEADER_POLL_S)
                return leader
        return None

    async def _heal(self, executed: ExecutedFault, fault: Fault) -> None:
        """Heals; once more if the first time could not be verified."""
        number, begin = executed.number, self.clock()
        self.recorder.nemesis("invoke", "heal", {"id": number, "family": executed.planned.family})
        for _ in range(HEAL_TRIES):
            executed.healed = await asyncio.shield(_bounded(fault.heal, HEAL_TIMEOUT_S))
            if executed.healed.holds:
                break
            await self._wait_thawed()  # what was frozen while it was being healed could not be seen to be healed
        assert executed.healed is not None
        executed.healed_ns = [begin, self.clock()]
        logger.info("fault %d healed: %s", number, executed.healed.holds)
        self.recorder.nemesis("info", "heal", self._event(executed, number, executed.healed))

    def _event(self, executed: ExecutedFault, number: int, proof: Proof) -> dict[str, Any]:
        return {
            "id": number,
            "family": executed.planned.family,
            "summary": executed.summary,
            "targets": list(executed.targets),
            "proved": proof.holds,
        }

    def _write(self, executed: ExecutedFault) -> None:
        with self.file.open("ab") as file:
            file.write(orjson.dumps(executed.to_json(), option=orjson.OPT_APPEND_NEWLINE))


async def wait_event(event: asyncio.Event, timeout_s: float) -> bool:
    """Waits for an event at most so long; says whether it is set."""
    if timeout_s > 0:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)
    return event.is_set()


def _selector(executed: ExecutedFault) -> Selector | None:
    return getattr(executed.planned.parameters, "target", None)


async def _bounded(deed: Callable[[], Awaitable[Proof]], timeout_s: float) -> Proof:
    """A deed's proof, or a proof that fails and says why: trouble with a fault is a finding, never a crash of the
    run.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await deed()
    except TimeoutError:
        return Proof(holds=False, evidence={"reason": f"not done within {timeout_s:g} s"})
    except Exception as error:
        logger.exception("a fault failed")
        return Proof(holds=False, evidence={"reason": f"{type(error).__name__}: {error}"})
