"""A cluster of real node processes on loopback, for integration tests."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from node.client import Done, KvClient, KvError, Operation, Status
from tests.node.addresses import free_ports

STEADY = ("--election-timeout-ms", "2000-3000", "--heartbeat-ms", "50")
"""No election after the first but those that a test forces, however busy the machine is with other tests."""


class Processes:
    """Nodes n1, n2, ... below a folder. Ended by pid, always."""

    def __init__(self, folder: Path, count: int, options: Sequence[str] = ()) -> None:
        ports = free_ports(2 * count)
        self.names = [f"n{number}" for number in range(1, count + 1)]
        self.clients = {name: f"127.0.0.1:{ports[2 * place + 1]}" for place, name in enumerate(self.names)}
        self._nodes: list[str] = []
        for place, name in enumerate(self.names):
            self._nodes += ["--node", f"{name}=127.0.0.1:{ports[2 * place]}:{ports[2 * place + 1]}"]
        self._folder = folder
        self._options = list(options)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.client = KvClient(self.clients)

    def data(self, name: str) -> Path:
        return self._folder / name / "data"

    def log(self, name: str) -> str:
        return (self._folder / name / "node.log").read_text()

    def start(self, name: str, *more: str, preexec: Callable[[], None] | None = None) -> None:
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        argv = [sys.executable, "-m", "node", "--name", name, *self._nodes, "--data", str(self.data(name))]
        with (folder / "node.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [*argv, "--log", str(folder), *self._options, *more], stderr=log, preexec_fn=preexec
            )

    def end(self, name: str, number: int = signal.SIGKILL) -> int:
        process = self.running.pop(name)
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)
        return process.wait(10)

    async def status(self, name: str) -> Status | None:
        try:
            return await self.client.status(name, 1)
        except KvError:
            return None

    async def wait_leader(self) -> str:
        """The name of a running node that leads and has applied an entry of its term."""
        async with asyncio.timeout(20):
            while True:
                for name in list(self.running):
                    status = await self.status(name)
                    if status is not None and status.role == "leader" and status.applied == status.commit > 0:
                        return name
                await asyncio.sleep(0.02)

    async def wait_followed(self) -> str:
        """The name of a leader that every running node knows: a write needs a majority, and the last one may not even
        have started yet.
        """
        async with asyncio.timeout(20):
            while True:
                leader = await self.wait_leader()
                statuses = [await self.status(name) for name in self.running]
                if all(status is not None and status.leader == leader for status in statuses):
                    return leader
                await asyncio.sleep(0.02)

    async def wait_applied(self, name: str, index: int) -> Status:
        """Until a node has applied ``index``."""
        async with asyncio.timeout(20):
            while True:
                status = await self.status(name)
                if status is not None and status.applied >= index:
                    return status
                await asyncio.sleep(0.02)

    async def do(self, operation: Operation, *, session: int = 0, sequence: int = 0) -> Done:
        """One operation at whoever leads, tried again (with the same numbers) until it is done."""
        async with asyncio.timeout(20):
            while True:
                try:
                    return await self.client.execute(
                        await self.wait_leader(), operation, 2, session=session, sequence=sequence
                    )
                except KvError:
                    await asyncio.sleep(0.02)

    async def session(self) -> int:
        async with asyncio.timeout(20):
            while True:
                try:
                    return await self.client.open_session(await self.wait_leader(), 2)
                except KvError:
                    await asyncio.sleep(0.02)


@asynccontextmanager
async def processes(folder: Path, count: int = 3, options: Sequence[str] = ()) -> AsyncIterator[Processes]:
    """Started, and ended however the test ends."""
    cluster = Processes(folder, count, options)
    try:
        for name in cluster.names:
            cluster.start(name)
        yield cluster
    finally:
        for name in list(cluster.running):
            cluster.end(name)
        await cluster.client.close()
