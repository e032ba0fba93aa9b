"""Walks through fail points: the node dies at its 1st, 2nd, ... n-th operation on its disk, from its first start on.

    python -m benchmarks.fail_points [--system etcd] [--at write] [--side after] [--power] [--torn] [--last 50]

For each number the node starts without data and a client writes to it, one write after the other, until it is
killed at that very operation (docs/faults/disk.md). Then it is started again on a disk that works. It must start, every
write that was acknowledged must be read back, one that is in doubt is read back or is not there, and it must take
a further write. A refusal to start is a failure. Prints a row each, and exits with 1 if one failed.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # namespaces are entered with one thread, and numpy starts some

from checkers.operation import Outcome
from faults.disks.trouble import OWNER
from faults.family import Setup
from faults.filesystem.rules import Rule
from faults.kill import Kill
from faults.needs import Node, ProcessState
from harness.cleanup.watchdog import Watchdog
from harness.clients import Client, Completion, Invocation
from harness.readiness import ask_leader
from harness.substrates.process import ProcessCluster, ProcessSubstrate
from harness.substrates.protocol import Launch, Place
from harness.systems import SYSTEMS
from harness.systems.protocol import Session

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "raftkv": {
        "election_timeout": "150ms-300ms",
        "heartbeat": "40ms",
        "snapshot_entries": 10,
        "attempt_timeout": "500ms",
        "operation_budget": "1s",
        "retry_pause": "20ms-50ms",
    },
    "etcd": {"heartbeat": "20ms", "election_timeout": "200ms", "snapshot_count": 10, "operation_budget": "1s"},
}
"""Short times, so that a walk of 50 is over soon; snapshots after few entries, so that there are some."""
WRITES_MAX = 400
START_TIMEOUT_S = 20.0
POLL_S = 0.01
READS_MAX = 10


@dataclass(kw_only=True, slots=True)
class Row:
    """What became of one fail point."""

    number: int
    where: str = ""
    """The path of the operation."""
    acknowledged: int = 0
    in_doubt: int = 0
    back_ms: float | None = None
    """From the second start until the node served."""
    failures: list[str] = field(default_factory=list)

    @property
    def reached(self) -> bool:
        """Whether the node came to it."""
        return bool(self.where)

    def __str__(self) -> str:
        back = "-" if self.back_ms is None else f"{self.back_ms:.0f}"
        result = "; ".join(self.failures) or ("recovered" if self.reached else "not reached")
        return f"{self.number:4} {self.where:44} {self.acknowledged:5} {self.in_doubt:8} {back:>8}  {result}"


HEADER = f"{'n':>4} {'operation on':44} {'acked':>5} {'in doubt':>8} {'back, ms':>8}  result"


@dataclass(kw_only=True, slots=True)
class Walk:
    """One cluster, whose first node dies again and again."""

    cluster: ProcessCluster
    session: Session
    rule: Rule
    bytes: int
    values: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    clients: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def victim(self) -> Node:
        """Who dies."""
        return next(iter(self.cluster.nodes.values()))

    @property
    def names(self) -> tuple[str, ...]:
        """All nodes."""
        return tuple(self.cluster.nodes)

    async def step(self, number: int) -> Row:
        """One fail point, from an empty folder to a node that serves again."""
        row = Row(number=number)
        await self._begin(Rule(**{**asdict(self.rule), "number": number}))
        crash = await self._write_until_it_dies()
        row.acknowledged, row.in_doubt = len(self.values), len(self.doubtful)
        if crash is None:
            return row
        row.where = str(crash["path"]) or "."
        left = await self._kill(self.victim.name).wait_dead(self.victim)
        if left:
            row.failures.append(f"processes {left} outlived it")
            return row
        began = time.monotonic()
        await self._mend()
        await self.victim.start()
        row.failures += await self._check()
        row.back_ms = (time.monotonic() - began) * 1000
        return row

    async def _begin(self, rule: Rule) -> None:
        """All nodes dead and without data, the rule in force; then they start."""
        await asyncio.gather(*(self._kill(name).inject() for name in self.names))
        await self._mend()
        for node in self.cluster.nodes.values():
            _empty(Path(node.data))
        self.values.clear()
        self.doubtful.clear()
        assert self.victim.files is not None
        await self.victim.files.lay(OWNER, [rule])
        await asyncio.gather(*(node.start() for node in self.cluster.nodes.values()))
        self.victim.dismiss()

    async def _write_until_it_dies(self) -> Mapping[str, Any] | None:
        """Writes, one key after the other, until the fail point is reached; what it was, or None."""
        writer = asyncio.create_task(self._write())
        deadline = time.monotonic() + START_TIMEOUT_S
        try:
            while time.monotonic() < deadline and not writer.done():
                if (crash := await self._crash()) is not None:
                    return crash
                await asyncio.sleep(POLL_S)
            return await self._crash()
        finally:
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)

    async def _write(self) -> None:
        if not await self._wait_served():
            return
        client = self.session.client(next(self.clients), self.victim.name)
        try:
            for place in range(WRITES_MAX):
                key, value = f"k{place}", f"v{place}-".ljust(self.bytes, "x")
                self.doubtful[key] = value
                done = await client.invoke(Invocation("write", key, value))
                if done.outcome is not Outcome.INFO:
                    del self.doubtful[key]
                if done.outcome is Outcome.OK:
                    self.values[key] = value
        finally:
            await client.close()

    async def _check(self) -> list[str]:
        """What is wrong with the node that was started again; nothing, if it kept its word."""
        if not await self._wait_served():
            state = await self.victim.state()
            return ["it refused to start" if state is ProcessState.DEAD else "it did not serve again"]
        failures = []
        client = self.session.client(next(self.clients), self.victim.name)
        try:
            for key, value in {**self.values, **self.doubtful}.items():
                done = await _read(client, key)
                allowed = (value,) if key in self.values else (value, None)
                if done.outcome is not Outcome.OK or done.value not in allowed:
                    failures.append(f"{key} is {str(done.value)[:20]} ({done.error}), not {value[:20]}")
            done = await client.invoke(Invocation("write", "after", "wards"))
            if done.outcome is not Outcome.OK:
                failures.append(f"it takes no further write: {done.error}")
        finally:
            await client.close()
        return failures

    async def _wait_served(self) -> bool:
        """Whether somebody leads, the victim answers and knows him, before it dies or the time is over."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and await self.victim.state() is not ProcessState.DEAD:
            leader = await ask_leader(self.session, self.names)
            if leader is not None and await self.session.status(self.victim.name, timeout_s=0.5) is not None:
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def _crash(self) -> Mapping[str, Any] | None:
        assert self.victim.files is not None
        return (await self.victim.files.status()).crash

    async def _mend(self) -> None:
        assert self.victim.files is not None
        await self.victim.files.lay(OWNER, [])
        await self.victim.files.thaw()

    def _kill(self, name: str) -> Kill:
        return Kill(targets=(name,), cluster=self.cluster)


