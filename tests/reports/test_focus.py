"""Long values in drawings show the places that a finding is about."""

from __future__ import annotations

from typing import Any

from checkers.operation import Operation, Outcome
from checkers.verdict import Finding
from reports.focus import elements_words, focused
from reports.titles import title
from reports.words import operation_words


def operation(number: int, f: str, value: Any, result: Any, outcome: Outcome = Outcome.OK) -> Operation:
    """An operation of a process of its own."""
    return Operation(
        index=number,
        process=number,
        f=f,
        key=None,
        value=value,
        result=result,
        outcome=outcome,
        call_index=2 * number,
        return_index=2 * number + 1,
        call_ns=number,
        return_ns=number + 1,
        node=None,
        error=None,
    )


def shown(*operations: Operation, key: str | None = None, **evidence: Any) -> list[str]:
    """The labels of a finding's operations."""
    finding = Finding(checker="c", kind="k", message="m", key=key, operations=operations, evidence=evidence)
    return [operation_words(one) for one in focused(finding)]


def test_a_read_shows_the_element_that_the_finding_is_about() -> None:
    """Twice there, or not there at all; a short list stays whole."""
    append, twice = operation(0, "append", 63, 63), [*range(60, 70), 63, *range(70, 75)]
    read, short = operation(1, "read", None, twice), operation(2, "read", None, [1, 2])
    assert shown(append, read, short) == ["append 63", "read → [… 62 63 64 … 69 63 70 …]", "read → [1,2]"]
    assert elements_words(range(20), ["77"]) == "[… 17 18 19] without 77"


def test_of_a_transaction_the_steps_at_the_findings_key_are_shown() -> None:
    """As it was answered, or as it was asked where nobody knows the answer; without a key all of its first steps."""
    asked = [["append", "t1", 5], ["r", "t2", None], ["r", "t1", None]]
    answered = [["append", "t1", 5], ["r", "t2", [9]], ["r", "t1", [*range(30), 5]]]
    done, lost = operation(0, "txn", asked, answered), operation(1, "txn", asked, None, Outcome.INFO)
    assert shown(done, lost, key="t1", value=5) == [
        "txn append t1 5, r t1 → [… 4 5 6 … 29 5], …",
        "txn append t1 5, r t1, … (outcome unknown)",
    ]
    assert shown(done) == ["txn append t1 5, r t2 → [9], r t1 → [… 28 29 5]"]


def test_a_cycle_of_transactions_has_words() -> None:
    """Names like G1c-realtime mean nothing to most."""
    finding = Finding(checker="c", kind="G1c-realtime", message="m")
    assert title(finding).endswith("must come before the next, in a circle (G1c-realtime)")
