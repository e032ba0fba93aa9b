"""How long a node with a large state takes to restart, what it holds in memory, and how long it stands still meanwhile.

    python -m benchmarks.restart [--keys 1000000] [--rounds 3] [--writes 30000]

A data directory is made by the node's own storage: so many keys with values of 16 bytes, in a snapshot (as a node
leaves it, with a log of ``--tail`` entries behind it) or in the log alone (as a node that never took one). A cluster of
one is started on it. The clock starts with its process; "answers" is when its client port tells a status, "writes" when
the first write is committed (a lone node first waits out an election time-out of 100-200 ms). Its processor time until
then is told beside it, for what else the machine does hurts the clock alone. The memory is what is resident then, and
after so many writes with a snapshot every 10,000 of them, which shows the pauses too: the worst lag of the event loop
that the node measured itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from benchmarks.catch_up import processor_s
from node import kv_pb2
from node.client import KvClient, KvError, Put
from node.durable.storage import Change, Storage
from node.machine import Machine
from node.raft.messages import Entry, EntryKind, HardState, Snapshot
from tests.node.addresses import free_ports

VALUE = b"0123456789abcdef"
NODE = "n1"
START_S_MAX = 120.0
POLL_S = 0.005
ENTRIES_PER_FRAME = 1000
WRITERS = 100


@dataclass(frozen=True, kw_only=True)
class Restarted:
    """One start."""

    answers_s: float
    writes_s: float
    processor_s: float
    memory_mb: float
    memory_later_mb: float
    lag_ms: float


def commands(first: int, keys: int, sequence: int) -> Iterator[Entry]:
    """Writes of one session, from index ``first`` on."""
    for number in range(keys):
        request = kv_pb2.ExecuteRequest(
            session=1, sequence=sequence + number, key=f"key{number}", put=kv_pb2.Put(value=VALUE)
        )
        yield Entry(first + number, 1, EntryKind.COMMAND, kv_pb2.Command(write=request).SerializeToString())


def furnish(data: Path, keys: int, tail: int, *, snapshot: bool) -> None:
    """Makes the data directory."""
    machine, storage = Machine(), Storage(data)
    opened = Entry(
        1, 1, EntryKind.COMMAND, kv_pb2.Command(open_session=kv_pb2.OpenSessionRequest()).SerializeToString()
    )
    pending = [opened]
    storage.persist([Change(hard_state=HardState(term=1, vote=NODE))])
    if snapshot:
        for entry in (opened, *commands(2, keys, 1)):
            machine.apply(entry.index, entry.data)
        taken = Snapshot(index=keys + 1, term=1, voters=(NODE,))
        storage.save_snapshot(taken, machine.copy().encode())
        storage.persist([Change(install=taken)])
        pending = []
    following = commands(keys + 2, tail, keys + 1) if snapshot else commands(2, keys, 1)
    for entry in following:
        pending.append(entry)
        if len(pending) == ENTRIES_PER_FRAME:
            storage.persist([Change(entries=pending)])
            pending = []
    if pending:
        storage.persist([Change(entries=pending)])
    storage.close()


def start(folder: Path, ports: list[int]) -> subprocess.Popen[bytes]:
    """The node."""
    argv = [sys.executable, "-m", "node", f"--name={NODE}", f"--node={NODE}=127.0.0.1:{ports[0]}:{ports[1]}"]
    argv += [f"--data={folder / 'data'}", f"--log={folder}", "--election-timeout-ms=100-200", "--heartbeat-ms=50"]
    with (folder / "node.log").open("ab") as log:
        return subprocess.Popen(argv, stdout=log, stderr=log)


async def first(client: KvClient, begun: float, *, leading: bool) -> float:
    """Seconds until the node answers; or until it leads and has applied everything, and an operation of it is done."""
    while (took := time.perf_counter() - begun) < START_S_MAX:
        try:
            status = await client.status(NODE, 1)
            if not leading:
                return time.perf_counter() - begun
            if status.role == "leader":
                await client.open_session(NODE, START_S_MAX)
                return time.perf_counter() - begun
        except KvError:
            pass
        await asyncio.sleep(POLL_S)
    raise SystemExit(f"no answer after {took:.0f} s")


async def write(client: KvClient, writes: int) -> None:
    """So many writes."""
    numbers = iter(range(writes))

    async def work() -> None:
        session = await client.open_session(NODE, 10)
        for sequence, number in enumerate(numbers, start=1):
            await client.execute(NODE, Put(f"key{number * 37}", VALUE), 10, session=session, sequence=sequence)

    await asyncio.gather(*(work() for _ in range(WRITERS)))


def worst_lag_ms(folder: Path) -> float:
    """Of the event loop, since the node serves."""
    lines = (json.loads(line) for line in (folder / "trace.jsonl").read_bytes().splitlines())
    lags = [line["max_ms"] for line in lines if line["event"] == "lag"]
    return float(max(lags[1:], default=0))  # the first covers the start


async def measure(folder: Path, writes: int) -> Restarted:
    """One start, and some work."""
    ports = free_ports(2)
    client = KvClient({NODE: f"127.0.0.1:{ports[1]}"})
    begun = time.perf_counter()
    process = start(folder, ports)
    try:
        answers_s = await first(client, begun, leading=False)
        writes_s = await first(client, begun, leading=True)
        used_s = processor_s(psutil.Process(process.pid))
        memory = psutil.Process(process.pid).memory_info
        before = memory().rss / 2**20
        await write(client, writes)
        await asyncio.sleep(1.5)  # the last lag is told
        return Restarted(
            answers_s=answers_s,
            writes_s=writes_s,
            processor_s=used_s,
            memory_mb=before,
            memory_later_mb=memory().rss / 2**20,
            lag_ms=worst_lag_ms(folder),
        )
    finally:
        await client.close()
        process.kill()
        process.wait(10)


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--tail", type=int, default=10_000)
    parser.add_argument("--writes", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the node's data goes (default: a temporary folder)")
    asked = parser.parse_args()
    print("| state | answers | writes: median (rounds) | processor | memory | after the writes | worst lag | load |")
    print("|---|---|---|---|---|---|---|---|")
    for keys, snapshot in ((0, True), (asked.keys, True), (asked.keys, False)):
        template = Path(tempfile.mkdtemp(prefix="restart-", dir=asked.folder))
        try:
            furnish(template / "data", keys, asked.tail if keys else 0, snapshot=snapshot and keys > 0)
            results = []
            for _ in range(asked.rounds):
                folder = template / "run"
                shutil.copytree(template / "data", folder / "data")
                results.append(uvloop.run(measure(folder, asked.writes)))
                shutil.rmtree(folder)
        finally:
            shutil.rmtree(template)
        print(f"| {_title(keys, snapshot, asked.tail)} | {_row(results)} | {os.getloadavg()[0]:.1f} |", flush=True)


def _title(keys: int, snapshot: bool, tail: int) -> str:
    if not keys:
        return "empty"
    return f"{keys:,} keys in a snapshot, {tail:,} entries behind it" if snapshot else f"{keys:,} keys in the log alone"


def _row(results: list[Restarted]) -> str:
    writes = [result.writes_s for result in results]
    median = statistics.median
    return " | ".join(
        [
            f"{median(result.answers_s for result in results):.2f} s",
            f"{median(writes):.2f} s ({', '.join(f'{each:.2f}' for each in writes)})",
            f"{median(result.processor_s for result in results):.2f} s",
            f"{median(result.memory_mb for result in results):.0f} MB",
            f"{median(result.memory_later_mb for result in results):.0f} MB",
            f"{median(result.lag_ms for result in results):.0f} ms",
        ]
    )


if __name__ == "__main__":
    main()
