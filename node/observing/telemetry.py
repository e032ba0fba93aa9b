"""Traces for OpenTelemetry, on request (``--otlp URL``, or ``--otlp console``): where the time of a write goes.

A write is one span, from the request's arrival to its reply, with a span for each part of its way at the node that was
asked: ``queue`` (until it is proposed), ``sync`` (until this node's disk has it), ``replicate`` (until it is
committed), ``apply`` (until it went through the state machine), ``reply``. Sync and replication go on at the same time,
and what a majority has may be committed before this node's own disk is done: then ``sync`` is left out. A read is one
span.

Where they begin and end is taken from what the node's trace tells of indexes (:mod:`node.observing.observation`): a
write's reply names its index, and the first event that reaches it is its own. The SDK samples and exports in threads of
its own; its environment variables (``OTEL_TRACES_SAMPLER`` and the others) hold.
"""

from __future__ import annotations

import bisect
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.trace import Span, StatusCode, set_span_in_context

from node import kv_pb2
from node.observing.observation import Observer
from node.operation_codec import mode_of

MARKS_MAX = 8192
"""Events that are remembered, of each kind; a write that takes longer than so many has gaps in its way."""

CONSOLE = "console"


@dataclass(slots=True)
class _Marks:
    """When an index was reached: (index, time), both ascending."""

    indexes: deque[int]
    times: deque[int]

    def reached(self, index: int, now_ns: int) -> None:
        if not self.indexes or index > self.indexes[-1]:
            self.indexes.append(index)
            self.times.append(now_ns)

    def when(self, index: int) -> int | None:
        """The first time at which ``index`` or more was reached."""
        place = bisect.bisect_left(self.indexes, index)
        return self.times[place] if place < len(self.times) else None

    def cut(self, index: int) -> None:
        """Everything from ``index`` on is reached anew."""
        while self.indexes and self.indexes[-1] >= index:
            self.indexes.pop()
            self.times.pop()


def _marks() -> _Marks:
    return _Marks(deque(maxlen=MARKS_MAX), deque(maxlen=MARKS_MAX))


def exporter_to(target: str) -> SpanExporter:
    """``console`` (standard output), or the address at which a collector takes traces as OTLP over HTTP, as in
    ``http://127.0.0.1:4318/v1/traces``. Raises ImportError if the exporter's package is missing.
    """
    if target == CONSOLE:
        return ConsoleSpanExporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # a package of its own

    return OTLPSpanExporter(endpoint=target)


class Telemetry(Observer):
    """One node's spans."""

    def __init__(self, node: str, exporter: SpanExporter) -> None:
        self._provider = TracerProvider(
            resource=Resource.create({"service.name": "raftkv", "service.instance.id": node})
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("capsize.node")
        self._epoch_ns = time.time_ns() - time.monotonic_ns()
        """What is added to monotonic times: spans have the time of day, as of the start."""
        self._appended, self._durable, self._committed, self._applied = _marks(), _marks(), _marks(), _marks()

    def close(self) -> None:
        """Exports what is left."""
        self._provider.shutdown()

    # As an observer

    def asked(self, request: kv_pb2.ExecuteRequest, now_ns: int) -> Span:
        """Begins a span."""
        name = request.WhichOneof("operation") or "nothing"
        mode = mode_of(request)
        attributes: dict[str, str | int] = {
            "capsize.key": request.key,
            "capsize.mode": "log" if mode is None else kv_pb2.ReadMode.Name(mode).lower(),
            "capsize.session": request.session,
            "capsize.sequence": request.sequence,
        }
        return self._tracer.start_span(name, start_time=self._epoch_ns + now_ns, attributes=attributes)

    def answered(self, asked: Span, request: kv_pb2.ExecuteRequest, reply: kv_pb2.Reply, now_ns: int) -> None:
        """Ends it, with the parts of its way."""
        if asked.is_recording():
            asked.set_attribute("capsize.outcome", kv_pb2.Outcome.Name(reply.outcome))
            asked.set_attribute("capsize.index", reply.index)
            if reply.outcome not in (kv_pb2.OK, kv_pb2.MISMATCH):
                asked.set_status(StatusCode.ERROR, reply.detail)
            elif mode_of(request) is None:
                self._way(asked, reply.index, now_ns)
        asked.end(end_time=self._epoch_ns + now_ns)

    def appended(self, last: int, count: int, now_ns: int) -> None:
        """Indexes that were cut away are reached anew."""
        for marks in (self._appended, self._durable):
            marks.cut(last - count + 1)
        self._appended.reached(last, now_ns)

    def durable(self, index: int, now_ns: int) -> None:
        """See the base class, here and below."""
        self._durable.reached(index, now_ns)

    def committed(self, index: int, now_ns: int) -> None:
        self._committed.reached(index, now_ns)

    def applied(self, last: int, now_ns: int) -> None:
        self._applied.reached(last, now_ns)

    def _way(self, write: Span, index: int, now_ns: int) -> None:
        began_ns: int = getattr(write, "start_time", self._epoch_ns + now_ns) - self._epoch_ns
        proposed, durable = self._appended.when(index), self._durable.when(index)
        committed, applied = self._committed.when(index), self._applied.when(index)
        part = self._parts_of(write)
        part("queue", began_ns, proposed)
        part("sync", proposed, durable)
        part("replicate", proposed, committed)
        part("apply", committed, applied)
        part("reply", applied, now_ns)

    def _parts_of(self, write: Span) -> Callable[[str, int | None, int | None], None]:
        context = set_span_in_context(write)

        def part(name: str, begin_ns: int | None, end_ns: int | None) -> None:
            if begin_ns is not None and end_ns is not None and end_ns >= begin_ns:
                span = self._tracer.start_span(name, context, start_time=self._epoch_ns + begin_ns)
                span.end(end_time=self._epoch_ns + end_ns)

        return part
