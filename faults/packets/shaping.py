"""One network fault at work: links are shaped by whichever means can be had, looked at, and given back.

What is asked and of whom is in :mod:`faults.network`; the means are :mod:`faults.packets.netem` and
:mod:`faults.packets.queues`; what a burst of datagrams proves is in :mod:`faults.packets.journeys`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from faults.cuts import CLIENT, Pair
from faults.needs import Cluster, HelperError, NotNowError, Proof
from faults.packets.fates import Effects
from faults.packets.impairment import Impairment
from faults.packets.journeys import QUICK, Burst, Journeys, burst_for, is_undisturbed, problems_of_link, shares_seen
from faults.packets.netem import MeansError, Netem, why_refused
from faults.packets.queues import Queues, queues_for

UNRELIABLE_SHARE = 50.0
"""From this loss on, and with any rate, nobody may be blamed for a link that carries no probe."""
UNRELIABLE_DELAY_NS = 150_000_000
ALLOWANCE_MS_MOST = 20.0
"""A link that nobody shapes may at most be so much slower than before, or half of what was asked."""
LOOKS_MAX = 2
"""A machine that stood still for a moment spoils a burst; a fault that does not bite spoils every one."""
SETTLING_S = 0.25
SETTLING_TRIES = 4
"""A healed link still delivers what was held: it is looked at again, so often."""

Means = Netem | Queues


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bite:
    """What one look at the links showed."""

    seen: Mapping[Pair, Journeys]
    counts: Mapping[str, Mapping[str, int]]
    problems: Sequence[str]


@dataclass(kw_only=True, slots=True)
class Network:
    """The shaped directions of one fault."""

    pairs: tuple[Pair, ...]
    impairment: Impairment
    cluster: Cluster
    seed: int
    clock: Callable[[], int] = time.monotonic_ns
    """Only for the evidence: how long it took until the links were shaped."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _holder: str = field(init=False)
    _mine: tuple[Pair, ...] = field(default=(), init=False)
    _means: list[Means] = field(default_factory=list, init=False)
    _why: dict[str, str] = field(default_factory=dict, init=False)
    """Nodes where netem could not be had, with the reason."""
    _before: Mapping[Pair, Journeys] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._holder = self.cluster.links.cuts.new_holder("net")

    async def inject(self) -> Proof:
        """Shapes; holds if every shaped link behaves as asked, and every other as before."""
        links = self.cluster.links
        self._mine = links.shaped.take(self._holder, self.pairs)
        if not set(self._mine) - links.cuts.union():
            links.shaped.leave(self._holder)
            raise NotNowError("every link that it is about is shaped or cut by another fault just now")
        watched = [pair for pair in self._every_pair() if pair not in links.cuts.union() | links.shaped.union()]
        self._before, _ = await asyncio.gather(links.measure([*self._mine, *watched], QUICK), self._ask_kernels())
        if self._unreliable:
            links.cuts.enter(self._holder, self._mine)
        begin_ns = self.clock()
        await self._shape()
        force_ns = self.clock()
        bite = await self._look(watched)
        for _ in range(LOOKS_MAX - 1):
            if bite.problems:
                bite = await self._look(watched)
        evidence = {
            **self._means_evidence(),
            "links": {_words(pair): self._link_evidence(pair, seen) for pair, seen in bite.seen.items()},
            "shares": self._share_evidence(bite.seen),
            "counts": bite.counts,
            "left_to_other_faults": [_words(pair) for pair in self.pairs if pair not in self._mine],
            "not_measured": [_words(pair) for pair in self._mine if pair not in bite.seen],
            "problems": bite.problems,
            "deed_ms": (force_ns - begin_ns) / 1e6,
        }
        return Proof(holds=bool(bite.seen) and not bite.problems, evidence=evidence)

    async def _look(self, watched: Sequence[Pair]) -> _Bite:
        """A burst over every shaped link, and a few datagrams over every other."""
        links = self.cluster.links
        measured = [pair for pair in self._mine if self._before[pair].arrivals]
        burst = burst_for(self._effects, len(measured))
        seen, beside = await asyncio.gather(links.measure(measured, burst), links.measure(watched, QUICK))
        counts = await self._counts()
        problems = self._problems(burst, seen, counts) + self._disturbed(watched, beside)
        return _Bite(seen=seen, counts=counts, problems=problems)

    async def heal(self) -> Proof:
        """Takes everything out; holds if nothing is left and packets travel as before."""
        died = await self._last_counts()
        removed = await asyncio.gather(*(means.remove() for means in self._means), return_exceptions=True)
        errors = [str(each) or type(each).__name__ for each in removed if each is not None]
        if not errors:
            self.cluster.links.shaped.leave(self._holder)
            self.cluster.links.cuts.leave(self._holder)
        left, slow = await self._settle() if self._means else ([], [])
        if not errors and not left and not slow:
            await asyncio.gather(*(self.cluster.undo.discharge(means.undo.id) for means in self._means))
        evidence = {**died, "errors": errors, "left": left, "not_as_before": slow}
        return Proof(holds=not (errors or left or slow or died.get("died")), evidence=evidence)

    @property
    def means(self) -> Sequence[Means]:
        """What it has put where, while it is in force."""
        return self._means

    @property
    def _effects(self) -> Effects:
        return self.impairment.effects()

    @property
    def _unreliable(self) -> bool:
        """Whether a probe of somebody else may not come through in time."""
        effects = self._effects
        lossy = effects.loss + effects.corrupt >= UNRELIABLE_SHARE
        return lossy or effects.rate is not None or effects.delay_long >= UNRELIABLE_DELAY_NS

    def _every_pair(self) -> list[Pair]:
        names = self.cluster.links.addresses
        return [(source, target) for source in names for target in names if source != target]

    async def _ask_kernels(self) -> None:
        sources = sorted({source for source, _ in self._mine if source != CLIENT})
        reasons = await asyncio.gather(
            *(why_refused(self.cluster.nodes[name], self.cluster.links.shaped) for name in sources)
        )
        self._why = {name: reason for name, reason in zip(sources, reasons, strict=True) if reason is not None}

    async def _shape(self) -> None:
        """By netem where it can be had; what is left, by the stand-in."""
        netems = self._netems()
        results = await asyncio.gather(*map(self._try_netem, netems))
        self._why |= {each.node.name: why for each, why in zip(netems, results, strict=True) if why is not None}
        done = {pair for means in self._means if isinstance(means, Netem) for pair in means.pairs}
        queues = queues_for(
            [pair for pair in self._mine if pair not in done],
            holder=self._holder,
            nodes=self.cluster.nodes,
            addresses=self.cluster.links.addresses,
            effects=self._effects,
            seed=self.seed,
        )
        self._means += queues
        await asyncio.gather(*(self.cluster.undo.register(each.undo) for each in queues))
        await asyncio.gather(*(each.apply() for each in queues))

    def _netems(self) -> list[Netem]:
        targets: dict[str, list[str]] = {}
        for source, target in self._mine:
            if source != CLIENT and source not in self._why:
                targets.setdefault(source, []).append(target)
        return [
            Netem(
                holder=self._holder,
                node=self.cluster.nodes[source],
                addresses=self.cluster.links.addresses,
                targets=tuple(names),
                words=tuple(self.impairment.netem()),
                turn=self.cluster.links.shaped.turn(source),
            )
            for source, names in targets.items()
        ]

    async def _try_netem(self, netem: Netem) -> str | None:
        """Returns why it could not be done; then nothing of it is there."""
        try:
            await netem.find_device()
        except MeansError as error:
            return str(error)
        await self.cluster.undo.register(netem.undo)
        self._means.append(netem)
        try:
            await netem.apply()
        except MeansError as error:
            problem = await netem.remove()
            if problem is not None:
                raise MeansError(f"{error}; and then: {problem}") from error
            self._means.remove(netem)
            await self.cluster.undo.discharge(netem.undo.id)
            return str(error)
        return None

    async def _counts(self) -> dict[str, Mapping[str, int]]:
        """What went through each queue, in words that tell the link: ``n1 to n2``."""
        found: dict[str, Mapping[str, int]] = {}
        for means, counts in zip(self._means, await asyncio.gather(*(m.counts() for m in self._means)), strict=True):
            for name, numbers in counts.items():
                here = means.node.name
                leaving = isinstance(means, Netem) or name.startswith("to ")
                link = f"{here} to {name.removeprefix('to ')}" if leaving else f"{name} to {here}"
                found[link] = {**found.get(link, {}), **_nonzero(numbers)}
        return found

    async def _last_counts(self) -> dict[str, Any]:
        """What was done while it lasted; a stand-in that died in between let packets pass for an unknown time."""
        try:
            counts = await self._counts()
        except (HelperError, MeansError) as error:
            return {"died": str(error)} if self._means and self._before else {}
        cpu_s = sum(means.cpu_s for means in self._means if isinstance(means, Queues))
        overload = sum(numbers.get("overload", 0) for numbers in counts.values())
        return {"counts": counts, "cpu_s": round(cpu_s, 3), "lost_by_overload": overload}

    def _problems(
        self, burst: Burst, seen: Mapping[Pair, Journeys], counts: Mapping[str, Mapping[str, int]]
    ) -> list[str]:
        """What speaks against the bite, but for links that somebody else has cut meanwhile."""
        excused = self.cluster.links.cuts.union(besides=self._holder)
        judged = {pair: journeys for pair, journeys in seen.items() if pair not in excused}
        problems: list[str] = []
        for pair, journeys in judged.items():
            problems += [f"{_words(pair)}: {each}" for each in problems_of_link(self._effects, burst, journeys)]
            passed = counts.get(_words(pair), {}).get("packets", 0)
            if passed < len(journeys.arrivals):
                problems.append(f"{_words(pair)}: {len(journeys.arrivals)} arrived, {passed} through the queue")
        shares = [share.problem() for group in self._groups(judged) for share in shares_seen(*group)]
        return problems + [problem for problem in shares if problem is not None]

    def _groups(self, seen: Mapping[Pair, Journeys]) -> list[tuple[Effects, list[Journeys]]]:
        """Journeys that the same can be expected of: what clients send is never copied by the stand-in."""
        clients = [journeys for (source, _), journeys in seen.items() if source == CLIENT]
        others = [journeys for (source, _), journeys in seen.items() if source != CLIENT]
        groups = [(self._effects, others), (replace(self._effects, duplicate=0.0), clients)]
        return [(effects, journeys) for effects, journeys in groups if journeys]

    def _disturbed(self, watched: Sequence[Pair], now: Mapping[Pair, Journeys]) -> list[str]:
        links = self.cluster.links
        excused = links.cuts.union() | links.shaped.union()
        return [
            f"{_words(pair)}: {now[pair].shortest_ms:.1f} ms, {self._before[pair].shortest_ms:.1f} ms before"
            for pair in watched
            if pair not in excused
            and self._before[pair].arrivals
            and not is_undisturbed(self._before[pair], now[pair], ALLOWANCE_MS_MOST)
        ]

    async def _settle(self) -> tuple[list[str], list[str]]:
        """What is left of it, and which links are not as before; looked at again while what was held comes in."""
        left: list[str] = []
        slow: list[str] = []
        for attempt in range(SETTLING_TRIES):
            if attempt:
                await self.sleep(SETTLING_S)
            found = await asyncio.gather(*(means.left() for means in self._means))
            left = [
                f"{means.node.name}: {each}" for means, all_ in zip(self._means, found, strict=True) for each in all_
            ]
            slow = await self._not_as_before()
            if not left and not slow:
                break
        return left, slow

    async def _not_as_before(self) -> list[str]:
        links = self.cluster.links
        mine = [pair for pair, before in self._before.items() if pair in self._mine and before.arrivals]
        freed = [pair for pair in mine if pair not in links.cuts.union() | links.shaped.union()]
        burst = burst_for(replace(self._effects, delay=0, jitter=0, reorder=0.0, rate=None), max(1, len(freed)))
        now = await links.measure(freed, burst)
        excused = links.cuts.union() | links.shaped.union()
        allowance = max(1.0, min(ALLOWANCE_MS_MOST, self._effects.delay / 2e6))
        judged = {pair: journeys for pair, journeys in now.items() if pair not in excused}
        slow = [
            f"{_words(pair)}: {journeys.shortest_ms:.1f} ms, {self._before[pair].shortest_ms:.1f} ms before"
            for pair, journeys in judged.items()
            if not is_undisturbed(self._before[pair], journeys, allowance)
        ]
        for share in shares_seen(replace(self._effects, reorder=0.0), judged.values()):
            slow += [share.words()] if share.hits > max(2, share.of * share.least / 4) else []
        return slow

    def _means_evidence(self) -> dict[str, Any]:
        netem = [pair for means in self._means if isinstance(means, Netem) for pair in means.pairs]
        standin = [pair for pair in self._mine if pair not in netem]
        means = {"tc netem": [_words(pair) for pair in netem], "stand-in": [_words(pair) for pair in standin]}
        return {"means": {name: links for name, links in means.items() if links}, "no_netem": self._why}

    def _link_evidence(self, pair: Pair, seen: Journeys) -> dict[str, Any]:
        before = self._before[pair].shortest_ms
        return {**seen.evidence(), "before_ms": round(before, 3) if math.isfinite(before) else None}

    def _share_evidence(self, seen: Mapping[Pair, Journeys]) -> list[dict[str, Any]]:
        return [
            {
                "what": share.name,
                "seen": f"{share.hits} of {share.of}",
                "asked": f"{100 * share.least:.3g} to {100 * share.most:.3g} %",
                "proved": share.enough,
            }
            for group in self._groups(seen)
            for share in shares_seen(*group)
        ]


def _words(pair: Pair) -> str:
    return f"{pair[0]} to {pair[1]}"


def _nonzero(numbers: Mapping[str, int]) -> dict[str, int]:
    return {name: number for name, number in numbers.items() if number}
