"""Every model: the search's verdict, the core of a refusal and the witness of an acceptance, against the dumb twin."""

from __future__ import annotations

import collections
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checkers import MODELS, History, Operation, witness
from checkers.models.model import Model
from checkers.search import twin
from checkers.search.exploration import Budget, search
from checkers.search.problem import problem
from checkers.search.refusal import refuse
from checkers.search.shrinking import Core, shrink
from tests.checkers.model_histories import CASES, history

Seen = collections.Counter[str]


def compare(name: str, seeds: range) -> Seen:
    """What was compared: verdicts, and how many cores were minimal."""
    model, initial = MODELS[name](null_read="value"), CASES[name].initial
    seen: Seen = collections.Counter()
    for seed in seeds:
        made = History.of(history(name, random.Random(seed)))
        rows = np.arange(len(made))
        possible = twin.linearizable(operations(made, rows), model.step, model.start(initial))
        found = search(problem(made, rows, model, initial), Budget())
        assert found.linearizable is possible, operations(made, rows)
        seen["valid" if possible else "invalid"] += 1
        shown = witness(made, model=name, initial=initial)
        assert (shown is not None) == possible, operations(made, rows)
        if not possible:
            assert found.stuck is not None
            core = shrink(made, rows, found.stuck, model, initial)
            check_core(made, core, model, initial, seen)
            check_finding(made, rows, found, model, initial)
    return seen


def operations(made: History, rows: Iterable[Any]) -> list[Operation]:
    return [made.operation(int(row)) for row in rows]


def check_core(made: History, core: Core, model: Model, initial: Any, seen: Seen) -> None:
    """What is certain is refused whichever of the others happened; so is what is shown, by itself; and nothing certain
    can be made optional as well.
    """
    start, everything = model.start(initial), operations(made, range(len(made)))
    certain = set(core.certain.tolist())
    assert not twin.linearizable(everything, model.step, start, others(made, certain))
    assert not twin.linearizable(operations(made, core.rows), model.step, start)
    assert certain.isdisjoint(core.optional.tolist())
    assert set(core.order.tolist()) <= certain | set(core.optional.tolist())
    assert core.minimal
    seen["certain"] += len(certain)
    for row in certain if len(certain) > 1 else ():
        assert twin.linearizable(everything, model.step, start, others(made, certain - {row})), (core, row)


def others(made: History, certain: set[int]) -> set[int]:
    return set(range(len(made))) - certain


def check_finding(made: History, rows: Any, found: Any, model: Model, initial: Any) -> None:
    """The finding names its core, and the states it claims."""
    finding = refuse(made, rows, found, model, initial)
    core = finding.evidence["core"]
    shown = [item.index for item in finding.operations]
    assert set(core["certain"]) <= set(shown)
    assert finding.evidence["stuck"] in shown
    assert set(core["order"]).isdisjoint(core["unplaced"])


@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_brute_force(name: str) -> None:
    """On 200 histories of each; both verdicts frequent."""
    seen = compare(name, range(200))
    assert min(seen["valid"], seen["invalid"]) > 20, seen


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_brute_force_on_many(name: str) -> None:
    """On 10,000 of each."""
    print(name, dict(compare(name, range(1_000_000, 1_010_000))))


def test_every_model_is_compared() -> None:
    """None is missing in the table of cases."""
    assert set(CASES) == set(MODELS)


@settings(max_examples=100)
@given(seed=st.integers(0, 2**63), name=st.sampled_from(sorted(CASES)))
def test_models_agree_with_brute_force_anywhere(seed: int, name: str) -> None:
    """Seeds that nobody chose."""
    compare(name, range(seed, seed + 1))


def test_the_end_of_a_long_history_is_explained_by_its_end() -> None:
    """Of 4,000 reads of a counter that grows, the one that is too small and one before it prove the refusal, though all
    that was added matters to both.
    """
    events: list[dict[str, Any]] = []
    for turn in range(2_000):
        for place, (f, value, result) in enumerate((("add", 1, 1), ("read", None, turn + (turn < 1_990)))):
            base = {"process": place, "f": f}
            events.append({**base, "time": 4 * turn + 2 * place, "type": "invoke", "value": value})
            events.append({**base, "time": 4 * turn + 2 * place + 1, "type": "ok", "value": result})
    made = History.of(events)
    rows, model = np.arange(len(made)), MODELS["counter"](null_read="value")
    found = search(problem(made, rows, model, None), Budget())
    assert found.linearizable is False
    assert found.stuck is not None
    core = shrink(made, rows, found.stuck, model, None)
    assert core.minimal
    assert [made.operation(int(row)).f for row in core.certain] == ["read", "add", "read"]


@pytest.mark.parametrize("name", sorted(CASES))
def test_no_budget_makes_a_core_wrong(name: str) -> None:
    """However little work is allowed, what is called certain is refused whichever of the others happened."""
    model, initial = MODELS[name](null_read="value"), CASES[name].initial
    refused = 0
    for seed in range(60):
        made = History.of(history(name, random.Random(seed)))
        rows = np.arange(len(made))
        found = search(problem(made, rows, model, initial), Budget())
        if found.linearizable is False and found.stuck is not None:
            core = shrink(made, rows, found.stuck, model, initial, work=seed * 3)
            optional = others(made, set(core.certain.tolist()))
            assert not twin.linearizable(operations(made, rows), model.step, model.start(initial), optional)
            refused += 1
    assert refused > 3
