"""Claims about what is no proper history of a check: a verdict or an error with words, never a crash."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import check
from checkers.guarantees import GUARANTEES
from checkers.history import HistoryError
from tests.checkers.guarantees.told import op, story

PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.floats(allow_nan=False), st.sampled_from(["", "a", "r"])
)
ANY = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "type", "revision", "key", "from", "to", "prefix"]), inner, max_size=3),
        st.tuples(st.sampled_from(["r", "w"]), inner, inner).map(list),
        st.tuples(st.integers(0, 5), inner).map(list),
    ),
    max_leaves=6,
)
OPERATION = st.tuples(
    st.integers(0, 9),
    ANY,
    ANY,
    st.integers(1, 3),
    st.sampled_from(["ok", "fail", "info"]),
    st.sampled_from([None, "k"]),
)


@settings(max_examples=12)
@pytest.mark.parametrize("name", GUARANTEES)
@given(rows=st.lists(OPERATION, max_size=6))
def test_any_values_end_in_a_verdict_or_in_words(name: str, rows: list[tuple[Any, ...]]) -> None:
    """Whatever JSON operations carry; what comes out is plain JSON."""
    functions = sorted(GUARANTEES[name].functions)
    told = []
    for at, (which, value, result, length, outcome, key) in enumerate(rows):
        f = functions[which % len(functions)]
        value, result = [[item, item] if f == "cas" else item for item in (value, result)]
        told.append(op(at, f, value, result, 2 * at, 2 * at + length, outcome, key=key, final=which > 5))
    try:
        history = story(*told)
        verdict = check(history, model=name)
    except (HistoryError, ValueError):
        return  # an error in words is as good as a verdict
    json.dumps([verdict.statistics, [[finding.message, finding.evidence] for finding in verdict.findings]])
