"""Counters whose steps are all equal: add, increment (an add that returns the new value) and read.

With steps of d from an initial value, value v is level (v - initial) / d, and :mod:`checkers.deciders.steps` decides.
An increment that was told its value is a fixed taker, one that was not (null) a free one like every add. A step of 0
never matters (an increment by 0 that was told a value is a read). Steps of different sizes are the search's: which adds
make up a difference is then a question of subset sums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from checkers.deciders.decision import Decision, Rows
from checkers.deciders.idle import with_idle
from checkers.deciders.numbers import NO_NUMBER, numbers
from checkers.deciders.refusals import Case, Flags, Ids, Refusals, plural
from checkers.deciders.steps import NOBODY, Steps, Trouble, Windows, troubles
from checkers.history import FAIL, INFO, OK, History, HistoryError
from checkers.models.counter import Counter
from checkers.operation import Operation
from checkers.wording import capital, deed, listed, show

UNEQUAL = "the counter's steps are not all equal"
LARGE = "the counter's numbers are too large for the polynomial method"

LARGE_FROM = 2**53

NAMED_MAX = 2
"""Adds that a sentence names; of more it says how many."""


class CounterDecider:
    """add, increment and read, where all steps are equal."""

    def decide(self, history: History, *, initial: Any, null_read: str) -> Decision:
        """See :mod:`checkers.deciders.steps`."""
        start = _start(history, initial)
        count = _Count.of(history, start, null_read)
        refusals = Refusals(history, "counter", start)
        _refuse_between(history, count, refusals)
        for trouble in troubles(history, count.steps, refusals):
            _explain(trouble, refusals, start, count.size)
        return Decision(findings=tuple(refusals.findings), refused=frozenset(refusals.keys), deferred=count.deferred)

    def order(self, history: History, rows: Rows, *, initial: Any, null_read: str) -> Rows | None:
        """The adds in the order of their levels, each read after its level; adds of 0 where they were invoked."""
        part = history.select(rows)
        count = _Count.of(part, _start(history, initial), null_read)
        if count.deferred:
            return None
        order = Windows(part, count.steps).order()
        return rows[with_idle(part, order, count.idle)]


def _start(history: History, initial: Any) -> int:
    try:
        start = Counter().start(initial)
    except ValueError as error:
        raise HistoryError(history.source, None, str(error), "Choose another initial value.") from None
    assert isinstance(start, int)
    return start


@dataclass(frozen=True, kw_only=True, slots=True)
class _Count:
    """The operations as steps; ``size`` of each key's steps; ``between``: rows that show a value between two levels;
    ``idle``: adds of 0.
    """

    steps: Steps
    size: Ids
    between: Ids
    idle: Ids
    deferred: Mapping[int, str] = field(default_factory=dict)

    @staticmethod
    def of(history: History, start: int, null_read: str) -> _Count:
        of_code = numbers(history)
        read = history.f == history.function("read")
        add = history.f == history.function("add")
        counts = ~read & (history.outcome != FAIL)
        shows = (history.outcome == OK) & ~add
        step = np.where(counts, of_code[history.value], 0)
        value = _shown(history, of_code, shows, read, null_read)
        _validate(history, counts & (step == NO_NUMBER), "step", history.value)
        _validate(history, shows & (value == NO_NUMBER), "value", history.result)
        told = shows & (value != _NOT_TOLD)
        size, deferred = _sizes(history, start, step, counts)
        usable = np.ones(len(history.keys), dtype=np.bool_)
        usable[list(deferred)] = False
        judged = usable[history.key]
        rows = np.flatnonzero(judged & told)
        level, rest = np.divmod(value[rows] - start, size[history.key[rows]])
        moves = judged & counts & (step != 0)
        sight = ~moves[rows] & (rest == 0)
        fixed = moves[rows] & (rest == 0)
        unknown = moves & ~told
        return _Count(
            steps=Steps(
                sight=rows[sight],
                level=level[sight],
                fixed=rows[fixed],
                step=level[fixed],
                free=np.flatnonzero(unknown & (history.outcome == OK)),
                maybe=np.flatnonzero(unknown & (history.outcome == INFO)),
            ),
            size=size,
            between=rows[rest != 0],
            idle=np.flatnonzero(judged & counts & (step == 0) & ~told & (history.outcome == OK)),
            deferred=deferred,
        )


_NOT_TOLD = NO_NUMBER + 1


def _shown(history: History, of_code: Ids, shows: Flags, read: Flags, null_read: str) -> Ids:
    """The value that each row shows. Null is 0 for a read, and not told for an increment."""
    value = np.where(shows, of_code[history.result], _NOT_TOLD)
    null = shows & (history.result == history.values.find(None))
    value[null] = _NOT_TOLD
    if null_read == "value":
        value[null & read] = 0
    return value


def _validate(history: History, wrong: Flags, what: str, column: Ids) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        row = int(rows[0])
        value = history.values.values[int(column[row])]
        problem = f"the {what} of {history.functions[int(history.f[row])]} is {show(value)}"
        raise HistoryError(history.source, int(history.call[row]) + 1, problem, "A counter has whole numbers.")


def _sizes(history: History, start: int, step: Ids, counts: Flags) -> tuple[Ids, dict[int, str]]:
    """Each key's step (1 if it has none), and the keys that are left alone."""
    moves = counts & (step != 0)
    keys = len(history.keys)
    least, most = np.full(keys, 2**62), np.full(keys, -(2**62))
    np.minimum.at(least, history.key[moves], step[moves])
    np.maximum.at(most, history.key[moves], step[moves])
    unequal = (least != most) & (most != -(2**62))
    large = np.zeros(keys, dtype=np.bool_)
    large[history.key[moves & (np.abs(step) >= LARGE_FROM)]] = True
    if abs(start) >= LARGE_FROM:
        large[:] = True
    deferred = dict.fromkeys(np.flatnonzero(large).tolist(), LARGE)
    deferred.update(dict.fromkeys(np.flatnonzero(unequal).tolist(), UNEQUAL))
    return np.where((most == -(2**62)) | unequal | large, 1, least), deferred


