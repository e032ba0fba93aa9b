"""The picture of a finding that rests on trace lines: a lane a node, a mark for each line, and the faults that hit
these nodes meanwhile.

As in :mod:`reports.drawing` the axis is the order of events, not a scale, and times are written out. The lines
themselves are quoted beneath it; here they are said in a few words, so that "voted for n2, was killed, voted for n4" is
seen at a glance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from reports.lenient import mapping, text
from reports.quotes import Quote
from reports.record import Fault
from reports.words import moment, value_words

GUTTER, LANE, TOP = 96, 66, 12
_CHARACTER = 7.6
_ROOM = 110
_BEFORE_NS = 2_000_000_000
"""Faults that ended this long before the first mark still belong into the picture."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One line of a trace."""

    x: float
    y: float
    number: int
    label: str
    time: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Strike:
    """A fault on one node, from ``x`` to ``x`` + ``width``."""

    x: float
    width: float
    y: float
    label: str
    time: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """Everything that the template draws."""

    width: float
    height: float
    lanes: tuple[tuple[str, float], ...]
    marks: tuple[Mark, ...]
    strikes: tuple[Strike, ...]
    gutter: float = GUTTER


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    ns: int
    node: str
    label: str
    time: str
    number: int = 0
    end_ns: int | None = None
    """For a fault: when it was over."""


def picture(quotes: Sequence[Quote], faults: Sequence[Fault]) -> Scene | None:
    """The picture of quoted lines, or None if fewer than two of them have a time (then there is no order to show)."""
    lines = [
        _Event(ns=quote.time_ns, node=quote.node, label=said(quote.words), time=moment(quote.time_ns), number=number)
        for number, quote in enumerate(quotes, start=1)
        if quote.time_ns is not None
    ]
    if len(lines) < 2:
        return None
    nodes = list(dict.fromkeys(line.node for line in lines))
    events = sorted(lines + _strikes(faults, nodes, lines), key=lambda event: event.ns)
    tops = {node: TOP + LANE * place for place, node in enumerate(nodes)}
    places = _places(events)
    return Scene(
        width=max(places[-1] + _need(events[-1]), GUTTER + 300) + 12,
        height=TOP + LANE * len(nodes),
        lanes=tuple((value_words(node, 11), tops[node]) for node in nodes),
        marks=tuple(_mark(event, x, tops) for event, x in zip(events, places, strict=True) if event.number),
        strikes=tuple(
            _strike(event, x, events, places, tops) for event, x in zip(events, places, strict=True) if not event.number
        ),
    )


def _strikes(faults: Sequence[Fault], nodes: Sequence[str], lines: Sequence[_Event]) -> list[_Event]:
    first, last = min(line.ns for line in lines), max(line.ns for line in lines)
    found = []
    for fault in faults:
        over = last if fault.end_ns is None else fault.end_ns
        if fault.begin_ns is None or fault.begin_ns > last or over < first - _BEFORE_NS:
            continue
        time = f"{fault.begin_ns / 1e9:.3f} – {moment(fault.end_ns) if fault.end_ns is not None else 'the end'}"
        found += [
            _Event(
                ns=fault.begin_ns,
                node=node,
                label=f"fault {fault.number}: {value_words(fault.family, 16)}",
                time=time,
                end_ns=over,
            )
            for node in nodes
            if node in fault.targets
        ]
    return found[:24]


def _places(events: Sequence[_Event]) -> list[float]:
    """From left to right in the order of time; in one lane each label ends before the next begins."""
    free: dict[str, float] = {}
    places: list[float] = []
    x = GUTTER + 16.0
    for event in events:
        x = max(x, free.get(event.node, 0.0))
        places.append(x)
        free[event.node] = x + _need(event)
        x += _ROOM
    return places


def _need(event: _Event) -> float:
    return max(len(event.label), len(event.time) * 0.9) * _CHARACTER + 22


def _mark(event: _Event, x: float, tops: Mapping[str, float]) -> Mark:
    return Mark(x=x + 8, y=tops[event.node] + 34, number=event.number, label=event.label, time=event.time)


def _strike(
    event: _Event, x: float, events: Sequence[_Event], places: Sequence[float], tops: Mapping[str, float]
) -> Strike:
    """A fault reaches up to the first event after its end, and at most up to the next label of its lane."""
    after = [place for other, place in zip(events, places, strict=True) if other.ns >= (event.end_ns or event.ns)]
    room = x + _need(event) - 10
    end = min([place for place in after if place > x], default=room)
    return Strike(
        x=x, width=max(min(end - 8, room) - x, 24), y=tops[event.node] + 26, label=event.label, time=event.time
    )


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "vote": lambda line: f"votes for {text(line.get('for'), 'nobody')} in term {text(line.get('term'), '?')}",
    "role": lambda line: f"{text(line.get('role'), '?')} of term {text(line.get('term'), '?')}",
    "term": lambda line: f"term {text(line.get('term'), '?')}",
    "start": lambda line: f"starts: term {text(line.get('term'), '?')}, vote {text(line.get('vote'), 'none')}",
    "durable": lambda line: f"stored: term {text(line.get('term'), '?')}, log to {text(line.get('index'), '?')}",
    "commit": lambda line: f"commits to {text(line.get('index'), '?')}",
    "truncate": lambda line: f"cuts its log from {text(line.get('from'), '?')}",
    "ack": lambda line: f"acknowledges {text(line.get('index'), '?')}",
}


def said(line: str) -> str:
    """A trace line in a few words; the event's name for an event that has none here."""
    try:
        row = mapping(orjson.loads(line))
    except orjson.JSONDecodeError:
        return "says"
    event = text(row.get("event"), "says")
    return value_words(_WORDS[event](row) if event in _WORDS else event, 42)
