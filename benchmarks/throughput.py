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
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgspec
import psutil
import uvloop

from harness.systems import etcd_pb2 as pb
from harness.systems.etcd_connection import EtcdConnection, EtcdError
from node.client import KvClient, KvError, Put
from node.frames import FrameReader, encode_frame
from tests.node.addresses import free_ports

NODES = ("n1", "n2", "n3")
KEYS = 100
VALUE = b"0123456789abcdef"
START_S_MAX = 30.0
WARM_UP_S = 0.5
TIMEOUT_S = 10.0
ETCD = "/usr/bin/etcd"


class Cluster(ABC):
    """Three nodes of one system, started below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = free_ports(2 * len(NODES))
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    @abstractmethod
    def command(self, place: int) -> Sequence[str]:
        """How a node is started."""

    @abstractmethod
    async def find_leader(self) -> bool:
        """Whether one is found, and connected to."""

    @abstractmethod
    async def write(self, client: int, key: str) -> None:
        """One write, committed when this returns."""

    @abstractmethod
    async def close(self) -> None:
        """Ends the connections."""

    async def prepare(self, clients: int) -> None:  # noqa: B027  # most need nothing
        """Before that many clients begin."""

    async def start(self) -> None:
        """Starts the nodes and waits until one leads."""
        for place in range(len(NODES)):
            self.spawn(place)
        deadline = time.monotonic() + START_S_MAX
        while not await self.find_leader():
            if time.monotonic() > deadline:
                raise SystemExit(f"no leader within {START_S_MAX:g} s: see {self.folder}/n1.log")
            await asyncio.sleep(0.1)

    def spawn(self, place: int) -> None:
        """Starts one node."""
        with (self.folder / f"{NODES[place]}.log").open("ab") as log:
            self.processes[place] = subprocess.Popen(self.command(place), stdout=log, stderr=log)

    def kill(self, place: int) -> None:
        """Ends one."""
        self.processes[place].kill()
        self.processes[place].wait(10)

    def stop(self) -> None:
        """Kills the nodes."""
        for place in self.processes:
            self.kill(place)

    def cpu_s(self) -> float:
        """Processor time of all nodes."""
        times = [psutil.Process(process.pid).cpu_times() for process in self.processes.values()]
        return sum(each.user + each.system for each in times)


class Raftkv(Cluster):
    """Our node, as ``python -m node`` starts it: traces on."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        super().__init__(folder)
        self._options = options
        addresses = {name: f"127.0.0.1:{self.ports[2 * place + 1]}" for place, name in enumerate(NODES)}
        self.client = KvClient(addresses)
        self.leader = ""
        self._sessions: list[int] = []
        self._sequences: list[int] = []

    def command(self, place: int) -> Sequence[str]:
        nodes = [f"--node={n}=127.0.0.1:{self.ports[2 * p]}:{self.ports[2 * p + 1]}" for p, n in enumerate(NODES)]
        home = self.folder / NODES[place]
        program = [sys.executable, "-m", "node", "--name", NODES[place]]
        return [*program, *nodes, f"--data={home}", f"--log={home}", *self._options]

    async def find_leader(self) -> bool:
        for name in NODES:
            try:
                status = await self.client.status(name, 1)
            except KvError:
                continue
            if status.role == "leader" and status.applied:
                self.leader = name
                return True
        return False

    async def prepare(self, clients: int) -> None:
        self._sessions = [await self.client.open_session(self.leader, TIMEOUT_S) for _ in range(clients)]
        self._sequences = [0] * clients

    async def write(self, client: int, key: str) -> None:
        self._sequences[client] += 1
        await self.client.execute(
            self.leader,
            Put(key, VALUE),
            TIMEOUT_S,
            session=self._sessions[client],
            sequence=self._sequences[client],
        )

    async def close(self) -> None:
        await self.client.close()