async def _read(client: Client, key: str) -> Completion:
    """A key, asked again while nobody answers: how long that takes is not the question."""
    done = await client.invoke(Invocation("read", key))
    for _ in range(READS_MAX - 1):
        if done.outcome is Outcome.OK:
            break
        done = await client.invoke(Invocation("read", key))
    return done


def _empty(folder: Path) -> None:
    """Nothing is in it, for good: what is removed comes back when the power fails, if the folder is not synced."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@asynccontextmanager
async def walking(options: argparse.Namespace, folder: Path) -> AsyncIterator[Walk]:
    """A cluster on file systems of ours, removed at the end."""
    system = SYSTEMS[options.system]
    chosen = system.Options.model_validate({**OPTIONS.get(options.system, {}), **json.loads(options.options)})

    def launch(place: Place, places: Mapping[str, Place]) -> Launch:
        return system.launch(place, places, chosen, seed=1, bug=options.bug, announce_bug=None)

    substrate = ProcessSubstrate()
    substrate.prepare()
    watchdog = Watchdog.start(run_id=folder.name, folder=folder)
    cluster = await substrate.cluster(
        run_id=folder.name,
        nodes=[f"n{number}" for number in range(1, options.nodes + 1)],
        launch=launch,
        image=None,
        folder=folder / "nodes",
        undo=watchdog,
        setup=Setup(storage=frozenset({"fuse"})),
    )
    try:
        await cluster.start()
        session = system.session({name: place.address for name, place in cluster.places.items()}, chosen)
        try:
            yield Walk(cluster=cluster, session=session, rule=_rule(options), bytes=options.bytes)
        finally:
            await session.close()
    finally:
        await cluster.stop()
        watchdog.close()


def _rule(options: argparse.Namespace) -> Rule:
    side = "torn" if options.torn else options.side
    power = options.power or options.torn
    return Rule(operations=[options.at], action="crash", path=options.path, side=side, power=power)


async def walk(options: argparse.Namespace, folder: Path) -> Sequence[Row]:
    """All rows, printed as they come."""
    rows = []
    if not options.json:
        print(HEADER, flush=True)
    async with walking(options, folder) as walked:
        for number in options.numbers or range(options.first, options.last + 1):
            row = await walked.step(number)
            print(json.dumps(asdict(row)) if options.json else row, flush=True)
            rows.append(row)
    return rows


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--system", default="raftkv", choices=sorted(SYSTEMS))
    parser.add_argument("--nodes", type=int, default=1, help="the first of them dies")
    parser.add_argument("--at", default="fsync", help="the operation (docs/faults/disk.md)")
    parser.add_argument("--path", default="*", help="which files")
    parser.add_argument("--side", default="before", choices=("before", "after"))
    parser.add_argument("--power", action="store_true", help="what is not synced is lost")
    parser.add_argument("--torn", action="store_true", help="a write is torn (with --at write)")
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, default=50)
    parser.add_argument("--numbers", type=int, nargs="+", help="these instead")
    parser.add_argument("--bytes", type=int, default=8, help="length of a value")
    parser.add_argument("--options", default="{}", help="the system's, as JSON")
    parser.add_argument("--bug", help="a planted one")
    parser.add_argument("--json", action="store_true", help="a JSON line a row")
    return parser


def main() -> int:
    """0 if every node recovered."""
    options = arguments().parse_args()
    folder = Path(tempfile.mkdtemp(prefix="capsize-points-")) / secrets.token_hex(6)
    folder.mkdir()
    try:
        rows = asyncio.run(walk(options, folder))
    finally:
        shutil.rmtree(folder.parent, ignore_errors=True)
    failed, reached = [row for row in rows if row.failures], [row for row in rows if row.reached]
    print(f"{len(reached)} of {len(rows)} fail points reached, {len(failed)} failures", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
