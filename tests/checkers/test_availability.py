"""Claims about times without service."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkers.runs.availability import longest_gap, measure
from tests.checkers.stories import MS, fault, history


def told(*operations: tuple[Any, ...], nemesis: Any = (), grace_ms: int = 0) -> dict[str, Any]:
    result = measure(history(*operations, nemesis=nemesis), grace_ns=grace_ms * MS)
    return json.loads(json.dumps(result.statistics))


OPS = (
    (0, 0, 10, "ok", "read"),
    (1, 95, 300, "info", "write"),
    (2, 100, 110, "ok", "read"),
    (3, 200, 500, "ok", "read"),
    (4, 990, 1000, "ok", "read"),
)


def test_the_longest_gap_overall() -> None:
    """From first invocation to last completion, only ok completions count as service."""
    assert told(*OPS)["longest_gap_ms"] == 500.0
    assert told(*OPS)["gap_from_ns"] == 500 * MS


def test_per_fault() -> None:
    """The gap lies within injection..heal+grace; the next success is one that was invoked under the fault."""
    (row,) = told(*OPS, nemesis=fault(1, "kill", 102, 400), grace_ms=150)["faults"]
    assert (row["family"], row["summary"]) == ("kill", "kill of n1")
    assert row["longest_gap_ms"] == 390.0  # 110 .. 500, of which 400 .. 500 is grace
    assert row["next_ok_ms"] == 396.0  # in force at 104, asked at 200, answered at 500
    assert (row["operations"], row["ok"]) == (3, 2)


def test_the_grace_bounds_the_gap() -> None:
    """A gap that lasts longer than the grace after healing is cut there: the rest is for liveness."""
    (row,) = told(*OPS, nemesis=fault(1, "kill", 550, 600), grace_ms=100)["faults"]
    assert row["longest_gap_ms"] == 150.0


def test_the_next_faults_gap_is_its_own() -> None:
    """The grace after healing ends where another fault begins."""
    nemesis = [*fault(1, "kill", 101, 105), *fault(2, "kill", 200, 600)]
    first, second = told(*OPS, nemesis=nemesis, grace_ms=500)["faults"]
    assert first["longest_gap_ms"] == 90.0  # 110 .. 200
    assert second["longest_gap_ms"] == 500.0  # 500 .. 1000


def test_a_fault_that_nobody_healed() -> None:
    """It lasts to the end; without any success the next one is never."""
    (row,) = told((0, 0, 10, "ok", "read"), (1, 30, 60, "fail", "read"), nemesis=fault(1, "kill", 20, None))["faults"]
    assert (row["to_ns"], row["next_ok_ms"], row["longest_gap_ms"]) == (None, None, 40.0)


def test_empty_history() -> None:
    """Nothing happened."""
    assert told() == {"longest_gap_ms": 0.0, "gap_from_ns": 0, "faults": []}


@given(times=st.lists(st.integers(0, 50), max_size=8), begin=st.integers(0, 50), length=st.integers(1, 30))
def test_longest_gap_is_that_of_a_slow_twin(times: list[int], begin: int, length: int) -> None:
    """Compared with looking at every stretch."""
    end = begin + length
    marks = [begin, *sorted(time for time in times if begin < time < end), end]
    expected = max(after - before for before, after in itertools.pairwise(marks))
    assert longest_gap(np.array(sorted(times), dtype=np.int64), begin, end)[0] == expected


@pytest.mark.parametrize("end", [5, 4])
def test_no_stretch_no_gap(end: int) -> None:
    """An empty or upside-down stretch has no gap."""
    assert longest_gap(np.array([1]), 5, end) == (0, 5)


def test_time_in_which_nodes_were_frozen_is_nobodys_gap() -> None:
    """What stood still for inspection served nobody, and that is no figure of the system's."""
    freeze = (150, "info", "freeze", {"nodes": ["n1"], "decided_ns": 150 * MS})
    thaw = (60_000, "info", "thaw", {"nodes": ["n1"]})
    late = (5, 60_100, 60_110, "ok", "read")
    statistics = told(*OPS[:3], late, nemesis=[*fault(1, "kill", 101, 60_050), freeze, thaw], grace_ms=500)
    assert statistics["longest_gap_ms"] == 100.0  # 10 .. 110
    assert statistics["faults"][0]["next_ok_ms"] is None
