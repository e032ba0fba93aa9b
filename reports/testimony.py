"""The picture of a finding that rests on trace lines: a lane a node, a mark for each line, and the faults that hit
these nodes meanwhile.

As in :mod:`reports.drawing` the axis is the order of events, not a scale, and times are written out. The lines
themselves are quoted beneath it; here they are said in a few words that hold the fact that matters, so that "stored:
term 2, vote n2", then a kill, then "restarts: term 2, vote none" is seen at a glance.

A fault is drawn while it was *proved* to be in force: from the end of injecting to the begin of healing. A line that
was written while the fault was being injected therefore stands before its bar, where it belongs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from checkers.verdict import Finding
from reports.lenient import mapping, text, texts
from reports.quotes import Quote
from reports.record import Fault
from reports.titles import lost_a_vote
from reports.words import moment, value_words

GUTTER, LANE, TOP = 96, 66, 12
_CHARACTER = 7.6
_ROOM = 110
_BEFORE_NS = 2_000_000_000
"""Faults that ended this long before the first mark still belong into the picture."""

CONTRADICTED_LAST = (
    "one vote a term",
    "term never goes back",
    "nothing durable is forgotten",
    "commit never goes back",
    "applied never goes back",
)
"""Rules about one node's memory: its last line is the one that must not be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One line of a trace; ``wrong`` if it is the one that must not be."""

    x: float
    y: float
    number: int
    label: str
    time: str
    wrong: bool


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
    """Everything that the template draws. ``trust`` says why the lines can be believed."""

    width: float
    height: float
    lanes: tuple[tuple[str, float], ...]
    marks: tuple[Mark, ...]
    strikes: tuple[Strike, ...]
    trust: str
    gutter: float = GUTTER


@dataclass(frozen=True, kw_only=True, slots=True)
class _Event:
    ns: int
    node: str
    label: str
    time: str
    number: int = 0
    wrong: bool = False
    end_ns: int | None = None
    """For a fault: when it was over."""


def picture(quotes: Sequence[Quote], faults: Sequence[Fault], finding: Finding) -> Scene | None:
    """The picture of quoted lines, or None if fewer than two of them have a time (then there is no order to show)."""
    lines = _lines(quotes, finding)
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
        trust=_trust(quotes),
    )


def _lines(quotes: Sequence[Quote], finding: Finding) -> list[_Event]:
    timed = [(number, quote, quote.time_ns) for number, quote in enumerate(quotes, 1) if quote.time_ns is not None]
    last = max((ns for _, _, ns in timed), default=0)
    condemned = finding.kind in CONTRADICTED_LAST
    vote = lost_a_vote(finding)
    return [
        _Event(
            ns=ns,
            node=quote.node,
            label=said(quote.words, vote=vote),
            time=moment(ns),
            number=number,
            wrong=condemned and ns == last,
        )
        for number, quote, ns in timed
    ]


def _trust(quotes: Sequence[Quote]) -> str:
    if not any(_row(quote.words).get("event") == "durable" for quote in quotes):
        return ""
    return "A node writes a “durable” line only after its disk had confirmed what the line says."


def concerned(faults: Sequence[Fault], nodes: Sequence[str], first_ns: int, last_ns: int) -> Sequence[Fault]:
    """The faults on some nodes that were in force between two moments, or shortly before."""
    return [
        fault
        for fault in faults
        if fault.begin_ns is not None
        and set(fault.targets) & set(nodes)
        and fault.begin_ns <= last_ns
        and (fault.end_ns is None or fault.end_ns >= first_ns - _BEFORE_NS)
    ]


def _strikes(faults: Sequence[Fault], nodes: Sequence[str], lines: Sequence[_Event]) -> list[_Event]:
    first, last = min(line.ns for line in lines), max(line.ns for line in lines)
    found = []
    for fault in concerned(faults, nodes, first, last):
        begin = fault.in_force_ns if fault.in_force_ns is not None else fault.begin_ns or 0
        over = fault.healing_ns if fault.healing_ns is not None else fault.end_ns
        time = f"{begin / 1e9:.3f} – {moment(over) if over is not None else 'the end'}"
        word = "killed" if fault.family == "kill" else value_words(fault.family, 16)
        found += [
            _Event(
                ns=begin,
                node=node,
                label=f"{word}, fault {fault.label}",
                time=time,
                end_ns=last if over is None else over,
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
    return max(len(event.label) + 2 * event.wrong, len(event.time) * 0.9) * _CHARACTER + 22


def _mark(event: _Event, x: float, tops: Mapping[str, float]) -> Mark:
    place = {"x": x + 8, "y": tops[event.node] + 34}
    return Mark(number=event.number, label=event.label, time=event.time, wrong=event.wrong, **place)


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


def _of(line: Mapping[str, Any], name: str, default: str = "?") -> str:
    return text(line.get(name), default)


_WORDS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "vote": lambda line: f"votes for {_of(line, 'for', 'nobody')} in term {_of(line, 'term')}",
    "role": lambda line: f"{_of(line, 'role')} of term {_of(line, 'term')}",
    "term": lambda line: f"term {_of(line, 'term')}",
    "start": lambda line: f"restarts: term {_of(line, 'term')}, log to {_of(line, 'last_index')}",
    "durable": lambda line: f"stored: term {_of(line, 'term')}, log to {_of(line, 'index')}",
    "commit": lambda line: f"commits to {_of(line, 'index')}",
    "truncate": lambda line: f"cuts its log from {_of(line, 'from')}",
    "ack": lambda line: f"acknowledges {_of(line, 'index')}",
    "config": lambda line: _members(line),
}


def _members(line: Mapping[str, Any]) -> str:
    """``voters n1, n2, n3 (before: n1, n2)``; the second while a joint change is under way."""
    before = f" (before: {', '.join(texts(line['outgoing']))})" if line.get("outgoing") else ""
    return f"voters {', '.join(texts(line.get('voters'))) or '?'}{before}"


_VOTES: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "start": lambda line: f"restarts: term {_of(line, 'term')}, vote {_of(line, 'vote', 'none')}",
    "durable": lambda line: f"stored: term {_of(line, 'term')}, vote {_of(line, 'vote', 'none')}",
}
"""The same lines where the question is whom the node voted for."""


def said(line: str, *, vote: bool = False) -> str:
    """A trace line in a few words; the event's name for an event that has none here. With ``vote``, lines about what
    is stored tell the vote instead of the log.
    """
    row = _row(line)
    event = text(row.get("event"), "says")
    words = (_VOTES if vote else {}).get(event) or _WORDS.get(event)
    return value_words(words(row) if words else event, 42)


def _row(line: str) -> Mapping[str, Any]:
    try:
        return mapping(orjson.loads(line))
    except orjson.JSONDecodeError:  # a long line is quoted in part; its event stands near its beginning
        event = re.search(r'"event":"([a-z_]+)"', line)
        return {"event": event[1].replace("_", " ")} if event and event[1] not in _WORDS else {}
