"""What `capsize check` prints about a history that was judged: how, the findings with their operations, the figures.

Short enough to be read: findings, operations and values beyond stated numbers are counted, not shown. ``checkers`` as a
library gives all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from checkers import CHECKS, MODELS, History, Options, Result
from checkers.operation import Operation, Outcome
from checkers.verdict import Blame, Finding
from checkers.wording import Wording, show

FINDINGS_MAX = 10
"""Findings that are told; the others are counted."""

OPERATIONS_MAX = 12
"""Operations of one finding that are told: the last ones, among which is the one that does not fit."""

NULL_READS = {"value": "null is a value like any other", "unknown": "a read of null says nothing"}

READS_NULL = ("register", "cas-register", "versioned-register", "multi-register", "kv", "rw-register")
"""Models for which it matters what a read of null says."""


def counted(number: int, noun: str) -> str:
    """ "1 operation", "2,024 operations"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def headline(history: History, model: str, *, guessed: bool) -> str:
    """What was read, and as what it is judged."""
    how = " (guessed; --model NAME overrides, --model list shows all)" if guessed else ""
    return f"{counted(len(history), 'operation')} ({history.format}), model {model}{how}"


def premises(model: str, options: Options) -> str:
    """What the verdict takes for granted; nothing where there is nothing to choose."""
    words = []
    if model in MODELS:
        data_type = MODELS[model](null_read=options.null_read)
        words.append(f"begins with {show(data_type.shown(data_type.start(options.initial)))}")
    elif options.initial is not None:
        words.append(f"begins with {show(options.initial)}")
    if model in READS_NULL:
        words.append(NULL_READS[options.null_read])
    if CHECKS[model].functions == {"txn"} and model not in ("multi-register", "long-fork"):
        words.append(f"transactions must be {options.consistency_model}")
    return "; ".join(words)


def told(result: Result) -> Iterator[str]:
    """The verdict, line by line."""
    yield str(result.validity).upper()
    for finding in result.findings[:FINDINGS_MAX]:
        yield f"- {finding.kind}: {finding.message}"
        yield from _operations(finding)
        if finding.blame is Blame.GAVE_UP:
            yield "    (--budget-seconds and --budget-memory give it more)"
    if len(result.findings) > FINDINGS_MAX:
        yield f"- and {counted(len(result.findings) - FINDINGS_MAX, 'more finding')}"
    yield from _figures(result.statistics)


def _operations(finding: Finding) -> Iterator[str]:
    """The operations that prove it, by their numbers in the order of invocations, as pages and exports have them."""
    words = Wording(finding.operations)
    names = {row: name for name, row in finding.evidence.get("names", {}).items()}
    every = sorted(finding.operations, key=lambda item: item.index)
    if len(every) > OPERATIONS_MAX:
        yield f"    ({counted(len(every) - OPERATIONS_MAX, 'earlier operation')} not shown)"
    for item in every[-OPERATIONS_MAX:]:
        name = f"{names[item.index]}, " if item.index in names else ""
        yield f"    {name}operation {item.index}: {words.deed(item)}, {_times(item, words)}"


def _times(item: Operation, words: Wording) -> str:
    if item.outcome is Outcome.INFO or item.return_ns is None:
        return f"began at {words.began(item)}, nobody saw it end"
    failed = ", failed" if item.outcome is Outcome.FAIL else ""
    return f"{words.began(item)} to {words.ended(item)}{failed}"


def _figures(statistics: Mapping[str, Any]) -> Iterator[str]:
    """How linearizability was judged; the counts of other checks, as long as they are counts."""
    if "method" in statistics:
        yield from _method(statistics)
        return
    plain = {name: value for name, value in statistics.items() if _is_figure(value)}
    if plain:
        yield "figures: " + ", ".join(f"{name.replace('_', ' ')} {_figure(value)}" for name, value in plain.items())


def _is_figure(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(isinstance(item, int | float) for item in value.values())
    return isinstance(value, int | float) and not isinstance(value, bool)


def _figure(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name} {_figure(item)}" for name, item in value.items()) + ")"
    return f"{value:,}"


def _method(statistics: Mapping[str, Any]) -> Iterator[str]:
    keys, searched = int(statistics["keys"]), int(statistics["keys_searched"])
    states = counted(int(statistics["search_states"]), "state")
    refused, unknown = int(statistics["keys_refused"]), int(statistics["keys_unknown"])
    parts = [f"judged {counted(keys, 'key')}" if keys > 1 else "judged"]
    if searched == 0:
        parts.append("by the polynomial method")
    elif searched == keys:
        parts.append(f"by search ({states})")
    else:
        parts.append(f"by the polynomial method, but for {searched:,} by search ({states})")
    line = " ".join(parts)
    if keys > 1 and (refused or unknown):
        line += f": {refused:,} refused" + (f", {unknown:,} not decided" if unknown else "")
    yield line
    for reason, times in statistics["searched_because"].items():
        yield f"  searched because {reason}" + (f" ({counted(times, 'key')})" if keys > 1 else "")


def models() -> Iterator[str]:
    """Every model in one line, and its settings."""
    width = max(map(len, CHECKS))
    for name, check in CHECKS.items():
        summary = check.summary.replace("``", "").replace("linearizable: ", "")
        yield f"{name:<{width}}  {summary}"
        yield f"{'':<{width}}    functions: {', '.join(sorted(check.functions))}"
        for setting, meaning in check.settings.items():
            yield f"{'':<{width}}    --set {setting}=: {meaning}"


__all__ = ["counted", "headline", "models", "premises", "told"]