def _refuse_between(history: History, count: _Count, refusals: Refusals) -> None:
    keys = history.key[count.between]
    for at in refusals.fresh(keys):
        row, size = int(count.between[at]), abs(int(count.size[keys[at]]))

        def tell(case: Case, size: int = size) -> str:
            moved = f"{case.where} began with {show(refusals.initial)} and moves by {size} at a time"
            return f"{capital(deed(case['then']))} {case.by('then')} shows a value that was never there: {moved}."

        refusals.add("count between steps", {"then": row}, tell)


def _explain(trouble: Trouble, refusals: Refusals, start: int, size: Ids) -> None:
    kind, tell = _KINDS[trouble.what]
    step = int(size[trouble.key])
    if step < 0:
        kind = kind.replace("low", "HIGH").replace("high", "low").replace("HIGH", "high")
    roles = {"then": trouble.then, **({} if trouble.first == NOBODY else {"first": trouble.first})}
    before = [(trouble.first, trouble.then)] if trouble.what in ("back", "crowd") and trouble.first != NOBODY else []
    if trouble.what == "crowd":
        before += [(row, trouble.then) for row in trouble.rows]
        before += [(trouble.first, row) for row in trouble.rows if trouble.first != NOBODY]
    story = _Story(trouble=trouble, start=start, step=step, history=refusals.history)
    refusals.add(
        kind,
        roles,
        lambda case: tell(case, story),
        before=before[:_BEFORE_MAX],
        also=(*trouble.rows, *trouble.known),
        evidence={"count": trouble.count, "low": story.value(trouble.low), "high": story.value(trouble.high)},
    )


