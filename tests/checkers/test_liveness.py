"""Claims about progress after healing."""

from __future__ import annotations

from typing import Any

import pytest

from checkers.runs.liveness import check_liveness
from checkers.verdict import Blame, Result, Validity
from tests.checkers.stories import MS, history

SERVED = ((0, 0, 10, "ok", "read"), (1, 1200, 1300, "ok", "read"))
DEAF = (
    (0, 0, 10, "ok", "read"),
    *((number, 1000 * number, 1000 * number + 900, "fail", "read") for number in range(1, 9)),
)


def judge(operations: tuple[tuple[Any, ...], ...], **more: Any) -> Result:
    facts: dict[str, Any] = {"healed_ns": 1000 * MS, "bound_ns": 5000 * MS, **more}
    return check_liveness(history(*operations), **facts)


def both_caught_up(**changes: Any) -> dict[str, Any]:
    facts = {"running": ("n1", "n2"), "target_commit": 40, "caught_up_ns": {"n1": 1500 * MS, "n2": 2000 * MS}}
    return {**facts, **changes}


def test_a_system_that_serves_again_is_valid() -> None:
    """Served in time, every node caught up: the times are told."""
    result = judge(SERVED, **both_caught_up())
    assert result.findings == ()
    assert result.statistics["first_ok_ms"] == 300.0
    assert result.statistics["caught_up_ms"] == {"n1": 500.0, "n2": 1000.0}


def test_no_success_within_the_bound_is_invalid() -> None:
    """Healing verified, asked for longer than the bound, nobody served: invalid."""
    result = judge(DEAF)
    assert [finding.kind for finding in result.findings] == ["no progress"]
    assert result.validity is Validity.INVALID


def test_late_success_is_invalid() -> None:
    """A success that comes after the bound does not save it."""
    result = judge((*DEAF, (100, 8000, 8100, "ok", "read")))
    assert [finding.kind for finding in result.findings] == ["no progress"]
    assert "after 7.1 s" in result.findings[0].message


def test_the_bound_runs_from_the_first_question() -> None:
    """A success counts from the first invocation after healing: before, nobody asked."""
    assert judge(((0, 0, 10, "ok", "read"), (1, 9000, 9100, "ok", "read"))).findings == ()


def test_an_answer_to_an_old_question_does_not_count() -> None:
    """An operation invoked before healing may have been done before."""
    result = judge(((0, 900, 1100, "ok", "read"), *DEAF[1:]))
    assert [finding.kind for finding in result.findings] == ["no progress"]


@pytest.mark.parametrize(
    ("operations", "kind"), [(SERVED[:1], "nobody asked"), (DEAF[:4], "asked too briefly"), ((), "nobody asked")]
)
def test_what_was_not_asked_is_unknown(operations: tuple[tuple[Any, ...], ...], kind: str) -> None:
    """No question, or too few seconds of questions, is the harness's fault."""
    result = judge(operations)
    assert [(finding.kind, finding.blame) for finding in result.findings] == [(kind, Blame.HARNESS)]


def test_a_node_that_never_catches_up_is_invalid() -> None:
    """It is named, with its last words."""
    facts = both_caught_up(caught_up_ns={"n1": 1500 * MS}, last={"n2": {"term": 3, "applied": 12}})
    (finding,) = judge(SERVED, **facts).findings
    assert (finding.kind, finding.nodes, finding.blame) == ("node left behind", ("n2",), Blame.SYSTEM)
    assert "term 3, applied 12" in finding.message


def test_a_node_that_catches_up_late_is_invalid() -> None:
    """The bound is the bound."""
    facts = both_caught_up(caught_up_ns={"n1": 1500 * MS, "n2": 6001 * MS})
    assert [finding.kind for finding in judge(SERVED, **facts).findings] == ["node left behind"]


def test_no_leader_is_one_finding() -> None:
    """Nobody led: said once, not once a node."""
    facts = both_caught_up(target_commit=None, caught_up_ns={})
    assert [finding.kind for finding in judge(SERVED, **facts).findings] == ["no leader"]


def test_a_starved_machine_proves_nothing() -> None:
    """The same facts on a starved machine are unknown, and the sentence says why."""
    result = judge(DEAF, starved="the machine was 3 s late", **both_caught_up(caught_up_ns={}))
    assert result.validity is Validity.UNKNOWN
    assert all("3 s late" in finding.message for finding in result.findings)


def test_without_verified_healing_nothing_is_judged() -> None:
    """Coverage says that healing was not verified; liveness keeps silent."""
    result = judge(DEAF, healed_ns=None)
    assert (result.findings, result.statistics) == ((), {"judged": False})
