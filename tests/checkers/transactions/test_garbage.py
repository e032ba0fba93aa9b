"""Garbage in: refused with the line and what is wrong, never with a traceback; strange but legal values are judged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, HistoryError, Validity, check

MODELS = ("list-append", "rw-register")


def one(value: Any, result: Any = None, f: str = "txn") -> History:
    events = [
        {"type": "invoke", "process": 0, "f": f, "value": value, "time": 0},
        {"type": "ok", "process": 0, "f": f, "value": value if result is None else result, "time": 1},
    ]
    return History.of(events)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (7, "7"),
        ("text", "text"),
        ([["r", 1]], "micro-operation"),
        ([5], "micro-operation"),
        ([["increment", 1, 2]], "increment"),
        ([[["r"], 1, 2]], "micro-operation"),
        ({"r": 1}, "value"),
    ],
)
def test_what_is_no_transaction(model: str, value: Any, says: str) -> None:
    """The line, what stands there, and what to write instead."""
    with pytest.raises(HistoryError, match=says):
        check(one(value), model=model)


def test_a_read_of_a_list_that_is_none() -> None:
    """A number is no list."""
    with pytest.raises(HistoryError, match="read of a list"):
        check(one([["r", "x", 3]]), model="list-append")


def test_another_function() -> None:
    """Reads and writes outside of transactions are another model's."""
    with pytest.raises(HistoryError, match="read"):
        check(one(None, f="read"), model="list-append")


@pytest.mark.parametrize("model", MODELS)
def test_no_operations(model: str) -> None:
    """An empty history is valid."""
    assert check(History.of([]), model=model).validity is Validity.VALID


def test_keys_and_values_of_any_kind() -> None:
    """Objects, lists, booleans and fractions are keys and values like others."""
    micros = [["append", {"a": 1}, {"b": [1, 2.5]}], ["append", [1, True], None], ["r", {"a": 1}, [{"b": [1, 2.5]}]]]
    assert check(one(micros), model="list-append").validity is Validity.VALID
    writes = [["w", {"a": 1}, [1]], ["r", {"a": 1}, [1]], ["w", None, 1.5], ["r", None, 1.5]]
    assert check(one(writes), model="rw-register").validity is Validity.VALID


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.sampled_from(["r", "append", "w", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=8,
)
MICRO = st.tuples(st.sampled_from(["r", "append", "w"]), JSON, JSON).map(list) | JSON


@settings(max_examples=300)
@given(values=st.lists(st.lists(MICRO, max_size=3) | JSON, max_size=4), model=st.sampled_from(MODELS))
def test_anything_is_judged_or_refused(values: list[Any], model: str) -> None:
    """A verdict, or an error that names the line."""
    events = [
        {"type": kind, "process": 0, "f": "txn", "value": value, "time": number}
        for number, value in enumerate(values)
        for kind in ("invoke", "ok")
    ]
    line: int | None = 1
    try:
        check(History.of(events), model=model)
    except HistoryError as error:
        line = error.line
    assert line is not None
