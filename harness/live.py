"""The verdict so far, from the controller's side: two processes that judge while the run goes on, and what they said.
One follows the history (:mod:`harness.live_process`), one the nodes' traces (:mod:`harness.live_traces`).

They may only stop or freeze a run early; the verdict is always that of the batch checkers over all that is there
(design, section 6). Trouble with them ends the looking, not the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checkers.streaming import streams
from harness.judging import JudgingProcess

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A violation, as it was reported. ``events``: so many events of the history prove it (the fewest that do, if
    ``exact``); 0 if nodes' traces do. ``time_ns``: when the last of what clashes happened, by the run's clock.
    """

    kind: str
    message: str
    key: Any
    nodes: tuple[str, ...]
    time_ns: int | None
    events: int
    exact: bool


@dataclass(slots=True, kw_only=True)
class LiveCheck:
    """Judges a growing history, and traces that grow. Used from one event loop."""

    history: Path
    """history.jsonl; it may come later."""
    model: str
    """A check; one that does not stream is not asked."""
    log: Path
    """Where the processes may complain."""
    run_id: str
    traced: Sequence[str] = ()
    """Nodes whose traces, in the run's folder, are to be judged: they keep this machine's CLOCK_MONOTONIC."""
    patient: bool = False
    """Whether what the traces tell is worth waiting for when the load is over."""
    initial: Any = None
    null_read: str = "value"
    verdict: str = "nothing yet"
    violation: Seen | None = None
    _process: JudgingProcess | None = None
    _traces_process: JudgingProcess | None = None
    _found: asyncio.Event = field(default_factory=asyncio.Event)
    _settled: list[asyncio.Future[None]] = field(default_factory=list)
    _traces_settled: list[asyncio.Future[None]] = field(default_factory=list)

    def start(self) -> None:
        """Starts what judges the history; does not wait for it."""
        if not streams(self.model):
            self.verdict = "judged at the end only"
            return
        config = {
            "history": str(self.history.resolve()),
            "model": self.model,
            "initial": self.initial,
            "null_read": self.null_read,
        }
        self._process = self._judging("harness.live_process", config, self._take, self._lose)
        self._process.start()

    def start_traces(self, origin_ns: int) -> None:
        """Starts what judges the traces, if any are to be. ``origin_ns``: the run's zero on CLOCK_MONOTONIC."""
        if not self.traced:
            return
        config = {"run": str(self.history.parent.resolve()), "nodes": list(self.traced), "origin_ns": origin_ns}
        take, lose = self._take_of_traces, self._lose_traces
        self._traces_process = self._judging("harness.live_traces", config, take, lose)
        self._traces_process.start()

    def _judging(self, module: str, config: Mapping[str, Any], take: Any, lose: Any) -> JudgingProcess:
        return JudgingProcess(module=module, config=config, log=self.log, run_id=self.run_id, take=take, lose=lose)

    def feed(self, events: list[Mapping[str, Any]]) -> None:
        """Says that there is more in the history."""
        del events
        if self._process is not None:
            self._process.ask(b".")

    async def wait_violation(self) -> Seen:
        """The first violation. There is at most one: no later event can take it back."""
        await self._found.wait()
        assert self.violation is not None
        return self.violation

    async def settle(self, timeout_s: float) -> None:
        """Waits until everything that is in the history has been judged (in the traces too, if that is worth it), or a
        violation is found, or the time is over.
        """
        if self.violation is not None:
            return
        traces = self._traces_process if self.patient else None
        answers = (_ask(self._process, self._settled), _ask(traces, self._traces_settled))
        asked = [each for each in answers if each is not None]
        if not asked:
            return
        waiting: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._found.wait()), asyncio.gather(*asked)}
        try:
            await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def close(self) -> None:
        """Ends the processes. Safe to call twice, and if none was ever started."""
        for process in (self._process, self._traces_process):
            if process is not None:
                await process.close()

    def _take(self, message: Mapping[str, Any]) -> None:
        if "violation" in message:
            self._see(message["violation"])
        elif "verdict" in message and self.violation is None:
            self.verdict = str(message["verdict"])
        if "settled" in message:
            _release(self._settled, 1)

    def _take_of_traces(self, message: Mapping[str, Any]) -> None:
        if "violation" in message:
            self._see(message["violation"])
        elif "verdict" in message and self._process is None and self.violation is None:
            self.verdict = f"traces {message['verdict']}, operations are judged at the end"
        elif "gave up" in message:
            logger.warning("traces are judged at the end only: %s", message["gave up"])
        if "settled" in message:
            _release(self._traces_settled, 1)

    def _see(self, seen: Mapping[str, Any]) -> None:
        """The first one counts."""
        if self.violation is None:
            self.violation = Seen(**{**seen, "nodes": tuple(seen["nodes"])})
            self.verdict = f"invalid ({self.violation.kind})"
            self._found.set()

    def _lose(self) -> None:
        """The process is at its end: it has said what it had to say, or it failed (its words are in the log)."""
        if self.violation is None:
            self.verdict = "gave up (see harness.log)"
            logger.error("the streaming check gave up")
        _release(self._settled, len(self._settled))

    def _lose_traces(self) -> None:
        if self.violation is None:
            logger.warning("traces are not judged any more until the end")
        _release(self._traces_settled, len(self._traces_settled))


def _ask(process: JudgingProcess | None, settled: list[asyncio.Future[None]]) -> asyncio.Future[None] | None:
    """To judge all that is there, and to say so; what is done then. None if there is nobody to ask."""
    if process is None or not process.ask(b"?"):
        return None
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    settled.append(future)
    return future


def _release(settled: list[asyncio.Future[None]], count: int) -> None:
    released = settled[:count]
    del settled[:count]
    for each in released:
        if not each.done():
            each.set_result(None)
