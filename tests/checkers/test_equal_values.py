"""Values that Python confuses and JSON does not: 1, 1.0 and true, 0.0 and -0.0, objects and lists."""

from __future__ import annotations

from typing import Any

import pytest

from checkers import Budget, History, HistoryError, Validity, check, witness
from checkers.models.model import Call, hashable, visible

VALUES: tuple[Any, ...] = (
    1,
    1.0,
    True,
    "1",
    0,
    0.0,
    -0.0,
    False,
    None,
    {},
    {"a": 1},
    {"a": True},
    [],
    ["object"],
    [["a", 1]],
)


def told(*operations: tuple[str, Any, Any]) -> History:
    """Completed operations one after another."""
    events = []
    for number, (f, value, result) in enumerate(operations):
        events.append({"time": 2 * number, "process": 0, "type": "invoke", "f": f, "value": value})
        events.append({"time": 2 * number + 1, "process": 0, "type": "ok", "f": f, "value": result})
    return History.of(events)


@pytest.mark.parametrize("written", VALUES, ids=repr)
@pytest.mark.parametrize("read", VALUES, ids=repr)
def test_a_read_returns_just_the_value_that_was_written(written: Any, read: Any) -> None:
    """Refused unless it is the same value to the letter, be it written or there from the beginning."""
    same = Validity.VALID if repr(written) == repr(read) else Validity.INVALID
    history = told(("write", read, read), ("write", written, written), ("read", None, read))
    assert check(history, model="register", search_only=True).validity is same
    history = told(("read", None, read))
    assert check(history, model="register", initial=written, search_only=True).validity is same


@pytest.mark.parametrize("model", ["register", "versioned-register", "set", "fifo-queue", "stack", "log"])
def test_equal_to_python_only(model: str) -> None:
    """true and 1, one after the other, are two values of every data type."""
    histories = {
        "register": told(("write", True, True), ("read", None, True), ("write", 1, 1), ("read", None, 1)),
        "versioned-register": told(("write", True, True), ("write", 1, 1), ("read", None, [2, 1])),
        "set": told(
            ("add", 1, 1), ("remove", 1, 1), ("add", True, True), ("contains", 1, False), ("read", None, [True])
        ),
        "fifo-queue": told(("enqueue", True, True), ("enqueue", 1, 1), ("dequeue", None, True), ("dequeue", None, 1)),
        "stack": told(("push", True, True), ("push", 1, 1), ("pop", None, 1), ("pop", None, True)),
        "log": told(("append", True, 0), ("append", 1, 1), ("read", None, [True, 1])),
    }
    assert check(histories[model], model=model, search_only=True).validity is Validity.VALID


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_state_is_shown_as_it_was_written(value: Any) -> None:
    """``visible`` is the way back from ``hashable``."""
    assert repr(visible(hashable([value, value]))) == repr([value, value])


def test_calls_are_equal_as_json_is() -> None:
    """Which is what makes them interchangeable."""
    calls = {Call("write", value, value, True) for value in VALUES}
    assert len(calls) == len(VALUES)
    assert Call("write", {"a": 1, "b": 2}, None, True) == Call("write", {"b": 2, "a": 1}, None, True)


@pytest.mark.parametrize(
    ("model", "history"),
    [
        ("set", told(("add", 1, 1), ("read", None, None), ("contains", 1, None), ("read", None, [1]))),
        ("log", told(("append", 1, 0), ("read", None, None), ("read", None, [1]))),
        ("counter", told(("add", 1, 1), ("read", None, None), ("read", None, 1))),
        ("register", told(("write", 1, 1), ("read", None, None), ("read", None, 1))),
    ],
)
def test_a_witness_holds_reads_that_say_nothing(model: str, history: History) -> None:
    """They completed, so they stand in the order, though no method looks at them."""
    found = witness(history, model=model, null_read="unknown")
    assert found is not None
    assert [order.tolist() for order in found.orders.values()] == [list(range(len(history)))]


@pytest.mark.parametrize("value", [["a", 1], [{"a": 1}, "b"]], ids=repr)
def test_a_compare_and_set_of_a_text_is_of_texts(value: Any) -> None:
    """Anything else is an error of the history (appending to it had no meaning)."""
    with pytest.raises(HistoryError, match="texts"):
        check(told(("cas", value, value), ("append", "b", "b")), model="kv")


def test_a_text_begins_as_a_text() -> None:
    """Or as null."""
    with pytest.raises(HistoryError, match="initial value of a kv"):
        check(told(("append", "b", "b")), model="kv", initial=5)


@pytest.mark.parametrize("result", [{"a": 1}, True, 1.5], ids=repr)
def test_a_list_that_is_none(result: Any) -> None:
    """A read of a list that returned an object, or true, is refused with its line, whatever it looks like inside."""
    with pytest.raises(HistoryError, match="a read of a list returned"):
        check(told(("txn", [["r", "x", None]], [["r", "x", result]])), model="list-append")


@pytest.mark.parametrize("value", [{}, {"a": 1}, "{", "{0}"], ids=repr)
def test_braces_in_explanations(value: Any) -> None:
    """Objects and texts with braces stand in the sentences about a cycle as they are."""
    lists = told(
        ("txn", [["append", "x", value]], [["append", "x", value]]),
        ("txn", [["r", "x", None]], [["r", "x", []]]),
        ("txn", [["r", "x", None]], [["r", "x", [value]]]),
    )
    registers = told(
        ("txn", [["w", "x", value]], [["w", "x", value]]),
        ("txn", [["w", "x", 1]], [["w", "x", 1]]),
        ("txn", [["r", "x", None]], [["r", "x", value]]),
    )
    assert "without" in check(lists, model="list-append").findings[0].message
    assert check(registers, model="rw-register").validity is Validity.INVALID


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_phantoms_of_any_kind(value: Any) -> None:
    """What nobody wrote is said to be just that."""
    phantom = told(("txn", [["w", "x", 7]], [["w", "x", 7]]), ("txn", [["r", "x", None]], [["r", "x", value]]))
    assert check(phantom, model="rw-register").validity is Validity.INVALID


@pytest.mark.parametrize(("model", "f"), [("log", "append"), ("fifo-queue", "enqueue")])
def test_large_states_count_for_the_budget(model: str, f: str) -> None:
    """Each length of a log is a state of its own: the search ends at its budget of bytes, not of states."""
    history = told(*[(f, 1, None)] * 2000)
    result = check(history, model=model, search_only=True, budget=Budget(bytes=2_000_000))
    assert result.validity is Validity.UNKNOWN
    assert "2 MB were not enough" in result.findings[0].message
