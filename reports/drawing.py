"""The picture of a few operations that cannot all be true: a lane a process, a bar from call to return, arrows for
real-time order.

A violation in a register needs two to four operations, often milliseconds long and seconds apart, so that a scale of
time would show hairlines in a void. The horizontal axis is therefore the *order* of events, stretched where a gap is
long and wide enough for every label; times are written out. Real-time order, which is what the argument rests on, is
exact. Bars are coloured by the value that they write or see, so that a reader sees at a glance that an old colour comes
back.

This module only computes places; ``templates/drawing.html`` draws them (and escapes what nodes said). Issue threads of
other checkers say why: people read a long picture of everything as "fine", and ask for the few operations that clash
(porcupine 4, 32; knossos 16).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, permutations

from checkers.operation import Operation
from checkers.verdict import Finding
from reports.contradiction import NO_VALUE, Doomed, condemn, observed, precedes, who, written
from reports.focus import focused
from reports.lenient import integer, plain, sequence
from reports.words import duration, moment, operation_words, value_words

OPERATIONS_MAX = 24
"""More are no longer a picture; the rest are listed as text."""

ARROWS_MAX = 12
VALUE_COLOURS = 6

GUTTER = 104
LANE = 90
TOP = 14
BAR = 18
COMFORTABLE = 900
"""A picture is stretched up to this width, in pixels, but not so much that it falls apart."""
STRETCH_MAX = 5.0
_CHARACTER = 7.6


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a drawing says of its operations beside what the finding holds. ``role_at`` has words for what a node was
    at a time of the run (``leader of term 4``), ``told`` the same as a clause with the node; ``worker_of`` knows the
    lane of a process in the timeline, ``attempts_of`` how often an operation (by the position of its return) was tried.
    """

    role_at: Callable[[str, int], str] = lambda _node, _ns: ""
    told: Callable[[str, int], str] = lambda node, _ns: node
    worker_of: Mapping[int, int] = field(default_factory=dict)
    attempts_of: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One operation. ``colours`` are numbers of values: two for a compare-and-set that took effect."""

    operation: Operation
    x: float
    width: float
    y: float
    label: str
    times: str
    answered: str
    colours: tuple[int, ...]
    impossible: bool
    open: bool
    """Nobody saw it end: it may take effect at any later time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrow:
    """One "returned before ... began". ``path`` is SVG; the number's place is (``x``, ``y``)."""

    number: int
    path: str
    x: float
    y: float
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Lane:
    """A process: the worker that it is in the timeline, and its number."""

    y: float
    title: str
    subtitle: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """Everything that the template draws."""

    width: float
    height: float
    lanes: tuple[Lane, ...]
    bars: tuple[Bar, ...]
    arrows: tuple[Arrow, ...]
    answers: tuple[str, ...]
    conclusion: str
    left_out: int
    gutter: float = GUTTER


def draw(finding: Finding, around: Surroundings | None = None) -> Drawing | None:
    """The drawing of a finding, or None if it has no operations."""
    operations = focused(finding)[:OPERATIONS_MAX]
    if not operations:
        return None
    around = around or Surroundings()
    notes = {operation.index: _answered(operation, around) for operation in operations}
    places = _places(operations, notes)
    end = max(places.values()) + 26
    processes = list(dict.fromkeys(operation.process for operation in operations))
    tops = {process: TOP + LANE * number for number, process in enumerate(processes)}
    doomed = condemn(finding, operations)
    colours = _colours(operations)
    bars = tuple(_bar(operation, places, tops, colours, doomed, notes) for operation in operations)
    by_index = {bar.operation.index: bar for bar in bars}
    relations = _relations(finding, operations)
    arrows = tuple(
        _arrow(number, by_index[a.index], by_index[b.index]) for number, (a, b) in enumerate(relations, start=1)
    )
    return Drawing(
        width=end + 12,
        height=TOP + LANE * len(processes),
        lanes=tuple(_lane(process, tops[process], around) for process in processes),
        bars=bars,
        arrows=arrows,
        answers=tuple(_answers(operations, around)),
        conclusion=doomed.words if doomed else "",
        left_out=len(finding.operations) - len(operations),
    )


def _lane(process: int, y: float, around: Surroundings) -> Lane:
    worker = around.worker_of.get(process)
    if worker is None:
        return Lane(y=y, title=f"process {process}", subtitle="")
    return Lane(y=y, title=f"worker {worker}", subtitle=f"process {process}")


def _answered(operation: Operation, around: Surroundings) -> str:
    """Who answered, in which role when it did (a node passes clients on, so it is not always the node that was asked
    first), and after how many attempts.
    """
    tries = around.attempts_of.get(operation.return_index or -1, 1)
    after = f", after {tries} attempts" if tries > 1 else ""
    if operation.node is None or operation.return_ns is None:
        return after.removeprefix(", ")
    role = around.role_at(operation.node, operation.return_ns)
    return f"by {value_words(operation.node, 14)}{f' ({role})' if role else ''}{after}"


def _answers(operations: Sequence[Operation], around: Surroundings) -> Iterator[str]:
    """Answers of nodes that led no longer, in sentences: there the explanation of most stale reads stands."""
    for operation in operations:
        if operation.node is not None and operation.return_ns is not None:
            told = around.told(operation.node, operation.return_ns)
            if "still believed" in told:
                yield f"{who(operation)} was answered by {told}."


