"""One key's operations prepared for the search: small integers instead of objects, and all that can be told beforehand.

Completed operations are numbered in the order of their returns. While an operation is open it holds a *slot*, given
back when it returns, so that a set of open operations is a bit mask no wider than the concurrency. Operations that
nobody saw end are counted by what they did: equal ones are interchangeable, so a search state holds a count for each
kind, packed into one integer with a spare bit a field, which makes "used no more of any kind" one subtraction.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.history import FAIL, NEVER, OK, Column, History
from checkers.models.model import NOTHING, REFUSED, UNOBSERVED, Call, Model, Refused

ILLEGAL = -1


@dataclass(kw_only=True, slots=True)
class InfoKind:
    """Equal ``info`` operations: their rows in the order of invocation, and for each the first return that it may
    precede.
    """

    kind: int
    rows: list[int]
    available: list[int]
    shift: int = 0
    mask: int = 0


class Transitions:
    """The model's step as a table over numbered states and kinds of calls, filled as it is asked.

    ``held``: bytes that the states take for what is in them (a log's state is the whole log, for each of its lengths).
    """

    __slots__ = ("_model", "_numbers", "_table", "calls", "held", "observation", "observes", "produces", "states")

    def __init__(self, model: Model, calls: Sequence[Call], start: Hashable) -> None:
        self._model = model
        self._table: dict[int, int] = {}
        self._numbers: dict[Hashable, int] = {start: 0}
        self.states: list[Hashable] = [start]
        self.held = _held(start)
        self.calls = calls
        self.observation = [call.known and model.observation(call) for call in calls]
        self.produces = [model.produces(call) for call in calls]
        self.observes = [model.observes(call) for call in calls]

    def step(self, state: int, kind: int) -> int:
        """The number of the state after a call, or :data:`ILLEGAL`."""
        place = state << 32 | kind
        after = self._table.get(place)
        if after is None:
            after = self._table[place] = self.compute(state, kind)
        return after

    def __len__(self) -> int:
        """How many transitions :meth:`step` remembers."""
        return len(self._table)

    def compute(self, state: int, kind: int) -> int:
        """The same by asking the model, for callers who remember it themselves."""
        return self.number(self._model.step(self.states[state], self.calls[kind]))

    def number(self, state: Hashable | Refused) -> int:
        if isinstance(state, Refused):
            return ILLEGAL
        number = self._numbers.setdefault(state, len(self.states))
        if number == len(self.states):
            self.states.append(state)
            self.held += _held(state)
        return number


_FEW = 16
"""Parts of a state that are measured one by one; of more, the first stands for all."""


def _held(state: Any) -> int:
    """Bytes for what is in a state, elements that states share not counted."""
    if isinstance(state, str):
        return len(state)
    if not isinstance(state, tuple | frozenset):
        return 0
    each = 8 if isinstance(state, tuple) else 64
    if len(state) <= _FEW:
        return each * len(state) + sum(map(_held, state))
    return len(state) * (each + (56 if isinstance(next(iter(state)), tuple) else 0))


@dataclass(kw_only=True, slots=True)
class Problem:
    """Completed operations by number: ``row``, ``kind``, ``call``, ``return_``, ``slot``; and the kinds of info
    operations. ``listed``: how many entries the lists of open operations hold until now.
    """

    model: Model
    transitions: Transitions
    row: list[int]
    kind: list[int]
    call: list[int]
    return_: list[int]
    slot: list[int]
    infos: list[InfoKind]
    guard: int
    _pending: list[tuple[int, ...]] = field(default_factory=list)
    _began: int = 0
    listed: int = 0
    _by_call: list[int] = field(default_factory=list)

    def last_observed(self) -> dict[Hashable, int]:
        """For each value, the last completed operation that observes it; infinitely late if an info operation does."""
        observes = self.transitions.observes
        last = {observes[kind]: number for number, kind in enumerate(self.kind)}
        last.update({observes[info.kind]: len(self.row) for info in self.infos})
        return last

    def pending(self, number: int) -> tuple[int, ...]:
        """Operations open when operation ``number`` returns, itself first, in the order of their returns."""
        while len(self._pending) <= number:
            self._advance()
        return self._pending[number]

    def _advance(self) -> None:
        number = len(self._pending)
        open_ = list(self._pending[-1][1:]) if self._pending else []
        while self._began < len(self._by_call) and self.call[self._by_call[self._began]] < self.return_[number]:
            open_.append(self._by_call[self._began])
            self._began += 1
        self._pending.append(tuple(sorted(open_)))
        self.listed += len(open_)


def problem(history: History, rows: Column, model: Model, initial: Any, *, narrow: bool = True) -> Problem:
    """The problem of some rows (ascending, one key); ``narrow=False`` keeps states that no call can tell apart as they
    are.

    Dropped: failed operations; info operations that observe; and, of types whose state is one value, info operations
    whose value no remaining operation observes: each of these can always be taken as never having happened.
    """
    rows = rows[history.outcome[rows] != FAIL]
    done = rows[history.outcome[rows] == OK]
    done = done[np.argsort(history.return_[done])]
    kinds: dict[Call, int] = {}
    kind = _kinds(history, done, model, kinds)
    open_rows = [int(row) for row in rows[history.return_[rows] == NEVER]]
    unknown = [(row, call_of(history, row, model)) for row in open_rows]
    unknown = _useful(model, unknown, list(kinds))
    hidden = [_kind(kinds, call) for _, call in unknown]
    narrowed = model.narrowed(kinds)
    calls, same = _alike(model, list(kinds), narrow=narrow)
    return_ = history.return_[done].tolist()
    infos = _info_kinds(history, [row for row, _ in unknown], [same[item] for item in hidden], return_)
    call = history.call[done].tolist()
    return Problem(
        model=model,
        transitions=Transitions(narrowed if narrow else model, calls, model.start(initial)),
        row=done.tolist(),
        kind=[same[item] for item in kind],
        call=call,
        return_=return_,
        slot=_slots(call, return_),
        infos=infos,
        guard=sum(1 << (info.shift + info.mask.bit_length()) for info in infos),
        _by_call=np.argsort(history.call[done]).tolist(),
    )


def call_of(history: History, row: int, model: Model) -> Call:
    """What the model sees of a row."""
    operation = history.operation(row)
    known = history.outcome[row] == OK
    result = operation.result if known else None
    process = operation.process if model.by_process else None
    return Call(operation.f, operation.value, result, bool(known), process)


def _kinds(history: History, done: Column, model: Model, kinds: dict[Call, int]) -> list[int]:
    """The kind of each completed operation; rows whose codes are equal are looked at once."""
    columns = [history.f, history.value, history.expected, history.result]
    if model.by_process:
        columns.append(history.process)
    seen: dict[Any, int] = {}
    kind = []
    codes = zip(*(column[done].tolist() for column in columns), strict=True)
    for row, code in zip(done.tolist(), codes, strict=True):
        known = seen.get(code)
        if known is None:
            known = seen[code] = _kind(kinds, call_of(history, row, model))
        kind.append(known)
    return kind


def _kind(kinds: dict[Call, int], call: Call) -> int:
    return kinds.setdefault(call, len(kinds))


def _alike(model: Model, calls: list[Call], *, narrow: bool) -> tuple[list[Call], list[int]]:
    """One call of each kind, and the number of each call's kind among them.

    Of types whose state is one value, a call is what it observes and what it produces, by contract; and produced values
    that no call observes are one, if states are narrowed to what can be told apart.
    """
    if not model.valued():
        return calls, list(range(len(calls)))
    observed = {model.observes(call) for call in calls}
    kinds: dict[Hashable, int] = {}
    representatives, same = [], []
    for call in calls:
        made = model.produces(call)
        seen = made if made is NOTHING or made in observed or not narrow else UNOBSERVED
        kind = (model.observes(call), seen, call.known and model.observation(call))
        if kind not in kinds:
            kinds[kind] = len(kinds)
            representatives.append(call)
        same.append(kinds[kind])
    return representatives, same


def _useful(model: Model, unknown: list[tuple[int, Call]], done: Sequence[Call]) -> list[tuple[int, Call]]:
    """Info operations that could matter."""
    unknown = [(row, call) for row, call in unknown if not model.observation(call)]
    if not model.valued():
        return unknown
    seen = {model.observes(call) for call in done}
    while True:
        wanted = seen | {model.observes(call) for _, call in unknown}
        useful = [(row, call) for row, call in unknown if model.produces(call) in wanted - {NOTHING}]
        if len(useful) == len(unknown):
            return useful
        unknown = useful


def _info_kinds(history: History, rows: list[int], kinds: list[int], return_: list[int]) -> list[InfoKind]:
    infos: dict[int, InfoKind] = {}
    firsts = np.searchsorted(np.array(return_, dtype=np.int64), history.call[rows])
    for row, kind, first in zip(rows, kinds, firsts.tolist(), strict=True):
        info = infos.setdefault(kind, InfoKind(kind=kind, rows=[], available=[]))
        info.rows.append(row)
        info.available.append(first)
    shift = 0
    for info in infos.values():
        info.mask = (1 << len(info.rows).bit_length()) - 1
        info.shift = shift
        shift += info.mask.bit_length() + 1
    return list(infos.values())


def _slots(call: list[int], return_: list[int]) -> list[int]:
    """A bit for each operation, used again by others once it has returned."""
    position = np.array([*return_, *call], dtype=np.int64)
    begins = np.repeat([0, 1], len(call))
    order = np.lexsort((begins, position)).tolist()
    slot = [0] * len(call)
    free: list[int] = []
    used = 0
    for event in order:
        if event < len(call):
            free.append(slot[event])
        elif free:
            slot[event - len(call)] = free.pop()
        else:
            slot[event - len(call)] = 1 << used
            used += 1
    return slot


__all__ = ["ILLEGAL", "REFUSED", "InfoKind", "Problem", "Transitions", "problem"]
