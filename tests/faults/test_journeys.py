"""Whether bursts of datagrams prove what was asked: exact tails against sums, verdicts against deciders and against
links that do less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faults.fakes.shaping import FakeQueue, journeys
from faults.packets.fates import Effects
from faults.packets.journeys import (
    DATAGRAMS_MAX,
    QUICK,
    Arrival,
    Burst,
    Journeys,
    burst_for,
    is_undisturbed,
    problems_of_link,
    shares_seen,
    tail_up_to,
)

MS = 1_000_000


@given(
    of=st.integers(min_value=1, max_value=60),
    share=st.floats(min_value=0.001, max_value=0.999),
    data=st.data(),
)
def test_tails_are_exact(of: int, share: float, data: st.DataObject) -> None:
    """The same as the sum of the terms."""
    hits = data.draw(st.integers(min_value=-1, max_value=of))
    exact = sum(math.comb(of, k) * share**k * (1 - share) ** (of - k) for k in range(hits + 1))
    assert tail_up_to(hits, of, share) == pytest.approx(exact, abs=1e-9)


def test_tails_at_the_edges() -> None:
    """Shares of nothing and of everything, and numbers at which naive terms underflow."""
    assert tail_up_to(0, 10, 0.0) == 1.0
    assert tail_up_to(9, 10, 1.0) == 0.0
    assert tail_up_to(10, 10, 1.0) == 1.0
    assert tail_up_to(2000, 4000, 0.5) == pytest.approx(0.5, abs=0.02)


def delayed(delay_ms: float, count: int = 12) -> Journeys:
    arrivals = [
        Arrival(number=place, sent_ns=place * MS, arrived_ns=round((place + delay_ms) * MS)) for place in range(count)
    ]
    return Journeys(sent=count, arrivals=tuple(arrivals))


@pytest.mark.parametrize(
    ("delay_ms", "fine"), [(0.2, False), (40, False), (48.5, True), (50.1, True), (90, True), (160, False)]
)
def test_a_delay_may_be_late_but_not_early(delay_ms: float, fine: bool) -> None:
    """50 ms were asked: a busy machine makes packets late, but none early."""
    effects = Effects(delay=50 * MS)
    assert (problems_of_link(effects, burst_for(effects, 1), delayed(delay_ms)) == []) is fine


@given(
    delay_ms=st.sampled_from([5, 50, 300]),
    relative=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    distribution=st.sampled_from(["normal", "uniform", "pareto"]),
    correlation=st.sampled_from([0.0, 25.0, 75.0]),
    seed=st.integers(min_value=0, max_value=1000),
)
def test_what_was_asked_is_accepted_and_nothing_is_not(
    delay_ms: int, relative: float, distribution: str, correlation: float, seed: int
) -> None:
    """Whatever the jitter: draws of the decider pass, a link without delay does not."""
    effects = Effects(
        delay=delay_ms * MS,
        jitter=round(relative * delay_ms * MS),
        distribution=distribution,
        correlation=correlation if relative else 0.0,
    )
    burst = burst_for(effects, 1)
    queue = FakeQueue.of(effects)
    queue.decider.random = Random(seed)
    assert problems_of_link(effects, burst, journeys(burst, [queue], passes=True)) == []
    assert problems_of_link(effects, burst, journeys(burst, [], passes=True))
    assert problems_of_link(effects, burst, journeys(burst, [], passes=False))


SHARES: list[Mapping[str, Any]] = [
    {"loss": 5.0},
    {"loss": 40.0, "corrupt": 10.0},
    {"duplicate": 10.0},
    {"loss": 20.0, "duplicate": 20.0},
    {"delay": 20 * MS, "reorder": 25.0},
    {"corrupt": 1.0},
]


@pytest.mark.parametrize("said", SHARES, ids=str)
def test_shares_are_told_from_nothing_and_from_double(said: Mapping[str, Any]) -> None:
    """The decider's own share passes, for many seeds; none at all, and twice as many, do not."""
    effects = Effects(**said)
    burst = burst_for(effects, 1)
    for seed in range(5):
        queue = FakeQueue.of(effects)
        queue.decider.random = Random(seed)
        seen = shares_seen(effects, [journeys(burst, [queue], passes=True)])
        assert [share.problem() for share in seen] == [None] * len(seen)
        assert all(share.enough for share in seen)
    idle = FakeQueue.of(Effects(delay=effects.delay))
    nothing = shares_seen(effects, [journeys(burst, [idle], passes=True)])
    assert all(share.problem() is not None for share in nothing)
    more = FakeQueue.of(Effects(**{**said, **{name: 2.2 * said[name] for name in said if name != "delay"}}))
    many = journeys(Burst(count=3000, size=60, every_s=0.001, linger_s=0), [more], passes=True)
    assert any(share.problem() is not None for share in shares_seen(effects, [many]))


def test_a_share_too_small_to_be_proved_says_so() -> None:
    """A burst has a limit; what it cannot tell is not called proved."""
    effects = Effects(loss=0.01)
    burst = burst_for(effects, 4)
    assert burst.count * 4 <= DATAGRAMS_MAX
    [share] = shares_seen(effects, [Journeys(sent=burst.count, arrivals=delayed(1, burst.count).arrivals)] * 4)
    assert not share.enough
    assert share.problem() is None


def test_a_rate_takes_its_time() -> None:
    """A burst that a link of that rate carries passes; one that came through at once does not."""
    for rate in (8_000, 256_000, 1_000_000, 100_000_000):
        effects = Effects(rate=rate)
        burst = burst_for(effects, 1)
        squeezed = journeys(burst, [FakeQueue.of(effects)], passes=True)
        assert problems_of_link(effects, burst, squeezed) == []
        at_once = Journeys(
            sent=burst.count,
            arrivals=tuple(Arrival(number=place, sent_ns=0, arrived_ns=1000) for place in range(burst.count)),
        )
        assert problems_of_link(effects, burst, at_once)


def test_undisturbed_links() -> None:
    """The quickest counts, with an allowance; a link over which nothing comes is disturbed."""
    before = delayed(0.2, QUICK.count)
    assert is_undisturbed(before, delayed(0.5), 1.0)
    assert not is_undisturbed(before, delayed(1.5), 1.0)
    assert not is_undisturbed(before, Journeys(sent=5), 1.0)


@pytest.mark.parametrize(
    ("delay_ms", "uncertain_ms", "fine"), [(45, 0.0, False), (45, 3.0, True), (30, 19.0, True), (50, 21.0, False)]
)
def test_what_is_not_known_of_two_clocks_is_allowed_for_within_bounds(
    delay_ms: float, uncertain_ms: float, fine: bool
) -> None:
    """50 ms were asked: what is known too badly to tell them from nothing proves nothing."""
    effects, seen = Effects(delay=50 * MS), replace(delayed(delay_ms), uncertain_ms=uncertain_ms)
    assert (problems_of_link(effects, burst_for(effects, 1), seen) == []) is fine
    assert not problems_of_link(effects, burst_for(effects, 1), delayed(50))
    assert problems_of_link(effects, burst_for(effects, 1), replace(delayed(0.1), uncertain_ms=uncertain_ms))


def test_a_link_between_two_clocks_may_look_slower_by_what_is_not_known() -> None:
    """Of both looks."""
    before = replace(delayed(0.2), uncertain_ms=0.3)
    assert is_undisturbed(before, replace(delayed(1.7), uncertain_ms=0.3), 1.0)
    assert not is_undisturbed(before, delayed(1.7), 1.0)
