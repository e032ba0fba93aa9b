"""How those who measure a node look into it: metrics (:mod:`node.observing.metrics`) and traces
(:mod:`node.observing.telemetry`).

Nothing in the node knows of them. What a node is built from can be replaced by other classes (:mod:`node.parts`), and
that is all that is done, only when it is asked for: the parts here do what their bases do and tell an
:class:`Observer`. So it costs nothing when it is off.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from node import kv_pb2
from node.durable.storage import Change, Storage
from node.machine import Result
from node.observing.trace import Trace
from node.parts import Parts
from node.raft.core import Raft
from node.raft.messages import Entry, Role, Snapshot
from node.raft.progress import Progress
from node.serving.callers import Answer
from node.serving.service import Operations
from node.serving.watch import Listener

ROUNDS_MAX = 64
"""Rounds whose beginning is remembered until they are answered."""


class Observer:
    """What can be observed; an observer overrides what it wants. Times are monotonic nanoseconds. All in the loop, but
    for :meth:`synced`.
    """

    def asked(self, request: kv_pb2.ExecuteRequest, now_ns: int) -> object:
        """A client's operation arrived; whatever is returned comes back with its reply."""

    def answered(self, asked: Any, request: kv_pb2.ExecuteRequest, reply: kv_pb2.Reply, now_ns: int) -> None:
        """Its reply goes out."""

    def appended(self, last: int, count: int, now_ns: int) -> None:
        """Entries entered the log, up to this index."""

    def durable(self, index: int, now_ns: int) -> None:
        """The log is synced up to this index."""

    def committed(self, index: int, now_ns: int) -> None:
        """The commit index rose."""

    def applied(self, last: int, now_ns: int) -> None:
        """Entries went through the state machine, up to this index."""

    def role(self, role: Role) -> None:
        """The role, or the known leader, changed."""

    def snapshot(self, action: str) -> None:
        """A snapshot was ``taken`` or ``installed``."""

    def synced(self, took_ns: int) -> None:
        """A group commit was written and synced. In the disk's thread."""

    def round_trip(self, peer: str, took_ns: int) -> None:
        """A follower echoed a round of heartbeats or appends."""


Observers = Sequence[Observer]


class ObservedTrace(Trace):
    """Events of the trace are what there is to see of the log."""

    def __init__(self, path: Path, node: str, observers: Observers) -> None:
        super().__init__(path, node)
        self._observers = observers

    def append(self, entries: Iterable[Entry]) -> None:
        """See the base class, here and below."""
        entries = list(entries)
        super().append(entries)
        for observer in self._observers:
            observer.appended(entries[-1].index, len(entries), time.monotonic_ns())

    def durable(self, term: int, vote: str | None, index: int) -> None:
        super().durable(term, vote, index)
        for observer in self._observers:
            observer.durable(index, time.monotonic_ns())

    def commit(self, index: int, term: int) -> None:
        super().commit(index, term)
        for observer in self._observers:
            observer.committed(index, time.monotonic_ns())

    def apply(self, applied: Iterable[tuple[Entry, Result]]) -> None:
        applied = list(applied)
        super().apply(applied)
        for observer in self._observers:
            observer.applied(applied[-1][0].index, time.monotonic_ns())

    def role(self, role: Role, term: int, leader: str | None) -> None:
        super().role(role, term, leader)
        for observer in self._observers:
            observer.role(role)

    def snapshot(self, action: str, snapshot: Snapshot, state_hash: str) -> None:
        super().snapshot(action, snapshot, state_hash)
        for observer in self._observers:
            observer.snapshot(action)


class ObservedOperations:
    """What the service hands to the node, and what comes back."""

    def __init__(self, operations: Operations, observers: Observers) -> None:
        self._operations = operations
        self._observers = observers
        self.open_session = operations.open_session
        self.status = operations.status
        self.administer = operations.administer

    def execute(self, request: kv_pb2.ExecuteRequest, answer: Answer) -> None:
        """Counts and times the operation."""
        now_ns = time.monotonic_ns()
        asked = [observer.asked(request, now_ns) for observer in self._observers]

        def answered(reply: kv_pb2.Reply) -> None:
            answer(reply)
            now_ns = time.monotonic_ns()
            for observer, mark in zip(self._observers, asked, strict=True):
                observer.answered(mark, request, reply, now_ns)

        self._operations.execute(request, answered)

    def watch(self, request: kv_pb2.WatchRequest, listener: Listener) -> None:
        """As it is: :class:`node.serving.watch.Watches` is counted where metrics are told."""
        self._operations.watch(request, listener)


def observed_parts(parts: Parts, observers: Observers) -> Parts:
    """The same parts, observed."""
    return dataclasses.replace(
        parts, core=_observed_core(parts.core, observers), storage=_observed_storage(parts.storage, observers)
    )


def _observed_core(base: type[Raft], observers: Observers) -> type[Raft]:
    class ObservedCore(base):  # type: ignore[valid-type,misc]  # whichever core the node has
        """Times the rounds that a leader begins and its followers echo."""

        def begin_round(self) -> None:
            super().begin_round()
            begun: dict[int, int] = self.__dict__.setdefault("_observed_rounds", {})
            begun[self.read_round] = self.now_ns
            begun.pop(self.read_round - ROUNDS_MAX, None)

        def round_echoed(self, progress: Progress, read_round: int) -> None:
            begun_ns = self.__dict__.get("_observed_rounds", {}).get(read_round)
            if begun_ns is not None and read_round > progress.read_round:
                for observer in observers:
                    observer.round_trip(progress.name, self.now_ns - begun_ns)
            super().round_echoed(progress, read_round)

    return ObservedCore


def _observed_storage(base: type[Storage], observers: Observers) -> type[Storage]:
    class ObservedStorage(base):  # type: ignore[valid-type,misc]  # whichever storage the node has
        """Times group commits."""

        def persist(self, changes: Sequence[Change]) -> None:
            begun_ns = time.monotonic_ns()
            super().persist(changes)
            for observer in observers:
                observer.synced(time.monotonic_ns() - begun_ns)

    return ObservedStorage
