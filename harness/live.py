"""The streaming verdict: the batch checker over what has happened so far, again and again while the run goes on.

It may only stop a run early; the verdict is always that of the batch checker over the whole history (design, section
6). Each look costs a log-linear pass, so looks are spaced to take a small share of the controller's time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from checkers.history import HistoryBuilder
from checkers.verdict import Result, Validity

logger = logging.getLogger(__name__)

INTERVAL_S = 1.0
SHARE = 0.03
"""At most this part of the time goes into looking: a look of 30 ms is followed by a second of rest."""


@dataclass(slots=True, kw_only=True)
class LiveCheck:
    """Judges the operations of a growing history."""

    judge: Callable[[Any], Result]
    """The workload's checker: history in, result out."""
    builder: HistoryBuilder = field(default_factory=HistoryBuilder)
    verdict: str = "nothing yet"
    invalid: bool = False

    def feed(self, events: list[Mapping[str, Any]]) -> None:
        """Takes recorded events, in order."""
        for event in events:
            self.builder.add_event(event)

    async def look(self) -> None:
        """Judges what is there now, beside the event loop. A violation stays one: no later event can take it back."""
        history = self.builder.history()
        result = await asyncio.to_thread(self.judge, history)
        self.invalid = result.validity is Validity.INVALID
        self.verdict = f"invalid ({result.findings[0].kind})" if self.invalid else str(result.validity)

    async def watch(self, violated: Callable[[], None]) -> None:
        """Looks until the first violation, of which it tells once. Trouble ends the looking, not the run."""
        try:
            while not self.invalid:
                began = time.perf_counter()
                await self.look()
                if not self.invalid:
                    await asyncio.sleep(max(INTERVAL_S, (time.perf_counter() - began) / SHARE))
        except Exception as error:
            logger.exception("the streaming check gave up")
            self.verdict = f"gave up ({type(error).__name__})"
            return
        violated()
