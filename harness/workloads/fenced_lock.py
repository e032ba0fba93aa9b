"""The workload ``fenced-lock``: locks with leases, fencing tokens, and registers that the locks guard.

A lock worker acquires a lock under a lease, reads the register that it guards, writes the number there plus one under
its token, and releases. Some sleep between the read and the write until their lease has run out and somebody else may
be at work: the holder that a long pause of its process makes, which no lock service can prevent. What saves the
register is the fence: a write under an older token than one that was shown there must be refused.

The second half of the workers only reads the registers, one on every node with ``2n``: what a late write did is seen at
once, and so is a stale read.

Judged by ``leased-lock`` (:mod:`checkers.guarantees.leased_lock`), while the run goes on too: one holder while leases
last, tokens that grow, fences that hold, registers that are linearizable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from pydantic import Field

from checkers import History, Result, check
from checkers.operation import Outcome
from harness.clients import Invocation
from harness.generators import (
    PENDING,
    Completed,
    Context,
    Generator,
    Pending,
    Planned,
    Step,
    Stream,
    rate,
    time_limit,
    worker_set,
)
from harness.workloads.finals import each_until_ok, finals, own_name
from harness.workloads.protocol import ReadParameters, unread_keys, workers_of

ACQUIRE, READ, WRITE, RELEASE = "acquire", "read", "write", "release"
LOCK_PREFIX, REGISTER_PREFIX = "l", "r"

SLEEP_LEASES = (1.05, 2.0)
"""How long a sleeper sleeps, in leases."""
TRIES = 5
"""Of a read or a release within a section."""


class FencedLockParameters(ReadParameters):
    """Parameters of ``fenced-lock``."""

    keys: int = Field(default=5, ge=1, le=10_000)
    """Locks, and registers that they guard."""
    lease_ms: int = Field(default=300, ge=1, le=3_600_000)
    """How long a lock is held at most, in milliseconds."""
    sleepers: float = Field(default=0.2, ge=0, le=1)
    """Share of the holders that sleep past the end of their lease before they write."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What does not change during a load."""

    keys: int
    lease_ms: int
    sleepers: float
    reads: str
    readers: int
    """The bit set of workers that only read."""
    stream: Stream


class Section(Struct, frozen=True, gc=False):
    """Where a worker is with the lock that it holds."""

    key: int
    token: Any
    stage: str = READ
    """What it does next: read, write or release."""
    number: int = 0
    """What it found in the register."""
    wake_ns: int = 0
    """Until when it sleeps."""
    tries: int = 0


class FencedLockLoad(Struct, frozen=True, gc=False):
    """Who is where, at one moment."""

    plan: Plan
    sections: Mapping[int, Section]
    """By worker."""
    recent: int = 0
    """The register last written with success."""
    asked: int = 0

    def next(self, context: Context) -> tuple[Step, Generator]:
        """What a worker that is free and awake does next."""
        wake_ns: int | None = None
        for worker in _from_cursor(context):
            section = self.sections.get(worker)
            if section is None or section.wake_ns <= context.time_ns:
                return Planned(worker, self._invocation(worker, section)), replace(self, asked=self.asked + 1)
            wake_ns = section.wake_ns if wake_ns is None else min(wake_ns, section.wake_ns)
        return (PENDING if wake_ns is None else Pending(wake_ns)), self

    def _invocation(self, worker: int, section: Section | None) -> Invocation:
        plan = self.plan
        key, recent = (plan.stream.draw(2 * self.asked + part) for part in range(2))
        if plan.readers >> worker & 1:
            return read_of(self.recent if recent < 0.5 else int(plan.keys * key), plan.reads)
        if section is None:
            return Invocation(ACQUIRE, lock_name(int(plan.keys * key)), plan.lease_ms)
        if section.stage == READ:
            return read_of(section.key, plan.reads)
        if section.stage == WRITE:
            return Invocation(WRITE, register_name(section.key), (section.token, section.number + 1))
        return Invocation(RELEASE, lock_name(section.key), section.token)

    def update(self, event: Completed) -> Generator:
        """On to the next stage; out of the section with the release, or if nobody knows how an operation ended."""
        worker, f, outcome = event.worker, event.invocation.f, event.completion.outcome
        if self.plan.readers >> worker & 1:
            return self
        section = self.sections.get(worker)
        recent = section.key if f == WRITE and outcome is Outcome.OK and section else self.recent
        after = self._entered(event) if section is None else self._after(section, event)
        sections = {other: each for other, each in self.sections.items() if other != worker}
        return replace(self, sections=sections if after is None else {**sections, worker: after}, recent=recent)

    def _entered(self, event: Completed) -> Section | None:
        if event.completion.outcome is not Outcome.OK:
            return None
        return Section(int(str(event.invocation.key).removeprefix(LOCK_PREFIX)), event.completion.value)

    def _after(self, section: Section, event: Completed) -> Section | None:
        outcome = event.completion.outcome
        if outcome is Outcome.INFO:
            return None
        if section.stage == WRITE:  # whether it was accepted or fenced off
            return replace(section, stage=RELEASE)
        if outcome is Outcome.FAIL:
            return self._again(section)
        return None if section.stage == RELEASE else self._to_write(section, event)

    def _again(self, section: Section) -> Section | None:
        if section.tries + 1 < TRIES:
            return replace(section, tries=section.tries + 1)
        return None if section.stage == RELEASE else replace(section, stage=RELEASE, tries=0)

    def _to_write(self, section: Section, event: Completed) -> Section:
        """The number is known; perhaps the worker falls asleep now."""
        value, draw = event.completion.value, self.plan.stream.draw
        number = value[1] if isinstance(value, list | tuple) and type(value[1]) is int else 0
        wake_ns, place = 0, 2 * self.asked
        if draw(place) < self.plan.sleepers:
            low, high = SLEEP_LEASES
            wake_ns = event.time_ns + int(self.plan.lease_ms * 1e6 * (low + draw(place + 1) * (high - low)))
        return replace(section, stage=WRITE, number=number, wake_ns=wake_ns, tries=0)


