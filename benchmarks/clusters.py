"""Clusters of three nodes on this machine, of our store and of others, behind one interface: ``write``."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import msgspec
import psutil

from harness.systems import etcd_pb2 as pb
from harness.systems.etcd_connection import EtcdConnection, EtcdError
from node.client import KvClient, KvError, Put
from node.network.conversation import CALLS_PER_FRAME
from node.network.frames import FrameReader, encode_frame
from tests.node.addresses import free_ports

NODES = ("n1", "n2", "n3")
VALUE = b"0123456789abcdef"
START_S_MAX = 30.0
TIMEOUT_S = 10.0
ETCD = "/usr/bin/etcd"


class RefusedError(Exception):
    """A write that PySyncObj did not take."""


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
        self._lines: list[_Line] = []

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
            self._lines.append(line)
            if await line.leads():
                self._line = line
                return True
        return False

    async def write(self, client: int, key: str) -> None:
        del client
        assert self._line is not None
        if not await self._line.put(key):
            raise RefusedError

    async def close(self) -> None:
        for line in self._lines:
            line.close()


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
        if len(self._unsent) >= CALLS_PER_FRAME:
            self._flush()
        elif len(self._unsent) == 1:
            self._loop.call_soon(self._flush)
        return await future

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent:  # they may have left before
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
