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
from dataclasses import dataclass
from itertools import pairwise, permutations
from typing import Any

from checkers.operation import Operation, Outcome
from checkers.verdict import Finding
from reports.lenient import integer, plain, sequence
from reports.words import duration, moment, operation_words, value_words

OPERATIONS_MAX = 24
"""More are no longer a picture; the rest are listed as text."""

ARROWS_MAX = 12
VALUE_COLOURS = 6

GUTTER = 132
LANE = 74
TOP = 14
BAR = 18
COMFORTABLE = 900
"""A picture is stretched up to this width, in pixels, but not so much that it falls apart."""
STRETCH_MAX = 5.0
_CHARACTER = 7.6
_NO_VALUE = object()

RoleAt = Callable[[str, int], str]
"""Words for what a node was at a time of the run (``leader of term 4``); empty if unknown."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """One operation. ``colours`` are numbers of values: two for a compare-and-set that took effect."""

    operation: Operation
    x: float
    width: float
    y: float
    label: str
    times: str
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
    """A process: its name and where it asked."""

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
    conclusion: str
    left_out: int
    gutter: float = GUTTER


def draw(finding: Finding, role_at: RoleAt = lambda _node, _ns: "") -> Drawing | None:
    """The drawing of a finding, or None if it has no operations."""
    operations = finding.operations[:OPERATIONS_MAX]
    if not operations:
        return None
    places = _places(operations)
    end = max(places.values()) + 26
    processes = list(dict.fromkeys(operation.process for operation in operations))
    tops = {process: TOP + LANE * number for number, process in enumerate(processes)}
    clash = _clash(operations)
    colours = _colours(operations)
    bars = tuple(_bar(operation, places, tops, colours, clash, end) for operation in operations)
    by_index = {bar.operation.index: bar for bar in bars}
    relations = _relations(finding, operations)
    arrows = tuple(
        _arrow(number, by_index[a.index], by_index[b.index]) for number, (a, b) in enumerate(relations, start=1)
    )
    return Drawing(
        width=end + 12,
        height=TOP + LANE * len(processes),
        lanes=tuple(_lane(process, operations, tops[process], role_at) for process in processes),
        bars=bars,
        arrows=arrows,
        conclusion=_conclusion(clash),
        left_out=len(finding.operations) - len(operations),
    )


def _lane(process: int, operations: Sequence[Operation], y: float, role_at: RoleAt) -> Lane:
    own = [operation for operation in operations if operation.process == process]
    nodes = list(dict.fromkeys(operation.node for operation in own if operation.node))
    words = [value_words(f"{node} {role_at(node, own[0].call_ns)}".strip(), 22) for node in nodes[:2]]
    return Lane(y=y, title=f"process {process}", subtitle=", ".join(words))


def _places(operations: Sequence[Operation]) -> Mapping[tuple[int, bool], float]:
    """The place of each call ``(index, False)`` and return ``(index, True)``, in the order of events; stretched if
    there is room.
    """
    places = _spread(operations, 1.0)
    short = COMFORTABLE - max(places.values())
    gaps = sum(_gap(b[1] - a[1]) for a, b in pairwise(sorted(_events(operations))))
    return _spread(operations, min(STRETCH_MAX, 1 + short / gaps)) if short > 0 and gaps else places


def _spread(operations: Sequence[Operation], stretch: float) -> Mapping[tuple[int, bool], float]:
    events = sorted(_events(operations))
    places: dict[tuple[int, bool], float] = {}
    x, before_ns = float(GUTTER + 14), events[0][1]
    for place, (_, ns, operation_place, returns) in enumerate(events):
        operation = operations[operation_place]
        x += stretch * _gap(ns - before_ns) if place else 0
        if returns:
            x = max(x, places[operation.index, False] + _need(operation))
        places[operation.index, returns] = x
        before_ns = ns
    return _widened(places, operations, x)


def _events(operations: Sequence[Operation]) -> Iterator[tuple[int, int, int, bool]]:
    for place, operation in enumerate(operations):
        yield operation.call_index, operation.call_ns, place, False
        if operation.return_index is not None:
            yield operation.return_index, operation.return_ns or operation.call_ns, place, True


def _widened(
    places: dict[tuple[int, bool], float], operations: Sequence[Operation], end: float
) -> Mapping[tuple[int, bool], float]:
    """An operation that never returned reaches to the right end, and needs room for its label."""
    for operation in operations:
        if operation.return_index is None:
            end = max(end, places[operation.index, False] + _need(operation))
    return {
        **places,
        **{(operation.index, True): end + 18 for operation in operations if operation.return_index is None},
    }


def _gap(ns: int) -> float:
    """Room for a gap: 22 pixels, and 9 more for each power of ten above 10 µs."""
    return 22 + 9 * max(0.0, math.log10(max(ns, 1) / 1e4))


def _need(operation: Operation) -> float:
    """Room that the labels of a bar take."""
    return max(len(operation_words(operation)), len(_times(operation)) * 0.9) * _CHARACTER + 8


def _times(operation: Operation) -> str:
    if operation.return_ns is None:
        return f"{moment(operation.call_ns)} – never seen to end"
    return f"{operation.call_ns / 1e9:.3f} – {moment(operation.return_ns)}"


def _bar(
    operation: Operation,
    places: Mapping[tuple[int, bool], float],
    tops: Mapping[int, float],
    colours: Mapping[str, int],
    clash: _Clash | None,
    end: float,
) -> Bar:
    x = places[operation.index, False]
    until = places.get((operation.index, True), end)
    seen = [value for value in (_observed(operation), _written(operation)) if value is not _NO_VALUE]
    return Bar(
        operation=operation,
        x=x,
        width=until - x,
        y=tops[operation.process] + 26,
        label=operation_words(operation),
        times=_times(operation),
        colours=tuple(colours[plain(value)] for value in seen),
        impossible=clash is not None and clash.read.index == operation.index,
        open=operation.return_index is None,
    )


def _observed(operation: Operation) -> Any:
    """The value that an operation saw, as far as its outcome tells."""
    pair = sequence(operation.value)
    if operation.f == "cas" and len(pair) == 2:
        return pair[0]
    if operation.outcome is Outcome.OK and operation.value is None:
        return operation.result
    return _NO_VALUE


def _written(operation: Operation) -> Any:
    """The value that an operation leaves behind, if it takes effect."""
    pair = sequence(operation.value)
    if operation.f == "cas" and len(pair) == 2:
        return pair[1]
    return _NO_VALUE if operation.value is None else operation.value


def _colours(operations: Sequence[Operation]) -> Mapping[str, int]:
    """A number for each value, in the order in which values are met."""
    values = [
        value
        for operation in operations
        for value in (_observed(operation), _written(operation))
        if value is not _NO_VALUE
    ]
    return {words: number % VALUE_COLOURS for number, words in enumerate(dict.fromkeys(map(plain, values)))}


def precedes(first: Operation, second: Operation) -> bool:
    """Whether the first returned before the second began."""
    return (
        first.return_index is not None and first.outcome is not Outcome.INFO and first.return_index < second.call_index
    )


def _relations(finding: Finding, operations: Sequence[Operation]) -> Sequence[tuple[Operation, Operation]]:
    """The relations that the checker's argument names; or, if it names none, real-time order without what follows from
    the rest.
    """
    by_index = {operation.index: operation for operation in operations}
    named = [
        tuple(by_index.get(integer(index) or 0) for index in sequence(pair))
        for pair in sequence(finding.evidence.get("before"))
    ]
    pairs = [(a, b) for a, b in (pair for pair in named if len(pair) == 2) if a and b and precedes(a, b)]
    if not pairs:
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
    began = f"{_who(second)} began at {moment(second.call_ns)}"
    return f"{_who(first)} returned at {moment(first.return_ns)}, {apart} before {began}"


def _who(operation: Operation) -> str:
    return f"“{operation_words(operation)}” (process {operation.process})"


@dataclass(frozen=True, slots=True)
class _Clash:
    """A value seen although a later one was already known: ``old`` wrote it, ``new`` wrote the later one, ``witness``
    knew it.
    """

    old: Operation
    new: Operation
    witness: Operation
    read: Operation


def _clash(operations: Sequence[Operation]) -> _Clash | None:
    """The plain stale read, if that is what the operations show; other shapes are left to the finding's own words."""
    for read, old, new in permutations(operations, 3):
        seen = _observed(read)
        if seen is _NO_VALUE or _written(old) != seen or not _is_later(old, new, seen):
            continue
        for witness in operations:
            if witness is not read and _knows(witness, new) and precedes(witness, read):
                return _Clash(old, new, witness, read)
    return None


def _is_later(old: Operation, new: Operation, seen: Any) -> bool:
    written = _written(new)
    return written is not _NO_VALUE and written != seen and precedes(old, new)


def _knows(witness: Operation, new: Operation) -> bool:
    """Whether an operation's return proves that ``new`` took effect."""
    return witness.outcome is Outcome.OK and (witness is new or _observed(witness) == _written(new))


def _conclusion(clash: _Clash | None) -> str:
    if clash is None:
        return ""
    return f"{_who(clash.read)} began only after that, and still saw the older value."
