"""Serial orders: found where there is one, and replayed; what finds them, against plain versions of itself."""

from __future__ import annotations

import random

import numpy as np
import pytest

from checkers import Blame, Budget, History, Validity, check
from checkers.transactions import TRANSACTIONS, precedence
from checkers.transactions.dependencies import Dependencies
from checkers.transactions.replay import replay
from tests.checkers.transactions.simulated import simulated
from tests.checkers.transactions.stories import told


@pytest.mark.parametrize("write", ["append", "w"])
@pytest.mark.parametrize("info", [0.0, 0.05])
def test_correct_histories_of_some_length(write: str, info: float) -> None:
    """A store that does one transaction at a time is strictly serializable, whatever ended unknown or failed."""
    made = simulated(random.Random(3), transactions=400, concurrency=8, info=info, fail=0.1, write=write, ties=0.1)
    model = {"append": "list-append", "w": "rw-register"}[write]
    result = check(History.of(made.events), model=model)
    assert result.validity is Validity.VALID, result.findings
    assert "serial order" in result.statistics["proof"]


def test_one_stale_read_among_many() -> None:
    """A read of a register that goes back a few writes is refused with a short cycle that names it."""
    made = simulated(random.Random(4), transactions=400, concurrency=8, write="w")
    spoiled, row = _stale(made.events)
    result = check(History.of(spoiled), model="rw-register")
    assert result.validity is Validity.INVALID
    named = {item.index for finding in result.findings for item in finding.operations}
    assert row in named


def _stale(events: list[dict[str, object]]) -> tuple[list[dict[str, object]], int]:
    calls: dict[object, int] = {}
    rows = 0
    for place, event in enumerate(events):
        if event["type"] == "invoke":
            calls[event["process"]] = rows
            rows += 1
        micros = event["value"]
        assert isinstance(micros, list)
        late = event["type"] == "ok" and place > len(events) // 2
        if late and len(micros) == 1 and micros[0][0] == "r" and (micros[0][2] or 0) > 40:
            stale = {**event, "value": [["r", micros[0][1], micros[0][2] - 30]]}
            return [*events[:place], stale, *events[place + 1 :]], calls[event["process"]]
    raise AssertionError("no read to spoil")


def test_replay_sees_what_is_wrong() -> None:
    """Orders that miss a transaction, contradict a read, or leave the order of time, are told so."""
    history = told("ax1", "rx1", "ax2", together=False)
    assert replay(history, (0, 1, 2), 2, ()) is None
    assert "missing" in str(replay(history, (0, 1), 2, ()))
    assert "read" in str(replay(history, (0, 2, 1), 0, ()))
    late = told("ax1", "ay1", together=False)
    assert replay(late, (1, 0), 0, ()) is None
    assert "process" in str(replay(late, (1, 0), 1, ()))
    assert "began" in str(replay(late, (1, 0), 2, ()))


def test_a_budget_used_up_is_unknown() -> None:
    """Never valid, and the finding blames the checker."""
    made = simulated(random.Random(6), transactions=200, concurrency=20, write="w")
    result = check(History.of(made.events), model="rw-register", budget=Budget(states=100))
    assert result.validity is Validity.UNKNOWN
    assert [finding.blame for finding in result.findings] == [Blame.GAVE_UP]


@pytest.mark.parametrize("write", ["append", "w"])
def test_a_witness_on_request(write: str) -> None:
    """The rows of all completed transactions in an order that the replay accepts; none where the history is wrong."""
    transactions = TRANSACTIONS[{"append": "list-append", "w": "rw-register"}[write]]
    history = History.of(simulated(random.Random(5), transactions=200, write=write, info=0.05, fail=0.1).events)
    for level, model in enumerate(("serializable", "strong-session-serializable", "strict-serializable")):
        rows = transactions.order(history, consistency_model=model)
        assert rows is not None
        assert replay(history, rows, level, () if write == "append" else None) is None
    assert transactions.order(told("rx=1") if write == "w" else told("rx1")) is None
    with pytest.raises(ValueError, match="read-committed"):
        transactions.order(history, consistency_model="read-committed")


def test_precedence_compiled_as_plain() -> None:
    """Both speeds say the same, of graphs with and without cycles."""
    random_ = np.random.default_rng(1)
    for number in range(20):
        nodes, edges = 30, 60
        source, target = random_.integers(0, nodes, edges), random_.integers(0, nodes, edges)
        if number % 2:
            source, target = np.minimum(source, target), np.maximum(source, target)
        real = source != target
        graph = Dependencies(
            rows=np.arange(20),
            nodes=nodes,
            source=source[real],
            target=target[real],
            kind=np.zeros(int(real.sum()), np.int8),
            version=np.full(int(real.sum()), -1),
        )
        chain, place = np.arange(20) % 3, np.arange(20) // 3 + 1
        plain = precedence.before(graph, chain, place, 3)
        threshold, precedence.COMPILED_FROM = precedence.COMPILED_FROM, 0
        try:
            compiled = precedence.before(graph, chain, place, 3)
        finally:
            precedence.COMPILED_FROM = threshold
        assert (plain is None) == (compiled is None)
        assert plain is None or bool((plain == compiled).all())