def _places(operations: Sequence[Operation], notes: Mapping[int, str]) -> Mapping[tuple[int, bool], float]:
    """The place of each call ``(index, False)`` and return ``(index, True)``, in the order of events; stretched if
    there is room.
    """
    places = _spread(operations, notes, 1.0)
    short = COMFORTABLE - max(places.values())
    gaps = sum(_gap(b[1] - a[1]) for a, b in pairwise(sorted(_events(operations))))
    return _spread(operations, notes, min(STRETCH_MAX, 1 + short / gaps)) if short > 0 and gaps else places


def _spread(
    operations: Sequence[Operation], notes: Mapping[int, str], stretch: float
) -> Mapping[tuple[int, bool], float]:
    events = sorted(_events(operations))
    places: dict[tuple[int, bool], float] = {}
    x, before_ns = float(GUTTER + 14), events[0][1]
    for place, (_, ns, operation_place, returns) in enumerate(events):
        operation = operations[operation_place]
        x += stretch * _gap(ns - before_ns) if place else 0
        if returns:
            x = max(x, places[operation.index, False] + _need(operation, notes))
        places[operation.index, returns] = x
        before_ns = ns
    return _widened(places, operations, notes, x)


def _events(operations: Sequence[Operation]) -> Iterator[tuple[int, int, int, bool]]:
    for place, operation in enumerate(operations):
        yield operation.call_index, operation.call_ns, place, False
        if operation.return_index is not None:
            yield operation.return_index, operation.return_ns or operation.call_ns, place, True


def _widened(
    places: dict[tuple[int, bool], float], operations: Sequence[Operation], notes: Mapping[int, str], end: float
) -> Mapping[tuple[int, bool], float]:
    """An operation that never returned reaches to the right end, and needs room for its label."""
    for operation in operations:
        if operation.return_index is None:
            end = max(end, places[operation.index, False] + _need(operation, notes))
    return {
        **places,
        **{(operation.index, True): end + 18 for operation in operations if operation.return_index is None},
    }


def _gap(ns: int) -> float:
    """Room for a gap: 22 pixels, and 9 more for each power of ten above 10 µs."""
    return 22 + 9 * max(0.0, math.log10(max(ns, 1) / 1e4))


def _need(operation: Operation, notes: Mapping[int, str]) -> float:
    """Room that the labels of a bar take."""
    small = max(len(_times(operation)), len(notes.get(operation.index, "")))
    return max(len(operation_words(operation)) + 2, small * 0.9) * _CHARACTER + 8


def _times(operation: Operation) -> str:
    if operation.return_ns is None:
        return f"{moment(operation.call_ns)} – never seen to end"
    return f"{operation.call_ns / 1e9:.3f} – {moment(operation.return_ns)}"


def _bar(
    operation: Operation,
    places: Mapping[tuple[int, bool], float],
    tops: Mapping[int, float],
    colours: Mapping[str, int],
    doomed: Doomed | None,
    notes: Mapping[int, str],
) -> Bar:
    x = places[operation.index, False]
    seen = [value for value in (observed(operation), written(operation)) if value is not NO_VALUE]
    return Bar(
        operation=operation,
        x=x,
        width=places[operation.index, True] - x,
        y=tops[operation.process] + 26,
        label=operation_words(operation),
        times=_times(operation),
        answered=notes[operation.index],
        colours=tuple(colours[plain(value)] for value in seen),
        impossible=doomed is not None and doomed.operation.index == operation.index,
        open=operation.return_index is None,
    )


def _colours(operations: Sequence[Operation]) -> Mapping[str, int]:
    """A number for each value, in the order in which values are met."""
    values = [
        value
        for operation in operations
        for value in (observed(operation), written(operation))
        if value is not NO_VALUE
    ]
    return {words: number % VALUE_COLOURS for number, words in enumerate(dict.fromkeys(map(plain, values)))}


def _relations(finding: Finding, operations: Sequence[Operation]) -> Sequence[tuple[Operation, Operation]]:
    """The relations that the checker's argument names, and no others: an argument that needs no time has no arrows.
    If the checker does not say, real-time order without what follows from the rest.
    """
    by_index = {operation.index: operation for operation in operations}
    named = [
        tuple(by_index.get(integer(index) or 0) for index in sequence(pair))
        for pair in sequence(finding.evidence.get("before"))
    ]
    pairs = [(a, b) for a, b in (pair for pair in named if len(pair) == 2) if a and b and precedes(a, b)]
    if not pairs and "roles" not in finding.evidence:
        order = [(a, b) for a, b in permutations(operations, 2) if precedes(a, b)]
        pairs = [(a, b) for a, b in order if not any(precedes(a, c) and precedes(c, b) for c in operations)]
    return sorted(pairs, key=lambda pair: pair[1].call_index)[:ARROWS_MAX]


def _arrow(number: int, first: Bar, second: Bar) -> Arrow:
    x0, y0 = first.x + first.width, first.y + BAR / 2
    x1, y1 = second.x - 3, second.y + BAR / 2
    bend = max(14.0, (x1 - x0) / 2)
    path = f"M{x0:.1f},{y0:.1f} C{x0 + bend:.1f},{y0:.1f} {x1 - bend:.1f},{y1:.1f} {x1:.1f},{y1:.1f}"
    return Arrow(
        number=number,
        path=path,
        x=(x0 + x1) / 2,
        y=(y0 + y1) / 2,
        words=_arrow_words(first.operation, second.operation),
    )


def _arrow_words(first: Operation, second: Operation) -> str:
    apart = duration(second.call_ns - (first.return_ns or first.call_ns))
    began = f"{who(second)} began at {moment(second.call_ns)}"
    return f"{who(first)} returned at {moment(first.return_ns)}, {apart} before {began}"
