"""Locks: without owner, with owner, entered again by their owner, and with fencing tokens.

Where there is an owner it is a process: who crashed while holding the lock (its worker goes on under a new process
number) holds it for ever, unless a release of its own is still on the way.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from checkers.models.model import REFUSED, Call, Model, Refused, Unvalued

_FUNCTIONS = frozenset({"acquire", "release"})

FREE = None
"""The state of a lock that nobody holds. (The others' states are process numbers, or begin with one.)"""


@dataclass(frozen=True, kw_only=True)
class Mutex(Unvalued):
    """acquire and release by whoever; the state is whether it is held.

    The initial value is ``unlocked`` (or null), or ``locked``.
    """

    functions: ClassVar[frozenset[str]] = _FUNCTIONS
    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """Is it held?"""
        if initial not in (None, "unlocked", "locked"):
            raise ValueError(f"the initial value of a mutex is {initial!r}; use 'unlocked' or 'locked'")
        return bool(initial == "locked")

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Only a free mutex can be acquired, only a held one released."""
        acquires: bool = call.f == "acquire"
        return REFUSED if state == acquires else acquires

    def observation(self, call: Call) -> bool:  # noqa: ARG002
        """None: both functions change the state."""
        return False

    def produces(self, call: Call) -> Hashable:
        """Held after acquire, free after release."""
        return bool(call.f == "acquire")

    def observes(self, call: Call) -> Hashable:
        """Free before acquire, held before release."""
        return bool(call.f != "acquire")

    def shown(self, state: Any) -> Any:
        """In words."""
        return "locked" if state else "unlocked"

    def valued(self) -> bool:
        """Yes: acquire is a compare-and-set from free to held."""
        return True


class Owned(Unvalued):
    """What locks with owners share: they ask who calls, and nothing that happens to them only observes."""

    functions: ClassVar[frozenset[str]] = _FUNCTIONS
    by_process = True

    def observation(self, call: Call) -> bool:  # noqa: ARG002
        """None: both functions change the state."""
        return False


@dataclass(frozen=True, kw_only=True)
class OwnedMutex(Owned):
    """acquire, and release by the process that acquired.

    The initial value is ``unlocked`` (or null), or the number of the process that holds it.
    """

    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """The holder."""
        return _holder(initial, "an owned mutex")

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Only a free mutex can be acquired, only the holder can release."""
        return self.produces(call) if state == self.observes(call) else REFUSED

    def produces(self, call: Call) -> Hashable:
        """The caller after acquire, nobody after release."""
        return call.process if call.f == "acquire" else FREE

    def observes(self, call: Call) -> Hashable:
        """Nobody before acquire, the caller before release."""
        return FREE if call.f == "acquire" else call.process

    def valued(self) -> bool:
        """Yes: acquire is a compare-and-set from nobody to the caller."""
        return True

    def shown(self, state: Any) -> Any:
        """In words."""
        return _shown_holder(state)


@dataclass(frozen=True, kw_only=True)
class ReentrantMutex(Owned):
    """acquire by anybody while it is free, again and again by its holder; free after as many releases by the holder.

    The initial value is ``unlocked`` (or null), or an object with any of ``holder`` (a process), ``depth`` (how often
    it acquired, by default once) and ``bound`` (how deep it may go: the acquire beyond is refused; Hazelcast calls it
    the lock acquire limit; by default there is none).
    """

    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """Holder, depth and bound (0: none)."""
        if initial in (None, "unlocked"):
            return FREE, 0, 0
        if not isinstance(initial, dict) or not set(initial) <= {"holder", "depth", "bound"}:
            raise ValueError(
                f"the initial value of a reentrant mutex is {initial!r}; use 'unlocked' or an object like "
                '{"holder": 3, "depth": 1, "bound": 2}'
            )
        holder, bound = _holder(initial.get("holder"), "a reentrant mutex"), initial.get("bound", 0)
        depth = initial.get("depth", 0 if holder is FREE else 1)
        if not all(type(number) is int and number >= 0 for number in (depth, bound)) or (depth > 0) != (
            holder is not FREE
        ):
            raise ValueError(f"the initial value of a reentrant mutex is {initial!r}; depth and bound are counts")
        return holder, depth, bound

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Only the holder goes deeper, up to the bound, and only the holder comes back."""
        holder, depth, bound = state
        if call.f == "acquire":
            mine = holder is FREE or holder == call.process
            return (call.process, depth + 1, bound) if mine and (not bound or depth < bound) else REFUSED
        if holder is FREE or holder != call.process:
            return REFUSED
        return (FREE if depth == 1 else holder, depth - 1, bound)

    def shown(self, state: Any) -> Any:
        """In words."""
        holder, depth, _ = state
        return _shown_holder(holder) + (f", {depth} times" if depth > 1 else "")


@dataclass(frozen=True, kw_only=True)
class FencedLock(Owned):
    """acquire, which returns a fencing token greater than all before (null: not told), and release by the holder.

    The initial value is null (free, no token yet), or an integer: free, and the last token.

    Tokens are integers. The state holds the *least* that the last token can have been, and that is exact. After any
    calls in a fixed order the tokens that the lock may have given last are all integers from some bound on, or a single
    one: at first one number (or all, when there was none yet); a token ``t`` that was told is legal if and only if one
    of them is less, that is, if the least of them is, and leaves only ``t``; one that nobody saw (an acquire that ended
    ``info``, or a result of null) leaves every number greater than one of them, that is, all from the least plus one.
    So what is legal later depends on the least alone: two unseen tokens between 5 and 8 fit, two between 5 and 7 don't.
    """

    null_read: str = "value"

    def start(self, initial: Any) -> Hashable:
        """Nobody, and the last token (None: there was none)."""
        if initial in (None, "unlocked"):
            return FREE, None
        if type(initial) is not int:
            raise ValueError(f"the initial value of a fenced lock is {initial!r}; use null, or the last token")
        return FREE, initial

    def step(self, state: Any, call: Call) -> Hashable | Refused:
        """Only a free lock can be acquired, with a greater token; only the holder can release."""
        holder, last = state
        if call.f == "release":
            return (FREE, last) if holder is not FREE and holder == call.process else REFUSED
        if holder is not FREE:
            return REFUSED
        if not call.known or call.result is None:
            return call.process, None if last is None else last + 1
        return (call.process, call.result) if last is None or call.result > last else REFUSED

    def shown(self, state: Any) -> Any:
        """In words."""
        holder, last = state
        return _shown_holder(holder) + ("" if last is None else f", last token {last} or greater")

    def narrowed(self, calls: Iterable[Call]) -> Model:
        """Itself, after looking at the tokens."""
        for call in calls:
            if call.f == "acquire" and call.known and not (call.result is None or type(call.result) is int):
                raise ValueError(f"an acquire returned {call.result!r}; the fencing token of a lock is an integer")
        return cast(Model, self)


def _holder(initial: Any, what: str) -> int | None:
    if initial in (None, "unlocked") and not isinstance(initial, bool):
        return FREE
    if type(initial) is not int:
        raise ValueError(f"the initial holder of {what} is {initial!r}; use 'unlocked' or the number of a process")
    return initial


def _shown_holder(holder: int | None) -> str:
    return "unlocked" if holder is FREE else f"locked by process {holder}"
