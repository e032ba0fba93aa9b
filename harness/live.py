"""The streaming verdict, from the controller's side: a process that judges the history while it grows
(:mod:`harness.live_process`), and what it said.

It may only stop or freeze a run early; the verdict is always that of the batch checker over the whole history (design,
section 6). Trouble with it ends the looking, not the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from checkers.streaming import streams
from harness.cleanup import marks
from harness.host.tools import wait_exit

CLOSE_TIMEOUT_S = 2.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A violation, as it was reported. ``events``: so many events of the history prove it (the fewest that do, if
    ``exact``). ``time_ns``: when the last of the operations that clash ended, by the run's clock.
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
    """Judges a growing history. Used from one event loop."""

    history: Path
    """history.jsonl; it may come later."""
    model: str
    """A check; one that does not stream is not asked."""
    log: Path
    """Where the process may complain."""
    run_id: str
    initial: Any = None
    null_read: str = "value"
    verdict: str = "nothing yet"
    violation: Seen | None = None
    _process: subprocess.Popen[bytes] | None = None
    _found: asyncio.Event = field(default_factory=asyncio.Event)
    _settled: list[asyncio.Future[None]] = field(default_factory=list)
    _buffer: bytes = b""
    _ended: bool = False
    """Whether the process has said its last word."""

    def start(self) -> None:
        """Starts the process; does not wait for it."""
        if not streams(self.model):
            self.verdict = "judged at the end only"
            return
        config = {
            "history": str(self.history.resolve()),
            "model": self.model,
            "initial": self.initial,
            "null_read": self.null_read,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "harness.live_process", json.dumps(config)],
                env=_environment(self.run_id),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is the controller's
                cwd="/",
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        os.set_blocking(self._process.stdout.fileno(), False)
        asyncio.get_running_loop().add_reader(self._process.stdout.fileno(), self._read)

    def feed(self, events: list[Mapping[str, Any]]) -> None:
        """Says that there is more in the history."""
        del events
        self._ask(b".")

    async def wait_violation(self) -> Seen:
        """The first violation. There is at most one: no later event can take it back."""
        await self._found.wait()
        assert self.violation is not None
        return self.violation

    async def settle(self, timeout_s: float) -> None:
        """Waits until everything that is in the history has been judged, or the time is over."""
        if self.violation is not None or self._process is None:
            return
        settled = asyncio.get_running_loop().create_future()
        self._settled.append(settled)
        if not self._ask(b"?"):
            return
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(settled, timeout_s)

    async def close(self) -> None:
        """Ends the process. Safe to call twice, and if it was never started."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        asyncio.get_running_loop().remove_reader(process.stdout.fileno())
        process.stdin.close()
        try:
            await asyncio.wait_for(wait_exit(process), CLOSE_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            process.wait()
        process.stdout.close()

    def _ask(self, word: bytes) -> bool:
        """Whether it was said. A full pipe is as good for a dot: there is enough in it to wake anybody."""
        if self._process is None or self._process.stdin is None or self._ended:
            return False
        try:
            os.write(self._process.stdin.fileno(), word)
        except BlockingIOError:
            return word == b"."
        except OSError:
            return False
        return True

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            chunk = os.read(self._process.stdout.fileno(), 1 << 16)
        except BlockingIOError:
            return
        if not chunk:
            self._lose()
            return
        *lines, self._buffer = (self._buffer + chunk).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, message: Mapping[str, Any]) -> None:
        if "violation" in message:
            seen = message["violation"]
            self.violation = Seen(**{**seen, "nodes": tuple(seen["nodes"])})
            self.verdict = f"invalid ({self.violation.kind})"
            self._found.set()
        elif "verdict" in message:
            self.verdict = str(message["verdict"])
        if "settled" in message and self._settled:
            self._release(1)

    def _lose(self) -> None:
        """The process is at its end: it has said what it had to say, or it failed (its words are in the log)."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._ended = True
        asyncio.get_running_loop().remove_reader(self._process.stdout.fileno())
        if self.violation is None:
            self.verdict = "gave up (see harness.log)"
            logger.error("the streaming check gave up")
        self._release(len(self._settled))

    def _release(self, count: int) -> None:
        released, self._settled = self._settled[:count], self._settled[count:]
        for each in released:
            if not each.done():
                each.set_result(None)


def _environment(run_id: str) -> dict[str, str]:
    here = str(Path(__file__).parent.parent)
    paths = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
    return {**os.environ, **marks.environment_marks(run_id), "PYTHONPATH": paths}
