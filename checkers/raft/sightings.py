"""Sightings: lines of traces as evidence, and the findings that rest on them.

Every finding over traces is a sentence with node, term, index and time, and carries the lines it rests on, so that a
reader can open the trace and look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from checkers.raft.traces import AnyEvent, Trace
from checkers.verdict import Finding

CHECKER = "raft"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One event in one trace: ``position`` is its place among the trace's events."""

    trace: Trace
    position: int

    @property
    def node(self) -> str:
        """Whose trace."""
        return self.trace.node

    @property
    def line(self) -> int:
        """The line number, from 1."""
        return self.trace.lines[self.position]

    @property
    def event(self) -> AnyEvent:
        """What the line says."""
        return self.trace.events[self.position]

    @property
    def words(self) -> str:
        """Where to look, for the end of a clause: time (the run's if that is known, else the node's) and line."""
        origin = self.trace.origin_ns
        if origin is None:
            return f"({self.node} at {self.event.time / 1e9:.6f} s of its clock, line {self.line})"
        return f"({self.node} at {(self.event.time - origin) / 1e9:.3f} s, line {self.line} of its trace)"

    def row(self) -> dict[str, Any]:
        """Plain JSON."""
        name = self.event.__struct_config__.tag
        return {"node": self.node, "line": self.line, "event": name, "monotonic_ns": self.event.time}


def accuse(kind: str, message: str, sightings: Sequence[Sighting], **facts: Any) -> Finding:
    """A finding against the system, resting on ``sightings``; ``facts`` (term, index, ...) go into the evidence."""
    return Finding(
        checker=CHECKER,
        kind=kind,
        message=message,
        nodes=tuple(dict.fromkeys(sighting.node for sighting in sightings)),
        evidence={"lines": [sighting.row() for sighting in sightings], **facts},
    )