_BEFORE_MAX = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class _Story:
    trouble: Trouble
    start: int
    step: int
    history: History

    def value(self, level: int) -> int:
        return self.start + level * self.step

    def adds(self, case: Case) -> str:
        """Who moved it, wholly inside the window: by name if few."""
        rows = self.trouble.rows
        if len(rows) > NAMED_MAX:
            return f"{len(rows)} operations moved it by {self.step} each"
        return f"{listed([case.words.deed(self.history.operation(row)) for row in rows])} took effect"

    def told(self) -> str:
        """Increments that said which steps between were theirs: a clause, or nothing."""
        count = len(self.trouble.known)
        return f", together with {plural(count, 'increment')} that returned values in between" if count else ""


def _shown_by(case: Case, role: str) -> str:
    return f"{_deed(case[role])} {case.by(role)}"


def _deed(item: Operation) -> str:
    return deed(item) if item.f != "increment" else f"the increment that returned {show(item.result)}"


def _below(case: Case, story: _Story) -> str:
    moves = "only grows" if story.step > 0 else "only shrinks"
    return f"{capital(_shown_by(case, 'then'))} is impossible: {case.where} began with {story.start} and {moves}."


def _beyond(case: Case, story: _Story) -> str:
    count = story.trouble.count
    tried = f"only {plural(count, 'attempt')} to move it" if count else "nobody ever tried to move it"
    rest = f" by {story.step} did not certainly fail, which makes {story.value(count)} at most" if count else ""
    return (
        f"{capital(_shown_by(case, 'then'))} is impossible: {case.where} began with {story.start}, and {tried}{rest}."
    )


def _twice(case: Case, story: _Story) -> str:
    value = story.value(story.trouble.low)
    both = f"{_shown_by(case, 'first')} and {_shown_by(case, 'then')}"
    return f"Two increments of {case.where} returned {value}: {both}; each of them moved it, so one saw a later value."


def _back(case: Case, story: _Story) -> str:
    went = "less" if story.step > 0 else "more"
    over = f"had returned {case.earlier('first', 'then')}"
    return (
        f"{capital(_shown_by(case, 'then'))} shows {went} than {_deed(case['first'])} by "
        f"{case.words.who(case['first'])}, which {over}; {case.where} never goes back."
    )


def _crowd(case: Case, story: _Story) -> str:
    trouble = story.trouble
    least = story.value(trouble.low + trouble.count)
    told = f"{capital(_shown_by(case, 'then'))} does not show all that came before"
    since = f"{case.where} began with {story.start}"
    if "first" in case:
        since = f"{case.where} had {story.value(trouble.low)} when {_shown_by(case, 'first')} returned"
    more = "after that and " if "first" in case else ""
    return (
        f"{told}: {since}, and {more}before the {case['then'].f} began {story.adds(case)}{story.told()}, which makes "
        f"{least} at least; but the {case['then'].f} found {story.value(trouble.high)}."
    )


def _shortage(case: Case, story: _Story) -> str:
    trouble = story.trouble
    since = f"{case.where} began with {story.start}"
    if "first" in case:
        since = f"{case.where} had only {story.value(trouble.low)} when {_shown_by(case, 'first')} took effect"
    window = "from the call of that one until this one returned" if "first" in case else "before it returned"
    count = trouble.count
    could = (
        "nothing can have moved it" if not count else f"at most {count} operation{'s' * (count != 1)} can have moved it"
    )
    return f"{capital(_shown_by(case, 'then'))} shows too much: {since}, and {could} by {story.step} {window}."


_KINDS: Mapping[str, tuple[str, Callable[[Case, _Story], str]]] = {
    "below": ("count too low", _below),
    "beyond": ("count too high", _beyond),
    "twice": ("count told twice", _twice),
    "back": ("count went back", _back),
    "crowd": ("count too low", _crowd),
    "shortage": ("count too high", _shortage),
}
