"""What became of a burst of datagrams that the harness sent over a link, and whether it is what was asked for.

A share is proved by counting, so a burst must be large enough for it: at :data:`EXPECTED_LEAST` expected hits a link
that does nothing is told from one that does with less than one error in a million. Comparisons are exact binomial
tails, never a difference of percentages. Upper bounds of times are generous and lower bounds are tight: a busy
machine makes packets late, but none early.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from faults.packets.fates import Effects

EXPECTED_LEAST = 20.0
"""So many hits are expected of a burst that is large enough: none at all happens once in 500 million bursts."""
DATAGRAMS_MAX = 4000
"""Of one burst over all links: more would disturb the cluster."""
MEDIAN_ERRORS = 5 * 1.2533
"""Five standard errors of a median, in standard errors of a mean."""
DELAYS_PER_LINK = 12
PATIENCE_S = 0.25
"""How much later than it should a datagram may come before it counts as lost."""
ERROR_SHARE = 1e-6
"""How seldom a proof may fail by chance."""
LATE_MS = 50.0
"""So much later than asked is still the machine's slowness; so is as much again as was asked."""
EARLY_MS = 1.0
UNCERTAIN_SHARE = 0.4
"""Where two clocks are compared, what is known of them must be better than this share of the delay: as with chance, a
link that does nothing is told from one that does.
"""
RATE_WINDOW_S = 0.4
"""The burst that proves a rate fills the link for so long."""
HEADERS = 28
"""Bytes of IPv4 and UDP before a datagram's content."""
SMALL = 60
"""Bytes of a datagram's content where its size does not matter."""
LARGE = 1000
CORRUPT_NOTICED = 0.6
"""At least such a share of spoiled datagrams is dropped by a checksum: the flipped bit may be in a header that nobody
checks (netem flips bits from the Ethernet header on).
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrival:
    """A datagram that arrived: its number in the burst, and when it left and came, on one clock."""

    number: int
    sent_ns: int
    arrived_ns: int

    @property
    def delay_ms(self) -> float:
        """One way."""
        return (self.arrived_ns - self.sent_ns) / 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Journeys:
    """A burst over one direction of a link."""

    sent: int
    arrivals: tuple[Arrival, ...] = ()
    """The first copy of each that arrived, in the order of arrival."""
    copies: int = 0
    """Further copies of the same datagrams."""
    uncertain_ms: float = 0.0
    """By how much all its times may be wrong together, where the ends have two clocks."""

    @property
    def lost(self) -> int:
        """How many did not arrive at all."""
        return self.sent - len(self.arrivals)

    @property
    def delays_ms(self) -> Sequence[float]:
        """One-way times, in the order of arrival."""
        return [arrival.delay_ms for arrival in self.arrivals]

    @property
    def shortest_ms(self) -> float:
        """The time of the quickest: what the link takes when the machine is not busy. Infinite if none arrived."""
        return min(self.delays_ms, default=math.inf)

    @property
    def span_s(self) -> float:
        """From the first one's leaving to the last one's arrival."""
        sent = min((arrival.sent_ns for arrival in self.arrivals), default=0)
        return (max((arrival.arrived_ns for arrival in self.arrivals), default=sent) - sent) / 1e9

    def evidence(self) -> Mapping[str, float | int]:
        """For the record."""
        delays = self.delays_ms
        shown = {"median_ms": statistics.median(delays), "spread_ms": statistics.pstdev(delays)} if delays else {}
        numbers = {"sent": self.sent, "lost": self.lost, "copies": self.copies}
        if self.uncertain_ms:
            shown["uncertain_ms"] = self.uncertain_ms
        return {**numbers, **{name: round(value, 3) for name, value in shown.items()}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Burst:
    """How many datagrams of which size prove some effects, on each link, and how long to wait for them."""

    count: int
    size: int
    every_s: float
    """Between two datagrams over one link."""
    linger_s: float
    """How long after the last was sent to wait for those that did not arrive yet."""
    copies_s: float = 0.0
    """How long to wait for copies when every one arrived."""


QUICK = Burst(count=5, size=SMALL, every_s=0.0005, linger_s=0.5)
"""Tells what a link takes that nothing is done to."""


def burst_for(effects: Effects, links: int) -> Burst:
    """The smallest burst that proves them over so many links."""
    linger_s = effects.delay_long / 1e9 + PATIENCE_S
    if effects.rate is not None:
        return _burst_at_rate(effects.rate, linger_s)
    shares = [asked.least for asked in _asked(effects).values() if asked.least]
    wanted = max([DELAYS_PER_LINK, _delays_wanted(effects), *(math.ceil(EXPECTED_LEAST / share) for share in shares)])
    count = max(DELAYS_PER_LINK, min(wanted, DATAGRAMS_MAX // max(1, links)))
    copies_s = linger_s if effects.duplicate else 0.0
    return Burst(count=count, size=SMALL, every_s=0.0005, linger_s=linger_s, copies_s=copies_s)


def _burst_at_rate(rate: int, linger_s: float) -> Burst:
    filling = rate / 8 * RATE_WINDOW_S
    size = LARGE if filling > 4 * (LARGE + HEADERS) else SMALL
    count = min(100, max(3, math.ceil(filling / (size + HEADERS))))
    return Burst(count=count, size=size, every_s=0.0, linger_s=linger_s + 3 * RATE_WINDOW_S)


def problems_of_link(effects: Effects, burst: Burst, seen: Journeys) -> list[str]:
    """What speaks against these effects on one link; empty if nothing does. Shares are judged over all links."""
    if effects.rate is not None:
        least_s = 0.8 * (len(seen.arrivals) - 1) * (burst.size + HEADERS) * 8 / effects.rate
        return [f"{seen.span_s:.3f} s for what takes {least_s:.3f} s at that rate"] if seen.span_s < least_s else []
    if not effects.delay:
        return []
    slow = [delay for delay in seen.delays_ms if not effects.reorder or delay > effects.delay / 1e6 / 4]
    if len(slow) < 3:
        return [] if effects.loss + effects.corrupt + effects.reorder > 50 else [f"{len(slow)} of {seen.sent} arrived"]
    asked_ms, chance_ms = effects.delay_median / 1e6, _chance_ms(effects, len(slow))
    if seen.uncertain_ms > UNCERTAIN_SHARE * asked_ms:
        return [
            f"the clocks of its ends are known to {seen.uncertain_ms:.1f} ms only: {asked_ms:.1f} ms cannot be told"
        ]
    chance_ms += seen.uncertain_ms
    median = statistics.median(slow)
    if median < asked_ms - chance_ms - max(EARLY_MS, 0.05 * asked_ms):
        return [f"{median:.1f} ms where {asked_ms:.1f} ms were asked"]
    if median > asked_ms + chance_ms + max(LATE_MS, asked_ms):
        return [f"{median:.1f} ms where {asked_ms:.1f} ms were asked: later than a busy machine explains"]
    return []


def _chance_ms(effects: Effects, count: int) -> float:
    """How far the median of so many delays may lie from the distribution's, by chance: five standard errors. Correlated
    draws count for fewer, but spread less in the same measure, as long as there are many.
    """
    alike = effects.correlation / 100
    fewer = (1 - alike) / (1 + alike)
    return MEDIAN_ERRORS * effects.jitter / 1e6 * math.sqrt(fewer / max(1.0, count * fewer))


def _delays_wanted(effects: Effects) -> int:
    """So many that chance is less than two fifths of the delay: a link that does nothing is told from one that does."""
    if not effects.delay:
        return 0
    return math.ceil((MEDIAN_ERRORS * effects.jitter / (0.4 * effects.delay_median)) ** 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShareSeen:
    """How often something happened in a burst, and within which share of it it should have."""

    name: str
    hits: int
    of: int
    least: float
    most: float

    @property
    def enough(self) -> bool:
        """Whether the burst was large enough to tell."""
        return self.of * self.least >= EXPECTED_LEAST * 0.7  # at 14, nothing at all is one error in a million

    def words(self) -> str:
        """What was seen."""
        return f"{self.name}: {self.hits} of {self.of} datagrams"

    def problem(self) -> str | None:
        """What speaks against it."""
        low = tail_up_to(self.hits, self.of, self.least) < ERROR_SHARE
        high = 1 - tail_up_to(self.hits - 1, self.of, self.most) < ERROR_SHARE
        if low or high:
            asked = f"{100 * self.least:.3g} to {100 * self.most:.3g} %"
            return f"{self.words()}, where {asked} were asked"
        return None


@dataclass(frozen=True, slots=True)
class _Asked:
    """Between which shares of a burst something should happen."""

    least: float
    most: float


def _asked(effects: Effects) -> Mapping[str, _Asked]:
    """What a burst should show of these effects. Copies may arrive in place of what is lost, and be lost themselves."""
    asked: dict[str, _Asked] = {}
    some, all_ = (
        (1 - effects.loss / 100) * (1 - noticed * effects.corrupt / 100) for noticed in (CORRUPT_NOTICED, 1.0)
    )
    doubled = effects.duplicate / 100
    if effects.loss or effects.corrupt:
        asked["lost"] = _Asked((1 - some) * (1 - doubled), 1 - all_)
    if effects.duplicate:
        asked["copied"] = _Asked(doubled * all_**2, doubled)
    if effects.reorder:  # a busy machine makes some of them look delayed, and jitter some of the others look quick
        asked["sent at once"] = _Asked(effects.reorder / 200, 1.0 if effects.jitter else effects.reorder / 100)
    return asked


def shares_seen(effects: Effects, seen: Iterable[Journeys]) -> list[ShareSeen]:
    """The shares that were asked for, counted over all links."""
    bursts = list(seen)
    sent = sum(each.sent for each in bursts)
    arrived = [delay for each in bursts for delay in each.delays_ms]
    hits = {
        "lost": (sum(each.lost for each in bursts), sent),
        "copied": (sum(each.copies for each in bursts), sent),
        "sent at once": (sum(delay < effects.delay / 2e6 for delay in arrived), len(arrived)),
    }
    return [
        ShareSeen(name=name, hits=hits[name][0], of=hits[name][1], least=asked.least, most=asked.most)
        for name, asked in _asked(effects).items()
    ]


def tail_up_to(hits: int, of: int, share: float) -> float:
    """The chance of at most so many hits in a binomial draw."""
    if hits < 0:
        return 0.0
    if hits >= of or share <= 0:
        return 1.0
    if share >= 1:
        return 0.0
    log_term = of * math.log1p(-share)
    ratio = math.log(share) - math.log1p(-share)
    total = math.exp(log_term)
    for k in range(1, hits + 1):
        log_term += math.log(of - k + 1) - math.log(k) + ratio
        total += math.exp(log_term)
    return min(1.0, total)


def is_undisturbed(before: Journeys, now: Journeys, allowance_ms: float) -> bool:
    """Whether a link is as it was: something arrives, and the quickest in about the time that it took before."""
    allowance_ms += before.uncertain_ms + now.uncertain_ms
    return now.shortest_ms <= max(3 * before.shortest_ms, before.shortest_ms + allowance_ms)
