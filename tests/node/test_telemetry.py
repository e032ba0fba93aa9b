"""Spans for OpenTelemetry, with its own SDK: the way of a write."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from node import kv_pb2
from node.observing.telemetry import Telemetry
from node.operation_codec import request_of
from node.operations import Get, Operation, Put


class Node:
    """Telemetry of a node, and the spans that it has exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.telemetry = Telemetry("n1", self._exporter)

    def do(self, operation: Operation, reply: kv_pb2.Reply, *, asked_ns: int, answered_ns: int) -> None:
        request = request_of(operation)
        span = self.telemetry.asked(request, asked_ns)
        self.telemetry.answered(span, request, reply, answered_ns)

    def spans(self) -> Sequence[ReadableSpan]:
        self.telemetry.close()
        return self._exporter.get_finished_spans()


def way(spans: Sequence[ReadableSpan]) -> dict[str, tuple[int, int]]:
    """Where each part of the first write begins and ends, from its request's arrival on."""
    whole = next(span for span in spans if span.parent is None)
    assert whole.context is not None
    assert whole.start_time is not None
    parts = {}
    for span in spans:
        assert span.start_time is not None
        assert span.end_time is not None
        if span.parent is not None and span.parent.span_id == whole.context.span_id:
            parts[span.name] = span.start_time - whole.start_time, span.end_time - whole.start_time
    return parts


def test_a_write_is_followed() -> None:
    """Queue, sync, replicate, apply, reply: each from the event that reached its index first."""
    node = Node()
    telemetry = node.telemetry
    telemetry.appended(11, 2, 100)
    telemetry.durable(11, 300)
    telemetry.committed(10, 350)
    telemetry.committed(12, 400)
    telemetry.applied(12, 420)
    node.do(Put("k", b""), kv_pb2.Reply(outcome=kv_pb2.OK, index=11), asked_ns=50, answered_ns=450)
    spans = node.spans()
    expected = {"queue": (0, 50), "sync": (50, 250), "replicate": (50, 350), "apply": (350, 370), "reply": (370, 400)}
    assert way(spans) == expected
    whole = next(span for span in spans if span.parent is None)
    assert (whole.name, (whole.attributes or {})["capsize.index"]) == ("put", 11)


def test_a_commit_may_come_before_the_own_disk() -> None:
    """Then there is no sync to be shown; and a read has no way at all."""
    node = Node()
    node.telemetry.appended(11, 1, 100)
    node.telemetry.committed(11, 200)
    node.telemetry.applied(11, 210)
    node.do(Put("k", b""), kv_pb2.Reply(outcome=kv_pb2.OK, index=11), asked_ns=50, answered_ns=220)
    assert set(way(node.spans())) == {"queue", "replicate", "apply", "reply"}
    reader = Node()
    reader.do(Get("k"), kv_pb2.Reply(outcome=kv_pb2.OK, index=11), asked_ns=50, answered_ns=60)
    (span,) = reader.spans()
    assert (span.attributes or {})["capsize.mode"] == "leader"


def test_what_was_cut_away_does_not_count() -> None:
    """An index that is appended again was reached when its new entry was."""
    node = Node()
    node.telemetry.appended(11, 1, 100)
    node.telemetry.durable(11, 110)
    node.telemetry.appended(11, 1, 500)
    node.telemetry.durable(11, 510)
    node.telemetry.committed(11, 520)
    node.telemetry.applied(11, 530)
    node.do(Put("k", b""), kv_pb2.Reply(outcome=kv_pb2.OK, index=11), asked_ns=450, answered_ns=540)
    assert way(node.spans())["sync"] == (50, 60)


@pytest.mark.parametrize("outcome", [kv_pb2.UNKNOWN, kv_pb2.NOT_LEADER, kv_pb2.INVALID])
def test_a_failure_is_an_error_without_a_way(outcome: kv_pb2.Outcome.ValueType) -> None:
    """And says which."""
    node = Node()
    node.do(Put("k", b""), kv_pb2.Reply(outcome=outcome, detail="why"), asked_ns=1, answered_ns=2)
    (span,) = node.spans()
    assert (span.status.is_ok, span.status.description) == (False, "why")
    assert (span.attributes or {})["capsize.outcome"] == kv_pb2.Outcome.Name(outcome)
