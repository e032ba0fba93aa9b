"""The load of a run: the workload's clients under the nemesis, and afterwards its final reads."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from faults.needs import ProcessState
from harness.durations import format_duration
from harness.freezing import Freezer
from harness.generators import Generator
from harness.interpreter import interpret
from harness.live import LiveCheck, Seen
from harness.nemesis.majority import Served, recovered, verify_links, wait_served
from harness.nemesis.nemesis import Nemesis
from harness.progress import Sight
from harness.readiness import ask_leader
from harness.recorder import Recorder
from harness.running import Run
from harness.systems.protocol import Session
from harness.workloads import WORKLOADS
from harness.workloads.protocol import Workload, is_change

logger = logging.getLogger(__name__)

SIGHT_S = 0.5
HEALING_NS = 60_000_000_000
"""How much longer the load may go on while a majority is being healed; only a bound."""
FINAL_TIMEOUT_S = 20.0
FINAL_ROUNDS_MAX = 2
SETTLE_S = 2.0
"""How long the streaming checker may take, when the load is over, to have judged all of it."""


@dataclass(slots=True, kw_only=True)
class Load:
    """Drives clients; counts what they see; reacts to the violation that the streaming checker sees."""

    run: Run
    session: Session
    recorder: Recorder
    nemesis: Nemesis
    freezer: Freezer
    live: LiveCheck
    counts: Counter[str] = field(default_factory=Counter)
    workload: Workload = field(init=False)
    leader: str | None = None
    next_process: int = 0
    statistics: dict[str, Counter[str]] = field(default_factory=dict)
    """What the interpreter counted, for ``run.json``."""
    majority: Mapping[str, Any] | None = None
    """How a healed majority did while the others stayed behind."""
    reported_ns: int | None = None
    """When the violation became known here."""

    def __post_init__(self) -> None:
        """Feeds the counters and the streaming checker from the recorder."""
        self.workload = WORKLOADS[self.run.scenario.workload]
        self.recorder.subscribe(self._count)
        self.recorder.subscribe(self.live.feed)

    @property
    def workers(self) -> int:
        """Number of concurrent clients."""
        return self.workload.workers(self.run.scenario.parameters, nodes=len(self.run.scenario.nodes))

    async def under_faults(self) -> None:
        """The load, from beginning to end, while the nemesis plays. Returns when everything is healed again.

        If some nodes are left behind at first, the load goes on until the healed majority has shown progress.
        """
        quiet, over = asyncio.Event(), asyncio.Event()
        watchers = [asyncio.ensure_future(self._show()), asyncio.ensure_future(self._pass_on(quiet, over))]
        playing = asyncio.ensure_future(self.nemesis.play(over))
        head = self.run.scenario.head
        longer_ns = HEALING_NS + head.recovery if self.nemesis.leaving is not None else 0
        try:
            generator = self.workload.generator(
                self.run.scenario.parameters,
                seed=self.run.seed,
                workers=self.workers,
                nodes=self.run.scenario.nodes,
                time_ns=head.time + longer_ns,
            )
            loading = asyncio.ensure_future(self._reacting(generator, quiet, over))
            if longer_ns:
                await self._show_majority(loading, playing, quiet, over)
            await loading
        finally:
            over.set()
            await playing
            await self.nemesis.release()
            await _cancelled(watchers)

    async def _show_majority(
        self, loading: asyncio.Future[None], playing: asyncio.Future[None], quiet: asyncio.Event, over: asyncio.Event
    ) -> None:
        """Ends the faults at the time of the load's end, and the load when the healed majority has made progress."""
        left_s = (self.run.scenario.head.time - self.run.clock()) / 1e9
        await asyncio.wait({loading}, timeout=max(0.0, left_s))
        if loading.done() or over.is_set():
            self.nemesis.leaving = None
            return
        over.set()
        await playing
        if self.nemesis.left and not quiet.is_set():
            with self.run.record.phase("majority"):
                if await self._majority_lives():
                    self.majority = await self._majority(quiet)
        quiet.set()

    async def _majority_lives(self) -> bool:
        """Whether enough nodes run that progress may be demanded. Who does not start and had better is told anyway."""
        nodes = self.freezer.cluster.nodes
        states = {name: await node.state() for name, node in nodes.items() if name not in self.nemesis.left}
        alive = [name for name, state in states.items() if state is not ProcessState.DEAD]
        if len(alive) * 2 > len(nodes):
            return True
        self.run.record.note(
            f"no progress was demanded while {', '.join(self.nemesis.left)} stayed behind: of the others only "
            f"{', '.join(alive) or 'none'} ran, which is no majority"
        )
        return False

    async def _majority(self, quiet: asyncio.Event) -> Mapping[str, Any]:
        """What ``run.json`` tells of the healed majority; docs/formats.md."""
        assert self.nemesis.leaving is not None
        nodes, left, cluster = self.run.scenario.nodes, self.nemesis.left, self.freezer.cluster
        side = [name for name in nodes if name not in left]
        links = await verify_links(cluster, side)
        bound_ns = self.run.scenario.head.recovery
        served = Served(frozenset(side), self.run.clock(), partial(is_change, self.workload.changing))
        self.recorder.subscribe(served.note)
        recovery = await recovered(cluster, self.session, side, bound_ns=bound_ns, clock=self.run.clock)
        left_s = (recovery.healed_ns + bound_ns - self.run.clock()) / 1e9
        await wait_served(served, timeout_s=left_s, stop=quiet)
        way = self.nemesis.leaving
        return {
            "left": list(left),
            "way": way.way,
            "words": way.words,
            "links": links,
            "until_ns": self.run.clock(),
            **recovery.to_json(),
        }

    async def final_reads(self) -> None:
        """What a store acknowledged must still be there when everything is healed. Reads that a freeze cut off are
        made again.
        """
        for _ in range(FINAL_ROUNDS_MAX):
            frozen = await self._final_round()
            if not frozen:
                return

    async def _final_round(self) -> bool:
        """Whether it was cut off by a freeze."""
        generator = self.workload.final_generator(
            self.run.scenario.parameters, workers=self.workers, nodes=self.run.scenario.nodes
        )
        before, enough = self.reported_ns, asyncio.Event()
        timer = asyncio.get_running_loop().call_later(FINAL_TIMEOUT_S, enough.set)
        await self._reacting(generator, enough, asyncio.Event(), final=True)
        timer.cancel()
        return self.run.scenario.head.on_violation == "freeze" and self.reported_ns != before

    async def _reacting(
        self, generator: Generator, quiet: asyncio.Event, over: asyncio.Event, *, final: bool = False
    ) -> None:
        """Operations until the generator's end or ``quiet``, and what a violation in them leads to. Returns when all
        of them have been judged (or that takes too long), and a freeze is over.
        """
        reaction = asyncio.ensure_future(self._react(quiet, over))
        try:
            await self._interpret(generator, quiet, final=final)
            self.recorder.flush()
            await self.live.settle(SETTLE_S)
            if self.live.violation is not None:
                await asyncio.wait([reaction])
        finally:
            await _cancelled([reaction])

    async def _react(self, quiet: asyncio.Event, over: asyncio.Event) -> None:
        """Waits for the violation and does what the scenario wants then. It is told and acted upon once."""
        if self.reported_ns is not None:
            return
        seen = await self.live.wait_violation()
        self.reported_ns = self.run.clock()
        wanted = self.run.scenario.head.on_violation
        if wanted == "freeze":
            quiet.set()
            await self.freezer.freeze(seen)
        else:
            self.run.progress.say(f"violation seen while the cluster is alive: {seen.kind}: {seen.message}")
        if wanted != "continue":
            quiet.set()
            self._end_faults(over)

    def to_json(self) -> dict[str, Any]:
        """What ``run.json`` tells of the load."""
        seen = self.live.violation
        facts: dict[str, Any] = {"live_verdict": self.live.verdict, "interpreter": self.statistics}
        if self.majority is not None:
            facts["majority"] = self.majority
        return facts if seen is None else {**facts, "live_violation": self._seen(seen)}

    def _seen(self, seen: Seen) -> dict[str, Any]:
        return {**asdict(seen), "reported_ns": self.reported_ns}

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
        counts = self.statistics.setdefault(part, Counter())
        for name in ("invoked", "timed_out", "raised", "connect_failures", "forced"):
            counts[name] += getattr(statistics, name)

    async def _pass_on(self, quiet: asyncio.Event, over: asyncio.Event) -> None:
        """A Ctrl-C ends the load."""
        await self.run.stop.wait()
        quiet.set()
        self._end_faults(over)

    def _end_faults(self, over: asyncio.Event) -> None:
        """Before their time, and everything at once: nothing more is to be shown."""
        self.nemesis.leaving = None if not self.nemesis.left else self.nemesis.leaving
        over.set()

    def _count(self, events: list[Mapping[str, Any]]) -> None:
        for event in events:
            if event["process"] != "nemesis":
                self.counts[event["type"]] += 1

    async def _show(self) -> None:
        before, before_ns = 0, self.run.clock()
        total_ns = self.run.scenario.head.time
        while True:
            await asyncio.sleep(SIGHT_S)
            if self.freezer.until_ns is None:  # who stands still cannot be asked
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
                    faults=self.nemesis.active,
                    verdict=self.live.verdict,
                    frozen=self._frozen(),
                )
            )
            before, before_ns = ok, now_ns

    def _frozen(self) -> str:
        if self.freezer.until_ns is None:
            return ""
        left_s = max(0, self.freezer.until_ns - self.run.clock()) // 1_000_000_000
        return f"goes on by itself in {format_duration(left_s * 1_000_000_000)}"


async def _cancelled(tasks: Sequence[asyncio.Future[None]]) -> None:
    """Ends those who only watch. Trouble of theirs is logged: it is no reason to lose the run."""
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, Exception):
            logger.error("a watcher of the load failed", exc_info=result)
