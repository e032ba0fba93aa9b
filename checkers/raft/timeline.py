"""Who led when: each node's roles and terms over time, as data for pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from checkers.raft.traces import AnyEvent, RoleChange, Start, TermChange, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of one role in one term; ns of the node's CLOCK_MONOTONIC. Between incarnations there is no segment."""

    role: str
    term: int
    from_ns: int
    to_ns: int


def timeline(traces: Mapping[str, Trace]) -> dict[str, list[Segment]]:
    """Per node its segments, in order; an incarnation's last one ends with the last line that it wrote."""
    return {name: _segments(trace) for name, trace in traces.items()}


def _segments(trace: Trace) -> list[Segment]:
    segments: list[Segment] = []
    for begin, end in trace.incarnations():
        segments.extend(_incarnation(trace.events[begin:end]))
    return segments


def _incarnation(events: Sequence[AnyEvent]) -> list[Segment]:
    segments: list[Segment] = []
    for event in events:
        if isinstance(event, (Start, TermChange, RoleChange)):
            _turn(segments, event)
    if segments:
        segments[-1] = replace(segments[-1], to_ns=max(event.time for event in (events[-1], events[0])))
    return [segment for segment in segments if segment.to_ns > segment.from_ns]


def _turn(segments: list[Segment], event: Start | TermChange | RoleChange) -> None:
    """Ends the segment before and begins a new one, if role or term changed."""
    role = event.role if isinstance(event, RoleChange) else "follower"
    if isinstance(event, TermChange) and segments and segments[-1].role != "leader":
        role = segments[-1].role  # a role line follows if the role changed too; a leader's new term ends its rule
    if segments and (segments[-1].role, segments[-1].term) == (role, event.term):
        return
    if segments:
        segments[-1] = replace(segments[-1], to_ns=event.time)
    segments.append(Segment(role=role, term=event.term, from_ns=event.time, to_ns=event.time))
