"""Reads what a node says of itself: ``trace.jsonl`` (docs/formats.md) as typed events.

A trace is appended line by line by processes that are killed at any moment, so a line can be torn: the last one of the
file, and the last one of every earlier incarnation (the next incarnation's ``start`` line then follows on a line of its
own, or glued to the torn one). A torn line is cut and noted, never an error: the contract says that a line is written
before any message that reveals its event, so whatever a torn line wanted to say, nobody heard of it. Everything else
that does not fit the format is a :class:`TraceError`, because a check of half a trace is a check nobody asked for.

This is the only module of the trace checkers that reads files. Decoding is one call of msgspec over the whole file (a
tagged union of structs), because traces of 100 MB are normal.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
"""An index or a term."""

Entry = tuple[Count, Count, str]
"""A log entry as traces tell it: index, term, hash."""

Applied = tuple[Count, Count, str, str]
"""An applied entry: index, term, hash of the command, hash of its result."""


class TraceError(ValueError):
    """A trace that can't be read: names the file, the line and the next step."""


class Event(msgspec.Struct, frozen=True, gc=False, tag_field="event"):
    """Common to all events: ``time`` is the node's CLOCK_MONOTONIC and ``wall`` its CLOCK_REALTIME, both in ns."""

    time: int
    wall: int
    node: str


class Start(Event, frozen=True, gc=False, tag="start"):
    """An incarnation begins: what it recovered from disk."""

    term: Count
    last_index: Count
    last_term: Count
    vote: str | None = None
    snapshot_index: Count = 0
    snapshot_term: Count = 0
    voters: tuple[str, ...] = ()
    identity: str | None = None
    """Who the node is in its cluster, if it does not keep its name: a node that comes back empty is somebody else."""


class RoleChange(Event, frozen=True, gc=False, tag="role"):
    """``role`` is ``follower``, ``pre-candidate``, ``candidate`` or ``leader`` (others are kept as they are)."""

    role: str
    term: Count
    leader: str | None = None


class TermChange(Event, frozen=True, gc=False, tag="term"):
    """The current term rose."""

    term: Count


class Vote(Event, frozen=True, gc=False, tag="vote"):
    """A vote was given (it may not be durable yet)."""

    term: Count
    candidate: str | None = msgspec.field(name="for")


class Append(Event, frozen=True, gc=False, tag="append"):
    """Entries were put at the end of the log."""

    entries: tuple[Entry, ...]


class Truncate(Event, frozen=True, gc=False, tag="truncate"):
    """Entries from this index on were cut off."""

    from_index: Count = msgspec.field(name="from")


class Durable(Event, frozen=True, gc=False, tag="durable"):
    """Hard state, and the log up to ``index``, are synced."""

    term: Count
    index: Count
    vote: str | None = None


class Commit(Event, frozen=True, gc=False, tag="commit"):
    """The commit index rose to ``index``; ``term`` is the node's current term."""

    index: Count
    term: Count


class Apply(Event, frozen=True, gc=False, tag="apply"):
    """Entries went through the state machine."""

    entries: tuple[Applied, ...]


class SnapshotEvent(Event, frozen=True, gc=False, tag="snapshot"):
    """A snapshot up to ``index`` (an entry of ``term``) was ``taken`` or ``installed``; ``hash`` is the state's."""

    action: str
    index: Count
    term: Count
    hash: str | None = None


class Config(Event, frozen=True, gc=False, tag="config"):
    """The voters, as of the entry at ``index``. While a joint change is under way a quorum needs a majority of the
    ``outgoing`` voters too. ``learners`` are sent the log and have no vote."""

    index: Count
    voters: tuple[str, ...]
    outgoing: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()


class Match(Event, frozen=True, gc=False, tag="match"):
    """What a leader knows of its followers now: up to which index each agrees with it (told now and then)."""

    term: Count
    match: dict[str, Count]


class Ack(Event, frozen=True, gc=False, tag="ack"):
    """The command at ``index`` was acknowledged to its client."""

    index: Count
    term: Count


class Lag(Event, frozen=True, gc=False, tag="lag"):
    """The event loop's worst lag since the last such line, in ms."""

    max_ms: float


AnyEvent = (
    Start
    | RoleChange
    | TermChange
    | Vote
    | Append
    | Truncate
    | Durable
    | Commit
    | Apply
    | SnapshotEvent
    | Config
    | Match
    | Ack
    | Lag
)

