"""A dumb twin of the state machine: plain Python values, copied whole before every operation; and operations for both.

It knows no sessions, no limits and no bytes: only what each operation means.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

from node import kv_pb2
from node.machine import Machine, Result
from node.machine.limits import FENCE_MAX
from node.operation_codec import request_of
from node.operations import (
    Acquire,
    Append,
    CompareAndSet,
    Delete,
    Increment,
    ListAppend,
    Operation,
    Put,
    Read,
    Release,
    SetAdd,
    SetRemove,
    Transaction,
    Value,
)

REFUSED = "refused"
MISMATCH = "mismatch"
OK = "ok"

Answer = tuple[str, Value, tuple[Value, ...]]
"""Outcome, value, reads."""


class WrongTypeError(Exception):
    """A key of another type."""


class LowFenceError(Exception):
    """With the highest that was shown."""


@dataclass
class Lock:
    owner: str
    token: int
    until_ms: float


@dataclass
class Model:
    """Keys with Python's own values."""

    now_ms: int = 0
    keys: dict[str, Any] = field(default_factory=dict)
    fences: dict[str, int] = field(default_factory=dict)

    def apply(self, operation: Operation, index: int, now_ms: int) -> Answer:
        """The operation at this place of the log, stamped with this time."""
        self.now_ms = max(self.now_ms, now_ms)
        before = copy.deepcopy((self.keys, self.fences))
        try:
            return _MEANINGS[type(operation)](self, operation, index)
        except WrongTypeError:
            answer: Answer = (REFUSED, None, ())
        except LowFenceError as error:
            answer = (MISMATCH, error.args[0], ())
        self.keys, self.fences = before
        return answer

    def get(self, key: str) -> Value:
        """As clients see it."""
        held = self.keys.get(key)
        if isinstance(held, Lock):
            return held.token if self.now_ms <= held.until_ms else 0
        if isinstance(held, set):
            return frozenset(held)
        return tuple(held) if isinstance(held, list) else held

    def typed(self, key: str, kind: type) -> Any:
        held = self.keys.get(key)
        if held is not None and not isinstance(held, kind):
            raise WrongTypeError
        return held

    def put(self, put: Put, index: int = 0) -> Answer:  # noqa: ARG002
        self.check_fence(put)
        self.typed(put.key, bytes)
        self.keys[put.key] = put.value
        return OK, None, ()

    def check_fence(self, put: Put) -> None:
        if put.fence:
            if put.fence < self.fences.get(put.key, 0):
                raise LowFenceError(self.fences[put.key])
            self.fences[put.key] = put.fence

    def cas(self, cas: CompareAndSet, _: int) -> Answer:
        held = self.typed(cas.key, bytes)
        if held != cas.expected:
            return MISMATCH, held, ()
        self.keys[cas.key] = cas.value
        return OK, None, ()

    def append(self, append: Append, _: int) -> Answer:
        self.keys[append.key] = (self.typed(append.key, bytes) or b"") + append.value
        return OK, None, ()

    def delete(self, delete: Delete, _: int) -> Answer:
        self.keys.pop(delete.key, None)
        return OK, None, ()

    def add(self, add: SetAdd, _: int) -> Answer:
        self.keys[add.key] = (self.typed(add.key, set) or set()) | {add.element}
        return OK, None, ()

    def remove(self, remove: SetRemove, _: int) -> Answer:
        held = self.typed(remove.key, set)
        if held is not None:
            held.discard(remove.element)
        return OK, None, ()

    def increment(self, increment: Increment, _: int) -> Answer:
        self.keys[increment.key] = (self.typed(increment.key, int) or 0) + increment.delta
        return OK, self.keys[increment.key], ()

    def acquire(self, acquire: Acquire, index: int) -> Answer:
        lock = self.typed(acquire.key, Lock)
        free = lock is None or self.now_ms > lock.until_ms
        if not free and lock.owner != acquire.owner:
            return MISMATCH, lock.token, ()
        token = index if free else lock.token
        until_ms = self.now_ms + acquire.lease_ms if acquire.lease_ms else float("inf")
        self.keys[acquire.key] = Lock(acquire.owner, token, until_ms)
        return OK, token, ()

    def release(self, release: Release, _: int) -> Answer:
        lock = self.typed(release.key, Lock)
        held = lock is not None and self.now_ms <= lock.until_ms
        if not held or lock.owner != release.owner or release.token not in (0, lock.token):
            return MISMATCH, lock.token if held else 0, ()
        lock.until_ms = float("-inf")
        return OK, None, ()

    def transaction(self, transaction: Transaction, _: int) -> Answer:
        reads: list[Value] = []
        for step in transaction.steps:
            if isinstance(step, Read):
                reads.append(self.get(step.key))
            elif isinstance(step, ListAppend):
                self.keys[step.key] = [*(self.typed(step.key, list) or []), step.element]
            else:
                self.put(step)
        return OK, None, tuple(reads)


_MEANINGS: dict[type, Callable[[Model, Any, int], Answer]] = {
    Put: Model.put,
    CompareAndSet: Model.cas,
    Append: Model.append,
    Delete: Model.delete,
    SetAdd: Model.add,
    SetRemove: Model.remove,
    Increment: Model.increment,
    Acquire: Model.acquire,
    Release: Model.release,
    Transaction: Model.transaction,
}

KEYS = "abcd"
_key = st.sampled_from(KEYS)
_bytes = st.sampled_from([b"", b"x", b"y"])
_owner = st.sampled_from(["me", "you"])
_fence = st.sampled_from([0, 0, 1, 2, 3, FENCE_MAX])
_put = st.builds(Put, _key, _bytes, _fence)

_step = st.one_of(st.builds(ListAppend, _key, _bytes), st.builds(Read, _key), _put)

OPERATIONS: st.SearchStrategy[Operation] = st.one_of(
    _put,
    st.builds(CompareAndSet, _key, st.none() | _bytes, _bytes),
    st.builds(Append, _key, _bytes),
    st.builds(Delete, _key),
    st.builds(SetAdd, _key, _bytes),
    st.builds(SetRemove, _key, _bytes),
    st.builds(Increment, _key, st.integers(-3, 3)),
    st.builds(Acquire, _key, _owner, st.sampled_from([0, 5, 10])),
    st.builds(Release, _key, _owner, st.sampled_from([0, 0, 2, 3, FENCE_MAX])),
    st.builds(Transaction, st.lists(_step, min_size=1, max_size=5).map(tuple)),
)
"""Few keys, so that types and owners meet."""

STAMPS = st.sampled_from([0, 0, 1, 3, 7, 12, 20])
"""In no order, as stamps of different leaders may be."""


def command(operation: Operation, session: int, sequence: int, stamp_ms: int = 0) -> bytes:
    """The entry of the log."""
    request = request_of(operation)
    request.session, request.sequence = session, sequence
    return kv_pb2.Command(write=request, stamp_ms=stamp_ms).SerializeToString()


def opened() -> bytes:
    """The entry that opens a session."""
    return kv_pb2.Command(open_session=kv_pb2.OpenSessionRequest()).SerializeToString()


def apply_all(machine: Machine, commands: Iterable[bytes], first: int) -> Sequence[Result]:
    """The results of commands that stand in the log from ``first`` on."""
    return [machine.apply(index, data) for index, data in enumerate(commands, start=first)]
