"""Which of two versions of a register is older, as far as a history proves it. Sessions are judged by it.

What is used, and nothing else:

1. **version numbers**, if results carry them (``[version, value]``): the smaller is older;
2. **compare-and-set chains**, where written values are unique: a value is older than what was made from it. A
   compare-and-set that nobody saw end counts if its new value was read. A value from which two were made gives no
   order;
3. **the initial value** is older than every written one;
4. **real time of writes** (unless switched off): version b is older than version a of another chain if something as new
   as b was known before the write of something as old as a began. That holds wherever writes are ordered by a leader or
   a quorum, and need not hold where any node takes writes.

Reads order nothing: they are what is judged. A value that was written more than once has no version, and operations on
it say nothing.

A version is (chain, place, known, begun): *known* is the earliest position by which it or what was made from it was
known, *begun* the latest at which the write of it or of what it was made from began. So each comparison takes constant
time: within a chain by place, between chains by ``b.known < a.begun``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from checkers.guarantees.overwriting import Observations, Registers, observations
from checkers.guarantees.selection import Rows, acknowledged, rows_of
from checkers.history import ABSENT, INFO, NEVER, OK, History
from checkers.values import identity

Column = npt.NDArray[np.int64]
_NONE = -1


class Version(NamedTuple):
    """One version of one key; ``known_by`` and ``begun_by`` are the rows that prove the two positions (-1: none)."""

    chain: int
    place: int
    known: int = NEVER
    begun: int = _NONE
    known_by: int = _NONE
    begun_by: int = _NONE
    known_value: int = ABSENT
    """The code of the value that ``known_by`` proves to have been there: this version's, or what was made from it."""


def older(one: Version, other: Version) -> bool:
    """Whether ``one`` is provably older than ``other``."""
    if one.chain == other.chain:
        return one.place < other.place
    return one.known < other.begun


class Versions(NamedTuple):
    """What each operation that ended ok found and left (None: nothing, or nothing known)."""

    found: Mapping[int, Version]
    left: Mapping[int, Version]


def numbered(history: History, null_read: str) -> Versions:
    """Versions by the numbers in results: ``[version, value]``."""
    found: dict[int, Version] = {}
    named: dict[tuple[int, Any], int | None] = {}
    for row in acknowledged(history, rows_of(history, "read")).tolist():
        result = history.values.values[int(history.result[row])]
        number = _number(result)
        if number is None or (null_read == "unknown" and result is None):
            continue
        key = int(history.key[row])
        found[row] = Version(key, number)
        name = (key, identity(result[1]))
        named[name] = number if named.setdefault(name, number) == number else None
    left: dict[int, Version] = {}
    for row in acknowledged(history, rows_of(history, "write", "cas")).tolist():
        key, code = int(history.key[row]), int(history.result[row])
        number = _number(history.values.values[code]) if code != int(history.value[row]) and code >= 0 else None
        if number is None:
            number = named.get((key, identity(history.values.values[int(history.value[row])])))
        if number is not None:
            left[row] = Version(key, number)
    return Versions(found, left)


def _number(result: Any) -> int | None:
    if isinstance(result, tuple) and len(result) == 2 and type(result[0]) is int:
        return result[0]
    return None


def unique_values(history: History, initial: Any, null_read: str, *, real_time: bool) -> Versions:
    """Versions by their values, each written once."""
    seen = observations(history, null_read)
    registers = Registers.of(history, seen, initial)
    chains = _Chains(registers, seen, real_time=real_time)
    of_seen = registers.numbers(seen.row, seen.value)
    found: dict[int, Version] = {}
    for row, value, number in zip(seen.row.tolist(), seen.value.tolist(), of_seen.tolist(), strict=True):
        version = chains.initial(int(history.key[row])) if number == _NONE and value == registers.initial else None
        version = version or chains.of(number)
        if version is not None:
            found[row] = version
    done: Rows = registers.write[(history.outcome[registers.write] == OK)]
    numbers = registers.numbers(done, history.value[done].astype(np.int64))
    left = {row: chains.of(number) for row, number in zip(done.tolist(), numbers.tolist(), strict=True)}
    return Versions(found, {row: version for row, version in left.items() if version is not None})


class _Chains:
    """Chains of values, each written once: by their numbers in ``registers``; initial values by key, below zero."""

    def __init__(self, registers: Registers, seen: Observations, *, real_time: bool) -> None:
        history = registers.history
        self.write: list[int] = np.full(len(registers.pair), _NONE).tolist()
        for at, number in enumerate(registers.pair_of.tolist()):
            self.write[number] = at
        self.single = (registers.writers == 1).tolist()
        self.versions: dict[int, Version] = {}
        self.real_time = real_time
        self.call = history.call[registers.write].tolist()
        self.known, self.known_by = registers.known.tolist(), registers.known_by.tolist()
        self.rows = registers.write.tolist()
        self.value = history.value[registers.write].tolist()
        made = self._links(registers, seen)
        targets = set(made.values())
        for number in {*made, *range(len(self.single))}:
            if number not in targets and (number < 0 or self.single[number]):
                self._number_chain(number, made)

    def of(self, number: int) -> Version | None:
        return self.versions.get(number)

    def initial(self, key: int) -> Version:
        return self.versions.get(_initial(key)) or Version(_initial(key), 0, _NONE, _NONE)

    def _links(self, registers: Registers, seen: Observations) -> dict[int, int]:
        """number of a value: of the one that was made from it."""
        history = registers.history
        swaps = registers.write[history.f[registers.write] == history.function("cas")]
        new = registers.numbers(swaps, history.value[swaps].astype(np.int64))
        old = registers.numbers(swaps, history.expected[swaps].astype(np.int64))
        read = set(registers.numbers(seen.row, seen.value).tolist())
        made: dict[int, int] = {}
        torn: set[int] = set()
        for row, before, after in zip(swaps.tolist(), old.tolist(), new.tolist(), strict=True):
            if history.outcome[row] == INFO and after not in read:
                continue
            if before == _NONE and history.expected[row] == registers.initial:
                before = _initial(int(history.key[row]))
            if not self.single[after] or before == _NONE or (before >= 0 and not self.single[before]):
                continue
            if made.setdefault(before, after) != after:
                torn.add(before)
        return {before: after for before, after in made.items() if before not in torn}

    def _number_chain(self, first: int, made: Mapping[int, int]) -> None:
        chain = [first]
        while chain[-1] in made:
            chain.append(made[chain[-1]])
        begun: list[int] = []
        begun_by: list[int] = []
        for number in chain:
            at = self.write[number] if number >= 0 else None
            call, row = (_NONE, _NONE) if at is None else (self.call[at] if self.real_time else 0, self.rows[at])
            if begun and begun[-1] > call:
                call, row = begun[-1], begun_by[-1]
            begun.append(call)
            begun_by.append(row)
        known, by, value = NEVER, _NONE, ABSENT
        for place in range(len(chain) - 1, -1, -1):
            number = chain[place]
            at = self.write[number] if number >= 0 else None
            if at is None:
                known, by, value = _NONE, _NONE, ABSENT
            elif self.real_time and self.known[at] < known:
                known, by, value = self.known[at], self.known_by[at], self.value[at]
            self.versions[number] = Version(first, place, known, begun[place], by, begun_by[place], value)


def _initial(key: int) -> int:
    return -2 - key
