"""Who led when, for pages: each node's roles and terms in the run's time, from the traces.

A trace has a line for every entry that a node appends; a page needs only the few that change role or term, and cannot
wait for all of them to be decoded (a node writes tens of thousands in half a minute). So the lines of interest are
picked by their bytes before they are parsed, and given to :func:`checkers.raft.timeline.timeline`, which knows what
they mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from checkers.raft.timeline import Segment, timeline
from checkers.raft.traces import Trace, TraceError, parse_trace
from reports.folder import RunFolder
from reports.record import Record
from reports.words import moment

_WANTED = re.compile(rb'"event"\s*:\s*"(?:start|role|term)"')

SHARED_CLOCK = ("process", "docker", "compose")
"""Substrates whose nodes share the controller's CLOCK_MONOTONIC."""

SEGMENTS_MAX = 20_000
"""A node that flaps more often than that is drawn up to there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """Per node its segments, in ns of the run; ``notes`` says what could not be shown."""

    segments: Mapping[str, Sequence[Segment]]
    notes: tuple[str, ...] = ()

    def at(self, node: str, ns: int) -> str:
        """``leader of term 4``, ``follower in term 4``; ``old leader of term 3`` if somebody leads a later term
        already; empty if nobody knows.
        """
        segment = self._segment(node, ns)
        if segment is None:
            return ""
        words = f"{segment.role} {'of' if segment.role == 'leader' else 'in'} term {segment.term}"
        return f"old {words}" if self._successor(node, ns) else words

    def told(self, node: str, ns: int) -> str:
        """The same in a clause for the end of a sentence: who answered, and who led then."""
        segment, successor = self._segment(node, ns), self._successor(node, ns)
        if segment is not None and successor is not None:
            leader, reign = successor
            leads = f"{leader} leads term {reign.term} since {moment(reign.from_ns)}"
            return f"{node}, which still believed that it led term {segment.term}; {leads}"
        role = self.at(node, ns)
        return f"{node} ({role})" if role else node

    def _segment(self, node: str, ns: int) -> Segment | None:
        return next((segment for segment in self.segments.get(node, ()) if segment.from_ns <= ns < segment.to_ns), None)

    def _successor(self, node: str, ns: int) -> tuple[str, Segment] | None:
        """Who leads a later term while a node believes that it leads; the latest of them."""
        own = self._segment(node, ns)
        if own is None or own.role != "leader":
            return None
        reigns = [(name, found) for name in self.segments if (found := self._segment(name, ns)) and name != node]
        later = [(name, found) for name, found in reigns if found.role == "leader" and found.term > own.term]
        return max(later, key=lambda pair: pair[1].term, default=None)


def read_roles(record: Record) -> Roles:
    """The roles of every node that left a trace."""
    notes: list[str] = []
    traces: dict[str, Trace] = {}
    absent: list[str] = []
    for node in record.folder.node_names():
        try:
            traces[node] = _read(record.folder, node)
        except FileNotFoundError:
            absent.append(node)
        except (OSError, TraceError) as error:
            notes.append(f"The trace of {node} can’t be read: {error}")
    if traces or notes:  # of systems that write none, no single node's is missing
        notes += [f"{node} left no trace." for node in absent]
    if str(record.run.get("substrate", "process")) not in SHARED_CLOCK:
        notes.append(
            "The nodes ran on other machines, whose clocks are not this one’s: roles are not drawn on this time axis."
        )
        traces = {}
    zero = record.start_monotonic_ns
    segments = {node: _shifted(found[:SEGMENTS_MAX], zero) for node, found in timeline(traces).items() if found}
    if not segments and not notes:
        notes.append("No node left a trace, so nobody knows who led when.")
    return Roles(segments=segments, notes=tuple(notes))


def _read(folder: RunFolder, node: str) -> Trace:
    path = folder.trace(node)
    return parse_trace(_pick(path), name=str(path.name), node=node)


def _pick(path: Path) -> bytes:
    """The lines that matter; and each incarnation's last one, which says how long its last segment lasted."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1  # what follows the last line end is torn
    picked: list[tuple[int, int]] = []
    for match in _WANTED.finditer(data, 0, whole):
        line = _line_around(data, match.start())
        if b'"start"' in match[0] and line[0] > 0:
            picked.append(_line_around(data, line[0] - 2))
        picked.append(line)
    if whole > 1:
        picked.append(_line_around(data, whole - 2))
    return b"".join(data[begin:end] for begin, end in dict.fromkeys(picked))


def _line_around(data: bytes, place: int) -> tuple[int, int]:
    """Where the line that contains a place begins, and where it ends (after its line end)."""
    return data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place) + 1


def _shifted(segments: Sequence[Segment], zero: int) -> list[Segment]:
    return [
        Segment(role=segment.role, term=segment.term, from_ns=segment.from_ns - zero, to_ns=segment.to_ns - zero)
        for segment in segments
        if segment.to_ns > zero
    ]
