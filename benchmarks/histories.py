"""Histories for the benchmarks: correct ones of any size, and the same with one operation made wrong.

So many clients that are nearly always busy, on one key; ``rw``: half reads, half writes; ``rwc``: thirds of reads,
writes and compare-and-sets, half of which guess right. ``info``: the share of writes and compare-and-sets that nobody
saw end. ``stale``: one read (near the end, or in the middle) returns a value that was provably overwritten.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from checkers import History, HistoryBuilder
from checkers.event import Event
from checkers.history import FAIL, INFO, NEVER, OK
from checkers.values import ValueTable
from tests.checkers.simulated import Thing, simulate
from tests.checkers.transactions.simulated import simulated

READ, WRITE, CAS = 0, 1, 2
IDLE, OPEN, DONE = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One generated history. ``values`` 0: all written values differ; else written values repeat, from that many."""

    operations: int
    concurrency: int
    mix: str = "rw"
    info: float = 0.0
    stale: str = ""
    values: int = 0
    seed: int = 1

    def name(self) -> str:
        values = "unique" if not self.values else f"0-{self.values - 1}"
        stale = f"stale {self.stale}" if self.stale else "valid"
        return f"{self.mix}, {values}, n={self.operations:,}, c={self.concurrency}, info {self.info:.0%}, {stale}"


