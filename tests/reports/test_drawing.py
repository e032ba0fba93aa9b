"""The drawing of a clash: order is exact, labels never overlap in a lane, and what is impossible is marked only when it
is shown to be.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from checkers.operation import Operation, Outcome
from checkers.verdict import Finding
from reports.contradiction import precedes
from reports.drawing import OPERATIONS_MAX, draw

MS = 1_000_000


def operation(
    index: int, call: int, end: int | None, f: str = "read", value: Any = None, result: Any = None, **more: Any
) -> Operation:
    """An operation whose positions are its times in ms."""
    common = {
        "index": index,
        "process": index,
        "f": f,
        "key": "k",
        "value": value,
        "result": result,
        "outcome": Outcome.OK,
    }
    times = {
        "call_index": call,
        "return_index": end,
        "call_ns": call * MS,
        "return_ns": None if end is None else end * MS,
    }
    return Operation(**{**common, **times, **more})


def finding(*operations: Operation, **evidence: Any) -> Finding:
    """A finding with these operations."""
    return Finding(checker="c", kind="stale read", message="m", operations=operations, evidence=evidence)


STALE = (
    operation(0, 0, 10, "write", 17, 17),
    operation(1, 20, 30, "write", 23, 23),
    operation(2, 40, 50, "read", None, 17),
)


def test_a_stale_read_is_marked_and_told() -> None:
    """write 17, then write 23, then read 17: the read is impossible, and two arrows say why."""
    drawing = draw(finding(*STALE))
    assert drawing is not None
    assert [bar.impossible for bar in drawing.bars] == [False, False, True]
    assert len(drawing.arrows) == 2
    assert (
        "“write 17” (process 0) returned at 0.010 s, 10 ms before “write 23” (process 1) began at 0.020 s"
        in drawing.arrows[0].words
    )
    assert drawing.bars[0].colours == drawing.bars[2].colours != drawing.bars[1].colours


def test_a_read_of_the_newer_value_is_a_witness() -> None:
    """The newer write need not have returned: a read that saw it proves that it happened."""
    pending = operation(1, 20, None, "write", 23, None, outcome=Outcome.INFO)
    drawing = draw(
        finding(STALE[0], pending, operation(2, 31, 35, "read", None, 23), operation(3, 40, 50, "read", None, 17))
    )
    assert drawing is not None
    assert [bar.impossible for bar in drawing.bars] == [False, False, False, True]
    assert drawing.bars[1].open


def test_nothing_is_marked_without_a_proof() -> None:
    """Overlapping operations prove nothing, so that no bar is called impossible."""
    drawing = draw(finding(operation(0, 0, 45, "write", 17, 17), STALE[1], STALE[2]))
    assert drawing is not None
    assert not any(bar.impossible for bar in drawing.bars)
    assert drawing.conclusion == ""


def test_the_checkers_relations_are_drawn() -> None:
    """Where the checker says on which relations its argument stands, those are the arrows, and only true ones."""
    drawing = draw(finding(*STALE, before=[[0, 2], [2, 0], [7, 8], "x"]))
    assert drawing is not None
    assert [arrow.words.count("“") for arrow in drawing.arrows] == [2]


def test_a_finding_without_operations_has_no_drawing() -> None:
    """Findings of traces and logs are quoted instead."""
    assert draw(finding()) is None


@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90), st.booleans()), min_size=1, max_size=OPERATIONS_MAX + 4)
)
def test_places_follow_the_order_of_events(drawn: list[tuple[int, int, bool]]) -> None:
    """Left of is before, for every pair of events, and each bar has room for its label."""
    operations = [
        operation(
            number,
            2 * call * 50 + number,
            None if never else 2 * (call + took) * 50 + 49 + number,
            "write",
            number,
            number,
        )
        for number, (call, took, never) in enumerate(sorted(drawn))
    ]
    drawing = draw(finding(*operations))
    assert drawing is not None
    assert len(drawing.bars) == min(len(operations), OPERATIONS_MAX)
    for first in drawing.bars:
        assert first.width >= 7 * len(first.label)
        for second in drawing.bars:
            if precedes(first.operation, second.operation):
                assert first.x + first.width < second.x
