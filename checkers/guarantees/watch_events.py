"""What watch histories say: requests, streams of events, and the changes that are known to have happened.

The vocabulary (docs/checkers/guarantees.md has it with examples):

- ``watch``: the argument is the request, an object: ``key`` or ``prefix`` (neither: every key; the operation's own
  ``key``, if it has one, is taken for ``key``), ``from`` (the first revision that is wanted; none: from now on),
  ``prev`` (whether previous values were asked for), ``without`` (types that are not wanted). The ``ok`` result is the
  list of all that came, in the order in which it came, however the watch ended: ``{"type": "put", "revision": 7, "key":
  "x", "value": 5}``, ``{"type": "delete", ...}``, both with ``prev`` and ``batch`` (the number of the response that
  carried it) if known; ``{"type": "progress", "revision": 9}``; ``{"type": "compacted", "revision": 9}``.
- ``write``, ``put`` and ``read`` with results ``[revision, value]``, ``delete`` with ``[revision, null]``: the revision
  is that of the change (etcd's mod revision). An operation without a revision says only that its value may be written.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checkers.event import shorten
from checkers.guarantees.selection import acknowledged, rows_of
from checkers.history import History, HistoryError
from checkers.values import identity

PUT, DELETE, PROGRESS, COMPACTED = "put", "delete", "progress", "compacted"
CHANGES = (PUT, DELETE)
_TYPES = (*CHANGES, PROGRESS, COMPACTED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing that came over a watch: a change, a progress notification, or the news of a compaction."""

    type: str
    revision: int
    key: Any = None
    value: Any = None
    prev: Any = None
    batch: Any = None

    @property
    def name(self) -> Hashable:
        """Tells keys apart."""
        return identity(self.key)

    @property
    def content(self) -> Hashable:
        """What the change left: tells changes of one key and revision apart."""
        return (self.type, identity(self.value) if self.type == PUT else None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Watch:
    """One watch operation: what was asked, and what came."""

    row: int
    key: Any
    prefix: str | None
    since: int | None
    prev: bool
    without: frozenset[str]
    items: tuple[Item, ...]

    def covers(self, change: Item) -> bool:
        """Whether the change is on a key and of a type that were asked for."""
        if change.type in self.without:
            return False
        if self.prefix is not None:
            return isinstance(change.key, str) and change.key.startswith(self.prefix)
        return self.key is None or change.name == identity(self.key)

    def wants(self, change: Item) -> bool:
        """Whether the change must be in the stream, if the stream reaches from before to behind it."""
        return self.covers(change) and (self.since is None or change.revision >= self.since)

    @property
    def changes(self) -> tuple[Item, ...]:
        """The events proper."""
        return tuple(item for item in self.items if item.type in CHANGES)


def watches(history: History) -> Iterator[Watch]:
    """All watches that ended ok.

    Raises:
        HistoryError: a request or a stream is not in the vocabulary.
    """
    for row in acknowledged(history, rows_of(history, "watch")).tolist():
        request = history.values.values[int(history.value[row])]
        request = {} if request is None else request
        if not isinstance(request, dict):
            raise _error(history, row, f"the request of a watch is {shorten(request)}", "Record an object.")
        stream = history.values.values[int(history.result[row])]
        if not isinstance(stream, tuple):
            raise _error(history, row, f"the result of a watch is {shorten(stream)}", "Record the list of its events.")
        own = history.keys.values[int(history.key[row])]
        yield Watch(
            row=row,
            key=request.get("key", own if "prefix" not in request else None),
            prefix=request.get("prefix"),
            since=_whole(history, row, request.get("from"), "from"),
            prev=request.get("prev") is True,
            without=frozenset(map(str, request.get("without") or ())),
            items=tuple(_item(history, row, item, request.get("key", own)) for item in stream),
        )


def _item(history: History, row: int, item: Any, key: Any) -> Item:
    if not isinstance(item, dict) or item.get("type") not in _TYPES:
        problem = f"a watch received {shorten(item)}"
        raise _error(history, row, problem, f"An event is an object; its type is one of {', '.join(_TYPES)}.")
    revision = _whole(history, row, item.get("revision"), "revision")
    if revision is None:
        raise _error(history, row, f"an event without a revision: {shorten(item)}", "Every event has a revision.")
    return Item(
        type=item["type"],
        revision=revision,
        key=item.get("key", key),
        value=item.get("value"),
        prev=item.get("prev"),
        batch=item.get("batch"),
    )


def _whole(history: History, row: int, value: Any, name: str) -> int | None:
    if value is None or type(value) is int:
        return value
    raise _error(history, row, f"{name} is {shorten(value)}", "Revisions are whole numbers.")


def _error(history: History, row: int, problem: str, step: str) -> HistoryError:
    return HistoryError(history.source, int(history.call[row]) + 1, problem, step)


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A change that certainly happened, and the operation that says so."""

    change: Item
    row: int


def acknowledged_changes(history: History) -> Iterator[Known]:
    """The changes that writes, deletes and reads tell by their results."""
    for row in acknowledged(history, rows_of(history, "write", "put", "read", "delete")).tolist():
        result = history.values.values[int(history.result[row])]
        if result is None or int(history.result[row]) == int(history.value[row]):
            continue
        if isinstance(result, tuple) and len(result) == 2 and type(result[0]) is int:
            key, f = history.keys.values[int(history.key[row])], history.functions[int(history.f[row])]
            if f == "delete":
                yield Known(change=Item(type=DELETE, revision=result[0], key=key), row=row)
            elif result[1] is not None:
                yield Known(change=Item(type=PUT, revision=result[0], key=key, value=result[1]), row=row)


def attempted(history: History) -> Mapping[Hashable, frozenset[Hashable]]:
    """By key: every value that was possibly written."""
    found: dict[Hashable, set[Hashable]] = {}
    for row in rows_of(history, "write", "put", "cas").tolist():
        key = identity(history.keys.values[int(history.key[row])])
        found.setdefault(key, set()).add(identity(history.values.values[int(history.value[row])]))
    return {key: frozenset(values) for key, values in found.items()}