EVENT_NAMES = tuple(kind.__struct_config__.tag for kind in AnyEvent.__args__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One node's trace over all its incarnations. ``lines[i]`` is the line number (from 1) of ``events[i]``."""

    node: str
    events: Sequence[AnyEvent]
    lines: Sequence[int]
    torn: tuple[int, ...] = ()
    """Numbers of the lines that were cut because a kill tore them."""
    origin_ns: int | None = None
    """The node's CLOCK_MONOTONIC at the run's time zero, where that is known: findings then tell the run's time."""
    identity: str = ""
    """Who the node was in its cluster all the time; empty: it is called there as it is here."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know about how this trace was read."""
        return tuple(f"{self.node}: line {line} of the trace was torn by a kill and is left out" for line in self.torn)

    def select(self, *kinds: type[Event]) -> Iterator[tuple[int, AnyEvent]]:
        """(position, event) of the events of these kinds, in order."""
        wanted = frozenset(kinds)
        return ((position, event) for position, event in enumerate(self.events) if event.__class__ in wanted)

    def identities(self) -> Iterator[Trace]:
        """A trace for each identity that the node had: what one promised binds no other."""
        begins, known = [0], None
        for position, event in self.select(Start):
            identity = event.identity if isinstance(event, Start) else None
            if identity != known and position:
                begins.append(position)
            known = identity
        for begin, end in zip(begins, [*begins[1:], len(self.events)], strict=True):
            first = self.events[begin] if begin < end else None
            identity = first.identity if isinstance(first, Start) else None
            yield replace(
                self, events=self.events[begin:end], lines=self.lines[begin:end], identity=identity or self.node
            )

    def incarnations(self) -> Iterator[tuple[int, int]]:
        """The spans ``[begin, end)`` of ``events`` that belong to one incarnation each."""
        starts = [position for position, event in enumerate(self.events) if event.__class__ is Start]
        begins = starts if starts[:1] == [0] or not self.events else [0, *starts]
        yield from zip(begins, [*begins[1:], len(self.events)], strict=True)


_DECODER: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_START = re.compile(rb'"event"\s*:\s*"start"')


def read_trace(path: Path) -> Trace:
    """Reads one node's trace file; the node's name is its folder's unless the events say otherwise.

    Raises :class:`TraceError` for a file that can't be read or a line that is not in the format; a torn line is cut.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TraceError(f"{path}: can't be read ({error.strerror}); name a trace.jsonl that exists") from error
    return parse_trace(data, name=str(path), node=path.parent.name)


def parse_trace(data: bytes, *, name: str, node: str) -> Trace:
    """Parses a trace's bytes; ``name`` is what errors call it, ``node`` the node's name if no event tells it.

    Raises :class:`TraceError` with name, line and next step.
    """
    try:
        events: Sequence[AnyEvent] = _DECODER.decode_lines(data)
        lines: Sequence[int] = range(1, len(events) + 1)
        torn: tuple[int, ...] = ()
        if len(events) != data.count(b"\n") + (not data.endswith(b"\n") and bool(data)):
            events, lines, torn = _line_by_line(data, name)  # blank lines: count them
    except (msgspec.DecodeError, UnicodeDecodeError):
        events, lines, torn = _line_by_line(data, name)
    return Trace(node=_one_name(events, lines, name, node), events=events, lines=lines, torn=torn)


def _line_by_line(data: bytes, name: str) -> tuple[list[AnyEvent], list[int], tuple[int, ...]]:
    """The slow way, taken when a line is torn or wrong: tells one from the other."""
    events: list[AnyEvent] = []
    lines: list[int] = []
    torn: list[int] = []
    rows = data.split(b"\n")
    for number, row in enumerate(rows, start=1):
        if not row.strip():
            continue
        try:
            event = _DECODER.decode(row)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            glued = _glued_start(row)
            if glued is None and not _is_torn(rows, number):
                raise TraceError(_explain(name, number, row, error)) from error
            torn.append(number)
            if glued is None:
                continue
            event = glued
        events.append(event)
        lines.append(number)
    return events, lines, tuple(torn)


def _glued_start(row: bytes) -> Start | None:
    """The ``start`` line that a new incarnation wrote right behind a torn one."""
    if not _START.search(row):
        return None
    place = row.rfind(b'{"')
    while place > 0:
        event = _decoded(row[place:])
        if isinstance(event, Start):
            return event
        place = row.rfind(b'{"', 0, place)
    return None


def _is_torn(rows: Sequence[bytes], number: int) -> bool:
    """Whether a line that can't be decoded was cut short by a kill: it is the beginning of an object but no whole JSON,
    and after it comes nothing, or the next incarnation's ``start`` (which the next kill may have torn in its turn)."""
    row = rows[number - 1]
    if not row.lstrip().startswith(b"{") or _is_json(row):
        return False
    place = next((place for place in range(number, len(rows)) if rows[place].strip()), None)
    if place is None or isinstance(_decoded(rows[place]), Start):
        return True
    return place == len(rows) - 1 and not _is_json(rows[place])


def _is_json(row: bytes) -> bool:
    try:
        msgspec.json.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def _decoded(row: bytes) -> AnyEvent | None:
    try:
        return _DECODER.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _explain(name: str, number: int, row: bytes, error: Exception) -> str:
    shown = row[:120].decode(errors="replace") + ("..." if len(row) > 120 else "")
    return (
        f"{name}, line {number}: not an event of a trace: {error}. The line is {shown!r}. "
        f"Events are {', '.join(EVENT_NAMES)}; docs/formats.md says what each must hold. "
        "Mend the node's trace, or remove the file to judge the run without it."
    )


def _one_name(events: Sequence[AnyEvent], lines: Sequence[int], name: str, default: str) -> str:
    """The one node that all events speak of: two nodes in one file would be judged as one."""
    names = {event.node for event in events}
    if len(names) > 1:
        first = events[0].node
        place = next(position for position, event in enumerate(events) if event.node != first)
        raise TraceError(
            f"{name}, line {lines[place]}: an event of node {events[place].node!r} in the trace of {first!r}; "
            "give every node a trace file of its own"
        )
    return next(iter(names), default)