class Etcd(Cluster):
    """etcd with its defaults, through the connection that the harness uses."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._connections = {
            name: EtcdConnection(name, f"127.0.0.1:{self.ports[2 * place + 1]}") for place, name in enumerate(NODES)
        }
        self._leader = self._connections["n1"]

    def command(self, place: int) -> Sequence[str]:
        peers = [f"http://127.0.0.1:{self.ports[2 * p]}" for p in range(len(NODES))]
        client = f"http://127.0.0.1:{self.ports[2 * place + 1]}"
        return [
            ETCD,
            f"--name={NODES[place]}",
            f"--data-dir={self.folder / NODES[place]}",
            f"--listen-peer-urls={peers[place]}",
            f"--initial-advertise-peer-urls={peers[place]}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--initial-cluster={','.join(f'{name}={url}' for name, url in zip(NODES, peers, strict=True))}",
            "--logger=zap",
            "--log-outputs=stderr",
            "--grpc-keepalive-min-time=100ms",
        ]

    async def find_leader(self) -> bool:
        for connection in self._connections.values():
            try:
                status = await connection.call("Status", pb.StatusRequest(), pb.StatusResponse, timeout_s=1)
            except EtcdError:
                continue
            if status.leader and status.leader == status.header.member_id:
                self._leader = connection
                return True
        return False

    async def write(self, client: int, key: str) -> None:
        del client
        await self._leader.call(
            "Put", pb.PutRequest(key=key.encode(), value=VALUE), pb.PutResponse, timeout_s=TIMEOUT_S
        )

    async def close(self) -> None:
        for connection in self._connections.values():
            await connection.close()


class Pysyncobj(Cluster):
    """PySyncObj behind ``benchmarks/pysyncobj_node.py``."""

    mode = "batched"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._line: _Line | None = None

    def command(self, place: int) -> Sequence[str]:
        peers = [f"127.0.0.1:{self.ports[2 * p]}" for p in range(len(NODES))]
        journal = self.folder / f"{NODES[place]}.journal"
        program = [sys.executable, "-m", "benchmarks.pysyncobj_node", str(self.ports[2 * place + 1])]
        return [*program, str(journal), self.mode, peers.pop(place), *peers]

    async def find_leader(self) -> bool:
        for port in self.ports[1::2]:
            try:
                _, line = await asyncio.get_running_loop().create_connection(_Line, "127.0.0.1", port)
            except OSError:
                continue
            if await line.leads():
                self._line = line
                return True
            line.close()
        return False

    async def write(self, client: int, key: str) -> None:
        del client
        assert self._line is not None
        if not await self._line.put(key):
            raise SystemExit("PySyncObj refused a write: its leader changed")

    async def close(self) -> None:
        if self._line is not None:
            self._line.close()


class PysyncobjUnbatched(Pysyncobj):
    """The same with ``appendEntriesUseBatch=False``."""

    mode = "unbatched"


class _Line(asyncio.Protocol):
    """A connection to a PySyncObj node."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[bool]] = {}
        self._unsent: list[tuple[int, str, bytes]] = []
        self._last = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        for payload in self._reader.feed(data):
            for number, done in msgspec.msgpack.decode(payload):
                self._waiting.pop(number).set_result(done)

    async def leads(self) -> bool:
        self._send([])
        future = self._waiting[0] = self._loop.create_future()
        return await asyncio.wait_for(future, TIMEOUT_S)

    async def put(self, key: str) -> bool:
        self._last += 1
        future = self._waiting[self._last] = self._loop.create_future()
        self._unsent.append((self._last, key, VALUE))
        if len(self._unsent) == 1:
            self._loop.call_soon(self._flush)
        return await future

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        self._send(unsent)

    def _send(self, calls: Sequence[tuple[int, str, bytes]]) -> None:
        assert self._transport is not None
        self._transport.write(encode_frame(msgspec.msgpack.encode(calls)))


SYSTEMS: Mapping[str, Callable[[Path], Cluster]] = {
    "raftkv": Raftkv,
    "etcd": Etcd,
    "pysyncobj": Pysyncobj,
    "pysyncobj-unbatched": PysyncobjUnbatched,
}


@dataclass(kw_only=True)
class Measured:
    """What one system did with one number of clients, a value for each round."""

    rates: list[float] = field(default_factory=list)
    nodes_us: list[float] = field(default_factory=list)
    load_us: list[float] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)


async def load(cluster: Cluster, clients: int, seconds: float) -> list[float]:
    """Every client writes, one at a time, for so long: how long each write took, in ms."""
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def work(client: int) -> None:
        number = client
        while (begun := time.perf_counter()) < end:
            number += 7
            await cluster.write(client, f"key{number % KEYS}")
            latencies.append((time.perf_counter() - begun) * 1000)

    await asyncio.gather(*(work(client) for client in range(clients)))
    return latencies


async def measure(cluster: Cluster, clients: int, seconds: float, into: Measured) -> None:
    """A warm-up, and a round."""
    await cluster.prepare(clients)
    await load(cluster, clients, WARM_UP_S)
    nodes_s, load_s, begun = cluster.cpu_s(), time.process_time(), time.perf_counter()
    latencies = await load(cluster, clients, seconds)
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
    rounds = ", ".join(f"{rate:,.0f}" for rate in measured.rates)
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
