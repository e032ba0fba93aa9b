"""The transaction checkers against their dumb twin: exact, both ways, for every level of order."""

from __future__ import annotations

import collections
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import History, Validity, check
from checkers.transactions.anomalies import LEVELS
from checkers.transactions.cycles import name_of
from checkers.transactions.twin import serializable
from tests.checkers.transactions.histories import history

MODELS = {"append": "list-append", "w": "rw-register"}
ASKED = ("serializable", "strong-session-serializable", "strict-serializable")


def compare(write: str, seed: int, *, duplicates: bool, seen: collections.Counter[str]) -> None:
    """One random history under all three models."""
    made = History.of(history(random.Random(seed), write, duplicates=duplicates))
    operations = list(made.operations)
    for level, name in enumerate(ASKED):
        truth = serializable(operations, level)
        result = check(made, model=MODELS[write], consistency_model=name)
        seen[str(truth)] += 1
        assert result.validity is (Validity.VALID if truth else Validity.INVALID), (seed, name)
        assert bool(result.findings) != truth


def compare_many(write: str, seeds: range, *, duplicates: bool = False) -> None:
    """So many, and both verdicts frequent."""
    seen: collections.Counter[str] = collections.Counter()
    for seed in seeds:
        compare(write, seed, duplicates=duplicates, seen=seen)
    assert min(seen["True"], seen["False"]) > len(seeds) // 4


@pytest.mark.parametrize("duplicates", [False, True])
@pytest.mark.parametrize("write", MODELS)
def test_as_the_twin_says(write: str, duplicates: bool) -> None:
    """Valid if and only if some order explains it; also where values were written twice."""
    compare_many(write, range(120), duplicates=duplicates)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("duplicates", [False, True])
@pytest.mark.parametrize("write", MODELS)
def test_as_the_twin_says_often(write: str, duplicates: bool) -> None:
    """The same, more often than a check has time for."""
    compare_many(write, range(1000, 51000), duplicates=duplicates)


@settings(max_examples=60)
@given(seed=st.integers(min_value=0, max_value=2**40), write=st.sampled_from(sorted(MODELS)))
def test_cycles_are_what_they_are_called(seed: int, write: str) -> None:
    """Each step of a cycle leads to the next, the last to the first; the kind is that of its edges; every transaction
    of it is among the operations."""
    made = History.of(history(random.Random(seed), write))
    kinds = {"ww": 0, "wr": 1, "rw": 2, "process": 3, "realtime": 4}
    for finding in check(made, model=MODELS[write]).findings:
        cycle = finding.evidence.get("cycle", ())
        for step, next_ in zip(cycle, [*cycle[1:], *cycle[:1]], strict=True):
            assert step["to"] == next_["from"]
        assert {step["from"] for step in cycle} <= {operation.index for operation in finding.operations}
        if cycle and not finding.kind.startswith("no-serial-order"):
            steps = [_Step(kinds[step["edge"]]) for step in cycle]
            assert name_of(steps) == finding.kind  # type: ignore[arg-type]
            assert any(finding.kind.endswith(level) for level in LEVELS)


class _Step:
    def __init__(self, kind: int) -> None:
        self.kind = kind


@settings(max_examples=60)
@given(seed=st.integers(min_value=0, max_value=2**40), write=st.sampled_from(sorted(MODELS)))
def test_steps_are_facts_of_the_history(seed: int, write: str) -> None:
    """Whoever precedes in time was over before the other began; whoever read from another read what that one wrote; who
    did not see it did not."""
    made = History.of(history(random.Random(seed), write))
    for finding in check(made, model=MODELS[write]).findings:
        for step in finding.evidence.get("cycle", ()):
            one, two = made.operation(step["from"]), made.operation(step["to"])
            if step["edge"] == "realtime":
                assert one.return_index is not None
                assert one.return_index < two.call_index
            elif step["edge"] == "process":
                assert (one.process, one.call_index < two.call_index) == (two.process, True)
            elif step["edge"] == "wr":
                assert _wrote(one, step)
                assert _saw(two, step)
            elif step["edge"] == "rw":
                assert _wrote(two, step)
                assert not _saw_before_writing(one, step)


def _wrote(operation: object, step: dict[str, object]) -> bool:
    return any(
        f != "r" and (key, value) == (step["key"], step["value"])
        for f, key, value in operation.value  # type: ignore[attr-defined]
    )


def _saw(operation: object, step: dict[str, object]) -> bool:
    return any(
        f == "r"
        and key == step["key"]
        and (value == step["value"] or (isinstance(value, tuple) and step["value"] in value))
        for f, key, value in operation.result  # type: ignore[attr-defined]
    )


def _saw_before_writing(operation: object, step: dict[str, object]) -> bool:
    reads = [micro for micro in operation.result if micro[0] == "r" and micro[1] == step["key"]]  # type: ignore[attr-defined]
    return bool(reads) and (
        reads[0][2] == step["value"] or (isinstance(reads[0][2], tuple) and step["value"] in reads[0][2])
    )
