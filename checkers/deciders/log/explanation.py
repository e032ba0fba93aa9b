"""Why a log is impossible, in words: one function a kind of argument."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from checkers.deciders.log.reads import Chain, Disagreement
from checkers.deciders.refusals import Case, Refusals, plural
from checkers.deciders.steps import NOBODY, Trouble
from checkers.history import ABSENT, FAIL
from checkers.values import identity
from checkers.wording import capital, listed, show

BEFORE_MAX = 40


def disagreement(refusals: Refusals, wrong: Disagreement) -> None:
    """Two reads, or a read and the initial list, that are no prefixes of one another."""
    one, other = (show(seen.values[wrong.place]) for seen in (wrong.shorter, wrong.longer))
    rows = {name: seen.row for name, seen in (("first", wrong.shorter), ("then", wrong.longer)) if seen.row != ABSENT}
    where = f"at offset {wrong.place}"
    if len(rows) == 2:

        def tell(case: Case) -> str:
            both = f"the read {case.by('first')} shows {one} {where}, the read {case.by('then')} shows {other} there"
            return f"Two reads of {case.where} disagree: {both}; what was appended never moves."

        refusals.add("reads disagree on the order", rows, tell)
        return
    read, began = (other, one) if "then" in rows else (one, other)

    def tell_of_start(case: Case) -> str:
        return f"The read of {case.where} {case.by('then')} shows {read} {where}, where it began with {began}."

    refusals.add("lost element", {"then": next(iter(rows.values()))}, tell_of_start)


def duplicate(refusals: Refusals, chain: Chain, place: int) -> None:
    """A value that a list has twice."""
    value = chain.longest.values[place]
    first = next(at for at, other in enumerate(chain.longest.values) if identity(other) == identity(value))

    def tell(case: Case) -> str:
        told = f"The read of {case.where} {case.by('read')} shows {show(value)} at offsets {first} and {place}"
        return f"{told}, but it was appended only once."

    also = _appends(refusals, chain.key, value)
    refusals.add("duplicate element", {"read": chain.showing(place).row}, tell, also=also)


def phantom(refusals: Refusals, chain: Chain, place: int) -> None:
    """A value that nobody appended."""
    value = chain.longest.values[place]
    failed = _appends(refusals, chain.key, value, failed=True)
    why = "all attempts to append it certainly failed" if failed else "nobody ever tried to append it"

    def tell(case: Case) -> str:
        return f"The read of {case.where} {case.by('read')} shows {show(value)} at offset {place}; but {why}."

    refusals.add("phantom element", {"read": chain.showing(place).row}, tell, also=failed[:1])


def _appends(refusals: Refusals, key: int, value: Any, *, failed: bool = False) -> tuple[int, ...]:
    history = refusals.history
    mine = (history.key == key) & (history.value == history.values.find(value))
    mine &= (history.f == history.function("append")) & ((history.outcome == FAIL) == failed)
    return tuple(np.flatnonzero(mine).tolist())


def offset(refusals: Refusals, chain: Chain, row: int, told: int, place: int) -> None:
    """An offset that was told, and a read that shows the value elsewhere, or another value there."""
    if place != ABSENT:
        read = chain.showing(place).row
        shows = f"shows it at offset {place}"
    else:
        read = chain.showing(told).row
        shows = f"shows {show(chain.longest.values[told])} there"

    def tell(case: Case) -> str:
        value = show(case["append"].value)
        said = f"{capital(case.where)} told the append of {value} {case.by('append')} the offset {told}"
        return f"{said}; but the read {case.by('read')} {shows}."

    refusals.add("wrong offset", {"append": row, "read": read}, tell)


def lost(refusals: Refusals, append: int, read: int) -> None:
    """An acknowledged value that a later read lacks."""

    def tell(case: Case) -> str:
        value = show(case["append"].value)
        over = (
            f"the append of {value} by {case.words.who(case['append'])} had returned {case.earlier('append', 'read')}"
        )
        return f"The read of {case.where} {case.by('read')} lacks {value}; but {over}, and nothing ever leaves a log."

    refusals.add("lost element", {"append": append, "read": read}, tell, before=[(append, read)])


def of_steps(refusals: Refusals, trouble: Trouble, chain: Chain | None, offsets: Mapping[int, int], skip: int) -> None:
    """A trouble of the numbered steps. ``offsets``: what was told to its rows; ``skip``: values at the beginning."""
    telling = _Telling(refusals, trouble, chain, offsets, skip)
    kind, tell = telling.kind()
    refusals.add(kind, telling.roles, tell, before=telling.before(), also=(*trouble.rows, *trouble.known))


class _Telling:
    """A trouble in words. How the place of an append is known: it was told, or a read (role ``seen``) shows it."""

    def __init__(
        self, refusals: Refusals, trouble: Trouble, chain: Chain | None, offsets: Mapping[int, int], skip: int
    ) -> None:
        self.trouble, self.offsets, self.skip, self.chain = trouble, offsets, skip, chain
        history = refusals.history
        self.roles = {"then": trouble.then}
        if trouble.first != NOBODY:
            self.roles["first"] = trouble.first
        self.reads = {row: history.functions[int(history.f[row])] == "read" for row in self.roles.values()}
        untold = [
            row for row in (*self.roles.values(), *trouble.known) if not self.reads.get(row) and row not in offsets
        ]
        if untold and chain is not None:
            places = [self._place_in_chain(history.operation(row).value, chain) for row in untold]
            self.roles["seen"] = chain.showing(max(places)).row
        self.history = history

    def _place_in_chain(self, value: Any, chain: Chain) -> int:
        return next(at for at, other in enumerate(chain.longest.values) if identity(other) == identity(value))

    def before(self) -> list[tuple[int, int]]:
        """The facts of time."""
        trouble = self.trouble
        pairs = [(trouble.first, trouble.then)] if trouble.what in ("back", "crowd") else []
        if trouble.what == "crowd":
            pairs += [(row, trouble.then) for row in trouble.rows]
            pairs += [(trouble.first, row) for row in trouble.rows]
        return [pair for pair in pairs if NOBODY not in pair][:BEFORE_MAX]

    def kind(self) -> tuple[str, Callable[[Case], str]]:
        """The name of the argument and its sentence."""
        what = self.trouble.what
        if what == "back":
            return self._back()
        kinds: Mapping[str, tuple[str, Callable[[Case], str]]] = {
            "below": ("lost element", self._below),
            "beyond": ("offset too high", self._beyond),
            "twice": ("offset told twice", self._twice),
            "crowd": ("offset too low", self._crowd),
            "shortage": ("offset too high", self._shortage),
        }
        return kinds[what]

    def _back(self) -> tuple[str, Callable[[Case], str]]:
        first, then = self.reads[self.trouble.first], self.reads[self.trouble.then]
        if then:
            return "lost element", self._shorter_read if first else self._lacking_read
        return ("seen before it was appended", self._early) if first else ("appended out of order", self._disorder)

    def _at(self, case: Case, role: str) -> str:
        """That an append has its place, and how that is known."""
        item = case[role]
        if item.index in self.offsets:
            return f"was told offset {self.offsets[item.index]}"
        assert self.chain is not None
        return f"stands at offset {self._place_in_chain(item.value, self.chain)} (read {case.by('seen')})"

    def _below(self, case: Case) -> str:
        began = f"{case.where} began with {plural(self.skip, 'value')}"
        item = case["then"]
        if self.reads[item.index]:
            return f"The read of {plural(len(item.result or ()), 'value')} {case.by('then')} is too short: {began}."
        return f"The append of {show(item.value)} {case.by('then')} {self._at(case, 'then')}; but {began}."

    def _beyond(self, case: Case) -> str:
        item, count = case["then"], self.trouble.count
        only = f"only {plural(count, 'append')} did not certainly fail"
        began = f", and it began with {plural(self.skip, 'value')}" if self.skip else ""
        told = f"The append of {show(item.value)} to {case.where} {case.by('then')} {self._at(case, 'then')}"
        return f"{told}; but {only}{began}."

    def _twice(self, case: Case) -> str:
        both = listed([f"the append of {show(case[role].value)} {case.by(role)}" for role in ("first", "then")])
        return f"{capital(case.where)} told two appends the same offset {self.offsets[case['then'].index]}: {both}."

    def _shorter_read(self, case: Case) -> str:
        one, other = (plural(len(case[role].result or ()), "value") for role in ("first", "then"))
        over = f"had returned {case.earlier('first', 'then')}"
        told = f"The read of {case.where} {case.by('then')} shows {other}"
        return (
            f"{told}; but the read of {one} by {case.words.who(case['first'])} {over}, and nothing ever leaves a log."
        )

    def _lacking_read(self, case: Case) -> str:
        item = case["first"]
        over = f"had returned {case.earlier('first', 'then')}"
        told = f"The read of {case.where} {case.by('then')} shows {plural(len(case['then'].result or ()), 'value')}"
        return f"{told}; but the append of {show(item.value)}, which {self._at(case, 'first')}, {over}."

    def _early(self, case: Case) -> str:
        read, item = case["first"], case["then"]
        over = f"had returned {case.earlier('first', 'then')}"
        shows = f"the read of {plural(len(read.result or ()), 'value')} by {case.words.who(read)}"
        told = f"The append of {show(item.value)} to {case.where} {case.by('then')} {self._at(case, 'then')}"
        return f"{told}; but {shows}, which shows that place, {over}."

    def _disorder(self, case: Case) -> str:
        first, then = (f"the append of {show(case[role].value)}" for role in ("first", "then"))
        told = f"{capital(then)} to {case.where} {case.by('then')} {self._at(case, 'then')}"
        over = f"had returned {case.earlier('first', 'then')}"
        return f"{told}, before {first}, which {self._at(case, 'first')}; but the latter {over}."

    def _crowd(self, case: Case) -> str:
        trouble = self.trouble
        free = plural(len(trouble.rows), "append")
        known = f" and {plural(len(trouble.known), 'append')} whose place is known" if trouble.known else ""
        since = f"{case.where} began with {plural(self.skip, 'value')}"
        if "first" in case:
            had = plural(self.skip + trouble.low, "value")
            since = f"{case.where} had {had} when {self._named(case, 'first')} returned"
        then = self._named(case, "then")
        return (
            f"{capital(since)}, then {free} ran wholly before {then} began{known} "
            f"came before it; that makes {self.skip + trouble.low + trouble.count} values at least, "
            f"but {then} {case.by('then')} found {self.skip + trouble.high}."
        )

    def _shortage(self, case: Case) -> str:
        trouble = self.trouble
        then = self._named(case, "then")
        since = f"it began with {plural(self.skip, 'value')}"
        window = "before that returned"
        if "first" in case:
            first = f"{self._named(case, 'first')} {case.by('first')}"
            since = f"it had only {self.skip + trouble.low} when {first} took effect"
            window = "from the call of that one until this one returned"
        could = f"{plural(trouble.count, 'append')} can" if trouble.count else "nothing can"
        shows = f"{capital(then)} {case.by('then')} shows that {case.where} had {self.skip + trouble.high} values"
        return f"{shows}; but {since}, and at most {could} have been added {window}."

    def _named(self, case: Case, role: str) -> str:
        item = case[role]
        if self.reads[item.index]:
            return f"the read of {plural(len(item.result or ()), 'value')}"
        return f"the append of {show(item.value)}, which {self._at(case, role)},"
