"""Durations say their unit, always."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.durations import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("30s", 30_000_000_000),
        ("800ms", 800_000_000),
        ("1.5h", 5_400_000_000_000),
        ("2m", 120_000_000_000),
        ("7us", 7000),
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


@given(st.integers(min_value=0, max_value=10**15).map(lambda us: us * 1000))
def test_formatting_loses_nothing(ns: int) -> None:
    """What is written into a run's scenario.yaml loads to the same time."""
    assert parse_duration(format_duration(ns)) == pytest.approx(ns, rel=1e-5)
