"""Histories in EDN, as Jepsen, Knossos and porcupine's kv logs write them, and as we write them for Jepsen's tools.

A history is a sequence of maps, one a line or all in one vector or list, with ``:process``, ``:type``, ``:f``,
``:value`` and perhaps ``:time``, ``:key``, ``:error``, ``:node``. Unless all events have a time their number is taken,
so that the order of the file is the order.

Jepsen's independent keys are values ``[key value]`` of every operation. They are told apart from values that are pairs
by an operation without an argument (``[key nil]``), which every such history has that reads, dequeues or locks
anything. Files that say ``:key`` mean what they say.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from checkers.blocks import CAS
from checkers.event import NEMESIS, Event, HistoryError, problem_of, shorten
from checkers.formats.edn import EdnError, KeyedValue, Reader, keyword, written

_FIELDS = ("process", "type", "f", "time", "value", "key", "error", "node", "final", "attempts")
_SCALARS = (int, str, bool, float)
_TRANSACTION, _MICRO_OPERATIONS = "txn", frozenset({"r", "w", "append"})


def events(source: str, notes: list[str]) -> Iterator[tuple[int, Event]]:
    """The events of a file with the lines on which they start.

    Raises:
        HistoryError: the file is not EDN, or something in it is not an event.
    """
    maps = list(_maps(source, _read(source), notes))
    timed = sum(isinstance(value, dict) and value.get("time") is not None for _, value in maps)
    if 0 < timed < len(maps):
        notes.append(f"{source}: not every event has a time: the order of the file is taken, and no times")
    parsed = [_event(source, line, value, None if timed == len(maps) else at) for at, (line, value) in enumerate(maps)]
    if not any(isinstance(value, dict) and "key" in value for _, value in maps) and _independent(parsed):
        notes.append(f"{source}: every value is a pair [key value]: read as Jepsen's independent keys")
        for event in parsed:
            if event.process != NEMESIS and isinstance(event.value, list) and len(event.value) == 2:
                event.key, event.value = event.value
    yield from zip((line for line, _ in maps), parsed, strict=True)


def _read(source: str) -> str:
    with open(source, "rb") as file:
        data = file.read()
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = 1 + data.count(b"\n", 0, error.start)
        problem = f"a byte that is not UTF-8 ({data[error.start]:#04x})"
        raise HistoryError(source, line, problem, "Save the file as UTF-8.") from None


def _maps(source: str, text: str, notes: list[str]) -> Iterator[tuple[int, Any]]:
    line, counted = 1, 0
    try:
        for start, value in Reader(text).items():
            line += text.count("\n", counted, start)
            counted = start
            for item in value if isinstance(value, list) else [value]:
                yield line, item
    except EdnError as error:
        at = 1 + text.count("\n", 0, error.position)
        if not _is_torn(text, error, counted):
            raise HistoryError(source, at, f"{error} in EDN", "Mend the file, or say its format.") from None
        notes.append(f"{source}, line {at}: the last line is torn and was cut: {shorten(text[error.position :])}")


def _is_torn(text: str, error: EdnError, last: int) -> bool:
    """Did the text end within a map that is all on its last line, after a whole one on an earlier line?"""
    last_line = text.rfind("\n") + 1
    return error.at_end and text[last_line:].strip() != "" and last < last_line <= error.position


def _event(source: str, line: int, value: Any, number: int | None) -> Event:
    """``number``: what is taken for its time; None if it has one."""
    step = "An event is {:process 0, :type :invoke, :f :read, :value nil, ...}."
    if not isinstance(value, dict):
        raise HistoryError(source, line, f"not a map: {shorten(value)}", step)
    fields = {name: value[name] for name in _FIELDS if value.get(name) is not None}
    if number is not None:
        fields["time"] = number
    try:
        return msgspec.convert(fields, Event)
    except msgspec.ValidationError as error:
        raise HistoryError(source, line, f"{problem_of(error)} in {shorten(value)}", step) from None


def _independent(parsed: Sequence[Event]) -> bool:
    calls = [event for event in parsed if event.type == "invoke" and event.process != NEMESIS]
    if calls and all(type(event.value) is KeyedValue for event in calls):
        return True
    return _are_keyed((event.f, event.value) for event in calls)


def _are_keyed(calls: Iterable[tuple[str, Any]]) -> bool:
    """Are these functions' arguments independent keys with values? (See the module.)"""
    without_argument = False
    for f, value in calls:
        if not isinstance(value, list) or len(value) != 2 or not isinstance(value[0], _SCALARS):
            return False
        without_argument |= f != CAS and value[1] is None
    return without_argument


def lines(events: Sequence[Event]) -> Iterator[bytes]:
    """A history for Jepsen's tools, one map a line: ``:type`` and ``:f`` are keywords, independent keys stand in the
    values where that can be understood, else in ``:key``.
    """
    calls = [event for event in events if event.type == "invoke" and event.process != NEMESIS]
    in_values = _are_keyed((event.f, [event.key, event.value]) for event in calls)
    # A key, even nil, in one place tells readers that no value is a pair of key and value.
    said = not in_values and (
        any(event.key is not None for event in calls) or _are_keyed((event.f, event.value) for event in calls)
    )
    keys: dict[int | str, Any] = {}
    for number, event in enumerate(events):
        if event.type == "invoke":
            keys[event.process] = event.key
        ours = event.process != NEMESIS
        key = keys.get(event.process) if ours else None
        value = _value(event)
        fields = [
            f":index {number}, :time {event.time}, :type :{event.type}",
            f":process {event.process if ours else ':nemesis'}, :f {keyword(event.f)}",
            f":value [{written(key)} {value}]" if in_values and ours else f":value {value}",
        ]
        if said and ours:
            fields.append(f":key {written(key)}")
        yield ("{" + ", ".join(fields) + _more(event) + "}\n").encode()


def _value(event: Event) -> str:
    if event.f == _TRANSACTION and isinstance(event.value, list):
        return "[" + " ".join(_micro_operation(item) for item in event.value) + "]"
    return written(event.value)


def _micro_operation(item: Any) -> str:
    """``[:append k v]``: the function is a keyword, as Elle wants it."""
    if isinstance(item, list) and item and isinstance(item[0], str) and item[0] in _MICRO_OPERATIONS:
        return "[" + " ".join([f":{item[0]}", *(written(rest) for rest in item[1:])]) + "]"
    return written(item)


def _more(event: Event) -> str:
    error = keyword(event.error) if isinstance(event.error, str) else written(event.error)
    parts = [f", :error {error}"] if event.error is not None else []
    parts += [f", :node {written(event.node)}"] if event.node is not None else []
    parts += [", :final true"] if event.final else []
    parts += [f", :attempts {event.attempts}"] if event.attempts is not None else []
    return "".join(parts)
