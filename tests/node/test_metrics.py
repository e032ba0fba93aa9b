"""Metrics for Prometheus, with its own library: what is counted, what is read, and that the page is served."""

from __future__ import annotations

import asyncio
import sys
import urllib.request
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from node import kv_pb2
from node.network.transport import Address
from node.observing.facts import Facts
from node.observing.instruments import Instruments, MissingPackageError
from node.observing.metrics import Metrics
from node.observing.trace import Trace
from node.operation_codec import request_of
from node.operations import Get, Operation, Put, ReadMode
from node.options import Options, parse
from node.parts import Parts
from node.raft.messages import Role
from tests.node.addresses import free_ports

SECOND_NS = 1_000_000_000

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """All numbers of a page, by name and labels, as Prometheus reads them."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def number(found: Samples, name: str, **labels: str) -> float:
    return found[f"capsize_{name}", frozenset(labels.items())]


def done(metrics: Metrics, operation: Operation, outcome: kv_pb2.Outcome.ValueType, took_ns: int) -> None:
    request = request_of(operation)
    asked = metrics.asked(request, 5)
    metrics.answered(asked, request, kv_pb2.Reply(outcome=outcome), 5 + took_ns)


def test_what_happens_is_counted() -> None:
    """Operations by name, way and outcome; syncs, rounds and latencies in buckets; changes of role, snapshots."""
    metrics = Metrics()
    done(metrics, Put("k", b""), kv_pb2.OK, SECOND_NS // 500)
    done(metrics, Put("k", b""), kv_pb2.BUSY, 0)
    done(metrics, Get("k", ReadMode.LEASE), kv_pb2.OK, 0)
    metrics.appended(7, 3, 0)
    metrics.applied(7, 0)
    metrics.role(Role.LEADER)
    metrics.snapshot("taken")
    metrics.synced(SECOND_NS // 1000)
    metrics.round_trip("n2", SECOND_NS // 10)
    metrics.lag(2.5)
    found = samples(generate_latest(metrics.registry).decode())
    assert number(found, "operations_total", operation="put", mode="log", outcome="ok") == 1
    assert number(found, "operations_total", operation="put", mode="log", outcome="busy") == 1
    assert number(found, "operations_total", operation="get", mode="lease", outcome="ok") == 1
    assert number(found, "operation_seconds_bucket", operation="put", mode="log", le="0.001") == 1
    assert number(found, "operation_seconds_bucket", operation="put", mode="log", le="0.0025") == 2
    assert number(found, "appended_entries_total") == 3
    assert number(found, "role_changes_total", role="leader") == 1
    assert number(found, "snapshots_total", action="taken") == 1
    assert number(found, "sync_seconds_sum") == pytest.approx(0.001)
    assert number(found, "round_trip_seconds_count", peer="n2") == 1
    assert number(found, "loop_lag_seconds") == 0.0025


async def test_the_page_tells_what_the_node_is_like() -> None:
    """Gauges are read in the event loop when the page is asked for; when it ends, its port is free again."""
    loop_thread, (port,) = asyncio.current_task(), free_ports(1)

    def facts() -> Facts:
        assert asyncio.current_task() is not loop_thread
        status = kv_pb2.StatusReply(role="leader", term=4, commit=9, applied=8, durable_index=9, last_index=11)
        return Facts(status=status, matches={"n2": 9, "n3": 3}, queues={"disk": 2})

    end = Metrics().serve(Address("127.0.0.1", port), facts)
    try:
        page = await asyncio.to_thread(_fetch, port)
    finally:
        await asyncio.to_thread(end)
    found = samples(page)
    assert number(found, "term") == 4
    assert number(found, "commit_index") == 9
    assert (number(found, "role", role="leader"), number(found, "role", role="follower")) == (1, 0)
    assert number(found, "match_index", peer="n3") == 3
    assert number(found, "queue_length", queue="disk") == 2
    again = Metrics().serve(Address("127.0.0.1", port), facts)
    with pytest.raises(OSError, match="in use"):
        Metrics().serve(Address("127.0.0.1", port), facts)
    await asyncio.to_thread(again)


def _fetch(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        text: str = page.read().decode()
        return text


def options(*more: str) -> Options:
    return parse(["--name", "n1", "--node", "n1=127.0.0.1:1:2", "--data", "d", "--log", "l", *more], ())


def test_without_options_nothing_is_observed(tmp_path: Path) -> None:
    """The very parts, trace and operations that a node has anyway: it costs nothing."""
    instruments, parts = Instruments(options()), Parts()
    assert instruments.parts(parts) is parts
    trace = instruments.trace(tmp_path / "trace.jsonl", "n1")
    assert type(trace) is Trace
    trace.close()


@pytest.mark.parametrize(
    ("option", "module", "package"),
    [
        (("--metrics", "9000"), "prometheus_client", "prometheus-client"),
        (("--otlp", "console"), "opentelemetry.sdk.trace", "opentelemetry-sdk"),
        (
            ("--otlp", "http://127.0.0.1:4318/v1/traces"),
            "opentelemetry.exporter.otlp.proto.http.trace_exporter",
            "opentelemetry-exporter-otlp-proto-http",
        ),
    ],
)
def test_a_missing_package_is_named(
    option: tuple[str, str], module: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the option that needs it, and what to do."""
    for name in ("node.observing.metrics", "node.observing.telemetry"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=f"{option[0]}.* needs .*{package}.*python -m pip install"):
        Instruments(options(*option))


@pytest.mark.parametrize(
    ("option", "words"), [(("--metrics", "70000"), "not a port"), (("--otlp", "collector:4317"), "neither console nor")]
)
def test_options_are_checked(option: tuple[str, str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the value and what it should be."""
    with pytest.raises(SystemExit):
        options(*option)
    assert words in capsys.readouterr().err
