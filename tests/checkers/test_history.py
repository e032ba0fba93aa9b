"""Histories: what the columns mean, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, HistoryBuilder, HistoryError, Outcome
from checkers.history import ABSENT, NEVER
from checkers.values import ValueTable


def event(time: int, process: int | str, type_: str, f: str, value: Any = None, **more: Any) -> dict[str, Any]:
    return {"time": time, "process": process, "type": type_, "f": f, "value": value, **more}


def test_an_operation_is_an_invocation_with_its_completion() -> None:
    """Rows repeat what the events said: argument, result, times, node; positions are places in the file."""
    history = History.of(
        [
            event(10, 0, "invoke", "read", key="a"),
            event(20, 1, "invoke", "cas", [1, 2], key="a"),
            event(30, 0, "ok", "read", 7, key="a", node="n1"),
            event(40, 1, "fail", "cas", [1, 2], key="a", error="mismatch"),
        ]
    )
    read, cas = history.operations
    assert (read.f, read.key, read.value, read.result, read.outcome) == ("read", "a", None, 7, Outcome.OK)
    assert (read.call_index, read.return_index, read.call_ns, read.return_ns, read.node) == (0, 2, 10, 30, "n1")
    assert (cas.value, cas.outcome, cas.result, cas.error) == ((1, 2), Outcome.FAIL, None, "mismatch")
    assert history.operations[-1] == cas
    assert history.operations[0:1] == [read]


def test_what_nobody_saw_end_never_returns() -> None:
    """Info, and an invocation without completion, have no return: not the info line's place, not the end of
    the file.
    """
    history = History.of(
        [
            event(1, 0, "invoke", "write", 1),
            event(2, 1, "invoke", "write", 2),
            event(3, 0, "info", "write", 1, error="timeout"),
            event(4, 2, "invoke", "read"),
        ]
    )
    assert history.return_.tolist() == [NEVER, NEVER, NEVER]
    first, second, _ = history.operations
    assert (first.outcome, first.return_index, first.return_ns) == (Outcome.INFO, None, 3)
    assert (second.outcome, second.return_index, second.return_ns) == (Outcome.INFO, None, None)


def test_at_equal_times_invocations_come_first() -> None:
    """Intervals are closed: what ended at the instant another began does not precede it."""
    history = History.of(
        [
            event(1, 0, "invoke", "write", 1),
            event(5, 0, "ok", "write", 1),
            event(5, 1, "invoke", "read"),
            event(6, 1, "ok", "read", None),
        ]
    )
    assert history.return_[0] > history.call[1]
    assert sorted([*history.call, *history.return_]) == [0, 1, 2, 3]


def test_a_later_instant_keeps_the_order_of_the_file() -> None:
    """One nanosecond later is later."""
    history = History.of(
        [event(1, 0, "invoke", "write", 1), event(5, 0, "ok", "write", 1), event(6, 1, "invoke", "read")]
    )
    assert history.return_[0] < history.call[1]


def test_fault_events_are_no_operations() -> None:
    """The nemesis' events are kept as they are, and take places in the order."""
    history = History.of(
        [
            event(1, "nemesis", "invoke", "inject", {"id": 1}),
            event(2, 0, "invoke", "read"),
            event(3, "nemesis", "info", "inject", {"id": 1, "proved": True}),
        ]
    )
    assert len(history) == 1
    assert history.operations[0].call_index == 1
    assert [item["value"] for item in history.nemesis] == [{"id": 1}, {"id": 1, "proved": True}]
    assert history.nemesis[1]["time"] == 3


def test_a_history_does_not_change_while_the_run_goes_on() -> None:
    """A snapshot taken in the middle stays as it was, and its columns cannot be written."""
    builder = HistoryBuilder()
    builder.add_event(event(1, 0, "invoke", "write", 1))
    before = builder.history()
    builder.add_event(event(2, 0, "ok", "write", 1))
    assert before.operations[0].outcome is Outcome.INFO
    assert builder.history().operations[0].outcome is Outcome.OK
    with pytest.raises(ValueError, match="read-only"):
        before.outcome[0] = 0


def test_final_reads_are_marked() -> None:
    """`final` on either event marks the operation."""
    history = History.of([event(1, 0, "invoke", "read", final=True), event(2, 1, "invoke", "read")])
    assert history.final.tolist() == [True, False]


