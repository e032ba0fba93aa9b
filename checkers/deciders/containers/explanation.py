"""Why a history of a container is impossible, in words and as data: one function a kind of conflict.

Each sentence states facts of the operations that it names and is true as it stands; the facts of time are repeated in
the finding's evidence, where pages can draw them and tests check them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from checkers.deciders.containers.conflicts import Conflict, Stay
from checkers.deciders.containers.vocabulary import (
    EMPTY_WHILE_HOLDING,
    NOT_SMALLEST,
    OUT_OF_ORDER,
    PEEKED_LATE,
    Vocabulary,
)
from checkers.history import FAIL, History
from checkers.operation import Operation, Outcome
from checkers.verdict import LINEARIZABILITY, Finding
from checkers.wording import Wording, capital, listed, show


def explain(history: History, vocabulary: Vocabulary, conflict: Conflict) -> Finding:
    """The finding for a conflict."""
    case = _Case(history, vocabulary, conflict)
    message = capital(_sentence(vocabulary, conflict.kind)(case)) + "."
    operations = (*case.by_row.values(), *case.cited)
    returns = [item.return_ns for item in operations if item.outcome is Outcome.OK and item.return_ns is not None]
    return Finding(
        checker=LINEARIZABILITY,
        kind=conflict.kind,
        message=message,
        key=case.key,
        operations=operations,
        nodes=tuple(sorted({item.node for item in operations if item.node is not None})),
        time_ns=max(returns, default=None),
        evidence={
            "before": [list(pair) for pair in conflict.before],
            "roles": _roles(conflict),
            "values": [stay.value for stay in conflict.stays],
        },
    )


def _roles(conflict: Conflict) -> Mapping[str, int]:
    """The rows in their roles; those of stays are numbered if there are several."""
    roles = dict(conflict.roles)
    for number, stay in enumerate(conflict.stays, 1):
        suffix = "" if len(conflict.stays) == 1 else f" {number}"
        parts = {"put": stay.put, "shown": None if stay.shown == stay.put else stay.shown, "left": stay.left}
        roles.update({f"{name}{suffix}": row for name, row in parts.items() if row is not None})
    return roles


class _Case:
    """A conflict with its operations, and the words for them."""

    def __init__(self, history: History, vocabulary: Vocabulary, conflict: Conflict) -> None:
        self.history = history
        self.words = vocabulary
        self.conflict = conflict
        self.key = history.keys.values[conflict.key]
        self.by_row = {row: history.operation(row) for row in conflict.rows}
        self.wording = Wording(self.by_row.values())
        self.cited: list[Operation] = []
        """Failed attempts that the sentence names besides: a reader wants to see them."""

    @property
    def place(self) -> str:
        """Which container."""
        noun = self.words.noun
        return (
            f"the {noun}" if self.key is None else f"{noun} {self.key if isinstance(self.key, str) else show(self.key)}"
        )

    def role(self, name: str) -> Operation:
        return self.by_row[self.conflict.roles[name]]

    def deed(self, operation: Operation) -> str:
        """What was done by whom: "the dequeue of 3 by process 1 on n2"."""
        return f"the {operation.f}{self._what(operation)} by {self.wording.who(operation)}"

    def _what(self, operation: Operation) -> str:
        if operation.f == self.words.put:
            return f" of {show(operation.value)}"
        if operation.outcome is not Outcome.OK:
            return " of unknown result"
        return " that found nothing" if operation.result is None else f" of {show(operation.result)}"

    def over(self, operation: Operation) -> str:
        return f"{self.deed(operation)} was over at {self.wording.ended(operation)}"

    def began(self, operation: Operation) -> str:
        return f"{self.deed(operation)} began at {self.wording.began(operation)}"

    def lasted(self, operation: Operation) -> str:
        return f"{self.deed(operation)} (from {self.wording.began(operation)} to {self.wording.ended(operation)})"

    def inside(self, stay: Stay) -> str:
        """That a value was in, and since when until when."""
        value = show(stay.value)
        since = "from the beginning"
        if stay.shown is not None:
            shown = self.by_row[stay.shown]
            seen = "" if stay.shown == stay.put else f", seen by {self.deed(shown)}"
            since = f"since {self.wording.ended(shown)} at the latest ({self._origin(stay)}{seen})"
        return f"{value} was in it {since} and {self.stayed(stay)}{self.counted(stay)}"

    def _origin(self, stay: Stay) -> str:
        return "from the beginning" if stay.put is None else self.deed(self.by_row[stay.put])

    def stayed(self, stay: Stay) -> str:
        """Until when a value was in at least."""
        if stay.left is None:
            return f"never {self.words.take_done} as far as anybody saw" if stay.untaken else self.never()
        left = self.by_row[stay.left]
        if stay.untaken:
            return f"not seen to leave: until {self.wording.began(left)} no {self.words.take} can have taken it"
        return f"did not leave before {self.wording.began(left)}, when {self.deed(left)} began"

    def came_after(self, first: Stay, stay: Stay) -> bool:
        """Was a value put in after the first was in? Initial elements are given in their order."""
        return stay.put is None or first.put is None or (first.put, stay.put) in self.conflict.before

    def never(self) -> str:
        return f"was never {self.words.take_done}"

    def counted(self, stay: Stay) -> str:
        """What of a value that nobody was seen to take, where others may have been taken instead."""
        if not stay.takers:
            return ""
        values = [self._initial_or(row) for row in stay.others]
        many = f"{len(stay.takers)} {self.words.take}{'s' if len(stay.takers) > 1 else ''} of unknown result"
        others = listed([*values, show(stay.value)])
        return f" (of {others}, which nobody was seen to take, {many} can have taken no more than {len(stay.takers)})"

    def _initial_or(self, row: int | None) -> str:
        return "an initial element" if row is None else show(self.by_row[row].value)


def _taken_twice(case: _Case) -> str:
    first, second = case.role("first"), case.role("second")
    value, words = show(first.result), case.words
    origin = f"was {words.put_done} only once" if "put" in case.conflict.roles else "was there once, at the beginning"
    return (
        f"{value} {origin} in {case.place}, but {words.take_done} twice: by {case.wording.who(first)} (over at "
        f"{case.wording.ended(first)}) and by {case.wording.who(second)} (over at {case.wording.ended(second)})"
    )


def _never_put(case: _Case) -> str:
    take = case.role("take")
    told = f"the {take.f} from {case.place} by {case.wording.who(take)} at {case.wording.began(take)} returned"
    return f"{told} {show(take.result)}, {_nobody_put(case, take.result)}"


def _nobody_put(case: _Case, value: Any) -> str:
    history, put = case.history, case.words.put
    puts = (history.value == history.values.find(value)) & (history.f == history.function(put))
    begins = "it was not there at the beginning"
    failed = np.flatnonzero(puts & (history.outcome == FAIL) & (history.key == case.conflict.key))
    if len(failed):
        attempt = history.operation(int(failed[0]))
        case.cited.append(attempt)
        only = "the only attempt" if len(failed) == 1 else f"each of the {len(failed)} attempts, the first"
        return f"but {only} to {put} it (by {case.wording.who(attempt)}) certainly failed, and {begins}"
    elsewhere = np.flatnonzero(puts & (history.outcome != FAIL))
    if len(elsewhere):
        other = history.keys.values[int(history.key[elsewhere[0]])]
        return f"a value that was {case.words.put_done} under key {show(other)}, never here, and {begins}"
    return f"a value that nobody ever tried to {put}, and {begins}"


def _taken_early(case: _Case) -> str:
    take, put = case.role("take"), case.role("put")
    return f"{case.over(take)}, before {case.began(put)}; nothing else ever put {show(put.value)} into {case.place}"


def _disorder(case: _Case) -> str:
    """Of a queue: one came in before another, and left after it."""
    (stay,) = case.conflict.stays
    second, took = case.role("second"), case.role("took second")
    value, words = show(stay.value), case.words
    first = f"{value} was in {case.place} from the beginning, before {case.began(second)}"
    if stay.put is not None:
        first = (
            f"{value} came into {case.place} before {show(second.value)} ({case.over(case.by_row[stay.put])}, before "
        )
        first += f"{case.began(second)})"
    left = f"{show(second.value)} was {words.take_done} ({case.over(took)})"
    if stay.left is None:
        return f"{first}; but {left}, and nobody was seen to {words.take} {value}{case.counted(stay)}"
    later = case.by_row[stay.left]
    if stay.untaken:
        first_left = f"the first {words.take} of unknown result that was left for it"
        return f"{first}; but {left} before {first_left} began at {case.wording.began(later)}{case.counted(stay)}"
    return f"{first}; but it left after it: {left}, before {case.began(later)}"


def _wrong_empty(case: _Case) -> str:
    empty = case.role("empty")
    told = f"{case.lasted(empty)} says that {case.place} was empty"
    inside = [case.inside(stay) for stay in case.conflict.stays]
    if len(inside) == 1:
        return f"{told}, but all that time it was not: {inside[0]}"
    return f"{told}, but at every moment of that time something was in it: {'; '.join(inside)}"


def _stack_disorder(case: _Case) -> str:
    """Of a stack: nothing can have been at the bottom."""
    stays = case.conflict.stays
    if len(stays) == 2:
        return _wrong_top(case, stays[0], stays[1])
    inside = "; ".join(case.inside(stay) for stay in stays)
    one = f"one of {listed([show(stay.value) for stay in stays])} was below the others all that time"
    reasons = "; ".join(_not_bottom(case, stay) for stay in stays)
    return (
        f"{case.place} was never empty for a while: {inside}. So {one}: put in before all of them and taken out after "
        f"all of them. But none can have been: {reasons}"
    )


def _not_bottom(case: _Case, stay: Stay) -> str:
    """Why a value came after the first of the stays, or left before the last."""
    first, last = case.conflict.stays[0], case.conflict.stays[-1]
    after = stay != first and case.came_after(first, stay)
    return _came_after(case, first, stay) if after else _left_before(case, stay, last)


def _came_after(case: _Case, first: Stay, stay: Stay) -> str:
    low, high = show(first.value), show(stay.value)
    if stay.put is None:
        return f"{high} lay above {low} from the beginning"
    began = case.began(case.by_row[stay.put])
    if first.put is None:
        return f"{low} was there from the beginning, before {began}"
    return f"{case.over(case.by_row[first.put])}, before {began}"


def _left_before(case: _Case, stay: Stay, last: Stay) -> str:
    assert stay.take is not None
    over = case.over(case.by_row[stay.take])
    if last.left is None:
        return f"{over}, and nobody was seen to {case.words.take} {show(last.value)}"
    if last.untaken:
        return f"{over}, before any {case.words.take} began that can have taken {show(last.value)}"
    return f"{over}, before {case.began(case.by_row[last.left])}"


def _wrong_top(case: _Case, below: Stay, above: Stay) -> str:
    """One was put upon the other, yet the lower one left while the upper one was there."""
    assert below.left is not None
    low, high = show(below.value), show(above.value)
    put = f"{high} lay upon {low} in {case.place} ({_came_after(case, below, above)}"
    if above.put is not None:
        put += f"; and {case.over(case.by_row[above.put])}, before {case.began(case.by_row[below.left])}"
    return f"{put}); but {low} left first: {_left_before(case, below, above)}"


def _not_smallest(case: _Case) -> str:
    answer = case.role("answer")
    told = f"{case.lasted(answer)} says that {show(answer.result)} was the smallest in {case.place}"
    inside = "; ".join(case.inside(stay) for stay in case.conflict.stays)
    return f"{told}, but at every moment at which it can have taken effect something smaller was there: {inside}"


def _peeked_late(case: _Case) -> str:
    peek, take = case.role("peek"), case.role("take")
    return f"{case.over(take)}, before {case.began(peek)}; {show(peek.result)} was put into {case.place} only once"


def _sentence(vocabulary: Vocabulary, kind: str) -> Callable[[_Case], str]:
    sentences = {
        vocabulary.taken_twice: _taken_twice,
        vocabulary.never_put: _never_put,
        vocabulary.taken_early: _taken_early,
        OUT_OF_ORDER: _stack_disorder if vocabulary.noun == "stack" else _disorder,
        EMPTY_WHILE_HOLDING: _wrong_empty,
        NOT_SMALLEST: _not_smallest,
        PEEKED_LATE: _peeked_late,
    }
    return sentences[kind]
