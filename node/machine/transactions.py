"""Transactions: steps over several keys, in order, at one moment; all or none.

Steps work on a draft: what they would write is kept beside the state, where later steps see it, until all of them were
found possible. Then the draft is carried out. So nothing has to be undone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

from node import kv_pb2
from node.machine.held import List, value_of, weight_of
from node.machine.limits import COLLECTION_BYTES_MAX, READ_BYTES_MAX
from node.machine.result import Result, ResultKind, refused
from node.machine.state import FULL, State, fence_growth, new_weight, wrong_type
from node.operations import Value
from node.serving.events import EventKind

_TOO_BIG = refused(f"the list would have more than {COLLECTION_BYTES_MAX} bytes")
_READS_TOO_BIG = refused(f"the reads would find more than {READ_BYTES_MAX} bytes")
_UNKNOWN_STEP = refused("a step names no operation")


def transact(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Does all steps, or tells why none."""
    draft = _Draft(state)
    refusal = draft.take(request.transaction.steps)
    if refusal is not None:
        return refusal
    if not state.has_room(draft.growth):
        return FULL
    draft.carry_out()
    return Result(ResultKind.OK, reads=tuple(draft.reads))


def read_all(state: State, steps: Iterable[kv_pb2.Step]) -> Result:
    """A transaction of nothing but reads, outside of the log."""
    draft = _Draft(state)
    refusal = draft.take(steps)
    return Result(ResultKind.OK, reads=tuple(draft.reads)) if refusal is None else refusal


class _Draft:
    """What a transaction would do."""

    def __init__(self, state: State) -> None:
        self.reads: list[Value] = []
        self.growth = 0
        self._state = state
        self._registers: dict[str, bytes] = {}
        self._appended: dict[str, list[bytes]] = {}
        self._appended_weight: dict[str, int] = {}
        self._fences: dict[str, int] = {}
        self._read_weight = 0

    def take(self, steps: Iterable[kv_pb2.Step]) -> Result | None:
        """Adds all steps; the reason why one can't be, which ends it."""
        for step in steps:
            which = step.WhichOneof("step")
            if which == "list_append":
                refusal = self._append(step.key, step.list_append.element)
            elif which == "read":
                refusal = self._read(step.key)
            elif which == "put":
                refusal = self._put(step.key, step.put.value, step.put.fence)
            else:
                refusal = _UNKNOWN_STEP
            if refusal is not None:
                return refusal
        return None

    def carry_out(self) -> None:
        """Writes the draft into the state."""
        state = self._state
        for key, value in self._registers.items():
            state.put(key, value, 0)
            state.tell(EventKind.PUT, key, value)
        for key, elements in self._appended.items():
            old = state.get(key) or List([], state.generation, 0)
            held = cast(List, state.writable(key, cast(List, old)))
            held.elements += elements
            held.weight += self._appended_weight[key]
            state.put(key, held, 0)
            state.tell(EventKind.ADD, key, tuple(elements))
        state.weight += self.growth
        for key, fence in self._fences.items():
            state.show_fence(key, fence)

    def _append(self, key: str, element: bytes) -> Result | None:
        held = self._registers[key] if key in self._registers else self._state.get(key)
        if held is not None and not isinstance(held, List):
            return wrong_type(key, held, "list")
        if held is None and key not in self._appended:
            self.growth += new_weight(key)
        self._appended.setdefault(key, []).append(element)
        added = self._appended_weight[key] = self._appended_weight.get(key, 0) + len(element) + 8
        self.growth += len(element) + 8
        return _TOO_BIG if added + (held.weight if held else 0) > COLLECTION_BYTES_MAX else None

    def _read(self, key: str) -> Result | None:
        held = self._registers[key] if key in self._registers else self._state.get(key)
        self._read_weight += self._appended_weight.get(key, 0) + (0 if held is None else weight_of(held))
        if self._read_weight > READ_BYTES_MAX:
            return _READS_TOO_BIG
        value, appended = value_of(held, self._state.now_ms), self._appended.get(key)
        self.reads.append((*cast(tuple[bytes, ...], value or ()), *appended) if appended else value)
        return None

    def _put(self, key: str, value: bytes, fence: int) -> Result | None:
        if fence:
            highest = self._fences.get(key) or self._state.fence(key)
            if not self._state.fence_holds(fence, highest):
                return Result(ResultKind.MISMATCH, highest)
            self.growth += fence_growth(key, highest)
            self._fences[key] = fence
        if key in self._appended:
            return wrong_type(key, List([], 0, 0), "register")
        old = self._registers[key] if key in self._registers else self._state.get(key)
        if old is not None and not isinstance(old, bytes):
            return wrong_type(key, old, "register")
        self.growth += len(value) + (new_weight(key) if old is None else -len(old))
        self._registers[key] = value
        return None
