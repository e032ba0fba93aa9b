"""A real node with metrics and traces on: a page that Prometheus could read, spans at a collector."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from node.operations import Get, Put
from tests.node.addresses import free_ports
from tests.node.processes import processes
from tests.node.test_metrics import _fetch, number, samples

pytestmark = pytest.mark.integration


class Collector(ThreadingHTTPServer):
    """Takes OTLP over HTTP, as a collector does."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Post)
        self.names: Counter[str] = Counter()


class _Post(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # the base class looks for this name
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") is None and isinstance(self.server, Collector):
            request = ExportTraceServiceRequest.FromString(body)
            spans = [one for r in request.resource_spans for scope in r.scope_spans for one in scope.spans]
            self.server.names.update(span.name for span in spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


async def test_a_node_is_measured(tmp_path: Path) -> None:
    """Every operation is counted and followed; a stop exports what is left, and the exit is a clean one."""
    (port,) = free_ports(1)
    collector = Collector()
    serving = threading.Thread(target=collector.serve_forever)
    serving.start()
    try:
        target = f"http://127.0.0.1:{collector.server_address[1]}/v1/traces"
        options = ["--metrics", str(port), "--otlp", target, "--snapshot-entries", "20"]
        async with processes(tmp_path, count=1, options=options) as cluster:
            session = await cluster.session()
            for sequence in range(1, 31):
                await cluster.do(Put("k", b"x"), session=session, sequence=sequence)
            await cluster.do(Get("k"))
            page = samples(await asyncio.to_thread(_fetch, port))
            assert cluster.end("n1", signal.SIGTERM) == 0
        assert number(page, "operations_total", operation="put", mode="log", outcome="ok") == 30
        assert number(page, "role", role="leader") == 1
        assert number(page, "applied_index") >= 31
        assert number(page, "sync_seconds_count") >= 30
        for name in ("put", "queue", "replicate", "apply", "reply"):
            assert collector.names[name] >= 30
        assert collector.names["get"] == 1
    finally:
        collector.shutdown()
        serving.join()
        collector.server_close()
