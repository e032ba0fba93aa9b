"""Durations say their unit, always."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.durations import LONGEST_NS, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("30s", 30_000_000_000),
        ("800ms", 800_000_000),
        ("1.5h", 5_400_000_000_000),
        ("2m", 120_000_000_000),
        ("7us", 7000),
        ("3ns", 3),
        ("1.2345678s", 1_234_567_800),
        ("87599.999999999999h", 315_359_999_999_999_996),
    ],
)
def test_durations_with_a_unit_are_read(text: str, ns: int) -> None:
    """Each unit means what it says."""
    assert parse_duration(text) == ns


@pytest.mark.parametrize("value", [30, 1.5, "30", "fast", "", "-3s", "3 days", None, True, [3]])
def test_anything_else_is_refused_with_the_value(value: object) -> None:
    """A bare number has not said whether it is seconds or minutes; the error shows the value."""
    with pytest.raises(ValueError, match=r"duration|unit"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["9" * 400 + "s", "9" * 5000 + "s", int("9" * 400), "1" * 30 + "h", "87600.1h"])
def test_absurd_lengths_are_refused_in_words(value: object) -> None:
    """More than ten years is a slip of the pen; the message stays one that a person reads."""
    with pytest.raises(ValueError, match="duration") as caught:
        parse_duration(value)
    assert len(str(caught.value)) < 150


@given(st.integers(min_value=0, max_value=LONGEST_NS))
def test_formatting_loses_nothing(ns: int) -> None:
    """What is written into a run's scenario.yaml loads to the same time, to the nanosecond."""
    assert parse_duration(format_duration(ns)) == ns
