"""Long values of a finding's operations, cut down to the places that the finding is about.

A read of a log or a set shows dozens of elements, and a label has room for six. The elements that matter are those that
the finding's other operations added (or that its evidence names): they are shown with their neighbours, or it is said
that they are not there. Of a transaction, the steps at the finding's key are shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from checkers.operation import Operation, Outcome
from checkers.verdict import Finding
from reports.lenient import plain, sequence, text
from reports.words import ARROW, Shortened

WHOLE = 6
"""A list up to this long is shown as it is."""
MARKS_MAX = 3
STEPS_MAX = 5
CUT = "…"


def focused(finding: Finding) -> tuple[Operation, ...]:
    """The finding's operations, with values that fit a label."""
    marks = tuple(dict.fromkeys(_marks(finding)))
    return tuple(_focused(operation, marks, finding.key) for operation in finding.operations)


def _marks(finding: Finding) -> Iterator[str]:
    """The elements that the finding is about, in JSON's words."""
    for name in ("value", "element"):
        if finding.evidence.get(name) is not None:
            yield plain(finding.evidence[name])
    for operation in finding.operations:
        if operation.value is not None and not sequence(operation.value):
            yield plain(operation.value)


def _focused(operation: Operation, marks: Sequence[str], key: Any) -> Operation:
    if operation.f == "txn":
        ok = operation.outcome is Outcome.OK and sequence(operation.result)
        steps = sequence(operation.result if ok else operation.value)
        return replace(operation, value=Shortened(_transaction(steps, marks, key)), result=None)
    shown = sequence(operation.result)
    if operation.value is not None or len(shown) <= WHOLE:
        return operation
    return replace(operation, result=Shortened(elements_words(shown, marks)))


def _transaction(steps: Sequence[Any], marks: Sequence[str], key: Any) -> str:
    """``append t15 845, r t11 → [… 840 847 847 855 …]``; steps at other keys than the finding's are dots."""
    told = [step for step in map(sequence, steps) if len(step) == 3]
    mine = [step for step in told if key is None or step[1] == key]
    shown = [_step(step, marks) for step in mine[:STEPS_MAX]]
    return ", ".join([*shown, *([CUT] if len(shown) < len(steps) else [])])


def _step(step: Sequence[Any], marks: Sequence[str]) -> str:
    f, key, value = step
    if f != "r":
        return f"{text(f)} {text(key)} {text(value)}"
    read = f" {ARROW} {elements_words(sequence(value), marks)}" if value is not None else ""
    return f"r {text(key)}{read}"


def elements_words(items: Sequence[Any], marks: Sequence[str]) -> str:
    """``[… 461 463 464 463 465 …]`` around what is marked; the last elements, and what is not there, if nothing is."""
    places = [place for place, item in enumerate(items) if plain(item) in marks]
    if len(items) <= WHOLE:
        shown: Sequence[int] = range(len(items))
    elif places:
        near = {place + apart for place in [*places[:1], *places[1:][-MARKS_MAX + 1 :]] for apart in (-1, 0, 1)}
        shown = sorted(place for place in near if 0 <= place < len(items))
    else:
        shown = range(len(items) - 3, len(items))
    lacking = f" without {marks[0]}" if len(marks) == 1 and not places else ""
    return f"[{' '.join(_with_gaps(items, shown))}]{lacking}"


def _with_gaps(items: Sequence[Any], shown: Sequence[int]) -> Iterator[str]:
    before = -1
    for place in shown:
        if place > before + 1:
            yield CUT
        yield text(items[place])
        before = place
    if before < len(items) - 1:
        yield CUT
