"""What a hunt came to: a row for each bug, counted from the results of its runs."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from harness.unattended import RunResult

INVALID = "invalid"
FAILED = "failed"
"""A run without a verdict."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """How a bug's own scenario did."""

    runs: int = 0
    found: int = 0
    median_s: float | None = None
    """Seconds from the start of the command to its verdict, over the runs that found it."""
    p90_s: float | None = None
    kinds: Sequence[str] = ()
    """What the findings are called."""
    others: Mapping[str, int] = field(default_factory=dict)
    """Other verdicts, and how often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Blind:
    """How the suite that knows no bug did."""

    ended: bool = False
    """Found, or the time was used up, or the suite."""
    found: bool = False
    seconds: float = 0.0
    """All runs together."""
    runs: int = 0
    scenario: str = ""
    """What found it."""
    seed: int = 0
    kinds: Sequence[str] = ()
    others: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """How the correct build did, by verdict."""

    runs: int
    verdicts: Mapping[str, int]
    alarms: Sequence[RunResult]
    """Those that were invalid."""


def state_of(result: RunResult) -> str:
    """The verdict, or :data:`FAILED`."""
    return result.validity or FAILED


def own_score(results: Sequence[RunResult]) -> Own:
    """Of runs with the bug by its own scenario."""
    found = [result for result in results if result.validity == INVALID]
    times = sorted(result.seconds for result in found)
    return Own(
        runs=len(results),
        found=len(found),
        median_s=round(statistics.median(times), 1) if times else None,
        p90_s=round(times[math.ceil(0.9 * len(times)) - 1], 1) if times else None,
        kinds=kinds_of(found),
        others=_others(results),
    )


def blind_score(results: Sequence[RunResult], *, ended: bool) -> Blind:
    """Of runs with the bug by the suite, in their order."""
    last = results[-1] if results and results[-1].validity == INVALID else None
    return Blind(
        ended=ended,
        found=last is not None,
        seconds=round(sum(result.seconds for result in results), 1),
        runs=len(results),
        scenario=last.scenario if last else "",
        seed=last.seed if last else 0,
        kinds=kinds_of([last] if last else []),
        others=_others(results),
    )


def control_score(results: Sequence[RunResult]) -> Control:
    """Of runs without a bug."""
    return Control(
        runs=len(results),
        verdicts=Counter(map(state_of, results)),
        alarms=[result for result in results if result.validity == INVALID],
    )


def kinds_of(results: Iterable[RunResult]) -> Sequence[str]:
    """Kinds of findings, the most frequent first."""
    counts = Counter(kind for result in results for kind in result.kinds)
    return [kind for kind, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _others(results: Iterable[RunResult]) -> Mapping[str, int]:
    return dict(Counter(state_of(result) for result in results if result.validity != INVALID))
