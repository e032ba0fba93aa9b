"""Correct histories of any data type, of any size: clients on one simulated object, for tests and benchmarks.

Each operation takes effect at one random moment between its invocation and its completion, so a history is
linearizable by construction, and ``moments`` of a :class:`Simulated` is a linearization. Operations that end ``info``
took effect or did not. A test breaks such a history on purpose, and knows what it broke.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

FAILED = object()
"""What :meth:`Thing.apply` returns for a call that certainly has no effect."""

UNSEEN = object()
"""The result of an operation that nobody sees end."""

IDLE, OPEN, DONE = 0, 1, 2


class Thing(Protocol):
    """An object that clients call, one call at a time."""

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:
        """The next call of a client: function and argument."""

    def apply(self, process: int, f: str, value: Any) -> Any:
        """Takes effect; returns what the completion carries, or :data:`FAILED`."""


@dataclass(kw_only=True)
class Simulated:
    """``events`` as mappings (``docs/formats.md``); ``moments``: the numbers of the operations (in the order of their
    invocations) as they took effect."""

    events: list[dict[str, Any]] = field(default_factory=list)
    moments: list[int] = field(default_factory=list)


def simulate(
    thing: Thing,
    random_: random.Random,
    *,
    operations: int,
    concurrency: int,
    info: float = 0.0,
    ties: float = 0.0,
    key: Callable[[random.Random], Any] | None = None,
    may_end_unknown: Callable[[str], bool] = lambda _: True,
) -> Simulated:
    """So many operations by clients that are nearly always busy.

    ``info``: the share of operations (among those whose function ``may_end_unknown``) that nobody saw end; half of them
    never took effect. ``ties``: the share of events at the time of the one before.
    """
    return _Simulation(thing, random_, operations, concurrency, info, ties, key, may_end_unknown).run()


class _Simulation:
    def __init__(
        self,
        thing: Thing,
        random_: random.Random,
        operations: int,
        concurrency: int,
        info: float,
        ties: float,
        key: Callable[[random.Random], Any] | None,
        may_end_unknown: Callable[[str], bool],
    ) -> None:
        self.thing, self.random = thing, random_
        self.operations, self.info, self.ties = operations, info, ties
        self.key, self.may_end_unknown = key, may_end_unknown
        self.process = list(range(concurrency))
        self.phase = [IDLE] * concurrency
        self.number = [0] * concurrency
        self.calls: list[dict[str, Any]] = []
        self.results: dict[int, Any] = {}
        self.time = 0
        self.out = Simulated()

    def run(self) -> Simulated:
        steps: Sequence[Callable[[int], None]] = (self.invoke, self.take_effect, self.complete)
        busy, concurrency = 0, len(self.phase)
        while len(self.calls) < self.operations or busy:
            client = int(self.random.random() * concurrency)
            phase = self.phase[client]
            if phase == IDLE and len(self.calls) >= self.operations:
                continue
            busy += (phase == IDLE) - (phase == DONE)
            steps[phase](client)
            self.phase[client] = (phase + 1) % 3
        return self.out

    def emit(self, **fields: Any) -> None:
        self.time += self.random.random() >= self.ties
        self.out.events.append({"time": self.time, **fields})

    def invoke(self, client: int) -> None:
        f, value = self.thing.call(self.random, self.process[client])
        call = {"process": self.process[client], "f": f}
        if self.key is not None:
            call["key"] = self.key(self.random)
        self.number[client] = len(self.calls)
        self.calls.append({**call, "value": value})
        self.emit(type="invoke", **call, value=value)

    def take_effect(self, client: int) -> None:
        number = self.number[client]
        call = self.calls[number]
        lost = self.may_end_unknown(call["f"]) and self.random.random() < self.info
        result: Any = UNSEEN
        if not (lost and self.random.random() < 0.5):
            result = self.thing.apply(call["process"], call["f"], call["value"])
            if result is not FAILED:
                self.out.moments.append(number)
        self.results[number] = UNSEEN if lost else result

    def complete(self, client: int) -> None:
        call, result = self.calls[self.number[client]], self.results.pop(self.number[client])
        if result is UNSEEN:
            self.process[client] += len(self.process)
            if self.random.random() < 0.5:
                self.emit(type="info", **call, error="timeout")
        elif result is FAILED:
            self.emit(type="fail", **call)
        else:
            self.emit(type="ok", **{**call, "value": result})
