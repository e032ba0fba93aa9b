"""Metrics for Prometheus, on request (``--metrics PORT``): ``http://HOST:PORT/metrics``.

Counters and histograms are fed by :class:`Metrics` as an observer (:mod:`node.observing.observation`); gauges are read
from the node when somebody asks. The page is served by prometheus-client's own thread; the facts of the node are
fetched from its event loop, where alone they may be looked at, and an ask that the loop does not answer in time gets
the counters without the gauges.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import TimeoutError as LateError
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from node import kv_pb2
from node.network.transport import Address
from node.observing.facts import Facts
from node.observing.observation import Observer
from node.operation_codec import mode_of
from node.raft.messages import Role

ANSWER_S_MAX = 1.0
"""How long the event loop may take to tell its gauges."""
SYNC_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5)
LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class Metrics(Observer):
    """One node's metrics."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        make = _Maker(self.registry)
        labels = ("operation", "mode", "outcome")
        self._operations = make.counter("operations", "operations of clients, by what came of them", labels)
        self._latency = make.histogram(
            "operation_seconds", "from a request to its reply", ("operation", "mode"), LATENCY_BUCKETS_S
        )
        self._appended = make.counter("appended_entries", "entries that entered the log")
        self._applied = make.counter("applied_batches", "batches of entries that went through the state machine")
        self._roles = make.counter("role_changes", "changes of the role or of the known leader", ("role",))
        self._snapshots = make.counter("snapshots", "snapshots taken, and installed from a leader", ("action",))
        self._syncs = make.histogram("sync_seconds", "write and sync of one group commit", (), SYNC_BUCKETS_S)
        self._rounds = make.histogram(
            "round_trip_seconds", "until a follower echoes a leader's round", ("peer",), LATENCY_BUCKETS_S
        )
        self._lag = Gauge(
            "capsize_loop_lag_seconds", "the event loop's worst lag of the last second", registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self._counted: dict[tuple[str, int | None, int], tuple[Counter, Histogram]] = {}
        """What counts an operation: by name, read mode and outcome; to look labels up costs as much as all else."""

    def serve(self, address: Address, facts: Callable[[], Facts]) -> Callable[[], None]:
        """Serves the page; what it returns ends that. ``facts`` is called in the running loop. Raises OSError if the
        address can't be used.
        """
        self.registry.register(_Gauges(facts, asyncio.get_running_loop()))
        server, thread = start_http_server(address.port, address.host, self.registry)

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end

    def lag(self, max_ms: float) -> None:
        """The event loop's worst lag of the last second."""
        self._lag.set(max_ms / 1000)

    # As an observer

    def asked(self, request: kv_pb2.ExecuteRequest, now_ns: int) -> int:  # noqa: ARG002
        """When."""
        return now_ns

    def answered(self, asked: int, request: kv_pb2.ExecuteRequest, reply: kv_pb2.Reply, now_ns: int) -> None:
        """Counts and times the operation."""
        kind = request.WhichOneof("operation") or "", mode_of(request), reply.outcome
        counted = self._counted.get(kind)
        if counted is None:
            counted = self._counted[kind] = self._count(*kind)
        counter, latency = counted
        counter.inc()
        latency.observe((now_ns - asked) / 1e9)

    def appended(self, last: int, count: int, now_ns: int) -> None:  # noqa: ARG002
        """Counts entries."""
        self._appended.inc(count)

    def applied(self, last: int, now_ns: int) -> None:  # noqa: ARG002
        """Counts batches; entries are the applied index."""
        self._applied.inc()

    def role(self, role: Role) -> None:
        """Counts changes."""
        self._roles.labels(role.value).inc()

    def snapshot(self, action: str) -> None:
        """Counts snapshots."""
        self._snapshots.labels(action).inc()

    def synced(self, took_ns: int) -> None:
        """Times a group commit."""
        self._syncs.observe(took_ns / 1e9)

    def round_trip(self, peer: str, took_ns: int) -> None:
        """Times a round."""
        self._rounds.labels(peer).observe(took_ns / 1e9)

    def _count(self, operation: str, mode: int | None, outcome: int) -> tuple[Counter, Histogram]:
        way = "log" if mode is None else kv_pb2.ReadMode.Name(kv_pb2.ReadMode.ValueType(mode)).lower()
        result = kv_pb2.Outcome.Name(kv_pb2.Outcome.ValueType(outcome)).lower()
        return self._operations.labels(operation, way, result), self._latency.labels(operation, way)


class _Maker:
    """Metrics under one prefix, in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, what: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(f"capsize_{name}", what, labels, registry=self._registry)

    def histogram(self, name: str, what: str, labels: Iterable[str], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"capsize_{name}", what, labels, registry=self._registry, buckets=buckets)


class _Gauges(Collector):
    """Reads the node when somebody asks, in its event loop."""

    def __init__(self, facts: Callable[[], Facts], loop: asyncio.AbstractEventLoop) -> None:
        self._facts = facts
        self._loop = loop

    def describe(self) -> Iterable[Any]:
        """Nothing, so that registering does not ask the loop, in which it is called."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """In the thread that serves the page."""
        began = time.monotonic()
        try:
            facts = asyncio.run_coroutine_threadsafe(self._ask(), self._loop).result(ANSWER_S_MAX)
        except (LateError, RuntimeError):  # too busy, or ending: the counters must do
            return
        yield _gauge("answer_seconds", "how long the event loop took to tell this", time.monotonic() - began)
        status = facts.status
        for name, what, value in (
            ("term", "the term", status.term),
            ("commit_index", "up to here the log is committed, as far as this node knows", status.commit),
            ("applied_index", "up to here it went through the state machine", status.applied),
            ("durable_index", "up to here it is synced on this node's disk", status.durable_index),
            ("last_index", "the log's end", status.last_index),
            ("snapshot_index", "the latest snapshot", status.snapshot_index),
        ):
            yield _gauge(name, what, value)
        yield _labelled(
            "role", "1 for the role that the node has", "role", {r.value: r.value == status.role for r in Role}
        )
        yield _labelled("match_index", "a leader's: up to here a follower agrees", "peer", facts.matches)
        yield _labelled("queue_length", "how much waits", "queue", facts.queues)

    async def _ask(self) -> Facts:
        return self._facts()


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"capsize_{name}", what, value)


def _labelled(name: str, what: str, label: str, values: Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"capsize_{name}", what, labels=(label,))
    for key, value in values.items():
        family.add_metric((key,), value)
    return family
