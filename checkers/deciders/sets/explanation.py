"""Why a set is impossible, in words: one method a kind of argument."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from checkers.deciders.refusals import Case, Ids, Refusals
from checkers.deciders.sets.columns import Columns
from checkers.deciders.sets.growth import Growth, Levels
from checkers.deciders.sets.removals import Removals
from checkers.deciders.sets.switch import impossible
from checkers.history import ABSENT, FAIL
from checkers.operation import Operation, Outcome
from checkers.values import identity
from checkers.wording import show

CANDIDATES_MAX = 400
"""Contains of one value from which the smallest impossible part is looked for."""

LOST = "lost element"
PHANTOM = "phantom element"
EARLY = "seen before it was added"
DISORDER = "reads disagree on the order"


class Story:
    """Turns what the method found into findings."""

    def __init__(self, refusals: Refusals, columns: Columns, removals: Removals, ranks: Levels, growth: Growth) -> None:
        self.refusals, self.columns, self.removals = refusals, columns, removals
        self.ranks, self.growth = ranks, growth
        self.history = columns.history

    def keys_of_faults(self) -> Ids:
        """Their keys."""
        return np.array([fault.key for fault in self.ranks.faults], dtype=np.int64)

    def phantom(self, element: int) -> None:
        """A contains found what nobody added."""
        columns = self.columns
        row = int(columns.found[np.flatnonzero(columns.found_of == element)[0]])
        value = self.history.values.values[int(self.history.value[row])]
        why, also = self._never_added(int(columns.key[element]), value)
        self.refusals.add(
            PHANTOM,
            {"contains": row},
            lambda case: f"The contains of {show(value)} in {case.where} {case.by('contains')} found it; but {why}.",
            also=also,
        )

    def _never_added(self, key: int, value: Any) -> tuple[str, tuple[int, ...]]:
        history = self.history
        adds = (history.key == key) & (history.f == history.function("add")) & (history.outcome == FAIL)
        failed = np.flatnonzero(adds & (history.value == history.values.find(value)))
        if len(failed):
            return "all attempts to add it certainly failed", (int(failed[0]),)
        return "nobody ever tried to add it", ()

    def fault(self, number: int) -> None:
        """Lists that cannot be."""
        fault = self.ranks.faults[number]
        if fault.what == "apart":
            self._apart(fault.read, fault.other, fault.element)
            return
        value = self.history.operation(fault.read).result[fault.place]
        if fault.what == "twice":

            def tell(case: Case) -> str:
                return f"The read of {case.where} {case.by('read')} shows {show(value)} twice; a set has it once."

            self.refusals.add("duplicate element", {"read": fault.read}, tell, also=self._adds_of(fault.key, value))
            return
        why, also = self._never_added(fault.key, value)
        self.refusals.add(
            PHANTOM,
            {"read": fault.read},
            lambda case: f"The read of {case.where} {case.by('read')} shows {show(value)}; but {why}.",
            also=also,
        )

    def _adds_of(self, key: int, value: Any) -> tuple[int, ...]:
        code, adds = self.history.values.find(value), self.columns.add
        return tuple(adds[(self.history.value[adds] == code) & (self.history.key[adds] == key)][:1].tolist())

    def _apart(self, read: int, other: int, element: int) -> None:
        lacking = self._value(element)
        if other == ABSENT:

            def tell_of_start(case: Case) -> str:
                began = f"with which {case.where} began, and nobody ever removed anything"
                return f"The read of {case.where} {case.by('read')} lacks {show(lacking)}, {began}."

            self.refusals.add(LOST, {"read": read}, tell_of_start)
            return
        mine, theirs = (self.history.operation(row).result or () for row in (read, other))
        known = set(map(identity, theirs))
        extra = next(value for value in mine if identity(value) not in known)

        def tell(case: Case) -> str:
            one = f"the read {case.by('other')} shows {show(lacking)} and not {show(extra)}"
            two = f"the read {case.by('read')} shows {show(extra)} and not {show(lacking)}"
            return f"Two reads of {case.where} disagree on what was added first: {one}, {two}; nothing was removed."

        self.refusals.add(DISORDER, {"read": read, "other": other}, tell)

    def _value(self, element: int) -> Any:
        code = int(self.columns.code[element])
        table = self.history.values.values
        if code < len(table):
            return table[code]
        name = next(name for name, more in self.columns.more.items() if more == code)
        return next(value for value in (self.refusals.initial or ()) if identity(value) == name)

    def removal(self, element: int) -> None:
        """An element that is removed, and contains that no moment of adding and removing explains."""
        columns = self.columns
        changes = [*columns.add[columns.add_of == element].tolist()]
        changes += columns.remove[columns.remove_of == element].tolist()
        rows = self._smallest(element, changes)
        value, began = self._value(element), bool(columns.initial[element])
        seen = sorted({*changes, *rows})
        found = [row for row in rows if self.history.result[row] == self.history.values.find(True)]
        removed = [row for row in changes if row in columns.remove]
        after = any(self.history.return_[gone] < self.history.call[row] for gone in removed for row in found)
        roles = {f"contains {number + 1}": row for number, row in enumerate(rows)}
        kind = "removed element seen" if after else LOST if len(found) < len(rows) else EARLY

        def tell(case: Case) -> str:
            once = f"{show(value)} was in {case.where} from the beginning" if began else f"{show(value)} was added once"
            facts = "; ".join(_fact(case, item) for item in case.operations if item.f != "add" or not began)
            rule = "from its add until a remove it is there, and never again after that"
            return f"{once}, and {rule}, but no moments for these agree with what was seen: {facts}."

        self.refusals.add(kind, roles, tell, before=self._precedences(seen), also=changes)

    def _smallest(self, element: int, changes: Sequence[int]) -> list[int]:
        """Contains of the element that are impossible together with its adds and removes; none can be left out."""
        columns, removals, history = self.columns, self.removals, self.history
        rows = np.concatenate(
            (columns.found[columns.found_of == element], columns.missed[columns.missed_of == element])
        )
        found = history.result[rows] == history.values.find(True)
        call, return_ = history.call[rows], history.return_[rows]
        extremes: list[int] = []
        if found.any():
            extremes += [int(rows[found][np.argmin(return_[found])]), int(rows[found][np.argmax(call[found])])]
        if not found.all():
            extremes.append(int(rows[~found][np.argmax(call[~found])]))
        inside = ~found & (call > removals.until[element]) & (return_ <= removals.gone[element])
        extremes += rows[inside][:1].tolist()
        chosen = list(dict.fromkeys(extremes))
        began = bool(columns.initial[element])
        for row in list(chosen):
            rest = [other for other in chosen if other != row]
            if impossible([history.operation(at) for at in (*changes, *rest)], began=began):
                chosen = rest
        return chosen

    def _precedences(self, rows: Sequence[int]) -> list[tuple[int, int]]:
        """Who was over before whom, without what follows from others."""
        call, return_ = self.history.call, self.history.return_
        pairs = [(one, two) for one in rows for two in rows if return_[one] < call[two]]
        known = set(pairs)
        return [(a, b) for a, b in pairs if not any((a, c) in known and (c, b) in known for c in rows)][:40]

    def appearance(self, element: int) -> None:
        """An element that was there before something that must have been before it began."""
        key, span = int(self.columns.key[element]), self.growth.span
        earliest = self.growth.own if self.growth.wrong_alone[element] else self.growth.earliest
        later = self._called(int(earliest[element]) - key * span - 2)
        until = int(self.removals.until[element])
        earlier = ABSENT if until < 0 else int(np.flatnonzero(self.history.return_ == until)[0])
        self._out_of_order(earlier, later, element)

    def read(self, number: int) -> None:
        """A read that was over before something that it shows, or an earlier read, began."""
        row = int(self.columns.read[number])
        key, span = int(self.history.key[row]), self.growth.span
        later = self._called(int(self.growth.read_earliest[number]) - key * span - 2)
        self._out_of_order(row, later, ABSENT)

    def _called(self, position: int) -> int:
        return int(np.flatnonzero(self.history.call == position)[0])

    def _out_of_order(self, earlier: int, later: int, element: int) -> None:
        """``earlier`` (:data:`ABSENT`: the beginning) shows an element and was over before ``later`` began, which shows
        that it was not there yet.
        """
        history = self.history
        is_read = history.functions[int(history.f[later])] == "read"
        name = ABSENT if is_read else self._element_of(later)
        roles = {"later": later, **({} if earlier == ABSENT else {"earlier": earlier})}
        also: tuple[int, ...] = ()
        if earlier != ABSENT and history.functions[int(history.f[earlier])] == "read":
            element = self._shown(earlier, later) if is_read else name
        if not is_read and name != element:
            roles["between"] = self._reader(name)
        if element != ABSENT:
            also = self._adds_of(int(history.key[later]), self._value(element))
        value, kind = self._value(element), self._kind(later, name == element)
        pairs = [] if earlier == ABSENT else [(earlier, later)]
        self.refusals.add(kind, roles, lambda case: _sentence(case, value), before=pairs, also=also)

    def _kind(self, later: int, same: bool) -> str:
        f = self.history.functions[int(self.history.f[later])]
        if f == "read" or (same and f == "contains"):
            return LOST
        return EARLY if same else DISORDER

    def _element_of(self, row: int) -> int:
        columns = self.columns
        rows = np.concatenate((columns.add, columns.missed))
        return int(np.concatenate((columns.add_of, columns.missed_of))[np.flatnonzero(rows == row)[0]])

    def _shown(self, one: int, other: int) -> int:
        """An element that one read shows and the other lacks."""
        history = self.history
        lacks = set(map(identity, history.operation(other).result or ()))
        value = next(value for value in history.operation(one).result if identity(value) not in lacks)
        mine = np.flatnonzero(self.columns.key == history.key[one])
        code = history.values.find(value)
        code = code if code != ABSENT else self.columns.more[identity(value)]
        return int(mine[self.columns.code[mine] == code][0])

    def _reader(self, element: int) -> int:
        """The first read of the level of an element: it shows the element and nothing of later levels."""
        return int(self.columns.read[np.flatnonzero(self.ranks.read == self.ranks.element[element])[0]])


def _fact(case: Case, item: Operation) -> str:
    ended = "nobody saw it end" if item.outcome is not Outcome.OK else case.words.ended(item)
    times = (
        f"({case.words.began(item)} to {ended})"
        if item.outcome is Outcome.OK
        else f"({case.words.began(item)}, {ended})"
    )
    deeds = {
        "add": "added it",
        "remove": "removed it",
        "contains": "found it" if item.result is True else "did not find it",
    }
    return f"{case.words.who(item)} {deeds[item.f]} {times}"


def _sentence(case: Case, value: Any) -> str:
    later = case["later"]
    shown = show(value)
    there = f"{case.where} began with it"
    if "earlier" in case:
        earlier = case["earlier"]
        how = {"add": "the add of it", "contains": "a contains that found it", "read": "a read that shows it"}[
            earlier.f
        ]
        there = f"{how} by {case.words.who(earlier)} had returned {case.earlier('earlier', 'later')}"
    if "between" in case:
        other = show(later.value)
        begins = "began to be added only" if later.f == "add" else "was not found by a contains that began only"
        seen = f"The read of {case.where} {case.by('between')} shows {other} and not {shown}, so {other} came first"
        return f"{seen}; but {other} {begins} at {case.words.began(later)} ({case.words.who(later)}), and {there}."
    if later.f == "add":
        only = f"the first add of it, {case.by('later')}, began"
        return f"{shown} was in {case.where} before anybody added it: {only} only after that; {there}."
    lacks = "lacks" if later.f == "read" else "did not find"
    what = "read" if later.f == "read" else f"contains of {shown}"
    object_ = shown if later.f == "read" else "it"
    kept = "and nobody ever removed it"
    return f"The {what} of {case.where} {case.by('later')} {lacks} {object_}; but {there}, {kept}.".replace(
        f"contains of {shown} of", f"contains of {shown} in"
    )
