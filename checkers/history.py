"""A history: the operations of a run as columns, in the order of their invocations, and the fault events beside them.

Real-time order is decided by *positions*: the places of events in one total order. Operation A precedes B if and only
if A's return position is less than B's call position. The order in the file is the order, but intervals are closed:
where events share a time, invocations come first. What ended ``info`` or never ended has no return (:data:`NEVER`): it
may take effect at any later time.

Columns are numpy arrays with one element an operation, so that a million operations are judged without a Python loop;
rows (:class:`~checkers.operation.Operation`) are made on demand. A :class:`History` never changes;
:class:`HistoryBuilder` grows one event at a time and hands out a history whenever it is asked, while the run still goes
on. Large files of our own format take a shorter way (:mod:`checkers.blocks`) to the same columns.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, overload

import msgspec
import numpy as np

from checkers import formats
from checkers.blocks import CAS, Blocks, IrregularError
from checkers.columns import COLUMNS, DTYPES, FAIL, INFO, KINDS, NEVER, OK, Column, order_ties
from checkers.event import NEMESIS, Event, HistoryError, error_text, problem_of, shorten
from checkers.operation import Operation, Outcome
from checkers.values import ABSENT, DEPTH_MAX, ValueTable, checked

__all__ = ["ABSENT", "FAIL", "INFO", "NEVER", "OK", "Column", "History", "HistoryBuilder", "HistoryError"]

_OUTCOMES = (Outcome.OK, Outcome.FAIL, Outcome.INFO)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class History:
    """Operations in the order of their call positions, and fault events.

    ``f``, ``key``, ``node`` and ``error`` hold indices into ``functions``, ``keys``, ``nodes`` and ``errors`` (``node``
    and ``error``: :data:`ABSENT` if none). ``value`` (argument), ``expected`` and ``result`` hold indices into
    ``values``: a compare-and-set ``[a, b]`` has ``expected`` a and ``value`` b; ``result`` is what an ``ok`` completion
    carried, :data:`ABSENT` for other outcomes and for compare-and-set. ``outcome`` is :data:`OK`, :data:`FAIL` or
    :data:`INFO`; an operation nobody saw end counts as info and has ``return_ns`` -1. ``call`` and ``return_`` are
    positions; ``return_`` is :data:`NEVER` for info. Times are nanoseconds.
    """

    process: Column
    f: Column
    key: Column
    value: Column
    expected: Column
    result: Column
    outcome: Column
    call: Column
    return_: Column
    call_ns: Column
    return_ns: Column
    node: Column
    error: Column
    final: Column
    functions: Sequence[str]
    keys: ValueTable
    values: ValueTable
    nodes: Sequence[str]
    errors: Sequence[str]
    nemesis: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    source: str = "history"
    format: str = "jsonl"
    events: int = 0

    @staticmethod
    def read(path: str | os.PathLike[str], format: str | None = None) -> History:  # noqa: A002 (the word users say)
        """Reads a history file; its format is found out from its content unless given (a key of ``formats.FORMATS``).

        Raises:
            HistoryError: the file is not a history, with the line, what is wrong with it and what to do.
            OSError: the file cannot be read.
        """
        source = os.fspath(path)
        name = format or formats.detect(source)
        if name in formats.BLOCKS and (history := _read_blocks(source, name)):
            return history
        builder = HistoryBuilder(source=source, format=name)
        builder.read(formats.reader(name, source)(source, builder.notes))
        return builder.history()

    @staticmethod
    def of(events: Iterable[Mapping[str, Any]], source: str = "history") -> History:
        """A history from event mappings (the fields of ``docs/formats.md``)."""
        builder = HistoryBuilder(source=source)
        for event in events:
            builder.add_event(event)
        return builder.history()

    def __len__(self) -> int:
        return len(self.process)

    @property
    def operations(self) -> Operations:
        """The operations as rows."""
        return Operations(self)

    def function(self, name: str) -> int:
        """The code of a function, or :data:`ABSENT` if no operation has it."""
        return self.functions.index(name) if name in self.functions else ABSENT

    def select(self, rows: Column) -> History:
        """The history of some operations only (a mask or ascending indices); tables are shared, positions are kept."""
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        tables = {name: getattr(self, name) for name in _TABLES}
        return History(**columns, **tables)

    def operation(self, row: int) -> Operation:
        """One operation as a row."""
        outcome = _OUTCOMES[int(self.outcome[row])]
        ended, returned = int(self.return_ns[row]), int(self.return_[row])
        return Operation(
            index=row,
            process=int(self.process[row]),
            f=self.functions[int(self.f[row])],
            key=self.keys.values[int(self.key[row])],
            value=self._argument(row),
            result=self._result(row),
            outcome=outcome,
            call_index=int(self.call[row]),
            return_index=None if returned == NEVER else returned,
            call_ns=int(self.call_ns[row]),
            return_ns=None if ended < 0 else ended,
            node=_entry(self.nodes, int(self.node[row])),
            error=_entry(self.errors, int(self.error[row])),
        )

    def _argument(self, row: int) -> Any:
        value = self.values.values[int(self.value[row])]
        expected = int(self.expected[row])
        return value if expected == ABSENT else (self.values.values[expected], value)

    def _result(self, row: int) -> Any:
        result = int(self.result[row])
        if result != ABSENT:
            return self.values.values[result]
        return self._argument(row) if self.outcome[row] == OK else None


_WIDTH = len(COLUMNS)
_F, _KEY, _RESULT, _OUTCOME = (COLUMNS.index(name) for name in ("f", "key", "result", "outcome"))
_VALUE, _EXPECTED = (COLUMNS.index(name) for name in ("value", "expected"))
_CALL, _RETURN, _RETURN_NS = (COLUMNS.index(name) for name in ("call", "return_", "return_ns"))
_NODE, _ERROR, _FINAL = (COLUMNS.index(name) for name in ("node", "error", "final"))
_TABLES = ("functions", "keys", "values", "nodes", "errors", "nemesis", "notes", "source", "format", "events")


def _entry(table: Sequence[str], code: int) -> str | None:
    return None if code == ABSENT else table[code]


class Operations(Sequence[Operation]):
    """The rows of a history, each made when it is asked for."""

    def __init__(self, history: History) -> None:
        self._history = history

    def __len__(self) -> int:
        return len(self._history)

    @overload
    def __getitem__(self, index: int) -> Operation: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Operation]: ...
    def __getitem__(self, index: int | slice) -> Operation | Sequence[Operation]:
        if isinstance(index, slice):
            return [self._history.operation(row) for row in range(*index.indices(len(self)))]
        row = index + len(self) if index < 0 else index
        if not 0 <= row < len(self):
            raise IndexError(index)
        return self._history.operation(row)

    def __iter__(self) -> Iterator[Operation]:
        return (self._history.operation(row) for row in range(len(self)))


@dataclass(slots=True)
class _Names:
    """A small table of names (functions, nodes, errors)."""

    codes: dict[str, int] = field(default_factory=dict)

    def code(self, name: str | None) -> int:
        return ABSENT if name is None else self.codes.setdefault(name, len(self.codes))

    def snapshot(self) -> Sequence[str]:
        return tuple(self.codes)


class HistoryBuilder:
    """Grows a history one event at a time, checking that it is one.

    ``source`` is named in errors; ``notes`` collects what a reader had to say about the file.
    """

    def __init__(self, *, source: str = "history", format: str = "jsonl") -> None:  # noqa: A002
        self.source = source
        self.format = format
        self.notes: list[str] = []
        self._nemesis: list[Mapping[str, Any]] = []
        self._functions, self._nodes, self._errors = _Names(), _Names(), _Names()
        self._keys, self._values = ValueTable(), ValueTable()
        self._values.code(None)  # null is in every table: it is the default initial value
        self._open: dict[int, int] = {}
        self._events = 0
        self._last_ns = -(2**63)
        self._completed_at_last_ns = False
        self._ties = False
        # One array for all cells, row after row: extending it once is a third of the cost of appending to each column.
        self._cells = array("q")

    def __len__(self) -> int:
        return len(self._cells) // _WIDTH

    def add_event(self, event: Mapping[str, Any]) -> None:
        """Adds the next event.

        Raises:
            HistoryError: the event has a wrong type, comes before its predecessor, or does not fit what its process did
            before.
        """
        line = self._events + 1
        try:
            parsed = msgspec.convert(event, Event)
        except msgspec.ValidationError as error:
            raise self._error(line, problem_of(error), "See docs/formats.md for the fields of an event.") from None
        self._add(parsed, line)

    def read(self, events: Iterable[tuple[int, Event]]) -> None:
        """Adds many events, each with its line in the source.

        Raises:
            HistoryError: as for :meth:`add_event`.
        """
        for line, event in events:
            self._add(event, line)

    def _add(self, event: Event, line: int) -> None:
        time = event.time
        if time < self._last_ns:
            raise self._error(line, f"time goes back from {self._last_ns} to {time}", "Sort the events by time.")
        if time != self._last_ns:
            self._last_ns = time
            self._completed_at_last_ns = False
        process = event.process
        try:
            if event.error is not None:
                checked(event.error)
            if type(process) is not int:
                self._add_fault(event, line)
            elif event.type == "invoke":
                self._invoke(event, process, line)
            else:
                self._complete(event, process, line)
        except (TypeError, RecursionError):  # raised by what encodes values to tell them apart
            name = _offender(event)
            value = shorten(getattr(event, name))
            problem = f"its {name} is what JSON cannot say, or nested deeper than {DEPTH_MAX}: {value}"
            raise self._error(line, problem, "Record plain JSON values.") from None
        self._events += 1

    def _invoke(self, event: Event, process: int, line: int) -> None:
        if process in self._open:
            self._refuse_second_invocation(process, line)
        if self._completed_at_last_ns:
            self._ties = True
        value, expected = event.value, ABSENT
        if event.f == CAS:
            expected, value = self._pair(value, line)
        else:
            value = self._values.code(value)
        key = self._keys.code(event.key)
        cells = self._cells
        self._open[process] = len(cells)
        f, node = self._functions.code(event.f), self._nodes.code(event.node)
        what = (process, f, key, value, expected, ABSENT, INFO)
        cells.extend((*what, self._events, NEVER, event.time, -1, node, ABSENT, event.final))

    def _pair(self, value: Any, line: int) -> tuple[int, int]:
        if not isinstance(value, list | tuple) or len(value) != 2:
            problem = f"a cas has the value {shorten(value)}"
            raise self._error(line, problem, "Record [expected, new] as the value of a cas.")
        return self._values.code(value[0]), self._values.code(value[1])

    def _complete(self, event: Event, process: int, line: int) -> None:
        outcome = KINDS[event.type]
        row = self._open.pop(process, None)
        if row is None:
            problem = f"process {process} has {event.type} without an invocation"
            raise self._error(line, problem, "Record the invoke event before its completion.")
        self._completed_at_last_ns = True
        cells = self._cells
        self._match(event, row, line)
        cells[row + _OUTCOME] = outcome
        cells[row + _RETURN_NS] = event.time
        if outcome != INFO:
            cells[row + _RETURN] = self._events
        if outcome == OK and event.f != CAS:
            cells[row + _RESULT] = self._values.code(event.value)
        if event.error is not None:
            cells[row + _ERROR] = self._errors.code(error_text(event.error))
        if event.node is not None:
            cells[row + _NODE] = self._nodes.code(event.node)
        if event.final:
            cells[row + _FINAL] = True

    def _match(self, event: Event, row: int, line: int) -> None:
        if self._functions.codes.get(event.f) != self._cells[row + _F]:
            invoked = self._functions.snapshot()[self._cells[row + _F]]
            problem = f"process {event.process} invoked {invoked} but {shorten(event.f)} completed"
            raise self._error(line, problem, "A completion repeats the f of its invocation.")
        if event.key is not None and self._keys.code(event.key) != self._cells[row + _KEY]:
            invoked_key = self._keys.values[self._cells[row + _KEY]]
            problem = (
                f"process {event.process} invoked on key {shorten(invoked_key)} but {shorten(event.key)} completed"
            )
            raise self._error(line, problem, "A completion repeats the key of its invocation.")

    def _add_fault(self, event: Event, line: int) -> None:
        if event.process != NEMESIS:
            problem = f"the process is {shorten(event.process)}"
            raise self._error(line, problem, f"A process is a number, or {NEMESIS!r} for fault events.")
        checked(event.value)
        self._nemesis.append(_fault(event))

    def _refuse_second_invocation(self, process: int, line: int) -> None:
        first = self._cells[self._open[process] + _CALL]
        problem = f"process {process} invokes while its operation of event {first} is still open"
        raise self._error(
            line, problem, "Complete it first (info if nobody knows), or invoke under a new process number."
        )

    def _error(self, line: int, problem: str, step: str) -> HistoryError:
        return HistoryError(self.source, line, problem, step)

    @property
    def keys(self) -> int:
        """How many keys there are so far."""
        return len(self._keys)

    def key(self, value: Any) -> int:
        """The code of a key, given out on first sight.

        Raises:
            TypeError: JSON cannot say it, or it is nested too deep.
        """
        return self._keys.code(value)

    def history(self, keys: Sequence[int] | None = None, values: Sequence[Any] | None = None) -> History:
        """The history so far, or the part of some keys (their codes), or of some values (the operations that expect,
        write or return one of them; values as :func:`checkers.values.identity` has them): whatever is still open
        counts as ``info``.

        Costs a copy of the columns (about 70 bytes an operation).
        """
        table = self._table(keys, values).T
        columns = {name: column.astype(DTYPES[name]) for name, column in zip(COLUMNS, table, strict=True)}
        if self._ties:
            order_ties(columns)
        for column in columns.values():
            column.setflags(write=False)
        return History(
            **columns,
            functions=self._functions.snapshot(),
            keys=self._keys,
            values=self._values,
            nodes=self._nodes.snapshot(),
            errors=self._errors.snapshot(),
            nemesis=tuple(self._nemesis),
            notes=tuple(self.notes),
            source=self.source,
            format=self.format,
            events=self._events,
        )

    def _table(self, keys: Sequence[int] | None, values: Sequence[Any] | None) -> Column:
        """The cells, a row an operation: a copy in any case, for numpy's view of them would forbid the array to
        grow.
        """
        cells = np.asarray(self._cells).reshape(-1, _WIDTH)
        if keys is None and values is None:
            return cells.copy()
        chosen = np.ones(len(cells), dtype=np.bool_)
        if keys is not None:
            chosen &= _marked(keys, len(self._keys))[cells[:, _KEY]]
        if values is not None:
            marked = _marked([self._values.codes.get(value, ABSENT) for value in values], len(self._values))
            argument, result = cells[:, _VALUE], cells[:, _RESULT]
            of_read = (argument == self._values.find(None)) & (result != ABSENT)
            chosen &= (marked[argument] & ~of_read) | marked[cells[:, _EXPECTED]] | marked[result]
        rows: Column = cells[chosen]
        return rows


def _marked(codes: Sequence[int], size: int) -> Column:
    """A mask of codes, with a last place for what has none (:data:`ABSENT`)."""
    mask = np.zeros(size + 1, dtype=np.bool_)
    mask[list(codes)] = True
    mask[ABSENT] = False
    return mask


def _offender(event: Event) -> str:
    """Which field holds what cannot be a value of a history."""
    for name in ("key", "error"):
        try:
            checked(getattr(event, name))
        except (TypeError, RecursionError):
            return name
    return "value"


def _fault(event: Event) -> Mapping[str, Any]:
    fields = {name: getattr(event, name) for name in Event.__struct_fields__}
    return {name: value for name, value in fields.items() if value is not None and name != "final"}


def _read_blocks(source: str, name: str) -> History | None:
    """The history of a large file; None if the builder must say what is wrong with it."""
    notes: list[str] = []
    blocks = Blocks()
    try:
        for events in formats.BLOCKS[name](source, notes):
            blocks.add(events)
        columns = blocks.operations()
    except IrregularError:
        return None
    for column in columns.values():
        column.setflags(write=False)
    return History(
        **columns,
        functions=blocks.functions.snapshot(),
        keys=blocks.keys,
        values=blocks.values,
        nodes=blocks.nodes.snapshot(),
        errors=blocks.errors.snapshot(),
        nemesis=tuple(_fault(event) for event in blocks.faults),
        notes=tuple(notes),
        source=source,
        format=name,
        events=blocks.events,
    )
