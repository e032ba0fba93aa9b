"""Claims about the figures of a run."""

from __future__ import annotations

import json
from typing import Any

from checkers import History
from checkers.runs.statistics import measure
from checkers.verdict import Validity
from tests.checkers.stories import history


def figures(*operations: tuple[Any, ...]) -> dict[str, Any]:
    result = measure(history(*operations))
    assert result.validity is Validity.VALID
    return json.loads(json.dumps(result.statistics))  # plain JSON, as the page wants it


def test_counts_and_rates() -> None:
    """Counts per outcome, and rates over the time from first invocation to last completion."""
    told = figures((0, 0, 100, "ok", "read"), (1, 50, 150, "fail", "write"), (2, 60, 2000, "info", "write"))
    assert (told["operations"], told["seconds"], told["rate_per_s"], told["ok_per_s"]) == (3, 2.0, 1.5, 0.5)
    assert {name: row["count"] for name, row in told["outcomes"].items()} == {"ok": 1, "fail": 1, "info": 1}


def test_quantiles_are_latencies_that_occurred() -> None:
    """p50, p90, p99 and max of 1..100 ms are 50, 90, 99 and 100."""
    told = figures(*((number, 0, number, "ok", "read") for number in range(1, 101)))
    assert told["functions"]["read"]["ok"]["latency_ms"] == {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}


def test_operations_nobody_saw_end_have_no_latency() -> None:
    """They count as info."""
    told = figures((0, 0, None, "", "write"), (1, 0, 10, "ok", "write"))
    assert told["functions"]["write"]["info"] == {"count": 1, "latency_ms": None}


def test_per_node_and_per_kind_of_process() -> None:
    """Nodes are those that completions name; readers are processes that never did anything else."""
    told = figures(
        (0, 0, 10, "ok", "read", {"node": "n1"}),
        (1, 0, 10, "ok", "read", {"node": "n2"}),
        (1, 20, 30, "ok", "cas", {"node": "n2"}),
    )
    assert {name: row["ok"]["count"] for name, row in told["nodes"].items()} == {"n1": 1, "n2": 2}
    kinds = {name: (row["processes"], row["ok"]["count"]) for name, row in told["processes"].items()}
    assert kinds == {"readers": (1, 1), "writers": (1, 2)}


def test_commonest_errors_first_and_at_most_twenty() -> None:
    """Errors by text."""
    rare = [(100 + number, 0, 10, "fail", "write", {"error": f"rare {number}"}) for number in range(30)]
    often = [(number, 0, 10, "info", "write", {"error": "timeout"}) for number in range(3)]
    told = figures(*rare, *often)
    assert told["errors"][0] == {"error": "timeout", "count": 3}
    assert len(told["errors"]) == 20


def test_empty_history() -> None:
    """Nothing happened, and that is said without an error."""
    told = figures()
    assert (told["operations"], told["rate_per_s"], told["outcomes"], told["processes"]) == (0, 0.0, {}, {})


def test_time_spent_frozen_is_told_apart() -> None:
    """Rates are over the time in which the cluster ran."""
    events: list[dict[str, Any]] = [
        {"process": 0, "type": "invoke", "f": "read", "time": 0},
        {"process": 0, "type": "ok", "f": "read", "time": 1_000_000_000},
        {"process": "nemesis", "type": "info", "f": "freeze", "time": 1_000_000_000, "value": {"nodes": ["n1"]}},
        {"process": "nemesis", "type": "info", "f": "thaw", "time": 9_000_000_000, "value": {}},
        {"process": 0, "type": "invoke", "f": "read", "time": 9_000_000_000},
        {"process": 0, "type": "ok", "f": "read", "time": 10_000_000_000},
    ]
    told = measure(History.of(events)).statistics
    assert (told["seconds"], told["frozen_s"], told["rate_per_s"]) == (2.0, 8.0, 1.0)
