"""A hook for testers in the node's transport: single messages are dropped, delayed, doubled or overtaken, by type and
peer. There is none unless the node is started with ``--hook messages``.

A rule names the messages that it is for, and what becomes of each of them. The first rule that wants a message has it.
Rules are set by a call on the client port (:mod:`node.serving.service`), last for as long as that says, and are gone
afterwards by themselves: whoever set them may die. What a rule holds when it goes is delivered at once, late as it is.

All this is what a network might do, so a correct node stays correct. A message that leaves late leaves after the turn
in which it was made, so after its trace.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

from node.identity import host_of
from node.network.wire import MESSAGES
from node.raft.messages import Message, RequestVote, VoteReply

RULES_MAX = 64
HELD_MAX = 4096
"""Messages that may be held at a time; what comes beyond is dropped, and counted."""
LASTS_S_MAX = 60.0

Direction = Literal["out", "in"]
Action = Literal["drop", "delay", "duplicate", "reorder"]
DIRECTIONS: tuple[Direction, ...] = ("out", "in")
ACTIONS: tuple[Action, ...] = ("drop", "delay", "duplicate", "reorder")
TYPES = (*(kind.__name__ for kind in MESSAGES), "PreVote", "PreVoteReply")
"""Names of messages. Questions and answers before a vote are named apart from real ones."""


def type_of(message: Message) -> str:
    """The message's name among :data:`TYPES`."""
    if isinstance(message, RequestVote) and message.pre:
        return "PreVote"
    if isinstance(message, VoteReply) and message.pre:
        return "PreVoteReply"
    return type(message).__name__


class Timer(Protocol):
    """Something that will be done; or not."""

    def cancel(self) -> None:
        """Not."""


class Timers(Protocol):
    """What is needed of an event loop."""

    def time(self) -> float:
        """Now, in seconds of its clock."""

    def call_later(self, delay: float, callback: Callable[..., None], *args: Any) -> Timer:
        """Does it so much later."""

    def call_soon(self, callback: Callable[..., None], *args: Any) -> Timer:
        """Does it after the present callback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What becomes of certain messages. Empty ``types`` and ``peers``: of all.

    ``delay_s``: how late a delayed message or the second of a doubled one is, and how long one that is to be overtaken
    waits for the next to the same peer. ``count``: of so many messages at most; 0: of any number.
    """

    name: str
    action: Action
    types: frozenset[str] = frozenset()
    peers: frozenset[str] = frozenset()
    directions: frozenset[Direction] = frozenset(DIRECTIONS)
    delay_s: float = 0.0
    probability: float = 1.0
    count: int = 0

    def wants(self, direction: Direction, message: Message) -> bool:
        """Whether it is for this message."""
        peer = host_of(message.target if direction == "out" else message.source)
        right_peer = not self.peers or peer in self.peers
        return direction in self.directions and right_peer and (not self.types or type_of(message) in self.types)


def fault_of(rule: Rule, peers: Iterable[str]) -> str | None:
    """What is wrong with a rule; None if it is fine."""
    unknown = [*sorted(rule.types - set(TYPES)), *sorted(rule.peers - set(peers))]
    if not rule.name or unknown:
        known = f"types are {', '.join(TYPES)}; peers are {', '.join(sorted(peers))}"
        return f"a rule {rule.name!r} for {', '.join(unknown) or 'nothing'}: {known}"
    if rule.action not in ACTIONS or not rule.directions or not rule.directions <= set(DIRECTIONS):
        return f"{rule.action!r} of {sorted(rule.directions)}: actions are {', '.join(ACTIONS)}; directions out and in"
    if not (0 < rule.probability <= 1 and 0 <= rule.delay_s <= LASTS_S_MAX and rule.count >= 0):
        return (
            f"probability {rule.probability:g} is from 0 (not included) to 1, delay {rule.delay_s:g} s from 0 to "
            f"{LASTS_S_MAX:g} s, count {rule.count} from 0"
        )
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """A rule in force, and what it did: ``matched`` messages were for it, and it took hold of ``hits`` of them.
    ``overflowed`` of those were dropped because too many are held.
    """

    rule: Rule
    left_s: float
    matched: int = 0
    hits: int = 0
    overflowed: int = 0


@dataclass(slots=True, eq=False)
class _Held:
    """A message that waits."""

    direction: Direction
    message: Message
    timer: Timer | None = None


