"""What the functions of a container are called, and the words for what they do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """``put`` and ``take`` (and ``peek``, where there is one) are functions; ``*_done`` their participles."""

    noun: str
    put: str
    put_done: str
    take: str
    take_done: str
    peek: str | None = None

    @property
    def taken_twice(self) -> str:
        """Kind of a conflict: one element left twice."""
        return f"{self.take_done} twice"

    @property
    def never_put(self) -> str:
        """Kind of a conflict: an element came out that nobody put in."""
        return f"never {self.put_done}"

    @property
    def taken_early(self) -> str:
        """Kind of a conflict: an element came out before anybody set out to put it in."""
        return f"{self.take_done} before it was {self.put_done}"


QUEUE = Vocabulary(noun="queue", put="enqueue", put_done="enqueued", take="dequeue", take_done="dequeued")
STACK = Vocabulary(noun="stack", put="push", put_done="pushed", take="pop", take_done="popped")
PRIORITY_QUEUE = Vocabulary(
    noun="priority queue", put="insert", put_done="inserted", take="poll", take_done="polled", peek="peek"
)

OUT_OF_ORDER = "out of order"
NOT_SMALLEST = "not the smallest"
PEEKED_LATE = "peeked after it was polled"
EMPTY_WHILE_HOLDING = "empty while it held a value"
