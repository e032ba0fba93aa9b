"""Every finding says what happened, marks the operation that shows it, and draws only what the proof needs."""

from __future__ import annotations

from checkers.deciders.register import explanation
from checkers.raft import invariants as raft
from checkers.verdict import Finding
from reports.contradiction import condemn
from reports.drawing import draw
from reports.titles import PATTERNS, RULES, title
from reports.verdicts import LEADS
from tests.reports.test_drawing import STALE, operation


def cas(index: int, call: int, end: int, old: int, new: int) -> object:
    """A compare-and-set that took effect."""
    return operation(index, call, end, "cas", [old, new], [old, new])


def test_every_kind_has_a_title_that_says_what_happened() -> None:
    """No rule is the title of the finding that says that it was broken, and each kind has its sentence at the top."""
    assert set(RULES) == set(raft.INVARIANTS)
    assert set(explanation.KINDS) <= set(PATTERNS)
    assert set(RULES) | set(explanation.KINDS) <= set(LEADS)
    vote = Finding(checker="raft", kind="nothing durable is forgotten", message="m", evidence={"term": 2})
    assert title(vote) == "A stored vote was forgotten (rule broken: nothing durable is forgotten)"
    entry = Finding(checker="raft", kind="nothing durable is forgotten", message="m", evidence={"index": 2})
    assert title(entry).startswith("A stored entry of the log was forgotten")


def test_the_second_consumer_is_marked_and_has_no_arrows() -> None:
    """Two compare-and-sets on one value need no clock: the later one found the value again."""
    first, second = cas(1, 20, 30, 17, 23), cas(2, 40, 50, 17, 29)
    evidence = {"roles": {"first": 1, "second": 2, "write": 0}, "before": []}
    finding = Finding(
        checker="linearizability",
        kind="two compare-and-sets consumed one value",
        message="m",
        operations=(STALE[0], first, second),  # type: ignore[arg-type]
        evidence=evidence,
    )
    drawing = draw(finding)
    assert drawing is not None
    assert drawing.arrows == ()
    assert [bar.impossible for bar in drawing.bars] == [False, False, True]
    assert "found 17 again, which “cas 17 → 23” had replaced: impossible in any order" in drawing.conclusion
    assert "because 17 was written only once" in drawing.conclusion


def test_roles_that_name_nobody_mark_nobody() -> None:
    """Evidence may be anything: roles of operations that are not there, of no number, of no mapping."""
    for roles in ({"read": 99}, {"read": "x"}, {"read": None}, [1], "x"):
        finding = Finding(
            checker="c", kind="phantom read", message="m", operations=STALE[:1], evidence={"roles": roles, "stuck": "y"}
        )
        assert condemn(finding, finding.operations) is None
