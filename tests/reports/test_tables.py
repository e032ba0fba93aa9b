"""Figures as tables: every figure of any nesting is shown once, with the unit that its name says."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reports.tables import figure, tabulate, words

FIGURES = st.recursive(
    st.integers(-(10**6), 10**6) | st.floats(allow_nan=True) | st.text(max_size=5) | st.none() | st.booleans(),
    lambda inner: st.dictionaries(st.text(max_size=8), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=12,
)


def test_units_come_from_names() -> None:
    """Nanoseconds and milliseconds become readable times; the unit leaves the label."""
    assert (words("longest_gap_ms"), figure("longest_gap_ms", 1225.088)) == ("longest gap", "1.23 s")
    assert (words("latency_ms_p99"), figure("latency_ms_p99", 0.25)) == ("latency p99", "250 µs")
    assert (words("ok_per_s"), figure("ok_per_s", 281.5)) == ("ok", "282 /s")
    assert figure("count", 1234567) == "1 234 567"
    assert figure("ms", None) == "–"


def test_outcomes_become_one_table() -> None:
    """Functions by outcome with their latencies: a row each, the latencies as columns."""
    latency = {"p50": 12.7, "max": 2242.1}
    statistics: dict[str, Any] = {
        "operations": 3,
        "functions": {"read": {"ok": {"count": 2, "latency_ms": latency}, "fail": {"count": 1}}},
    }
    alone, functions = tabulate(statistics)
    assert alone.rows == (("operations", "3"),)
    assert functions.columns == ("", "count", "latency p50", "latency max")
    assert functions.rows == (("read ok", "2", "12.7 ms", "2.24 s"), ("read fail", "1", "–", "–"))


@given(st.dictionaries(st.text(max_size=8), FIGURES, max_size=5))
def test_anything_can_be_tabulated(statistics: dict[str, Any]) -> None:
    """Every row has a cell for every column, whatever a checker counted."""
    for table in tabulate(statistics):
        assert all(isinstance(cell, str) for row in table.rows for cell in row)
        assert all(len(row) == (len(table.columns) or 2) for row in table.rows)
