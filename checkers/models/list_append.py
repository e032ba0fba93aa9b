"""Lists to which transactions append: strict serializability by search, the twin of the transaction checker."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from checkers.models.model import REFUSED, UNOBSERVED, Call, Model, Refused, Unvalued, hashable, visible

List = tuple[Hashable, ...]


@dataclass(frozen=True, kw_only=True)
class ListAppend(Unvalued):
    """Transactions over named lists at once: f ``txn``, value ``[["append", "x", 3], ["r", "y", null]]``.

    A read returns the whole list; null is the empty one (with ``null_read="unknown"`` it says nothing). The initial
    value is an object from names to lists (default: all are empty). Linearizable is strictly serializable here; an
    order is looked for by search, so this is for small histories.
    """

    functions: ClassVar[frozenset[str]] = frozenset({"txn"})
    null_read: str = "value"
    observed: Mapping[Hashable, frozenset[List]] | None = None

    def start(self, initial: Any) -> Hashable:
        """Names and lists, in one order; empty lists are left out."""
        return _lists({hashable(name): hashable(items) for name, items in (initial or {}).items()})

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """All reads legal where they stand in the transaction, all appends done."""
        lists = dict(state)
        for kind, name, value in call.result if call.known and call.result is not None else call.value:
            place = hashable(name)
            if kind == "append":
                lists[place] = self._longer(place, lists.get(place, ()), hashable(value))
            elif call.known and self._says(value) and lists.get(place, ()) != hashable(value or ()):
                return REFUSED
        return _lists(lists)

    def _says(self, result: Any) -> bool:
        return not (result is None and self.null_read == "unknown")

    def _longer(self, place: Hashable, items: Any, item: Hashable) -> Any:
        if items is UNOBSERVED:
            return UNOBSERVED
        longer = (*items, item)
        return longer if self.observed is None or longer in self.observed.get(place, ()) else UNOBSERVED

    def observation(self, call: Call) -> bool:
        """Transactions that only read."""
        return call.known and all(step[0] == "r" for step in call.value)

    def shown(self, state: Any) -> Any:
        """An object from names to lists."""
        return {str(visible(name)): str(items) if items is UNOBSERVED else visible(items) for name, items in state}

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """A list that is no beginning of a list that some call read never will be one: all such lists are one."""
        observed: dict[Hashable, set[List]] = {}
        for call in calls:
            _validate(call)
            for kind, name, value in (call.result or ()) if call.known else ():
                if kind == "r" and value is not None:
                    items = tuple(hashable(item) for item in value)
                    observed.setdefault(hashable(name), set()).update(items[:end] for end in range(len(items) + 1))
        prefixes = {name: frozenset(lists) for name, lists in observed.items()}
        return ListAppend(null_read=self.null_read, observed=prefixes)


def _validate(call: Call) -> None:
    for steps in (call.value, call.value if call.result is None else call.result):
        if not isinstance(steps, tuple) or any(not _is_step(step) for step in steps):
            raise ValueError(f'transaction {steps!r}: write it as [["append", name, value], ["r", name, null], ...]')
    if call.result is not None and _shape(call.result) != _shape(call.value):
        raise ValueError(f"transaction {call.value!r} completed as another one, {call.result!r}")


def _is_step(step: Any) -> bool:
    if not isinstance(step, tuple) or len(step) != 3 or step[0] not in ("r", "append"):
        return False
    return step[0] == "append" or step[2] is None or isinstance(step[2], tuple)


def _shape(steps: Any) -> Any:
    """A transaction without what its reads returned."""
    return [(kind, name, None if kind == "r" else value) for kind, name, value in steps]


def _lists(lists: Mapping[Hashable, Any]) -> Hashable:
    return tuple(sorted(((name, items) for name, items in lists.items() if items != ()), key=repr))
