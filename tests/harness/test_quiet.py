"""Quiet phases: nothing is in force in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.planning.quiet import Quiet
from harness.planning.scenario import parse_scenario
from harness.planning.schedule import plan_schedule

SECOND = 1_000_000_000
QUIET = Quiet.model_validate({"every": "10s", "for": "3s"})


@pytest.mark.parametrize(
    ("at_s", "end_s", "left_s"), [(0, None, 10), (2, None, 8), (9, None, 1), (10, 13, 0), (12, 13, 0), (13, None, 7)]
)
def test_phases_begin_at_each_multiple(at_s: int, end_s: int | None, left_s: int) -> None:
    """The first after one period, not at the start."""
    assert QUIET.end_ns(at_s * SECOND) == (None if end_s is None else end_s * SECOND)
    assert QUIET.left_ns(at_s * SECOND) == left_s * SECOND


@given(at_ns=st.integers(0, 100 * SECOND), for_ns=st.integers(1, 20 * SECOND))
def test_nothing_lasts_into_a_phase(at_ns: int, for_ns: int) -> None:
    """What is begun ends before the next phase, and is never longer than was asked."""
    allowed = QUIET.allowed_ns(at_ns, for_ns)
    assert allowed <= for_ns
    assert allowed == 0 or all(QUIET.end_ns(at_ns + share * (allowed - 1) // 4) is None for share in range(5))


def test_planned_faults_keep_out() -> None:
    """Those at multiples and at random end where it becomes quiet; one at a fixed time that would not is refused."""
    text = "name: t\ntime: 60s\nquiet: {every: 10s, for: 3s}\nfaults:\n"
    scenario = parse_scenario(text + "  - {every: 1s, for: 4s, kill: {}}\n  - {random: all, interval: 700ms}\n", "t")
    for fault in plan_schedule(scenario, 5):
        assert fault.at_ns is not None
        assert QUIET.allowed_ns(fault.at_ns, fault.for_ns) == fault.for_ns
    with pytest.raises(UsageError, match="runs into a quiet phase"):
        parse_scenario(text + "  - {at: 8s, for: 4s, kill: {}}\n", "t")
    with pytest.raises(UsageError, match="leaves no time for faults"):
        parse_scenario("name: t\nquiet: {every: 3s, for: 3s}\n", "t")


def test_it_survives_a_file() -> None:
    """The resolved scenario says it with the words of scenarios."""
    scenario = parse_scenario("name: t\nquiet: {every: 10s, for: 3s}\n", "t")
    again = parse_scenario(scenario.to_yaml(), "scenario.yaml")
    assert again.head.quiet == scenario.head.quiet == QUIET
