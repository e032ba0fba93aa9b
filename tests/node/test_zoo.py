"""The zoo is fair: each row is one small override, with its source, and all of it is off by default."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

import pytest

from node.parts import Parts
from node.zoo import _KINDS, BUGS
from node.zoo.bug import Bug

ALL = sorted(BUGS.values(), key=lambda bug: bug.row)
OBSERVERS = {"LIN", "DUR", "INV", "CONV", "LIVE", "CRASH"}
HELPER_METHODS_MAX = 2
"""A part that is replaced by naming another class (a log, a replay) may need a hook of that class beside the bug."""


def planted(bug: Bug) -> tuple[type, type]:
    """(correct, planted): the one part that the bug replaces."""
    differing = [
        (getattr(Parts(), field.name), getattr(bug.parts, field.name))
        for field in fields(Parts)
        if getattr(bug.parts, field.name) is not getattr(Parts(), field.name)
    ]
    assert len(differing) == 1, f"{bug.name} replaces {len(differing)} parts"
    return differing[0]


def overrides(correct: type, wrong: type) -> dict[str, Any]:
    """What the planted class says otherwise than the correct one, by name."""
    return {
        name: value
        for name, value in vars(wrong).items()
        if not (name.startswith("__") and name.endswith("__")) and hasattr(correct, name)
    }


def named(bugs: list[Bug]) -> pytest.MarkDecorator:
    """Test cases that are called as the bugs are."""
    return pytest.mark.parametrize("bug", bugs, ids=lambda bug: bug.name)


def test_names_and_rows_are_unique() -> None:
    """No row hides another."""
    rows = [bug for kind in _KINDS for bug in kind.ROWS]
    assert len({bug.name for bug in rows}) == len({bug.row for bug in rows}) == len(rows) == len(BUGS)


def test_nothing_is_planted_by_default() -> None:
    """The parts of a node without a bug are the correct ones: none comes from the zoo."""
    for field in fields(Parts):
        assert not getattr(Parts(), field.name).__module__.startswith("node.zoo")


@named([bug for bug in ALL if isinstance(planted(bug)[1], type)])
def test_a_row_is_one_override_of_one_method(bug: Bug) -> None:
    """One part is replaced, by a class of its own kind that says one thing otherwise."""
    correct, wrong = planted(bug)
    assert issubclass(wrong, correct)
    assert wrong.__mro__[1] is correct
    said = overrides(correct, wrong)
    assert len(said) == 1, f"{bug.name} overrides {sorted(said)}"
    ((name, value),) = said.items()
    assert value is not getattr(correct, name)
    if isinstance(value, type):
        helper = overrides(value.__mro__[1], value)
        assert 1 <= len([one for one in helper.values() if callable(one)]) <= HELPER_METHODS_MAX


@named(ALL)
def test_a_row_says_what_is_wrong_and_where_it_happened(bug: Bug) -> None:
    """The planted part's docstring begins with name and row and names every public source."""
    docstring = " ".join((planted(bug)[1].__doc__ or "").split())
    assert docstring.startswith(f"{bug.name} ({bug.row}):")
    assert "Published as " in docstring
    for issue in re.findall(r"[\w.-]+/[\w.-]+#\d+", bug.source):
        assert issue in docstring
    assert bug.what
    assert bug.provoked_by
    assert set(bug.observer.split(", ")) <= OBSERVERS
