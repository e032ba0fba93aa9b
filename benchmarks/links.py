"""A few places in network namespaces with links between them, on which network faults are played and measured.

Runs where :func:`harness.host.namespaces.enter` may be called: on this machine, and inside the virtual machine that
has the kernel's own netem (:mod:`benchmarks.netem_vm`). Imports no more than it needs: it is slow there.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import statistics
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from faults.fakes.cluster import FakeUndoList
from faults.family import Setup
from faults.network import NetworkFamily
from faults.packets.shaping import Network
from harness.host import namespaces
from harness.substrates import lab
from harness.substrates.process import ProcessCluster
from harness.substrates.protocol import Launch

PORT = 7001
LINE = b"x" * 64
FAMILY = NetworkFamily()


@asynccontextmanager
async def places(names: Sequence[str], folder: Path) -> AsyncIterator[ProcessCluster]:
    """A cluster of nodes that do nothing."""
    cluster = ProcessCluster(
        run_id="links",
        names=names,
        launch=lambda *_: Launch(argv=["sleep", "600"]),
        folder=folder,
        undo=FakeUndoList(),
        keep_data=False,
        setup=Setup(),
    )
    try:
        await cluster.start()
        yield cluster
    finally:
        await cluster.stop()


def fault(cluster: ProcessCluster, *targets: str, seed: int = 1, **said: Any) -> Network:
    """A network fault as a scenario would say it."""
    parameters = FAMILY.Parameters.model_validate({"target": list(targets), **said})
    facts = FAMILY.resolve(parameters, targets=targets, nodes=tuple(cluster.nodes), random=Random(seed))
    return FAMILY.build(facts, cluster)


async def left_over(cluster: ProcessCluster) -> list[str]:
    """Queueing disciplines and chains that are in nodes' namespaces and should not be there after healing."""
    found = []
    for name, node in cluster.nodes.items():
        shown = await node.run(("tc", "qdisc", "show"))
        found += [f"{name}: {line}" for line in shown.stdout.splitlines() if "netem" in line or "prio" in line]
        listed = await node.run(("iptables", "-w", "5", "-t", "mangle", "-S"))
        found += [f"{name}: {line}" for line in listed.stdout.splitlines() if "capsize" in line]
    return found


async def ping_pong(cluster: ProcessCluster, one: str, other: str, count: int) -> list[float]:
    """Round trips of a line over a TCP connection between two nodes' namespaces, in milliseconds."""
    with _listening(cluster, other) as server:
        address = server.getsockname()
        client = namespaces.call_in(lab.netns_of(one), lambda: socket.create_connection(address, timeout=20))
        with client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return await asyncio.to_thread(_play, client, count)


async def bulk(cluster: ProcessCluster, one: str, other: str, seconds: float) -> float:
    """Bits a second over a TCP connection for so long."""
    with _listening(cluster, other, sink=True) as server:
        address = server.getsockname()
        client = namespaces.call_in(lab.netns_of(one), lambda: socket.create_connection(address, timeout=20))
        with client:
            return await asyncio.to_thread(_pour, client, seconds)


def spread(times_ms: Sequence[float]) -> Mapping[str, float]:
    """What is told of a measurement."""
    ordered = sorted(times_ms)
    numbers = {
        "count": len(ordered),
        "median": statistics.median(ordered),
        "mean": statistics.mean(ordered),
        "deviation": statistics.pstdev(ordered),
        "p5": ordered[len(ordered) // 20],
        "p95": ordered[-1 - len(ordered) // 20],
    }
    return {name: round(value, 2) for name, value in numbers.items()}


def _play(client: socket.socket, count: int) -> list[float]:
    times = []
    for _ in range(count):
        begin_ns = time.monotonic_ns()
        client.sendall(LINE)
        _receive(client, len(LINE))
        times.append((time.monotonic_ns() - begin_ns) / 1e6)
    return times


def _pour(client: socket.socket, seconds: float) -> float:
    """Counts what the other side says that it has taken, at the end."""
    piece, sent, begin = bytes(1 << 16), 0, time.monotonic()
    while time.monotonic() - begin < seconds:
        sent += client.send(piece)
    client.shutdown(socket.SHUT_WR)
    client.settimeout(60)
    _receive(client, 1)
    return 8 * sent / (time.monotonic() - begin)


def _receive(client: socket.socket, count: int) -> bool:
    while count:
        piece = client.recv(count)
        if not piece:
            return False
        count -= len(piece)
    return True


@contextlib.contextmanager
def _listening(cluster: ProcessCluster, name: str, *, sink: bool = False) -> Any:
    """A server in a node's namespace that sends back what comes, or takes it all and says so with one byte."""

    def listen() -> socket.socket:
        return socket.create_server((cluster.nodes[name].address, PORT))

    server = namespaces.call_in(lab.netns_of(name), listen)

    def serve() -> None:
        with contextlib.suppress(OSError):
            peer, _ = server.accept()
            with peer:
                peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while piece := peer.recv(1 << 17 if sink else len(LINE)):
                    if not sink:
                        peer.sendall(piece)
                if sink:
                    peer.sendall(b".")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(timeout=5)
