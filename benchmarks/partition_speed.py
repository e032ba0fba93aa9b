"""How long it takes until a partition over five nodes is in force: ``python -m benchmarks.partition_speed``.

Two kinds of rows. *Alone*: a cluster of five idle servers on the substrate ``process``, and a controller that does
nothing but inject and heal partitions, with so many busy processes beside it. *In a run*: ``capsize run`` with five
raftkv nodes and clients, a partition every 400 ms; the figures are read from the run's own ``schedule.jsonl``. In both
the clock is the fault's: from the beginning of ``inject`` until the last node's rules are in (``in_force_ms``). In a
run there is also the time from when the schedule wanted it until then. Needs root or unprivileged user namespaces.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

from faults import FAMILIES
from faults.family import Setup
from harness.cleanup.watchdog import Watchdog
from harness.substrates.process import ProcessCluster, ProcessSubstrate
from harness.substrates.protocol import Launch, Place

NODES = tuple(f"n{number}" for number in range(1, 6))
SHAPES = ("halves", "isolate", "bridge", "majorities-ring")
GOAL_MS = 20.0
SCENARIO = """
name: partition-speed
nodes: 5
time: {time}s
workload: {{name: register, rate: {rate}, concurrency: 2n, keys: 20}}
lag_max: 60s
recovery: 60s
ok_min: 0
faults:
  - {{every: 400ms, for: 10ms, partition: {{shape: {shape}}}}}
"""


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--injections", type=int, default=120, help="partitions a row")
    parser.add_argument("--busy", type=int, nargs="*", default=[0, 2, 6], help="busy processes beside the controller")
    parser.add_argument("--rates", type=int, nargs="*", default=[200, 500], help="operations a second in the runs")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone is not None:
        print(json.dumps(asyncio.run(alone(options.alone, options.injections))))
        return
    print(f"| row | partitions | median | 95 % | 99 % | worst | within {GOAL_MS:g} ms | load average |")
    print("|---|---|---|---|---|---|---|---|")
    for busy in options.busy:
        command = [sys.executable, "-m", "benchmarks.partition_speed", "--alone", f"{busy}"]
        done = subprocess.run([*command, "--injections", f"{options.injections}"], stdout=subprocess.PIPE, check=True)
        show(f"alone, {busy} busy processes", json.loads(done.stdout.splitlines()[-1]))
    for rate in options.rates:
        inside, wanted = in_a_run(rate, options.injections)
        show(f"in a run, {rate} operations/s asked", inside)
        show("the same, since the schedule wanted it", wanted)


def show(row: str, times: Sequence[float]) -> None:
    """One line."""
    ordered = sorted(times)
    at = [ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in (0.5, 0.95, 0.99)]
    met = sum(each <= GOAL_MS for each in ordered) / len(ordered)
    cells = [f"{len(ordered)}", *(f"{each:.1f} ms" for each in (*at, ordered[-1])), f"{met:.0%}"]
    print(f"| {row} | {' | '.join(cells)} | {os.getloadavg()[0]:.1f} |", flush=True)


async def alone(busy: int, injections: int) -> list[float]:
    """``in_force_ms`` of partitions of all shapes, in turn."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        substrate = ProcessSubstrate()
        substrate.prepare()
        watchdog = Watchdog.start(run_id="speed", folder=folder)
        cluster = await substrate.cluster(
            run_id="speed", nodes=NODES, launch=sleeper, image=None, folder=folder, undo=watchdog, setup=Setup()
        )
        try:
            await cluster.start()
            with burning(busy):
                await asyncio.sleep(0.5)
                return [await once(cluster, number) for number in range(injections)]
        finally:
            await cluster.stop()
            watchdog.close()


def sleeper(place: Place, places: object) -> Launch:
    """A server that does nothing."""
    del place, places
    return Launch(argv=["sleep", "infinity"])


async def once(cluster: ProcessCluster, number: int) -> float:
    """One partition, injected and healed."""
    family = FAMILIES["partition"]
    parameters = family.Parameters(shape=SHAPES[number % len(SHAPES)])
    resolved = family.resolve(parameters, targets=(), nodes=NODES, random=Random(number))
    fault = family.build(resolved, cluster)
    bit = await fault.inject()
    healed = await fault.heal()
    assert bit.holds, bit.evidence
    assert healed.holds, healed.evidence
    return float(bit.evidence["in_force_ms"])


@contextlib.contextmanager
def burning(count: int) -> Iterator[None]:
    """So many processes that want a core each."""
    burners = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in burners:
            each.kill()
            each.wait()


def in_a_run(rate: int, injections: int) -> tuple[list[float], list[float]]:
    """``in_force_ms`` of a run's partitions, and the same since the schedule wanted each."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "speed.yaml"
        text = SCENARIO.format(time=round(injections * 0.4) + 1, rate=rate, shape="isolate")
        path.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "harness", "run", str(path), "--folder", f"{scratch}/run", "--seed", "1"]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        lines = (Path(scratch) / "run" / "schedule.jsonl").read_text(encoding="utf-8").splitlines()
    faults = [fault for fault in map(json.loads, lines) if fault["bit"]["holds"]]
    inside = [float(fault["bit"]["evidence"]["in_force_ms"]) for fault in faults]
    late = [(fault["injected_ns"][0] - fault["planned_ns"]) / 1e6 for fault in faults]
    return inside, [one + other for one, other in zip(inside, late, strict=True)]


if __name__ == "__main__":
    main()
