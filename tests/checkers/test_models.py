"""Every model: the search's verdict, the core of a refusal and the witness of an acceptance, against the dumb twin."""

from __future__ import annotations

import collections
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

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
    """On 300 histories of each; both verdicts frequent."""
    seen = compare(name, range(300))
    assert min(seen["valid"], seen["invalid"]) > 30, seen


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_models_agree_with_brute_force_on_many(name: str) -> None:
    """On 10,000 of each."""
    print(name, dict(compare(name, range(1_000_000, 1_010_000))))


def test_every_model_is_compared() -> None:
    """None is missing in the table of cases."""
    assert set(CASES) == set(MODELS)
