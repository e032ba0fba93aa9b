"""The load of a run: the workload's clients under the nemesis, and afterwards its final reads."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.generators import Generator
from harness.interpreter import interpret
from harness.live import LiveCheck
from harness.nemesis import Nemesis
from harness.progress import Sight
from harness.readiness import ask_leader
from harness.recorder import Recorder
from harness.running import Run
from harness.systems.protocol import Session
from harness.workloads import WORKLOADS
from harness.workloads.protocol import Workload

logger = logging.getLogger(__name__)

SIGHT_S = 0.5
FINAL_TIMEOUT_S = 20.0


@dataclass(slots=True, kw_only=True)
class Load:
    """Drives clients; counts what they see."""

    run: Run
    session: Session
    recorder: Recorder
    counts: Counter[str] = field(default_factory=Counter)
    live: LiveCheck = field(init=False)
    workload: Workload = field(init=False)
    leader: str | None = None
    next_process: int = 0
    statistics: dict[str, dict[str, int]] = field(default_factory=dict)
    """What the interpreter counted, for ``run.json``."""

    def __post_init__(self) -> None:
        """Feeds the counters and the streaming checker from the recorder."""
        self.workload = WORKLOADS[self.run.scenario.workload]
        self.live = LiveCheck(judge=lambda history: self.workload.check(history, self.run.scenario.parameters))
        self.recorder.subscribe(self._count)
        self.recorder.subscribe(self.live.feed)

    @property
    def workers(self) -> int:
        """Number of concurrent clients."""
        return self.workload.workers(self.run.scenario.parameters, nodes=len(self.run.scenario.nodes))

    async def under(self, nemesis: Nemesis) -> None:
        """The load, from beginning to end, while the nemesis plays. Returns when everything is healed again."""
        ended = asyncio.Event()
        watchers = [
            asyncio.ensure_future(self._watch_violation(ended)),
            asyncio.ensure_future(self._show(nemesis)),
            asyncio.ensure_future(self._pass_on(ended)),
        ]
        playing = asyncio.ensure_future(nemesis.play(ended))
        try:
            generator = self.workload.generator(
                self.run.scenario.parameters,
                seed=self.run.seed,
                workers=self.workers,
                nodes=self.run.scenario.nodes,
                time_ns=self.run.scenario.head.time,
            )
            await self._interpret(generator, ended)
        finally:
            ended.set()
            await playing
            await _cancelled(watchers)

    async def final_reads(self) -> None:
        """What a store acknowledged must still be there when everything is healed."""
        generator = self.workload.final_generator(
            self.run.scenario.parameters, workers=self.workers, nodes=self.run.scenario.nodes
        )
        enough = asyncio.Event()
        timer = asyncio.get_running_loop().call_later(FINAL_TIMEOUT_S, enough.set)
        await self._interpret(generator, enough, final=True)
        timer.cancel()

    async def _interpret(self, generator: Generator, stop: asyncio.Event, *, final: bool = False) -> None:
        nodes = self.run.scenario.nodes
        statistics = await interpret(
            generator=generator,
            workers=self.workers,
            node_of=lambda worker: nodes[worker % len(nodes)],
            connect=self.session.client,
            recorder=self.recorder,
            clock=self.run.clock,
            timeout_s=self.run.scenario.head.operation_timeout / 1e9,
            stop=stop,
            first_process=self.next_process,
            final=final,
        )
        self.next_process = statistics.next_process
        part = "final-reads" if final else "load"
        self.statistics[part] = {
            "invoked": statistics.invoked,
            "timed_out": statistics.timed_out,
            "raised": statistics.raised,
            "connect_failures": statistics.connect_failures,
            "forced": statistics.forced,
        }

    async def _watch_violation(self, ended: asyncio.Event) -> None:
        """On a violation that the scenario wants to stop at, ends the load."""

        def violated() -> None:
            self.run.progress.say(f"violation seen while the cluster is alive: {self.live.verdict}")
            if self.run.scenario.head.on_violation == "stop":
                ended.set()

        await self.live.watch(violated)

    async def _pass_on(self, ended: asyncio.Event) -> None:
        """A Ctrl-C ends the load."""
        await self.run.stop.wait()
        ended.set()

    def _count(self, events: list[Mapping[str, Any]]) -> None:
        for event in events:
            if event["process"] != "nemesis":
                self.counts[event["type"]] += 1

    async def _show(self, nemesis: Nemesis) -> None:
        before, before_ns = 0, self.run.clock()
        total_ns = self.run.scenario.head.time
        while True:
            await asyncio.sleep(SIGHT_S)
            self.leader = await ask_leader(self.session, self.run.scenario.nodes)
            ok, now_ns = self.counts["ok"], self.run.clock()
            self.run.progress.show(
                Sight(
                    phase="load",
                    elapsed_ns=self.run.clock(),
                    total_ns=total_ns,
                    ok=ok,
                    rate=(ok - before) * 1e9 / (now_ns - before_ns),
                    failed=self.counts["fail"],
                    unknown=self.counts["info"],
                    leader=self.leader,
                    faults=nemesis.active,
                    verdict=self.live.verdict,
                )
            )
            before, before_ns = ok, now_ns


async def _cancelled(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Ends those who only watch. Trouble of theirs is logged: it is no reason to lose the run."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            logger.error("a watcher of the load failed", exc_info=result)
