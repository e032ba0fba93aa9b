"""The state that commands change: what keys hold, the fences they were shown, and the machine's own time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from node.machine.buckets import Buckets
from node.machine.held import NAMES, Held, List, Set, bytes_of, weight_of
from node.machine.limits import STATE_BYTES_MAX
from node.machine.result import Result, ResultKind
from node.operations import Value
from node.serving.events import Event, EventKind

KEY_WEIGHT = 16
"""What a key counts beside its own bytes."""

FULL = Result(ResultKind.FULL, detail=f"keys, values and fences would have more than {STATE_BYTES_MAX} bytes")


@dataclass(frozen=True, kw_only=True, slots=True)
class SharedState:
    """The state of one moment, never to be changed."""

    now_ms: int
    weight: int
    values: Sequence[dict[str, Held]]
    fences: Sequence[dict[str, int]]


class State:
    """Everything but the sessions.

    ``fence_holds(fence, highest)`` says whether a write with this fence may happen to a key that was shown ``highest``.
    """

    def __init__(self, fence_holds: Callable[[int, int], bool], *, bytes_max: int = STATE_BYTES_MAX) -> None:
        self.fence_holds = fence_holds
        self.now_ms = 0
        """The machine's time: the highest stamp in the log so far (:mod:`node.machine.locks`)."""
        self.index = 0
        """The log index of the command that is being applied."""
        self.events: list[Event] = []
        """What it changed: each key at most once, so that the events of one revision are a set."""
        self.generation = 0
        """Of sets and lists: one that belongs to an earlier generation is shared with a copy."""
        self.weight = 0
        """Bytes of all keys, values and fences, about."""
        self._bytes_max = bytes_max
        self._values: Buckets[Held] = Buckets()
        self._fences: Buckets[int] = Buckets()

    def begin(self, index: int, stamp_ms: int) -> None:
        """A command comes, with the leader's stamp (0: none)."""
        self.index = index
        if self.events:
            self.events = []
        if stamp_ms > self.now_ms:
            self.now_ms = stamp_ms

    def tell(self, kind: EventKind, key: str, value: Value) -> None:
        """Notes what the command changed."""
        self.events.append(Event(self.index, kind, key, value))

    def get(self, key: str) -> Held | None:
        """What a key holds. A set or list must be asked for by :meth:`writable` before it is changed."""
        return self._values.get(key)

    def bucket(self, key: str) -> dict[str, Held]:
        """The dictionary that holds a key, for a look and a write at the cost of one; the writer keeps ``weight``."""
        return self._values.owned(key)

    def has_room(self, growth: int) -> bool:
        """Whether the state may grow by so many bytes."""
        return growth <= 0 or self.weight + growth <= self._bytes_max

    def put(self, key: str, held: Held, growth: int) -> None:
        """Sets a key; the caller knows by how much the state grows."""
        self._values.put(key, held)
        self.weight += growth

    def writable(self, key: str, held: Set | List) -> Set | List:
        """What the key holds, or, if a copy of the state shares it, a clone in its place."""
        if held.generation != self.generation:
            held = held.clone(self.generation)
            self._values.put(key, held)
        return held

    def delete(self, key: str) -> None:
        """Removes a key of any type. The fences that it was shown stay known."""
        held = self._values.get(key)
        if held is not None:
            self._values.pop(key)
            self.weight -= new_weight(key) + weight_of(held)
            self.tell(EventKind.DELETE, key, None)

    def fence(self, key: str) -> int:
        """The highest that was shown to a key; 0: none."""
        return self._fences.get(key) or 0

    def show_fence(self, key: str, fence: int) -> None:
        """Notes a fence, which holds; the caller has found room for it (:func:`fence_growth`)."""
        self._fences.put(key, fence)

    def share(self) -> SharedState:
        """The state of this moment: costs microseconds, whatever there is."""
        self.generation += 1
        return SharedState(
            now_ms=self.now_ms, weight=self.weight, values=self._values.share(), fences=self._fences.share()
        )

    def adopt(self, shared: SharedState) -> None:
        """Takes the place of what there was."""
        self.generation += 1
        self.now_ms, self.weight = shared.now_ms, shared.weight
        self._values, self._fences = Buckets(list(shared.values)), Buckets(list(shared.fences))


def new_weight(key: str) -> int:
    """What a new key costs, without its value."""
    return bytes_of(key) + KEY_WEIGHT


def fence_growth(key: str, highest: int) -> int:
    """By how much the state grows if a fence is shown to a key, to which ``highest`` was shown before (0: none)."""
    return 0 if highest else new_weight(key)


def wrong_type(key: str, held: Held, wanted: str) -> Result:
    """The refusal of an operation on a key of another type."""
    return Result(ResultKind.WRONG_TYPE, detail=f"{key!r} holds a {NAMES[type(held)]}, not a {wanted}")
