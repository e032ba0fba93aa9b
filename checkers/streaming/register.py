"""A register with compare-and-set whose written values are unique, judged event by event: O(log n) each, any length.

The conditions are those of the batch decider (:mod:`checkers.deciders.register.judgement`; Gibbons & Korach 1997). Here
they are kept true while the history grows, and the first event that breaks one is the last event of the shortest prefix
that the batch decider refuses. What makes it simple is that events come in the order of their positions:

- A value is *needed* once an ok operation wrote, saw or expected it; needing what a compare-and-set wrote needs what it
  expected. A value becomes needed once, with all that it was made from, so chains (see the batch decider) only ever
  grow at their end: there is nothing to merge. A needed value that nobody invoked is a phantom. A writer that
  completes ``fail`` although its value is needed certainly did not write it: a phantom, too.
- A chain's f, its earliest return, is set once, by its first completed operation, and that is *now*: the list of chains
  in the order of f is appended to and never changes. Only its s, the latest invocation, grows.
- When s of a chain grows, what can be new is: a forward zone that overlaps this one (of those that begin before it only
  the nearest matters, for forward zones that do not overlap end in the order in which they begin), a backward zone that
  came to lie inside this one, or this one, backward, inside a forward one. Zones that begin inside the part that grew
  and do no harm belong to operations that were open at its beginning: at most one a process.
- Inside a chain, an operation must not begin after an operation of a later value returned. Of each value only the first
  return counts; these come in time order, so the largest place in the chain among the returns before an invocation is
  found by bisection.

The values that clash are told (:attr:`OnlineRegister.suspects`): whole chains, so that whoever judges only the
operations on them judges a history that must be linearizable, too, if the whole is: taking a whole block out of a legal
order leaves a legal order.

What is open counts as ``info``: it may or may not have happened. A key in which a value is written twice, or the
initial one is, is not judged here (``deferred`` says why).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from checkers.deciders.register.numbering import DUPLICATE, INITIAL_WRITTEN
from checkers.values import identity

_NEVER = 1 << 62
_BEFORE_ALL = -1
_PLAIN = object()
"""What a plain write expects."""

Value = Hashable


@dataclass(slots=True, eq=False)
class _Chain:
    """A plain write's (or the initial) value and those that compare-and-sets made of it, with everybody who saw
    them: one zone.
    """

    length: int = 1
    first_return: int = _NEVER
    last_call: int = _BEFORE_ALL - 1
    returns: list[int] = field(default_factory=list)
    """When values of the chain were first seen or written with success, in time order."""
    furthest: list[int] = field(default_factory=list)
    """The furthest place in the chain among those returns, up to and including each."""

    @property
    def forward(self) -> bool:
        """Whether the zone forbids all others: an operation of it returned before another of it began."""
        return self.first_return < self.last_call


@dataclass(slots=True, eq=False)
class _Value:
    """A needed value: its place in its chain."""

    chain: _Chain
    place: int
    seen: bool = False
    consumed: bool = False


class OnlineRegister:
    """One key. ``refused`` once its history is impossible, and stays so; ``deferred`` (why) if it cannot be judged
    here: neither takes further events.
    """

    def __init__(self, *, initial: Any = None, null_read: str = "value") -> None:
        self.refused = False
        self.deferred: str | None = None
        self._initial = identity(initial)
        self._null_says_nothing = null_read == "unknown"
        self._writers: dict[Value, tuple[int, Value]] = {}
        """Call position and expected value of whoever was invoked to write a value and did not fail."""
        origin = _Chain(first_return=_BEFORE_ALL, returns=[_BEFORE_ALL], furthest=[0])
        self._values: dict[Value, _Value] = {self._initial: _Value(origin, 0, seen=True)}
        self._begins, self._chains = [_BEFORE_ALL], [origin]
        """Chains in the order of their first returns."""
        self._forward_begins: list[int] = []
        self._forward: list[_Chain] = []
        self._clash: list[_Chain] = []
        self._clashing: list[Any] = []
        """Chains and values that a refusal is about."""

    @property
    def judges(self) -> bool:
        """Whether it takes further events."""
        return self.deferred is None and not self.refused

    @property
    def suspects(self) -> list[Any]:
        """The values that clash, in a register that was refused, as they stand in the history's table."""
        of_chains = [value for value, place in self._values.items() if place.chain in self._clash]
        return [*of_chains, *self._clashing]

    def invoke(self, f: str, value: Any, position: int) -> None:
        """An operation begins. ``value`` is ``[expected, new]`` for a compare-and-set."""
        if f == "read":
            return
        expected, new = _pair(value) if f == "cas" else (_PLAIN, identity(value))
        if new == self._initial or new in self._writers:
            self.deferred = INITIAL_WRITTEN if new == self._initial else DUPLICATE
            return
        self._writers[new] = (position, expected)

    def complete(self, f: str, type_: str, argument: Any, value: Any, call: int, position: int) -> None:
        """An operation that began at ``call`` ends; ``value`` is what the completion carries."""
        if type_ == "ok":
            seen = identity(value) if f == "read" else _written(f, argument)
            if not (f == "read" and value is None and self._null_says_nothing):
                self._observe(seen, call, position)
        elif type_ == "fail" and f != "read":
            new = _written(f, argument)
            if new in self._values:
                self._refuse([self._values[new].chain])
            self._writers.pop(new, None)

    def _observe(self, value: Value, call: int, position: int) -> None:
        """An ok operation saw (or wrote) the value."""
        place = self._values.get(value) or self._need(value)
        if place is None:
            return
        chain = place.chain
        if _passed(place, call):
            self._refuse([chain])
            return
        if not place.seen:
            place.seen = True
            chain.returns.append(position)
            chain.furthest.append(max(place.place, chain.furthest[-1] if chain.furthest else 0))
        if chain.first_return == _NEVER:
            chain.first_return = position
            self._begins.append(position)
            self._chains.append(chain)
        self._grow(chain, call)

    def _need(self, value: Value) -> _Value | None:
        """Places a value in its chain, with all that it was made from; None if that is impossible."""
        path: dict[Value, tuple[int, Value]] = {}
        below: Value = value
        while below is not _PLAIN and below not in self._values:
            if below not in self._writers or below in path:
                self._refuse([], [*path, below])  # a phantom, or a circle of compare-and-sets
                return None
            path[below] = self._writers[below]
            below = path[below][1]
        place = None if below is _PLAIN else self._values[below]
        for new, (call, _) in reversed(path.items()):
            if place is not None and place.consumed:
                self._refuse([place.chain], [*path])
                return None
            place = self._append(place, new, call)
        return place

    def _append(self, below: _Value | None, value: Value, call: int) -> _Value:
        """A value at the end of the chain of the one it was made from, or at the beginning of a new one."""
        if below is None:
            place = _Value(_Chain(), 0)
        else:
            below.consumed = True
            place = _Value(below.chain, below.chain.length)
            below.chain.length += 1
        self._values[value] = place
        self._grow(place.chain, call)
        return place

    def _refuse(self, chains: list[_Chain], values: list[Value] | None = None) -> None:
        self.refused = True
        self._clash, self._clashing = chains, values or []

    def _grow(self, chain: _Chain, call: int) -> None:
        """An operation of the chain began at ``call``: does its zone still fit between the others?"""
        before, begin = chain.last_call, chain.first_return
        if call <= before:
            return
        chain.last_call = call
        if begin == _NEVER:
            return
        if begin > call:
            nearest = bisect_left(self._forward_begins, call) - 1
            if nearest >= 0 and self._forward[nearest].last_call > begin:
                self._refuse([chain, self._forward[nearest]])
            return
        self._grow_forward(chain, max(begin, before))

    def _grow_forward(self, chain: _Chain, known: int) -> None:
        """``known``: up to where no other zone was in the way before."""
        begin, end = chain.first_return, chain.last_call
        for place in range(bisect_right(self._begins, known), bisect_left(self._begins, end)):
            if self._chains[place].last_call > begin:
                self._refuse([chain, self._chains[place]])
                return
        nearest = bisect_left(self._forward_begins, begin)
        if nearest and self._forward[nearest - 1].last_call > begin:
            self._refuse([chain, self._forward[nearest - 1]])
        elif nearest == len(self._forward) or self._forward[nearest] is not chain:
            self._forward_begins.insert(nearest, begin)
            self._forward.insert(nearest, chain)


def _passed(value: _Value, call: int) -> bool:
    """Whether a later value of the same chain was there before an operation on this one began."""
    chain = value.chain
    before = bisect_left(chain.returns, call) - 1
    return before >= 0 and chain.furthest[before] > value.place


def _pair(value: Any) -> tuple[Value, Value]:
    expected, new = value
    return identity(expected), identity(new)


def _written(f: str, argument: Any) -> Value:
    return _pair(argument)[1] if f == "cas" else identity(argument)
