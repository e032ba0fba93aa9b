"""Whether it pays to compress large entries: three nodes of ours, committed writes with and without, side by side.

    python -m benchmarks.compression [--sizes 1024,4096,16384,65536,262144] [--clients 10] [--seconds 3] [--rounds 3]

Values are JSON rows (they shrink to about a fifth) and random bytes (they do not). Rounds with and without compression
alternate on fresh clusters, so that other work on the machine hurts both alike; shown are medians of rounds: writes a
second, the p50 of their latency, processor time of the nodes for each write, and what the nodes together
wrote to disk for each.
Loopback and a local disk are the hardest case for compression: nothing that it saves is scarce there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from node.client import Put
from tests.node.processes import Processes

COMPRESS_BYTES = 1024
VALUES = 8
"""Different values of each kind, so that nothing is cached by chance."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One round."""

    rate: float
    p50_ms: float
    cpu_ms: float
    disk_kb: float


def rows(stream: random.Random, size: int) -> bytes:
    """JSON as services store it."""
    row = {"user": 0, "state": "active", "score": 0.5, "tags": ["alpha", "beta"]}
    found = [{**row, "user": stream.randrange(10**6), "score": stream.random()} for _ in range(size // 60 + 1)]
    return json.dumps(found).encode()[:size]


def noise(stream: random.Random, size: int) -> bytes:
    """What does not shrink."""
    return stream.randbytes(size)


async def measure(folder: Path, values: Sequence[bytes], clients: int, seconds: float, options: list[str]) -> Measured:
    """One fresh cluster."""
    cluster = Processes(folder, 3, options)
    try:
        for name in cluster.names:
            cluster.start(name)
        leader = await cluster.wait_leader()
        sessions = [await cluster.client.open_session(leader, 5) for _ in range(clients)]
        before_s, took_s = cpu_s(cluster), list[float]()
        disk_before, begin = written_bytes(cluster), time.monotonic()

        async def write(number: int) -> None:
            sequence = 0
            while time.monotonic() - begin < seconds:
                sequence += 1
                at = time.monotonic()
                put = Put(f"k{number}", values[sequence % len(values)])
                await cluster.client.execute(leader, put, 10, session=sessions[number], sequence=sequence)
                took_s.append(time.monotonic() - at)

        await asyncio.gather(*map(write, range(clients)))
        spent_s, count = time.monotonic() - begin, len(took_s)
        return Measured(
            rate=count / spent_s,
            p50_ms=1000 * statistics.median(took_s),
            cpu_ms=1000 * (cpu_s(cluster) - before_s) / count,
            disk_kb=(written_bytes(cluster) - disk_before) / count / 1000,
        )
    finally:
        for name in list(cluster.running):
            cluster.end(name)
        await cluster.client.close()


def cpu_s(cluster: Processes) -> float:
    """Processor time of all nodes."""
    times = [psutil.Process(process.pid).cpu_times() for process in cluster.running.values()]
    return sum(each.user + each.system for each in times)


def written_bytes(cluster: Processes) -> int:
    """What all nodes have had written to their disks."""
    return sum(psutil.Process(process.pid).io_counters().write_bytes for process in cluster.running.values())


def median(rounds: Sequence[Measured], field: str) -> float:
    """Of one field."""
    return float(statistics.median(getattr(each, field) for each in rounds))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="1024,4096,16384,65536,262144")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that whoever stops it stops the nodes, too
    kinds: dict[str, Callable[[random.Random, int], bytes]] = {"json": rows, "random": noise}
    variants = {"plain": ["--snapshot-entries", "1000000"]}
    variants["packed"] = [*variants["plain"], "--compress-bytes", str(COMPRESS_BYTES)]
    print(f"load average {os.getloadavg()[0]:.1f}; {asked.clients} clients; medians of {asked.rounds} rounds")
    print(f"{'value':>16} {'':7}{'writes/s':>9}{'p50 ms':>8}{'cpu ms':>8}{'disk kB':>9}")
    for kind, make in kinds.items():
        for size in map(int, asked.sizes.split(",")):
            stream = random.Random(size)
            values = [make(stream, size) for _ in range(VALUES)]
            found: dict[str, list[Measured]] = {name: [] for name in variants}
            for _ in range(asked.rounds):
                for name, options in variants.items():
                    with tempfile.TemporaryDirectory(prefix="compression-") as folder:
                        found[name].append(
                            asyncio.run(measure(Path(folder), values, asked.clients, asked.seconds, options))
                        )
            for name, rounds in found.items():
                shown = [median(rounds, field) for field in ("rate", "p50_ms", "cpu_ms", "disk_kb")]
                print(
                    f"{kind:>7} {size:>8} {name:7}{shown[0]:9.0f}{shown[1]:8.1f}{shown[2]:8.2f}{shown[3]:9.0f}",
                    flush=True,
                )
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
