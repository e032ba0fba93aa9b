"""What a bad network does to packets: words for netem, and decisions that follow them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from faults.packets.fates import Decider, with_flipped_bit
from faults.packets.impairment import Impairment

PACKETS = 20_000


def impairment(**said: Any) -> Impairment:
    return Impairment.model_validate(said)


def fates(said: Mapping[str, Any], length: int = 100) -> list[float | None]:
    decider = Decider(effects=impairment(**said).effects(), random=Random(1))
    return [decider.decide(1000.0 * number, length).after_s for number in range(PACKETS)]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"delay": "50ms"}, "limit 65536 delay 50000us"),
        ({"delay": "50ms", "jitter": "10ms"}, "limit 65536 delay 50000us 10000us 0% distribution normal"),
        (
            {"delay": "5ms", "jitter": "1ms", "distribution": "uniform", "correlation": "25%"},
            "limit 65536 delay 5000us 1000us 25%",
        ),
        ({"loss": "5%", "duplicate": "10%", "corrupt": "0.1%"}, "limit 65536 loss 5% duplicate 10% corrupt 0.1%"),
        ({"delay": "5ms", "reorder": "25%"}, "limit 65536 delay 5000us reorder 25%"),
        ({"rate": "1mbit"}, "limit 1000 rate 1000000bit"),
    ],
)
def test_words_for_netem(said: Mapping[str, Any], words: str) -> None:
    """Each parameter is said as tc takes it."""
    assert " ".join(impairment(**said).netem()) == words


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"delay": "5ms", "jitter": "10ms"}, "jitter is larger"),
        ({"reorder": "5%"}, "reorder needs a delay"),
        ({"loss": "101%"}, "not between"),
        ({"loss": "much"}, "not a percentage"),
        ({"loss": 0.5}, "0.5 has no unit; write 0.5%"),
        ({"rate": "fast"}, "not a rate"),
        ({"delay": 5}, "no unit"),
    ],
)
def test_nonsense_is_refused(said: Mapping[str, Any], complaint: str) -> None:
    """With the value, and how to write it."""
    with pytest.raises(ValidationError, match=complaint):
        impairment(**said)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "pareto"])
def test_delays_are_what_was_asked(distribution: str) -> None:
    """50 ms +- 10 ms: the mean, and the deviation (of a uniform one 10 / sqrt 3)."""
    delays = fates({"delay": "50ms", "jitter": "10ms", "distribution": distribution})
    seen = [1000 * delay for delay in delays if delay is not None]
    assert statistics.mean(seen) == pytest.approx(50, abs=0.6)
    expected = {"normal": 10, "uniform": 10 / 3**0.5, "pareto": 10}[distribution]
    assert statistics.pstdev(seen) == pytest.approx(expected, rel=0.25)


def test_shares_are_what_was_asked() -> None:
    """Of many packets, the share is lost, copied, corrupted, sent at once."""
    assert sum(fate is None for fate in fates({"loss": "5%"})) == pytest.approx(0.05 * PACKETS, rel=0.15)
    at_once = sum(fate == 0 for fate in fates({"delay": "5ms", "reorder": "25%"}))
    assert at_once == pytest.approx(0.25 * PACKETS, rel=0.1)
    decider = Decider(effects=impairment(duplicate="10%", corrupt="1%").effects(), random=Random(1))
    assert sum(decider.duplicates() for _ in range(PACKETS)) == pytest.approx(0.1 * PACKETS, rel=0.15)
    assert sum(decider.decide(0.0, 1).corrupted for _ in range(PACKETS)) == pytest.approx(0.01 * PACKETS, rel=0.3)


def test_a_rate_makes_packets_queue() -> None:
    """Ten packets of 1,000 bytes at 1 mbit that are sent at once arrive 8 ms apart."""
    decider = Decider(effects=impairment(rate="1mbit").effects(), random=Random(1))
    assert [decider.decide(5.0, 1000).after_s for _ in range(10)] == pytest.approx([0.008 * n for n in range(1, 11)])


def test_a_seed_repeats_everything() -> None:
    """The same impairment, seed and packets: the same fates."""
    said = {"delay": "5ms", "jitter": "2ms", "loss": "5%", "reorder": "5%"}
    assert fates(said) == fates(said)


@given(st.binary(min_size=21, max_size=200), st.integers())
def test_one_bit_is_flipped(carried: bytes, seed: int) -> None:
    """Behind the header, and only one."""
    packet = b"\x45" + carried
    spoiled = with_flipped_bit(packet, Random(seed))
    assert spoiled[:20] == packet[:20]
    difference = int.from_bytes(spoiled, "big") ^ int.from_bytes(packet, "big")
    assert difference.bit_count() == 1
