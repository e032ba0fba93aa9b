"""Events of a large file as columns, a block at a time.

A file of two million events read one by one costs two seconds of Python beside its decoding. Here every field of a
block of events becomes a column in one go, and what must hold between events (times, pairs) is checked on whole
columns. Every proper history takes this way; it never explains. Whatever is no history ends in :class:`IrregularError`,
and :class:`checkers.history.HistoryBuilder` goes over the file again to say where and why.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, compress
from typing import Any

import numpy as np

from checkers.columns import INVOKE, KINDS, OK, Column, EventColumns, order_ties, pair
from checkers.event import NEMESIS, Event, error_text
from checkers.values import ABSENT, ValueTable, checked

CAS = "cas"
"""The function whose argument is a pair: what is expected, and what is new."""

_NO_EVENTS = {name: np.empty(0, dtype=np.int64) for name in EventColumns.__dataclass_fields__}


class IrregularError(Exception):
    """These events are no history; the builder says why."""


class _Names(dict[str | None, int]):
    """Codes of names, given out on first sight; of None: :data:`ABSENT`."""

    def __init__(self) -> None:
        self[None] = ABSENT

    def __missing__(self, name: str | None) -> int:
        code = self[name] = len(self) - 1
        return code

    def snapshot(self) -> tuple[str, ...]:
        return tuple(name for name in self if name is not None)


class Blocks:
    """Gathers the columns of events, block by block, with the tables that their codes stand for."""

    def __init__(self) -> None:
        self.functions, self.nodes, self.errors = _Names(), _Names(), _Names()
        self.keys, self.values = ValueTable(), ValueTable()
        self.values.code(None)  # null is in every table: it is the default initial value
        self.faults: list[Event] = []
        self.events = 0
        self._last_ns = -(2**63)
        self._ties = False
        self._blocks: list[dict[str, Column]] = []

    def add(self, events: Sequence[Event]) -> None:
        """Adds the next events.

        Raises:
            IrregularError: they are no history.
        """
        time = _numbers([event.time for event in events])
        self._check_order(time)
        place = np.arange(self.events, self.events + len(events))
        self.events += len(events)
        process = [event.process for event in events]
        try:
            if set(map(type, process)) != {int}:
                ours = [type(number) is int for number in process]
                self._keep_faults(event for event, mine in zip(events, ours, strict=True) if not mine)
                time, place = time[ours], place[ours]
                events = list(compress(events, ours))
            self._blocks.append({"time": time, "place": place, **self._columns(events)})
        except (TypeError, RecursionError):  # a value that JSON cannot say, or that is nested too deep
            raise IrregularError from None

    def _check_order(self, time: Column) -> None:
        steps = np.diff(time, prepend=self._last_ns if self.events else time[:1] - 1)
        if len(steps) and steps.min() < 0:
            raise IrregularError
        self._ties |= bool((steps == 0).any())
        self._last_ns = int(time[-1]) if len(time) else self._last_ns

    def _keep_faults(self, faults: Iterable[Event]) -> None:
        for event in faults:
            if event.process != NEMESIS:
                raise IrregularError
            self.faults.append(event)
            checked(event.value)
            checked(event.error)

    def _columns(self, events: Sequence[Event]) -> dict[str, Column]:
        kind = np.array([KINDS[event.type] for event in events], dtype=np.int8)
        f = np.array([self.functions[event.f] for event in events], dtype=np.int32)
        names, finals = [event.node for event in events], [event.final for event in events]
        value, expected = self._values(events, kind, f == self.functions.get(CAS, ABSENT))
        return {
            "kind": kind,
            "process": _numbers([event.process for event in events]),
            "f": f,
            "key": self._keys(events, kind),
            "value": value,
            "expected": expected,
            "node": np.array([self.nodes[name] for name in names], dtype=np.int32),
            "error": self._errors(events, kind),
            "final": np.array(finals, dtype=np.bool_) if True in finals else np.zeros(len(finals), dtype=np.bool_),
        }

    def _keys(self, events: Sequence[Event], kind: Column) -> Column:
        keys = [event.key for event in events]
        if None not in keys:
            return np.array(self.keys.code_all(keys), dtype=np.int32)
        # An invocation's null is a key; a completion's only means that it does not repeat the key.
        said = (kind == INVOKE) | np.array([key is not None for key in keys])
        return _spread(self.keys.code_all(list(compress(keys, said.tolist()))), said)

    def _values(self, events: Sequence[Event], kind: Column, cas: Column) -> tuple[Column, Column]:
        values = [event.value for event in events]
        plain = ((kind == INVOKE) | (kind == OK)) & ~cas
        if plain.all():
            codes = np.array(self.values.code_all(values), dtype=np.int32)
            return codes, np.full(len(codes), ABSENT, dtype=np.int32)
        value = _spread(self.values.code_all(list(compress(values, plain.tolist()))), plain)
        expected = np.full(len(value), ABSENT, dtype=np.int32)
        pairs = np.flatnonzero(cas & (kind == INVOKE))
        if len(pairs):
            codes = self._pairs([values[at] for at in pairs.tolist()])
            expected[pairs], value[pairs] = codes[:, 0], codes[:, 1]
        return value, expected

    def _pairs(self, pairs: list[Any]) -> Column:
        if set(map(type, pairs)) != {list} or set(map(len, pairs)) != {2}:
            raise IrregularError
        return np.array(self.values.code_all(list(chain.from_iterable(pairs))), dtype=np.int32).reshape(-1, 2)

    def _errors(self, events: Sequence[Event], kind: Column) -> Column:
        errors = [event.error for event in events]
        codes = np.full(len(errors), ABSENT, dtype=np.int32)
        if errors.count(None) < len(errors):
            texts = [None if error is None else error_text(checked(error)) for error in errors]
            ended = kind != INVOKE
            codes[ended] = [self.errors[text] for text in compress(texts, ended.tolist())]
        return codes

    def operations(self) -> dict[str, Column]:
        """The columns of the operations of all events so far, by name.

        Raises:
            IrregularError: they are no history.
        """
        names = EventColumns.__dataclass_fields__
        blocks = self._blocks or [_NO_EVENTS]
        columns = pair(EventColumns(**{name: np.concatenate([block[name] for block in blocks]) for name in names}))
        if columns is None:
            raise IrregularError
        if self._ties:
            order_ties(columns)
        return columns


def _numbers(numbers: Sequence[Any]) -> Column:
    # Through an array, which refuses what is no number: numpy would read a text that looks like one.
    return np.frombuffer(array("q", numbers), dtype=np.int64) if numbers else np.empty(0, dtype=np.int64)


def _spread(codes: list[int], where: Column) -> Column:
    """A column that has these codes at these places, and :data:`ABSENT` at all others."""
    column = np.full(len(where), ABSENT, dtype=np.int32)
    column[where] = codes
    return column
