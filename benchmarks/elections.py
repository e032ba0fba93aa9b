"""How long a cluster is without a leader when its leader is killed: five nodes of ours, each a process, on loopback.

    python -m benchmarks.elections [--kills 100] [--nodes 5] [--heartbeat-ms 50] [--election-timeout-ms 150-300]
                                   [--pause-ms 700] [--option=--adaptive ...] [--json FILE]

Each round: SIGKILL of the leader at a random moment between two heartbeats; then, from outside, every surviving node is
asked for its status every few milliseconds until one says that it leads (*elected*), and a write is sent to that one
(*written*: acknowledged, so synced by a majority of the five). Then the killed node starts again and catches up.

From the nodes' own traces, by the same monotonic clock: when the first of them lost its patience (*noticed*), and how
many servers stood as candidates in how many terms, which tells split votes from slow steps. What is due to patience
alone: the shortest of the survivors' time-outs, drawn from the range, less the time since the last heartbeat.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from node.client import KvError, Put
from tests.node.processes import Processes

ASK_EVERY_S = 0.003
GIVE_UP_S = 10.0
GOALS_MS = (250, 300, 900)


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one kill led to, in milliseconds after it."""

    noticed_ms: float
    elected_ms: float
    written_ms: float
    led_ms: float
    """When the trace of the new leader says that it leads."""
    candidacies: int
    """How many times a server asked for real votes."""
    terms: int
    """How many terms were spent: 1 without a split vote."""


class Traces:
    """What the nodes say of themselves from a moment on."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = {path: path.stat().st_size for path in paths}

    def roles(self) -> list[tuple[int, str, int]]:
        """(monotonic ns, role, term) of all that changed, in order of time."""
        found = []
        for path, size in self._paths.items():
            with path.open("rb") as file:
                file.seek(size)
                for line in file.read().splitlines():
                    if b'"event":"role"' in line:
                        event = json.loads(line)
                        found.append((event["time"], event["role"], event["term"]))
        return sorted(found)


async def measure(cluster: Processes, folder: Path, session: int, sequence: int) -> Round:
    """One kill, from a settled cluster to the first acknowledged write."""
    leader = await cluster.wait_leader()
    traces = Traces(folder / name / "trace.jsonl" for name in cluster.running if name != leader)
    killed_ns = time.monotonic_ns()
    cluster.end(leader)
    new = await wait_new_leader(cluster)
    elected_ns = time.monotonic_ns()
    await write(cluster, new, session, sequence)
    written_ns = time.monotonic_ns()
    cluster.start(leader)
    roles = traces.roles()
    terms = {term for _, role, term in roles if role == "candidate"}
    return Round(
        noticed_ms=ms(min(at for at, role, _ in roles if role == "pre-candidate") - killed_ns),
        elected_ms=ms(elected_ns - killed_ns),
        written_ms=ms(written_ns - killed_ns),
        led_ms=ms(max(at for at, role, _ in roles if role == "leader") - killed_ns),
        candidacies=sum(role == "candidate" for _, role, _ in roles),
        terms=len(terms),
    )


async def wait_new_leader(cluster: Processes) -> str:
    """The first survivor that says it leads."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        started = time.monotonic()
        for status in await asyncio.gather(*(cluster.status(name) for name in cluster.running)):
            if status is not None and status.role == "leader":
                return status.name
        await asyncio.sleep(max(0.0, ASK_EVERY_S - (time.monotonic() - started)))
    raise SystemExit(f"nobody led within {GIVE_UP_S:g} s")


async def write(cluster: Processes, leader: str, session: int, sequence: int) -> None:
    """One write, tried again until it is acknowledged; whoever leads by then may answer."""
    deadline = time.monotonic() + GIVE_UP_S
    while time.monotonic() < deadline:
        try:
            await cluster.client.execute(leader, Put("k", b"v"), 1, session=session, sequence=sequence)
            return
        except KvError:
            leader = await wait_new_leader(cluster)
    raise SystemExit(f"no write was acknowledged within {GIVE_UP_S:g} s")


async def settle(cluster: Processes, pause_s: float) -> None:
    """Until every node has applied what the leader has committed, and then for a while."""
    leader = await cluster.wait_leader()
    status = await cluster.status(leader)
    assert status is not None, f"{leader} led a moment ago"
    for name in cluster.running:
        await cluster.wait_applied(name, status.commit)
    await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))


def ms(ns: float) -> float:
    """Milliseconds."""
    return round(ns / 1e6, 2)


def table(rounds: Sequence[Round], load: tuple[float, float]) -> str:
    """What was measured, for people."""
    lines = [f"{len(rounds)} kills; load average {load[0]:.1f} before, {load[1]:.1f} after"]
    lines.append(f"{'':10}{'median':>9}{'p90':>9}{'p95':>9}{'worst':>9} ms")
    for name in ("noticed", "led", "elected", "written"):
        values = sorted(getattr(each, f"{name}_ms") for each in rounds)
        shown = [statistics.median(values), *(values[min(len(values) - 1, int(len(values) * q))] for q in (0.9, 0.95))]
        lines.append(f"{name:10}" + "".join(f"{value:9.1f}" for value in (*shown, values[-1])))
    within = {goal: sum(each.elected_ms <= goal for each in rounds) for goal in GOALS_MS}
    lines += [f"elected within {goal} ms: {count} of {len(rounds)}" for goal, count in within.items()]
    split = sum(each.terms > 1 for each in rounds)
    rivals = sum(each.candidacies > 1 for each in rounds)
    lines.append(f"split votes: {split}; more than one candidate: {rivals}")
    return "\n".join(lines)


async def run(options: argparse.Namespace, folder: Path, rounds: list[Round]) -> None:
    """All rounds, each as soon as it was measured."""
    arguments = ["--heartbeat-ms", str(options.heartbeat_ms), "--election-timeout-ms", options.election_timeout_ms]
    cluster = Processes(folder, options.nodes, [*arguments, *options.option])
    try:
        for name in cluster.names:
            cluster.start(name)
        session = await cluster.session()
        for number in range(1, options.kills + 1):
            await settle(cluster, options.pause_ms / 1000)
            rounds.append(await measure(cluster, folder, session, number))
            if options.verbose:
                print(number, rounds[-1], flush=True)
    finally:
        for name in list(cluster.running):
            cluster.end(name)
        await cluster.client.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--heartbeat-ms", type=int, default=50)
    parser.add_argument("--election-timeout-ms", default="150-300")
    parser.add_argument("--pause-ms", type=float, default=700, help="rest between a recovery and the next kill")
    parser.add_argument("--option", action="append", default=[], help="passed to every node; repeat for more")
    parser.add_argument("--json", type=Path, help="where to put every round")
    parser.add_argument("--verbose", action="store_true", help="a line for every kill")
    options = parser.parse_args()
    before = os.getloadavg()[0]
    rounds: list[Round] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever stops it gets what was measured so far
    with tempfile.TemporaryDirectory(prefix="elections-") as folder, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(options, Path(folder), rounds))
    print(table(rounds, (before, os.getloadavg()[0])))
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in rounds], indent=1) + "\n")


if __name__ == "__main__":
    main()
