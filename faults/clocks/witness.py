"""What servers themselves say the time of day is: a witness beside the memory that was written.

Two answers of one server, and how long this machine's own monotonic clock counted between them, tell how far the
server's clock jumped in between, whatever time its host has.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from faults.needs import Dates

SLACK_S = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One answer: the server's time of day (s since the epoch), and ours when it was asked and when it had answered."""

    date_s: float
    asked_s: float
    answered_s: float

    @property
    def words(self) -> str:
        """The time of day, UTC."""
        return datetime.fromtimestamp(self.date_s, UTC).strftime("%H:%M:%S.%f")[:-3]


async def ask(
    dates: Dates | None, nodes: Sequence[str], now: Callable[[], float] = time.monotonic
) -> Mapping[str, Told]:
    """What each of these servers says now. Who does not answer (it is paused, dead or cut off) is left out."""
    if dates is None:
        return {}

    async def one(node: str) -> Told | None:
        asked_s = now()
        date_s = await dates.date(node)
        return None if date_s is None else Told(date_s=date_s, asked_s=asked_s, answered_s=now())

    answers = await asyncio.gather(*map(one, nodes))
    return {node: told for node, told in zip(nodes, answers, strict=True) if told is not None}


def jump_s(before: Told, after: Told) -> float:
    """How far the server's clock jumped between two answers."""
    return (after.date_s - before.date_s) - (after.answered_s - before.answered_s)


def compared(before: Mapping[str, Told], after: Mapping[str, Told]) -> dict[str, Any]:
    """As evidence, for whoever answered twice."""
    return {
        node: {"before": before[node].words, "after": told.words, "jumped_s": round(jump_s(before[node], told), 3)}
        for node, told in after.items()
        if node in before
    }


def contradicts(before: Told, after: Told, wanted_s: float, precision_s: float) -> bool:
    """Whether the answers cannot come from a clock that jumped by ``wanted_s`` in between."""
    doubt_s = sum(told.answered_s - told.asked_s for told in (before, after)) + precision_s + SLACK_S
    return abs(jump_s(before, after) - wanted_s) > doubt_s
