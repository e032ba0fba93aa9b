"""When everything is healed and nobody writes: do the replicas hold the same state?

Each node told its applied index and a hash of its state, once the load and the final reads were over. Nodes that stand
at the same index must tell the same hash (design, observer CONV); those that stand elsewhere are the liveness check's
business. A history sees such a split only if somebody happens to read from the odd one out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from checkers.guarantees.replica_hashes import Disagreement, Hash, compare
from checkers.verdict import Finding, Result
from checkers.wording import listed, show

CHECKER = "convergence"


def check_convergence(states: Mapping[str, Mapping[str, Any]]) -> Result:
    """Judges what the nodes told: by name, ``applied`` (an index) and ``hash``."""
    told = [Hash(node, state["applied"], state["hash"]) for node, state in states.items()]
    found = [_finding(disagreement) for disagreement in compare(told)]
    standing = [state["applied"] for state in states.values()]
    together = max((standing.count(index) for index in standing), default=0)
    statistics = {"nodes": sorted(states), "compared": together if together > 1 else 0}
    return Result(checker=CHECKER, findings=tuple(found), statistics=statistics)


def _finding(found: Disagreement) -> Finding:
    said = [f"{show(value)} on {listed(sorted(item.node for item in group))}" for value, group in found.said]
    return Finding(
        checker=CHECKER,
        kind="replicas differ",
        message=(
            f"everything was healed and nobody wrote, and the replicas hold different states at index {found.index}: "
            f"hash {listed(said)}"
        ),
        nodes=tuple(sorted(item.node for _, group in found.said for item in group)),
        evidence={"index": found.index, "hashes": {item.node: item.hash for _, group in found.said for item in group}},
    )
