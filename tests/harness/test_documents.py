"""Scenario files are read without surprises: what cannot be read is refused with its line, never with a traceback."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.planning.documents import load_document, load_value, nested


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("&here {x: 1}", "write it out"),
        ("*there", "write it out"),
        ("!!int abc", "tags like"),
        ("!!binary aGFsbG8=", "tags like"),
        ("!!timestamp soon", "tags like"),
        ("!!python/object:os.system x", "tags like"),
        ("0x_", "no number"),
        ("9" * 5000, "no number"),
        ("[" * 5000, "nested deeper"),
        ("{a: " * 5000, "nested deeper"),
        ("{[1]: 2}", "plain word"),
        ("{a: 1, a: 2}", "said twice"),
        ("[1, 2", "not YAML"),
        ("a\x00b", "not YAML"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line(value: str, message: str) -> None:
    """In a document with file and line, in a setting with the text."""
    with pytest.raises(UsageError, match=message) as caught:
        load_document(f"name: x\n\nvalue: {value}\n", "mine.yaml")
    assert str(caught.value).startswith(("mine.yaml:3: ", "mine.yaml:4: "))
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=message):
        load_value(value, "--set x")


@pytest.mark.parametrize("text", ["2020-13-45", "2020-01-01", "2001-12-14t21:59:43.10-05:00", "="])
def test_dates_stay_text(text: str) -> None:
    """Nothing in a scenario is a date, so that one which does not exist is as good as any other text."""
    assert load_value(text, "--set x") == text
    assert load_document(f"a: {text}", "f").data == {"a": text}


def test_values_and_lines_are_kept() -> None:
    """Plain data, and each value's line."""
    document = load_document("a: 1\nb:\n  - true\n  - {c: 1.5, d: null}\n", "f")
    assert document.data == {"a": 1, "b": [True, {"c": 1.5, "d": None}]}
    assert document.line(("b", 1, "d")) == 4
    assert document.line(("b", 0, "nothing")) == 3
    assert (load_document("", "f").data, load_value("", "x")) == ({}, None)


@given(st.text(alphabet=" \n:-[]{}&*!|>'\"%@`#,?0x_9.e~=<ab", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """There is no third way."""
    with contextlib.suppress(UsageError):
        load_document(text, "f")


def test_dots_reach_into_mappings() -> None:
    """Several names may reach into one mapping, and add to one that is given whole."""
    values = {"nodes": 3, "workload.keys": 5, "workload.rate": 10, "options.a.b": 1}
    assert nested(values, "--set") == {"nodes": 3, "workload": {"keys": 5, "rate": 10}, "options": {"a": {"b": 1}}}
    assert nested({"workload": {"name": "register"}, "workload.keys": 5}, "--set") == {
        "workload": {"name": "register", "keys": 5}
    }
    assert nested({"workload.keys": 5, "workload": {"name": "register"}}, "--set") == {
        "workload": {"keys": 5, "name": "register"}
    }


@pytest.mark.parametrize(
    "values", [{"a..b": 1}, {".a": 1}, {"": 1}, {"a": 1, "a.b": 2}, {"a.b": 2, "a": 1}, {"a.b": 2, "a.b.c": 1}]
)
def test_dots_that_reach_nowhere_are_refused(values: dict[str, int]) -> None:
    """The name is said."""
    with pytest.raises(UsageError, match="--set"):
        nested(values, "--set")
