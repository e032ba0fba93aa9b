"""The one function that users call: which method judged, what it says when it refuses or gives up."""

from __future__ import annotations

import json
from typing import Any

import pytest

from checkers import MODELS, Blame, Budget, History, HistoryError, Validity, check
from tests.checkers.test_search import explosive, history_of


def keyed(rows: list[tuple[str, str, Any]]) -> History:
    """(key, f, value), one after another, each its own process."""
    events: list[dict[str, Any]] = []
    for process, (key, f, value) in enumerate(rows):
        base = {"process": process, "f": f, "key": key}
        events.append({**base, "time": 2 * process, "type": "invoke", "value": None if f == "read" else value})
        events.append({**base, "time": 2 * process + 1, "type": "ok", "value": value})
    return History.of(events)


def test_unique_values_are_judged_without_search() -> None:
    """And the statistics say so; they are plain JSON and hold no clock's figures."""
    result = check(keyed([("a", "write", 1), ("a", "read", 1), ("b", "write", 2)]))
    assert result.validity is Validity.VALID
    assert result.statistics["method"] == "polynomial"
    assert (result.statistics["keys"], result.statistics["keys_searched"]) == (2, 0)
    json.dumps(dict(result.statistics))


def test_each_key_goes_to_the_method_that_can() -> None:
    """Key b repeats a value; the verdict says which method judged how many keys, and why."""
    result = check(keyed([("a", "write", 1), ("a", "read", 1), ("b", "write", 2), ("b", "write", 2), ("b", "read", 2)]))
    assert result.validity is Validity.VALID
    assert result.statistics["method"] == "polynomial and search"
    assert result.statistics["searched_because"] == {"a value is written more than once": 1}


def test_every_refused_key_is_a_finding() -> None:
    """One by each method; both name their operations."""
    result = check(
        keyed(
            [
                ("a", "read", 1),
                ("b", "write", 2),
                ("b", "write", 2),
                ("b", "write", 3),
                ("b", "read", 2),
                ("c", "read", None),
            ]
        )
    )
    assert result.validity is Validity.INVALID
    kinds = {finding.key: finding.kind for finding in result.findings}
    assert kinds == {"a": "phantom read", "b": "no order possible"}
    assert all(finding.operations and finding.message for finding in result.findings)
    assert result.statistics["keys_refused"] == 2


def test_a_search_finding_says_what_the_state_was() -> None:
    """In words and as data, with the smallest impossible part and the longest order."""
    result = check(keyed([("k", "write", 2), ("k", "write", 2), ("k", "write", 3), ("k", "read", 2)]))
    (finding,) = result.findings
    assert "The read of 2 by process 3 on key k" in finding.message
    assert "in each of them key k holds 3 when it must take effect" in finding.message
    assert finding.evidence["possible_states"] == [3]
    assert finding.evidence["longest_order"] == [0, 1, 2]
    assert finding.time_ns == 7
    json.dumps(dict(finding.evidence))


def test_giving_up_is_unknown() -> None:
    """With the reason and the prefix that was found to be linearizable; blame on the checker."""
    result = check(explosive(12), budget=Budget(states=500), search_only=True)
    assert result.validity is Validity.UNKNOWN
    (finding,) = result.findings
    assert finding.blame is Blame.GAVE_UP
    assert "500 search states were not enough" in finding.message
    assert finding.evidence["reached"] > 0


def test_a_hard_key_does_not_hide_a_violation() -> None:
    """Keys take turns: the easy violation is found though another key explodes, and the verdict is invalid."""
    hard = [{**event, "key": "hard"} for event in events_of(explosive(12))]
    easy = [
        {**event, "key": "easy", "process": event["process"] + 1000}
        for event in events_of(history_of(("read", 9, 0, 1)))
    ]
    history = History.of(sorted(hard + easy, key=lambda event: int(event["time"])))
    result = check(history, budget=Budget(states=20_000), search_only=True)
    assert result.validity is Validity.INVALID
    assert result.statistics["keys_unknown"] == 1


def events_of(history: History) -> list[dict[str, Any]]:
    events = []
    for item in history.operations:
        base = {"process": item.process, "f": item.f}
        events.append({**base, "time": item.call_ns, "type": "invoke", "value": item.value})
        events.append({**base, "time": item.return_ns, "type": "ok", "value": item.result})
    return events


def test_an_empty_history_is_valid() -> None:
    """Whether that proves enough is for others to say (statistics)."""
    for model in MODELS:
        assert check(History.of([]), model=model).validity is Validity.VALID


def test_failed_operations_prove_nothing() -> None:
    """A failed write of a value that was read does not make the read right, nor does a failed read make
    anything wrong.
    """
    events = [
        {"time": 1, "process": 0, "type": "invoke", "f": "read"},
        {"time": 2, "process": 0, "type": "fail", "f": "read", "value": 9},
    ]
    assert check(History.of(events)).validity is Validity.VALID


@pytest.mark.parametrize(
    ("model", "rows", "initial", "valid"),
    [
        ("mutex", [("acquire", None, 0, 1), ("acquire", None, 2, 3)], None, False),
        ("mutex", [("acquire", None, 0, 1), ("release", None, 2, 3), ("acquire", None, 4, 5)], None, True),
        ("mutex", [("release", None, 0, 1)], "locked", True),
        (
            "multi-register",
            [("txn", [["w", "x", 1], ["r", "y", 0]], 0, 1), ("txn", [["r", "x", 1]], 2, 3)],
            {"y": 0},
            True,
        ),
        ("multi-register", [("txn", [["w", "x", 1]], 0, 1), ("txn", [["r", "x", None]], 2, 3)], None, False),
        ("kv", [("put", "a", 0, 1), ("append", "b", 2, 3), ("get", "ab", 4, 5)], None, True),
        ("kv", [("append", "b", 0, 1), ("delete", None, 2, 3), ("get", None, 4, 5)], "", True),
        ("kv", [("append", "b", 0, 9), ("append", "a", 0, 9), ("get", "bb", 10, 11)], None, False),
    ],
)
def test_models(model: str, rows: list[tuple[Any, ...]], initial: Any, valid: bool) -> None:
    """What each data type allows."""
    result = check(history_of(*rows), model=model, initial=initial)
    assert (result.validity is Validity.VALID) == valid


def test_an_unknown_model_is_refused() -> None:
    """With the known ones."""
    with pytest.raises(ValueError, match="there is no model 'registr'; use one of: register, "):
        check(History.of([]), model="registr")


def test_an_unknown_null_read_is_refused() -> None:
    """With the two values."""
    with pytest.raises(ValueError, match="null_read is 'maybe'; use 'value'"):
        check(History.of([]), null_read="maybe")


def test_a_function_that_the_model_does_not_know_is_refused() -> None:
    """With the line and the functions that it has."""
    with pytest.raises(HistoryError, match=r"line 3: the model cas-register has no function 'pop'. It has: cas, read"):
        check(history_of(("write", 1, 0, 1), ("pop", 1, 2, 3)))


def test_a_register_has_no_compare_and_set() -> None:
    """The model register is reads and writes."""
    with pytest.raises(HistoryError, match="has no function 'cas'"):
        check(history_of(("cas", [1, 2], 0, 1)), model="register")