@dataclass(slots=True, eq=False)
class _Active:
    """A rule in force."""

    tally: Tally
    until_s: float
    timer: Timer | None = None
    held: list[_Held] = field(default_factory=list)


class Interference:
    """The rules of one node, and the messages that they hold. Belongs to one loop."""

    def __init__(self, stream: random.Random, peers: Iterable[str], loop: Timers) -> None:
        self.peers = frozenset(peers)
        self._random = stream
        self._loop = loop
        self._active: dict[str, _Active] = {}
        self._late: dict[Direction, Callable[[Message], None]] = {}

    def attach(self, *, send: Callable[[Message], None], receive: Callable[[Message], None]) -> None:
        """How messages go on that were held: at once."""
        self._late = {"out": send, "in": receive}

    def passes(self, direction: Direction, message: Message) -> bool:
        """Whether the message goes on now. What was waiting for it goes on right after it."""
        active = self._taker(direction, message)
        if active is None:
            self._overtaken(direction, message)
            return True
        rule = active.tally.rule
        active.tally = replace(active.tally, hits=active.tally.hits + 1)
        if rule.action != "drop":
            self._hold(active, direction, message)
        return rule.action == "duplicate"

    def set(self, rule: Rule, lasts_s: float) -> None:
        """Puts a rule in force from now on for so long. One of the same name is replaced; the same rule again lasts
        longer, and goes on counting.
        """
        before = self._active.get(rule.name)
        if before is not None and before.tally.rule != rule:
            self.clear(rule.name)
            before = None
        active = before or _Active(Tally(rule=rule, left_s=lasts_s), 0.0)
        if active.timer is not None:
            active.timer.cancel()
        active.until_s = self._loop.time() + lasts_s
        active.timer = self._loop.call_later(lasts_s, self.clear, rule.name)
        self._active[rule.name] = active

    def clear(self, name: str) -> None:
        """Ends a rule. No error if there is none."""
        active = self._active.pop(name, None)
        if active is None:
            return
        if active.timer is not None:
            active.timer.cancel()
        for held in list(active.held):
            self._release(active, held)

    def close(self) -> None:
        """Forgets everything, held messages too: the node goes down."""
        for active in self._active.values():
            for timer in (active.timer, *(held.timer for held in active.held)):
                if timer is not None:
                    timer.cancel()
        self._active.clear()

    def tallies(self) -> list[Tally]:
        """The rules in force."""
        now_s = self._loop.time()
        return [replace(active.tally, left_s=active.until_s - now_s) for active in self._active.values()]

    def _taker(self, direction: Direction, message: Message) -> _Active | None:
        """The rule that has this message. One whose time is over is none, even if its timer has not fired yet."""
        for active in self._active.values():
            rule = active.tally.rule
            if rule.wants(direction, message) and self._loop.time() < active.until_s:
                active.tally = replace(active.tally, matched=active.tally.matched + 1)
                if self._takes(active, direction, message):
                    return active
        return None

    def _takes(self, active: _Active, direction: Direction, message: Message) -> bool:
        """Whether the rule has it now: not when it has had enough, nor when the message is to overtake another one."""
        rule = active.tally.rule
        if 0 < rule.count <= active.tally.hits:
            return False
        if rule.action == "reorder" and any(_same_way(held, direction, message) for held in active.held):
            return False
        return rule.probability >= 1 or self._random.random() < rule.probability

    def _hold(self, active: _Active, direction: Direction, message: Message) -> None:
        if sum(len(each.held) for each in self._active.values()) >= HELD_MAX:
            active.tally = replace(active.tally, overflowed=active.tally.overflowed + 1)
            return
        held = _Held(direction, message)
        held.timer = self._loop.call_later(active.tally.rule.delay_s, self._release, active, held)
        active.held.append(held)

    def _overtaken(self, direction: Direction, message: Message) -> None:
        """Another message goes to (or comes from) the same peer: those that waited to be overtaken by one follow it."""
        for active in self._active.values():
            if active.tally.rule.action == "reorder":
                for held in [held for held in active.held if _same_way(held, direction, message)]:
                    self._loop.call_soon(self._release, active, held)

    def _release(self, active: _Active, held: _Held) -> None:
        if held in active.held:
            active.held.remove(held)
            if held.timer is not None:
                held.timer.cancel()
            self._late[held.direction](held.message)


def _same_way(held: _Held, direction: Direction, message: Message) -> bool:
    return held.direction == direction and (held.message.source, held.message.target) == (
        message.source,
        message.target,
    )