def test_select_keeps_rows_and_positions() -> None:
    """A part of a history has the same tables."""
    history = History.of([event(1, 0, "invoke", "write", 1), event(2, 1, "invoke", "write", 2)])
    part = history.select(np.array([False, True]))
    assert [item.value for item in part.operations] == [2]
    assert part.operations[0].call_index == 1


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ([event(1, 0, "ok", "read", 1)], ["ok without an invocation", "process 0"]),
        (
            [event(1, 0, "invoke", "read"), event(2, 0, "invoke", "read")],
            ["still open", "event 0", "new process number"],
        ),
        ([event(5, 0, "invoke", "read"), event(4, 1, "invoke", "read")], ["time goes back from 5 to 4"]),
        ([event(1, 0, "invoke", "read"), event(2, 0, "ok", "write", 1)], ["invoked read but 'write' completed"]),
        ([event(1, 0, "invoke", "read", key="a"), event(2, 0, "ok", "read", 1, key="b")], ["key 'a' but 'b'"]),
        ([event(1, 0, "invoke", "cas", 5)], ["a cas has the value 5", "[expected, new]"]),
        ([event(1, 0, "invoke", "cas", [1, 2, 3])], ["a cas has the value [1, 2, 3]"]),
        ([event(1, 0, "invoke", "read"), event(2, 0, "done", "read")], ["Invalid enum value 'done'", "$.type"]),
        ([event(1, "zeus", "invoke", "read")], ["the process is 'zeus'", "nemesis"]),
        ([{"time": "1", "process": 0, "type": "invoke", "f": "read"}], ["Expected `int`, got `str`", "$.time"]),
        ([{"time": 2**70, "process": 0, "type": "invoke", "f": "read"}], ["$.time"]),
        ([{"time": 1, "process": True, "type": "invoke", "f": "read"}], ["$.process"]),
        ([{"time": 1, "process": 0, "type": "invoke"}], ["missing required field `f`"]),
        ([event(1, 0, "invoke", "write", object())], ["JSON cannot say", "object"]),
        ([event(1, 0, "invoke", "read"), event(2, 0, "ok", "read", object())], ["JSON cannot say", "line 2"]),
    ],
)
def test_what_is_not_a_history_is_refused(events: list[dict[str, Any]], words: list[str]) -> None:
    """The error names the source, the line, what is wrong and what to do."""
    with pytest.raises(HistoryError) as caught:
        History.of(events, source="some.jsonl")
    message = str(caught.value)
    assert message.startswith(f"some.jsonl, line {caught.value.line}: ")
    for word in words:
        assert word in message


def test_a_long_value_is_cut_in_the_error() -> None:
    """A value of a million characters is still a message."""
    with pytest.raises(HistoryError) as caught:
        History.of([event(1, 0, "invoke", "cas", "x" * 1_000_000)])
    assert len(str(caught.value)) < 300


def test_values_that_python_calls_equal_but_json_does_not() -> None:
    """1, true, 1.0 and "1" are four values; equal lists and objects are one."""
    table = ValueTable()
    codes = [
        table.code(value)
        for value in (1, True, 1.0, "1", [1, 2], [1, 2], [1, True], {"a": 1, "b": 2}, {"b": 2, "a": 1})
    ]
    assert codes == [0, 1, 2, 3, 4, 4, 5, 6, 6]
    assert table.find((1, 2)) == 4
    assert table.find("nowhere") == ABSENT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=60)
@given(values=st.lists(JSON, max_size=6), keys=st.lists(st.text(max_size=2) | st.none(), min_size=6, max_size=6))
def test_reading_lines_is_the_same_as_adding_events(values: list[Any], keys: list[Any], tmp_path_factory: Any) -> None:
    """The fast reader and the builder that the run uses give the same operations, whatever the values."""
    events: list[dict[str, Any]] = []
    for number, (value, key) in enumerate(zip(values, keys, strict=False)):
        events.append(event(2 * number, number, "invoke", "write", value, key=key))
        events.append(event(2 * number + 1, number, "ok", "write", value, key=key))
    path: Path = tmp_path_factory.mktemp("lines") / "history.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in events))
    assert list(History.read(path).operations) == list(History.of(events).operations)
