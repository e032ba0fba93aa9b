"""How long a follower that is far behind takes to catch up: by the log, and by a snapshot.

    python -m benchmarks.catch_up [--entries 100000] [--rounds 3]

Three of our nodes on this machine. A follower is killed, so many entries are committed without it (each to a key of its
own, 16 bytes), and it is started again. The clock starts with its process; "answers" is when its client port does, and
"caught up" when it has applied all that was committed before it was started. By the log: nothing is compacted. By a
snapshot: taken every 20,000 entries with no tail kept in memory, so that the follower is sent one and then the rest.
Its processor time is told beside it, for what else the machine does hurts the clock alone. The memory is that of its
process (resident) when it has caught up. The goal is 5 s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import uvloop

from benchmarks.clusters import NODES, START_S_MAX, Raftkv
from node.client import KvError, Status

WRITERS = 200
POLL_S = 0.01
WAYS = {
    "by the log": ("--snapshot-entries=1000000000",),
    "by a snapshot": ("--snapshot-entries=20000", "--log-tail-entries=0"),
}


@dataclass(frozen=True, kw_only=True)
class CaughtUp:
    """One follower's way back."""

    answers_s: float
    caught_up_s: float
    processor_s: float
    memory_mb: float
    snapshot_index: int


def processor_s(process: psutil.Process) -> float:
    """What it used so far: on a machine with other work, the least that it would take on an idle one."""
    times = process.cpu_times()
    return times.user + times.system


class Lagging(Raftkv):
    """A cluster of which one follower is left behind."""

    async def fill(self, entries: int) -> int:
        """Commits so many entries; the highest index."""
        await self.prepare(WRITERS)
        numbers = iter(range(entries))

        async def work(client: int) -> None:
            for number in numbers:
                await self.write(client, f"key{number}")

        await asyncio.gather(*(work(client) for client in range(WRITERS)))
        return (await self.client.status(self.leader, 10)).commit

    async def status(self, name: str) -> Status | None:
        """None while it does not answer."""
        try:
            return await self.client.status(name, 1)
        except KvError:
            return None

    async def come_back(self, place: int, index: int) -> CaughtUp:
        """Starts the follower and waits until it has applied up to ``index``."""
        begun = time.perf_counter()
        self.spawn(place)
        answers_s = 0.0
        while (took := time.perf_counter() - begun) < START_S_MAX:
            status = await self.status(NODES[place])
            if status is not None and not answers_s:
                answers_s = time.perf_counter() - begun
            if status is not None and status.applied >= index:
                process = psutil.Process(self.processes[place].pid)
                return CaughtUp(
                    answers_s=answers_s,
                    caught_up_s=took,
                    processor_s=processor_s(process),
                    memory_mb=process.memory_info().rss / 2**20,
                    snapshot_index=status.snapshot_index,
                )
            await asyncio.sleep(POLL_S)
        raise SystemExit(f"{NODES[place]} has not caught up after {took:.0f} s: see {self.folder}")


async def measure(folder: Path, options: Sequence[str], entries: int) -> CaughtUp:
    """One cluster."""
    cluster = Lagging(folder, options)
    try:
        await cluster.start()
        place = next(place for place, name in enumerate(NODES) if name != cluster.leader)
        cluster.kill(place)
        index = await cluster.fill(entries)
        caught_up = await cluster.come_back(place, index)
    finally:
        await cluster.close()
        cluster.stop()
    if (caught_up.snapshot_index > 0) != any("log-tail" in option for option in options):
        raise SystemExit(f"it caught up another way than it should: its snapshot is {caught_up.snapshot_index}")
    return caught_up


def main() -> None:
    """Runs the rounds and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the nodes' data goes (default: a temporary folder)")
    asked = parser.parse_args()
    print(f"| {asked.entries:,} entries behind | answers | caught up: median (rounds) | processor | memory | load |")
    print("|---|---|---|---|---|---|")
    for way, options in WAYS.items():
        results = []
        for _ in range(asked.rounds):
            folder = Path(tempfile.mkdtemp(prefix="catch-up-", dir=asked.folder))
            try:
                results.append(uvloop.run(measure(folder, options, asked.entries)))
            finally:
                shutil.rmtree(folder)
        took = [result.caught_up_s for result in results]
        rounds = ", ".join(f"{each:.2f}" for each in took)
        answers_s = statistics.median(result.answers_s for result in results)
        used_s = statistics.median(result.processor_s for result in results)
        memory_mb = statistics.median(result.memory_mb for result in results)
        print(
            f"| {way} | {answers_s:.2f} s | {statistics.median(took):.2f} s ({rounds}) | {used_s:.2f} s "
            f"| {memory_mb:.0f} MB | {os.getloadavg()[0]:.1f} |"
        )


if __name__ == "__main__":
    main()
