"""Committed writes a second and their latency: our node beside etcd 3.4 and PySyncObj, driven by the same load code.

    python -m benchmarks.throughput [--systems raftkv,etcd,pysyncobj] [--clients 1,10,100] [--rounds 3] [--seconds 3]

Three nodes of each on this machine, on one disk, durable as each of them can be: our node and etcd sync before they
acknowledge; PySyncObj's journal is a memory map that it never syncs before an acknowledgement, which flatters it.
Closed loop: every client has one write of 16 bytes under way, to one of 100 keys, through the leader; all clients share
one connection (etcd: one channel), as one process that works for many would. Rounds are interleaved, so that other work
on the machine hurts all alike, and each starts a fresh cluster. Shown are medians of rounds, latencies of all rounds
together, processor time for each write (all nodes; the load process), and ratios to our node's rate of the same round.

PySyncObj is measured with ``appendEntriesUseBatch`` on (its default) and off. Needs Debian's ``etcd-server`` and
``pip install pysyncobj``.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.clusters import ETCD, SYSTEMS, Cluster, RefusedError
from harness.systems.etcd_connection import EtcdError
from node.client import KvError

KEYS = 100
WARM_UP_S = 0.5


@dataclass(kw_only=True)
class Measured:
    """What one system did with one number of clients, a value for each round."""

    rates: list[float] = field(default_factory=list)
    nodes_us: list[float] = field(default_factory=list)
    load_us: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    failed: int = 0
    """Writes that failed, because a leader was lost for example: on a machine with too much to do."""


async def load(cluster: Cluster, clients: int, seconds: float, into: Measured) -> list[float]:
    """Every client writes, one at a time, for so long: how long each write took, in ms."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def work(client: int) -> None:
        number = client
        while (begun := time.perf_counter()) < end:
            number += 7
            try:
                await cluster.write(client, f"key{number % KEYS}")
            except (KvError, EtcdError, RefusedError):
                into.failed += 1
                await asyncio.sleep(0.1)
                await cluster.find_leader()
            else:
                latencies.append((time.perf_counter() - begun) * 1000)

    await asyncio.gather(*(work(client) for client in range(clients)))
    return latencies


async def measure(cluster: Cluster, clients: int, seconds: float, into: Measured) -> None:
    """A warm-up, and a round."""
    await cluster.prepare(clients)
    await load(cluster, clients, WARM_UP_S, into)
    nodes_s, load_s, begun = cluster.cpu_s(), time.process_time(), time.perf_counter()
    latencies = await load(cluster, clients, seconds, into)
    took, count = time.perf_counter() - begun, len(latencies)
    into.rates.append(count / took)
    into.nodes_us.append((cluster.cpu_s() - nodes_s) / count * 1e6)
    into.load_us.append((time.process_time() - load_s) / count * 1e6)
    into.latencies_ms += latencies


def run_round(name: str, clients: Sequence[int], seconds: float, folder: Path, into: Mapping[int, Measured]) -> None:
    """One cluster, from its start to its end."""

    async def go() -> None:
        cluster = SYSTEMS[name](folder)
        try:
            await cluster.start()
            for count in clients:
                await measure(cluster, count, seconds, into[count])
        finally:
            await cluster.close()
            cluster.stop()

    uvloop.run(go())


def table(results: Mapping[str, Mapping[int, Measured]], clients: Sequence[int]) -> str:
    """As markdown."""
    lines = [
        "| clients | system | writes/s (rounds) | p50 ms | p99 ms | processor us a write: nodes, load | raftkv is |",
        "|---|---|---|---|---|---|---|",
    ]
    for count in clients:
        for name, measured in results.items():
            lines.append(f"| {count} | {name} | {_row(measured[count], results.get('raftkv', measured)[count])} |")
    return "\n".join(lines)


def _row(measured: Measured, ours: Measured) -> str:
    percentiles = statistics.quantiles(measured.latencies_ms, n=100)
    rounds = ", ".join(f"{rate:,.0f}" for rate in measured.rates) + f"; {measured.failed} failed" * bool(
        measured.failed
    )
    ratio = statistics.median(our / their for our, their in zip(ours.rates, measured.rates, strict=True))
    cpu = f"{statistics.median(measured.nodes_us):.0f}, {statistics.median(measured.load_us):.0f}"
    cells = [f"{statistics.median(measured.rates):,.0f} ({rounds})", f"{percentiles[49]:.2f}", f"{percentiles[98]:.2f}"]
    return " | ".join([*cells, cpu, "" if measured is ours else f"{ratio:.2f} x"])


def missing(names: Sequence[str]) -> str | None:
    """What has to be installed first."""
    if unknown := [name for name in names if name not in SYSTEMS]:
        return f"unknown system {', '.join(unknown)}; known: {', '.join(SYSTEMS)}"
    if "etcd" in names and not Path(ETCD).exists():
        return f"there is no {ETCD}: sudo apt-get install etcd-server"
    if any(name.startswith("pysyncobj") for name in names) and importlib.util.find_spec("pysyncobj") is None:
        return "there is no pysyncobj: python -m pip install pysyncobj"
    return None


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--clients", default="1,10,100")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--folder", type=Path, help="where the nodes' data goes (default: a temporary folder)")
    asked = parser.parse_args()
    names, clients = asked.systems.split(","), [int(count) for count in asked.clients.split(",")]
    if fault := missing(names):
        raise SystemExit(fault)
    results = {name: {count: Measured() for count in clients} for name in names}
    for number in range(asked.rounds):
        for name in names:
            folder = Path(tempfile.mkdtemp(prefix=f"throughput-{name}-{number}-", dir=asked.folder))
            try:
                run_round(name, clients, asked.seconds, folder, results[name])
            finally:
                shutil.rmtree(folder)
            print(f"round {number + 1}, {name}: load average {os.getloadavg()[0]:.2f}", file=sys.stderr)
    print(table(results, clients))


if __name__ == "__main__":
    main()
