"""Replicas that stand at the same index tell the same hash, or they have parted."""

from __future__ import annotations

from checkers.runs.convergence import check_convergence
from checkers.verdict import Validity


def test_one_state_everywhere() -> None:
    """The usual end of a run."""
    result = check_convergence({node: {"applied": 9, "hash": "aa"} for node in ("n1", "n2", "n3")})
    assert (result.validity, result.statistics["compared"]) == (Validity.VALID, 3)


def test_the_odd_one_out_is_named() -> None:
    """Two agree, one does not."""
    hashes = {"n1": "aa", "n2": "bb", "n3": "aa"}
    result = check_convergence({node: {"applied": 9, "hash": said} for node, said in hashes.items()})
    assert result.validity is Validity.INVALID
    (finding,) = result.findings
    assert finding.kind == "replicas differ"
    assert finding.evidence == {"index": 9, "hashes": hashes}
    assert "on n1 and n3" in finding.message
    assert "on n2" in finding.message


def test_who_lags_is_not_compared() -> None:
    """That is for the liveness check; nothing is said of one node alone."""
    result = check_convergence({"n1": {"applied": 9, "hash": "aa"}, "n2": {"applied": 8, "hash": "bb"}})
    assert (result.validity, result.statistics["compared"]) == (Validity.VALID, 0)
