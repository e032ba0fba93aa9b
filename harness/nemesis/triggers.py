"""Triggers: waits until a node's trace or log says something. Files are tailed by polling: 5 ``stat`` calls each 3 ms
cost half a percent of a core.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from harness.clock import RunClock
from harness.planning.entries import TRIGGER_ALIASES, Trigger

POLL_S = 0.003


@dataclass(frozen=True, kw_only=True, slots=True)
class Firing:
    """Whose line fired a trigger, and when that was written: for a line of a trace the node's CLOCK_MONOTONIC (it says
    so), for a line of a log CLOCK_REALTIME (the file was changed then).
    """

    node: str
    monotonic_ns: int | None = None
    wall_ns: int | None = None


def event_ns(firing: Firing, clock: RunClock) -> int | None:
    """When that was in ns of the run, if the node reads the controller's clocks."""
    if firing.monotonic_ns is not None:
        return firing.monotonic_ns - clock.origin_ns
    return None if firing.wall_ns is None else firing.wall_ns - clock.origin_wall_ns


@dataclass(slots=True)
class Tail:
    """New whole lines of a file that grows; a file that does not exist yet has none."""

    path: Path
    offset: int = 0
    rest: bytes = b""
    changed_ns: int = 0
    """When the file was last written to (CLOCK_REALTIME), as of the last line."""

    def lines(self) -> Iterator[bytes]:
        """Whole lines appended since the last call."""
        try:
            facts = self.path.stat()
            if facts.st_size <= self.offset:
                return
            with self.path.open("rb") as file:
                file.seek(self.offset)
                data = file.read()
        except FileNotFoundError:
            return
        self.changed_ns = facts.st_mtime_ns
        self.offset += len(data)
        *whole, self.rest = (self.rest + data).split(b"\n")
        yield from whole


def matches(trigger: Trigger, line: bytes) -> bool:
    """Whether a line of a trace (or of a log) fires the trigger."""
    if trigger.log is not None:
        return re.search(trigger.log, line.decode("utf-8", "replace")) is not None
    wanted = wanted_fields(trigger)
    if wanted["event"].encode() not in line:
        return False
    event = _decoded(line)
    return all(event.get(name) == value for name, value in wanted.items())


def wanted_fields(trigger: Trigger) -> dict[str, Any]:
    """The fields that a trace line must have: an alias such as ``became_leader`` is spelt out."""
    event = trigger.event or ""
    return {**TRIGGER_ALIASES.get(event, {"event": event}), **(trigger.model_extra or {})}


def _decoded(line: bytes) -> Mapping[str, Any]:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return event if isinstance(event, dict) else {}


@dataclass(slots=True)
class TriggerWatch:
    """Follows the files of all nodes for one trigger, from the moment it is made."""

    trigger: Trigger
    folders: Mapping[str, Path]
    tails: dict[str, Tail] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Starts at the present end of every file: what happened before is no trigger."""
        name = "trace.jsonl" if self.trigger.log is None else "node.log"
        for node, folder in self.folders.items():
            path = folder / name
            self.tails[node] = Tail(path, path.stat().st_size if path.exists() else 0)

    async def wait_fired(self) -> Firing:
        """The node whose line fired it; the first such line, if there are several at once."""
        while True:
            for node, tail in self.tails.items():
                fitting = [line for line in tail.lines() if matches(self.trigger, line)]
                if fitting:
                    return self._firing(node, tail, fitting[0])
            await asyncio.sleep(POLL_S)

    def _firing(self, node: str, tail: Tail, line: bytes) -> Firing:
        if self.trigger.log is not None:
            return Firing(node=node, wall_ns=tail.changed_ns)
        time = _decoded(line).get("time")
        return Firing(node=node, monotonic_ns=time if isinstance(time, int) else None)


async def wait_fired(trigger: Trigger, folders: Mapping[str, Path], stop: asyncio.Event) -> Firing | None:
    """Waits for a line that is written from now on and fires the trigger; None if the run was stopped before."""
    watch = asyncio.ensure_future(TriggerWatch(trigger, folders).wait_fired())
    stopped = asyncio.ensure_future(stop.wait())
    await asyncio.wait({watch, stopped}, return_when=asyncio.FIRST_COMPLETED)
    watch.cancel()
    stopped.cancel()
    return None if stop.is_set() else watch.result()
