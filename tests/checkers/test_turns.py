"""Many keys under one budget: the order of turns, what a refusal ends, and that threads change nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from checkers import Budget, History
from checkers.models.register import Register
from checkers.models.set_ import Set
from checkers.search import turns
from checkers.search.problem import Problem, problem
from checkers.search.turns import take_turns
from tests.checkers.test_compiled import exploding
from tests.checkers.test_search import history_of

EASY = history_of(("write", 1, 0, 1), ("read", 1, 2, 3))
WRONG = history_of(("write", 1, 0, 1), ("read", 2, 2, 3))


def long_(wrong: bool) -> History:
    """Thirty writes one after another, and a read of the last or of a value that nobody wrote."""
    rows: list[tuple[Any, ...]] = [("write", number % 5, 10 * number, 10 * number + 5) for number in range(30)]
    return history_of(*rows, ("read", 77 if wrong else 4, 1_000, 1_001))


def prepared(histories: list[History]) -> Any:
    def prepare(key: int) -> Problem:
        model = Set() if "add" in histories[key].functions else Register()
        return problem(histories[key], np.arange(len(histories[key])), model, None)

    return prepare


def verdicts(histories: list[History], budget: Budget | None = None, **options: Any) -> list[bool | None]:
    sizes = {key: len(history) for key, history in enumerate(histories)}
    found = take_turns(sizes, prepared(histories), budget or Budget(), **options).found
    return [found[key].linearizable for key in sizes]


def test_every_key_has_its_first_turn() -> None:
    """All are judged, also after one was refused."""
    assert verdicts([EASY, WRONG, EASY, WRONG]) == [True, False, True, False]


def test_after_a_refusal_hard_keys_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """They had one turn; whether the refusal is the search's or came from elsewhere."""
    monkeypatch.setattr(turns, "PLAIN_STATES", (100,))
    assert verdicts([exploding(), WRONG]) == [None, False]
    assert verdicts([exploding(), EASY], refused=True) == [None, True]


def test_keys_that_give_up_do_so_at_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each at its states; the reason says so."""
    monkeypatch.setattr(turns, "PLAIN_STATES", (100,))
    found = take_turns({0: 50, 1: 50}, prepared([exploding(), exploding()]), Budget(states=1_000)).found
    assert [item.reason for item in found.values()] == ["1000 search states were not enough"] * 2
    assert [item.explored for item in found.values()] == [1_001, 1_001]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_threads_change_nothing(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small first turns send all keys to the compiled search; those after the first refused one stay as they were,
    however many threads there are."""
    monkeypatch.setattr(turns, "PLAIN_STATES", (1,))
    monkeypatch.setattr(turns, "WORKERS", workers)
    histories = [long_(False), long_(True), exploding(), long_(True)]
    sizes = dict.fromkeys(range(4), 0)
    first = take_turns(sizes, prepared(histories), Budget(states=2_000))
    again = take_turns(sizes, prepared(histories), Budget(states=2_000))
    assert first == again
    assert [first.found[key].linearizable for key in sizes] == [True, False, None, None]


def test_a_long_key_is_compiled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its operations alone would keep plain Python busy for longer than loading takes."""
    monkeypatch.setattr(turns, "COMPILED_FROM", 2)
    assert verdicts([EASY, WRONG]) == [True, False]
