"""Makes the runs of a hunt, several trails side by side if asked, and writes down each as it ends: a hunt that is
stopped, or killed, goes on where it was.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import orjson

from harness.errors import UsageError
from harness.hunting.plan import Trail
from harness.hunting.score import INVALID
from harness.planning.suite import PlannedRun
from harness.unattended import RunResult


@dataclass(slots=True)
class Book:
    """``results.jsonl``: every run with the key of its trail."""

    path: Path
    results: dict[str, list[RunResult]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def open(cls, path: Path) -> Book:
        """Reads what there is. A torn last line is that of a run which did not end.

        Raises:
            UsageError: a line is no result.
        """
        book = cls(path)
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in lines if line.endswith(b"\n")]
        if whole != lines:
            path.write_bytes(b"".join(whole))
        for number, line in enumerate(whole, start=1):
            try:
                row = orjson.loads(line)
                book.results[row.pop("trail")].append(RunResult(**row))
            except (orjson.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
                raise UsageError(f"{path}:{number}: no result of a hunt ({error}); give another --folder") from None
        return book

    def add(self, trail: str, result: RunResult) -> None:
        """Writes one result down."""
        with self.path.open("ab") as file:
            file.write(orjson.dumps({"trail": trail, **asdict(result)}, option=orjson.OPT_APPEND_NEWLINE))
        self.results[trail].append(result)

    def of(self, trail: Trail) -> Sequence[RunResult]:
        """The results of a trail, in order."""
        return self.results.get(trail.key, ())


def ended(trail: Trail, results: Sequence[RunResult]) -> bool:
    """Whether nothing of a trail is left to be done."""
    if len(results) >= len(trail.runs):
        return True
    if trail.until_found and results and results[-1].validity == INVALID:
        return True
    return trail.budget_ns is not None and sum(result.seconds for result in results) * 1e9 >= trail.budget_ns


@dataclass(slots=True, kw_only=True)
class Hunt:
    """Trails being followed, ``lanes`` of them at a time."""

    trails: Sequence[Trail]
    book: Book
    make: Callable[[PlannedRun, int], Awaitable[RunResult]]
    """Makes one run, of which the number tells folders apart; :meth:`harness.unattended.Runner.run` does."""
    report: Callable[[str], None]
    lanes: int = 1
    budget_s: float = float("inf")
    """No run begins after this."""
    after: Callable[[], object] = lambda: None
    """Called after every run."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """No further run begins; what the run under way comes to does not count."""

    async def run(self) -> bool:
        """Until everything is done, or the time is used up, or it is stopped; whether everything was done."""
        waiting = deque(trail for trail in self.trails if not ended(trail, self.book.of(trail)))
        end_s = time.monotonic() + self.budget_s
        await asyncio.gather(*(self._lane(waiting, end_s) for _ in range(self.lanes)))
        return all(ended(trail, self.book.of(trail)) for trail in self.trails)

    async def _lane(self, waiting: deque[Trail], end_s: float) -> None:
        while waiting and not self._over(end_s):
            await self._follow(waiting.popleft(), end_s)

    async def _follow(self, trail: Trail, end_s: float) -> None:
        while not ended(trail, self.book.of(trail)) and not self._over(end_s):
            number = len(self.book.of(trail))
            planned = trail.runs[number]
            result = await self.make(planned, number + 1)
            if self.stop.is_set():  # it was cut short, so it says nothing of how long a find takes
                return
            self.book.add(trail.key, result)
            self.report(_line(trail, number + 1, result))
            self.after()

    def _over(self, end_s: float) -> bool:
        return self.stop.is_set() or time.monotonic() >= end_s


def _line(trail: Trail, number: int, result: RunResult) -> str:
    kinds = f" ({', '.join(result.kinds)})" if result.validity == INVALID else ""
    said = result.error if result.validity is None else result.sentence
    verdict = result.validity or "failed"
    where = f"{trail.key} {number}/{len(trail.runs)}: {result.scenario} seed {result.seed}"
    return f"{where}: {verdict}{kinds}, {result.seconds:.1f} s: {said}"
