"""Several registers, read and written by transactions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from checkers.event import shorten
from checkers.models.model import REFUSED, Call, Model, Refused, Unvalued, hashable, visible


@dataclass(frozen=True, kw_only=True)
class MultiRegister(Unvalued):
    """Transactions of reads and writes on several registers at once: f ``txn``, value ``[["r", "x", null], ["w",
    "y", 2]]``.

    The initial value is an object from names to values; a name that it lacks begins with null.
    """

    functions = frozenset({"txn"})
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """Names and values, sorted; names with null are left out.

        Raises:
            ValueError: the initial value is no object.
        """
        if initial is not None and not isinstance(initial, Mapping):
            raise ValueError(f'the initial value {shorten(initial)}: of several registers it is like {{"x": 1}}')
        return _registers({name: hashable(value) for name, value in (initial or {}).items()})

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """All reads legal, all writes done, in the order of the transaction."""
        registers = dict(state)
        for kind, name, value in call.result if call.known and call.result is not None else call.value:
            if kind == "w":
                registers[name] = hashable(value)
            elif call.known and not self._unknown(value) and registers.get(name) != hashable(value):
                return REFUSED
        return _registers(registers)

    def shown(self, state: Any) -> Any:
        """An object from names to values."""
        return {name: visible(value) for name, value in state}

    def _unknown(self, value: Any) -> bool:
        return value is None and self.null_read == "unknown"

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """Itself, after looking at the shape of the transactions."""
        for call in calls:
            _validate_transaction(call)
        return self

    def observation(self, call: Call) -> bool:
        """Transactions that only read."""
        return call.known and all(step[0] == "r" for step in call.value)


def _validate_transaction(call: Call) -> None:
    for steps in (call.value, call.value if call.result is None else call.result):
        if not isinstance(steps, tuple) or not all(map(_is_step, steps)):
            problem = 'write it as [["r", name, value], ["w", name, value], ...]; names are texts or whole numbers'
            raise ValueError(f"transaction {shorten(steps)}: {problem}")
    if call.result is not None and _shape(call.result) != _shape(call.value):
        raise ValueError(f"transaction {shorten(call.value)} completed as another one, {shorten(call.result)}")


def _is_step(step: Any) -> bool:
    is_triple = isinstance(step, tuple) and len(step) == 3
    return is_triple and step[0] in ("r", "w") and type(step[1]) in (str, int)


def _shape(steps: Any) -> Any:
    """A transaction without what its reads returned."""
    return [(kind, name, None if kind == "r" else value) for kind, name, value in steps]


def _registers(registers: Mapping[str, Any]) -> Hashable:
    told = ((name, value) for name, value in registers.items() if value is not None)
    return tuple(sorted(told, key=lambda register: (isinstance(register[0], str), register[0])))