class _Run:
    """Clients on one register; each operation takes effect at a moment between its invocation and its end."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.random = random.Random(shape.seed)
        self.register: int | None = None
        self.f: list[int] = []
        self.value: list[int | None] = []
        self.expected: list[int | None] = []
        self.result: list[int | None] = []
        self.outcome: list[int] = []
        self.call: list[int] = []
        self.return_: list[int] = []
        self.position = 0

    def play(self) -> None:
        random_, concurrency = self.random, self.shape.concurrency
        phase, row = [IDLE] * concurrency, [0] * concurrency
        busy = 0
        while len(self.f) < self.shape.operations or busy:
            client = int(random_.random() * concurrency)
            if phase[client] == IDLE:
                if len(self.f) < self.shape.operations:
                    row[client], phase[client] = len(self.f), OPEN
                    busy += 1
                    self.invoke()
            elif phase[client] == OPEN:
                self.take_effect(row[client])
                phase[client] = DONE
            else:
                self.complete(row[client])
                phase[client] = IDLE
                busy -= 1

    def fresh(self) -> int:
        return len(self.f) if not self.shape.values else int(self.random.random() * self.shape.values)

    def invoke(self) -> None:
        f = int(self.random.random() * (2 if self.shape.mix == "rw" else 3))
        expected: int | None = None
        if f == CAS:
            right = self.random.random() < 0.5
            expected = self.register if right else self.fresh() if self.shape.values else -1
        self.value.append(None if f == READ else self.fresh())
        self.f.append(f)
        self.expected.append(expected)
        self.result.append(None)
        self.outcome.append(OK)
        self.call.append(self.position)
        self.return_.append(NEVER)
        self.position += 1

    def take_effect(self, row: int) -> None:
        f = self.f[row]
        if f == READ:
            self.result[row] = self.register
        elif f == WRITE or self.register == self.expected[row]:
            self.register = self.value[row]
        else:
            self.outcome[row] = FAIL

    def complete(self, row: int) -> None:
        if self.f[row] != READ and self.outcome[row] == OK and self.random.random() < self.shape.info:
            self.outcome[row] = INFO
        else:
            self.return_[row] = self.position
        self.position += 1

    def spoil(self) -> None:
        """Makes one read stale: before it lie, one after another, the write of its value and a newer write."""
        where = len(self.f) // 2 if self.shape.stale == "in middle" else len(self.f) - 4 * self.shape.concurrency
        read = next(row for row in range(where, len(self.f)) if self.f[row] == READ and self.outcome[row] == OK)
        newer = self.before(self.call[read], read)
        self.result[read] = self.value[self.before(self.call[newer], newer)]

    def before(self, position: int, row: int) -> int:
        """The last acknowledged write that returned before a position."""
        rows = range(row - 1, -1, -1)
        return next(at for at in rows if self.f[at] == WRITE and self.return_[at] < position and self.outcome[at] == OK)


def generate(shape: Shape) -> dict[str, Any]:
    """The columns of a history, as arrays; values as codes (0 is null, v is v + 2, as -1 may be expected)."""
    run = _Run(shape)
    run.play()
    if shape.stale:
        run.spoil()
    f = np.array(run.f)
    code = {
        name: np.array([0 if value is None else value + 2 for value in column], dtype=np.int32)
        for name, column in (("value", run.value), ("expected", run.expected), ("result", run.result))
    }
    outcome = np.array(run.outcome, dtype=np.int8)
    returned = np.where(f == READ, code["result"], code["value"])
    return {
        "f": f.astype(np.int32),
        "value": code["value"],
        "expected": np.where(f == CAS, code["expected"], -1).astype(np.int32),
        "result": np.where((f != CAS) & (outcome == OK), returned, -1).astype(np.int32),
        "outcome": outcome,
        "call": np.array(run.call),
        "return_": np.array(run.return_),
        "events": np.array(run.position),
    }


def history_of(columns: dict[str, Any]) -> History:
    """The parsed history."""
    count = len(columns["f"])
    values, keys = ValueTable(), ValueTable()
    values.values = [None, -1, *range(max(int(columns["value"].max()), int(columns["result"].max())) - 1)]
    values.codes = {value: code for code, value in enumerate(values.values)}
    keys.code("k")
    zero = np.zeros(count, dtype=np.int32)
    return History(
        **{name: columns[name] for name in ("f", "value", "expected", "result", "outcome", "call", "return_")},
        process=np.arange(count),
        key=zero,
        call_ns=columns["call"],
        return_ns=np.where(columns["return_"] == NEVER, -1, columns["return_"]),
        node=zero - 1,
        error=zero - 1,
        final=zero.astype(bool),
        functions=("read", "write", "cas"),
        keys=keys,
        values=values,
        nodes=(),
        errors=(),
        events=int(columns["events"]),
    )


def write_jsonl(columns: dict[str, Any], path: Path) -> None:
    """The same as a file of our format."""
    history = history_of(columns)
    lines: list[tuple[int, str]] = []
    for row, item in enumerate(history.operations):
        base = f'"process":{row},"f":"{item.f}","key":"k"'
        lines.append(
            (item.call_index, f'{{"time":{item.call_index},{base},"type":"invoke","value":{json.dumps(item.value)}}}\n')
        )
        if item.return_index is not None:
            value = json.dumps(item.result if item.f == "read" else item.value)
            ended = f'"time":{item.return_index},"type":"{item.outcome}"'
            lines.append((item.return_index, f'{{{ended},{base},"value":{value},"node":"n1","attempts":1}}\n'))
    path.write_text("".join(line for _, line in sorted(lines)))


def tens_of_millions(operations: int, concurrency: int, info: float, seed: int) -> History:
    """Half reads, half unique writes, made by numpy alone: clients one call after another, each call effective at a
    random moment of its time.
    """
    chance = np.random.default_rng(seed)
    each = operations // concurrency
    operations = each * concurrency
    lengths = chance.exponential(1.0, (concurrency, 2 * each)).cumsum(axis=1)
    begin, end = lengths[:, 0::2].ravel(), lengths[:, 1::2].ravel()
    order = np.argsort(begin)
    begin, end = begin[order], end[order]
    is_read = chance.random(operations) < 0.5
    unseen = ~is_read & (chance.random(operations) < info)
    never_happened = unseen & (chance.random(operations) < 0.5)
    moment = begin + chance.random(operations) * (end - begin)
    by_moment = np.argsort(moment)
    effective = (~is_read & ~never_happened)[by_moment]
    latest = np.maximum.accumulate(np.where(effective, np.arange(operations), -1))
    seen = np.zeros(operations, dtype=np.int32)
    seen[by_moment] = np.where(latest >= 0, by_moment[latest] + 1, 0)
    place = np.empty(2 * operations, dtype=np.int64)
    place[np.argsort(np.concatenate((begin, end)))] = np.arange(2 * operations)
    number = np.arange(operations, dtype=np.int32)
    return history_of(
        {
            "f": np.where(is_read, READ, WRITE).astype(np.int32),
            "value": np.where(is_read, 0, number + 1).astype(np.int32),
            "expected": np.full(operations, -1, dtype=np.int32),
            "result": np.where(unseen, -1, np.where(is_read, seen, number + 1)).astype(np.int32),
            "outcome": np.where(unseen, INFO, OK).astype(np.int8),
            "call": place[:operations],
            "return_": np.where(unseen, NEVER, place[operations:]),
            "events": np.array(2 * operations),
        }
    )


def from_events(events: Iterable[Mapping[str, Any]]) -> History:
    """A history of simulated events, which are trusted to be events."""
    builder = HistoryBuilder()
    builder.read((line, Event(**event)) for line, event in enumerate(events, 1))
    return builder.history()


def transactions(count: int, *, stale: bool = False) -> History:
    """List-append as Elle's generator makes it: 1-6 micro-operations, 20 clients, keys retired after 100 appends.
    ``stale``: the last read of four or more elements shows half of them.
    """
    made = simulated(random.Random(1), transactions=count, concurrency=20).events
    if stale:
        step = next(
            step
            for event in reversed(made)
            if event["type"] == "ok"
            for step in event["value"]
            if step[0] == "r" and len(step[2]) >= 4
        )
        step[2] = step[2][: len(step[2]) // 2]
    return from_events(made)


def grown_set(adds: int, reads: int) -> History:
    """Clients that add new elements, and so many reads of everything, evenly spread, the last one at the end."""
    events: list[dict[str, Any]] = []
    every = adds // reads
    for number in range(adds):
        base = {"process": number % 20, "f": "add"}
        events.append({**base, "type": "invoke", "value": number})
        events.append({**base, "type": "ok", "value": number})
        if (number + 1) % every == 0:
            base = {"process": 20, "f": "read"}
            events.append({**base, "type": "invoke", "value": None})
            events.append({**base, "type": "ok", "value": list(range(number + 1))})
    return from_events({**event, "time": time} for time, event in enumerate(events))


def contents(thing: Thing, operations: int, concurrency: int) -> History:
    """Clients on a queue or a stack whose elements are all new."""
    return from_events(simulate(thing, random.Random(1), operations=operations, concurrency=concurrency).events)
