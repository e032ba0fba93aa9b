"""The FIFO queue's decider against the dumb twin, and each kind of conflict it names."""

from __future__ import annotations

import collections
import random
from typing import Any

import pytest

from checkers import HistoryError
from checkers.deciders.containers.contents import DUPLICATE
from checkers.deciders.containers.queue import QueueDecider
from tests.checkers import containers, things
from tests.checkers.containers import Make


class Queue(things.FifoQueue):
    """With initial elements."""

    def __init__(self, initial: list[int]) -> None:
        super().__init__()
        self.state.extend(initial)

    def call(self, random_: random.Random, process: int) -> tuple[str, Any]:  # noqa: ARG002
        return ("enqueue", self.fresh()) if random_.random() < 0.5 else ("dequeue", None)


MAKE = Make("fifo-queue", Queue, ("enqueue", "dequeue"))
DECIDER = QueueDecider()


def refusal(*rows: containers.Row, initial: Any = None) -> tuple[str, str]:
    return containers.refusal(DECIDER, MAKE.model, rows, initial)


def accepted(*rows: containers.Row, initial: Any = None) -> bool:
    return not DECIDER.decide(containers.ops(rows), initial=initial, null_read="value").refused


def deferred(*rows: containers.Row, initial: Any = None) -> Any:
    return DECIDER.decide(containers.ops(rows), initial=initial, null_read="value").deferred


def many(seeds: range, size: int) -> collections.Counter[Any]:
    total: collections.Counter[Any] = collections.Counter()
    for seed in seeds:
        total += containers.compare(MAKE, DECIDER, seed, size)
    return total


def test_agrees_with_the_twin() -> None:
    """Same verdict, witnesses that replay, findings that are impossible by themselves."""
    seen = many(range(20), 50) + many(range(1000, 1100), 1)
    assert seen[False] > 0.2 * (seen[True] + seen[False])


@pytest.mark.slow
def test_agrees_with_the_twin_on_many() -> None:
    """10^5 histories."""
    seen = many(range(10_000, 12_000), 50)
    print(seen)
    assert seen[False] > 20_000


def test_out_of_order() -> None:
    """Four operations and both facts of time."""
    kind, message = refusal(("enqueue", 1, 1, 2), ("enqueue", 2, 3, 4), ("dequeue", 2, 5, 6), ("dequeue", 1, 7, 8))
    assert kind == "out of order"
    assert message.startswith("1 came into the queue before 2")
    assert "but it left after it" in message


def test_each_kind() -> None:
    """One history a kind."""
    assert refusal(("enqueue", 1, 1, 2), ("dequeue", 1, 3, 4), ("dequeue", 1, 5, 6))[0] == "dequeued twice"
    assert refusal(("dequeue", 9, 1, 2))[0] == "never enqueued"
    assert refusal(("dequeue", 1, 1, 2), ("enqueue", 1, 3, 4))[0] == "dequeued before it was enqueued"
    assert refusal(("enqueue", 1, 1, 2), ("dequeue", None, 3, 4))[0] == "empty while it held a value"


def test_hidden_dequeues_take_the_oldest() -> None:
    """One hidden dequeue explains one lost value; two lost values need two, begun in time."""
    lost = (("enqueue", 1, 1, 2), ("enqueue", 2, 3, 4), ("enqueue", 3, 5, 6), ("dequeue", 3, 9, 10))
    hidden = ("dequeue", None, 7, None)
    assert accepted(*lost, hidden, hidden)
    kind, message = refusal(*lost, hidden)
    assert kind == "out of order"
    assert "1 dequeue of unknown result can have taken no more than 1" in message
    assert not accepted(*lost, hidden, ("dequeue", None, 11, None))


def test_unseen_enqueues_never_happened() -> None:
    """Nobody saw the enqueue end, nor its value."""
    assert accepted(("enqueue", 1, 1, None), ("dequeue", None, 2, 3), ("enqueue", 2, 4, 5), ("dequeue", 2, 6, 7))


def test_null_is_never_seen_to_come_out() -> None:
    """A null result is emptiness, whatever was put in."""
    assert refusal(("enqueue", None, 1, 2), ("dequeue", None, 3, 4))[0] == "empty while it held a value"


def test_initial_content() -> None:
    """A list, the first to leave first; anything else is refused."""
    assert accepted(("dequeue", 7, 1, 2), ("dequeue", 8, 3, 4), ("dequeue", None, 5, 6), initial=[7, 8])
    assert not accepted(("dequeue", 8, 1, 2), ("dequeue", 7, 3, 4), initial=[7, 8])
    assert deferred(("enqueue", 7, 1, 2), initial=[7]) == {0: DUPLICATE}
    with pytest.raises(HistoryError, match="use a list"):
        accepted(("enqueue", 7, 1, 2), initial=3)


@pytest.mark.skipif(not containers.VECTORS.exists(), reason="../shared/vectors is not there")
def test_public_histories() -> None:
    """Their stated verdicts, without search."""
    assert containers.wrong_vectors("limo-queue") == []
