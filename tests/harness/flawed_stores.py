"""Whole runs of workloads on stores in memory, correct or with one flaw, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from checkers import History, Result
from harness.fake_store import Flaws, StoreSystem
from harness.fakes import VirtualLoop, run_virtual
from harness.interpreter import interpret
from harness.recorder import Recorder
from harness.workloads.protocol import Workload

NODES = ("n1", "n2", "n3", "n4", "n5")
WORKERS = 10
S = 1_000_000_000


def run(
    workload: Workload, path: Path, flaws: Flaws, *, seed: int, time_s: float, parameters: Any = None
) -> tuple[History, Result]:
    """Load and final reads, and the workload's own verdict."""
    given = workload.Parameters() if parameters is None else parameters

    async def main(loop: VirtualLoop) -> None:
        recorder = Recorder(path, loop.clock)
        system = StoreSystem(random=Random(seed), flaws=flaws)
        parts = [
            workload.generator(given, seed=seed, workers=WORKERS, nodes=NODES, time_ns=round(time_s * S)),
            workload.final_generator(given, workers=WORKERS, nodes=NODES),
        ]
        first_process = 0
        for part, generator in enumerate(parts):
            statistics = await interpret(
                generator=generator,
                workers=WORKERS,
                node_of=lambda worker: NODES[worker % 5],
                connect=system.client,
                recorder=recorder,
                clock=loop.clock,
                timeout_s=5.0,
                stop=asyncio.Event(),
                first_process=first_process,
                final=part == 1,
            )
            first_process = statistics.next_process
        recorder.close()

    run_virtual(main)
    history = History.read(path)
    return history, workload.check(history, given)


STALE = {
    "a cut-off node serves reads for 0.1 s": Flaws(isolated="n3", isolated_from_s=1, isolated_for_s=0.1),
    "reads that are 5 ms old, except on one node": Flaws(replica_lag_s=0.005),
}
LOST = {
    "acknowledged changes of the last 10 ms lost in a crash, then 1 s of silence": Flaws(
        lose_at_s=2, lose_window_s=0.01, outage_s=1
    )
}
REPEATED = {"about one change in a run done again after 1 s": Flaws(repeat_share=0.001, repeat_after_s=1)}
CROSSED = {"one answer in a thousand is another client's": Flaws(crossed_share=0.001)}

FLAWS: Mapping[str, Mapping[str, Flaws]] = {
    "set": {**STALE, **LOST, **CROSSED},
    "append": {**STALE, **LOST, **REPEATED, **CROSSED},
    "counter": {**STALE, **LOST, **REPEATED, **CROSSED},
    "list-append": {
        **STALE,
        **LOST,
        **REPEATED,
        **CROSSED,
        "one transaction in a hundred takes effect in two halves, 5 ms apart": Flaws(torn_share=0.01, torn_for_s=0.005),
    },
    "lock": {
        "acknowledged changes of the last 50 ms lost in a crash, then 1 s of silence": Flaws(
            lose_at_s=2, lose_window_s=0.05, outage_s=1
        ),
        "one try in a hundred at a held lock is granted": Flaws(doubled_share=0.01),
        "one answer in a thousand is another client's": Flaws(crossed_share=0.001),
    },
    "fenced-lock": {
        **STALE,
        **LOST,
        "fences are not looked at": Flaws(unfenced=True),
        "one try in a hundred at a held lock is granted": Flaws(doubled_share=0.01),
        "every token is 1": Flaws(same_token=True),
    },
}
"""What is wrong with the stores on which each workload is measured. The table of docs/workloads.md."""

UNHURRIED = Flaws(pause_share=0.02, pause_s=1.0)
"""No flaw: one answer in fifty comes a second late, as from a node that was paused."""