def _from_cursor(context: Context) -> Iterator[int]:
    """Free workers: those at or after the cursor first."""
    ahead = context.free >> context.cursor << context.cursor
    for part in (ahead, context.free ^ ahead):
        while part:
            low = part & -part
            yield low.bit_length() - 1
            part ^= low


def lock_name(key: int) -> str:
    """The name of a lock."""
    return f"{LOCK_PREFIX}{key}"


def register_name(key: int) -> str:
    """The name of the register that it guards."""
    return f"{REGISTER_PREFIX}{key}"


def read_of(key: int, reads: str) -> Invocation:
    """A read of a register."""
    return Invocation(READ, register_name(key), None, reads)


class FencedLockWorkload:
    """See the module."""

    name = "fenced-lock"
    title = "locks with leases, fencing tokens, and registers that they guard; holders sleep past their leases"
    functions = (ACQUIRE, READ, WRITE, RELEASE)
    changing = (ACQUIRE, WRITE, RELEASE)
    model = "leased-lock"
    Parameters = FencedLockParameters

    def workers(self, parameters: FencedLockParameters, *, nodes: int) -> int:
        """As the concurrency says."""
        return workers_of(parameters.concurrency, nodes=nodes)

    def generator(
        self,
        parameters: FencedLockParameters,
        *,
        seed: int,
        workers: int,
        nodes: Sequence[str],  # noqa: ARG002
        time_ns: int,
    ) -> Generator:
        """Sections by the first half of the workers, reads by the others."""
        plan = Plan(
            keys=parameters.keys,
            lease_ms=parameters.lease_ms,
            sleepers=parameters.sleepers,
            reads=parameters.reads,
            readers=worker_set(range(-(-workers // 2), workers)),
            stream=Stream(seed, self.name),
        )
        return time_limit(time_ns, rate(parameters.rate, FencedLockLoad(plan, {}), seed=seed))

    def final_generator(self, parameters: FencedLockParameters, *, workers: int, nodes: Sequence[str]) -> Generator:
        """A lock of its own through every node, another one with every try; then every register."""
        reads = each_until_ok(read_of(key, parameters.reads) for key in range(parameters.keys))

        def change(worker: int, time_ns: int) -> Invocation:
            return Invocation(ACQUIRE, f"{own_name(LOCK_PREFIX, worker)}.{time_ns}", parameters.lease_ms)

        def follow(acquire: Invocation) -> Invocation:
            return Invocation(RELEASE, acquire.key)

        return finals(change, follow, reads, workers=workers, nodes=nodes)

    def check(self, history: History, parameters: FencedLockParameters) -> Result:  # noqa: ARG002
        """What locks with leases promise, and their registers."""
        return check(history, model=self.model)

    def unread(self, history: History) -> tuple[int, int]:
        """Registers that were written, and not read in the end."""
        return unread_keys(history, WRITE)


FENCED_LOCK = FencedLockWorkload()
