"""A growing history, judged again and again: the violation that is provable now, if there is one.

Linearizability can be judged on the way, for two reasons. It is *closed under prefixes*: what is impossible stays so,
whatever comes later. And it is *local*: keys are judged apart, so that only those with new events need another look.
Some checks that are no model are closed under prefixes too, and local or about one key (:data:`CLOSED`). Those that are
not (an element that is not there yet may still turn up) are judged at the end only; :func:`streams` says which.

How a key is judged: registers by :mod:`checkers.streaming.register`, event by event. All other data types, and keys
that it must leave alone, by the batch checker over the key's operations so far, at each *look*; how often that is worth
its cost is the caller's to decide (:mod:`harness.live_process`). Searches get a small budget: a key that needs more is
not judged any further until the end. Whatever the method, a key is refused only if the batch checker refuses its
history as it stands: the online register only says when to ask, and on which values (a million operations on one key
take the batch checker 0.7 s; those on two values take it nothing).

Keys are dealt out to *shards*, each with a history of its own, which take turns: a look at one of them is a sixteenth
of a look at all, and one pass over sixteen small histories takes half of the time of one over a large one (measured:
they fit into the processor's caches).

What is fed must be a prefix of the history: every event that happened before the last one fed has been fed. Then what
is open counts as ``info``, and no refusal can be taken back by what is still on its way. A run's recorder gives such
prefixes: it takes an event's time and its place in the file in one step, on one event loop, and later events get later
times; so when a line is in the file, every event with an earlier time is above it. Recorders on several machines would
have to be merged up to the earliest of the times that they have been heard of.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from checkers import linearizability
from checkers.event import Event
from checkers.guarantees import GUARANTEES
from checkers.history import History, HistoryBuilder
from checkers.models import MODELS
from checkers.search.exploration import Budget
from checkers.streaming.register import OnlineRegister
from checkers.transactions import TRANSACTIONS
from checkers.values import identity
from checkers.verdict import Blame, Finding, Result


def _transactions(history: History, budget: Budget) -> Result:
    return TRANSACTIONS["list-append"].check(history, {}, budget=budget)


def _leased_locks(history: History, budget: Budget) -> Result:  # noqa: ARG001 (its registers' values are unique)
    return GUARANTEES["leased-lock"].check(history)


CLOSED: Mapping[str, Callable[[History, Budget], Result]] = {
    "list-append": _transactions,
    "leased-lock": _leased_locks,
}
"""Checks that are no model and can be made on the way all the same: how they judge what there is so far."""

ONLINE = frozenset({"register", "cas-register"})
"""Models that are judged event by event."""

SHARDS = 16

LOOK_STATES = 20_000
LOOK_SECONDS = 0.2
"""What the searches of one look may use; the final check has the whole budget."""


def streams(model: str) -> bool:
    """Whether a check (a name of ``checkers.checking.CHECKS``) can be made while operations arrive."""
    return model in MODELS or model in CLOSED


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A refusal, with the number of events that had been fed: a prefix that the batch checker refuses, and the
    shortest one (``exact``) if the key was judged event by event.
    """

    finding: Finding
    events: int
    exact: bool


@dataclass(slots=True, eq=False)
class _Shard:
    """The history of some keys (told by their codes in it), and which of them have something new."""

    builder: HistoryBuilder = field(default_factory=lambda: HistoryBuilder(source="the history so far"))
    online: dict[int, OnlineRegister] = field(default_factory=dict)
    dirty: set[int] = field(default_factory=set)
    too_hard: set[int] = field(default_factory=set)
    fresh: list[tuple[int, Event]] = field(default_factory=list)
    """Events with their lines, of the feed under way."""


@dataclass(frozen=True, slots=True)
class _Open:
    """An operation that has begun."""

    shard: _Shard
    key: int
    position: int
    argument: Any


@dataclass(frozen=True, slots=True)
class _Suspicion:
    """A key that the online register refused, after so many events."""

    shard: _Shard
    key: int
    events: int


class Stream:
    """The events so far, and what is not judged yet."""

    def __init__(
        self,
        *,
        model: str,
        initial: Any = None,
        null_read: str = "value",
        clock: Callable[[], float] | None = None,
    ) -> None:
        """``clock``: seconds, to bound what a look's searches take; without one they are bounded by states alone.

        Raises:
            ValueError: the check is none that streams.
        """
        if not streams(model):
            known = ", ".join({**MODELS, **CLOSED})
            raise ValueError(f"{model!r} is judged at the end only; these are judged on the way: {known}")
        self.events = 0
        self._model, self._initial, self._null_read = model, initial, null_read
        self._clock = clock
        self._shards = tuple(_Shard() for _ in range(SHARDS))
        self._turns = list(self._shards)
        self._shard_of: dict[Hashable, _Shard] = {}
        self._open: dict[int, _Open] = {}
        self._suspicions: list[_Suspicion] = []

    def feed(self, events: Iterable[Event]) -> None:
        """Takes the next events, in order.

        Raises:
            HistoryError: they are no history.
        """
        for position, event in enumerate(events, self.events):
            self.events += 1
            if type(event.process) is int:
                self._take(event, event.process, position)
        for shard in self._shards:
            fresh, shard.fresh = shard.fresh, []
            shard.builder.read(fresh)

    @property
    def shards_due(self) -> int:
        """How many shards have something that was not judged yet."""
        return sum(bool(shard.dirty) for shard in self._shards)

    @property
    def suspicious(self) -> bool:
        """Whether the next look will most likely refuse."""
        return bool(self._suspicions)

    @property
    def due(self) -> bool:
        """Whether a look could tell something new."""
        return self.suspicious or self.shards_due > 0

    @property
    def too_hard(self) -> int:
        """Keys whose search ran out of its budget: left to the final check."""
        return sum(len(shard.too_hard) for shard in self._shards)

    def look(self) -> Violation | None:
        """Judges what is suspicious, then the shard whose turn it is among those with something new.

        Raises:
            HistoryError: an operation that the model does not know.
        """
        while self._suspicions:
            suspicion = self._suspicions.pop(0)
            finding = self._confirmed(suspicion)
            if finding is not None:
                return Violation(finding=finding, events=suspicion.events, exact=True)
        turn = next((place for place, shard in enumerate(self._turns) if shard.dirty), None)
        if turn is None:
            return None
        shard = self._turns.pop(turn)
        self._turns.append(shard)
        keys, shard.dirty = shard.dirty - shard.too_hard, set()
        finding = self._refused(shard, keys) if keys else None
        return None if finding is None else Violation(finding=finding, events=self.events, exact=False)

    def _confirmed(self, suspicion: _Suspicion) -> Finding | None:
        """The values that clash are enough, and few; should they not be, the whole key decides."""
        shard, keys = suspicion.shard, {suspicion.key}
        values = shard.online[suspicion.key].suspects
        return self._refused(shard, keys, values) or self._refused(shard, keys)

    def _refused(self, shard: _Shard, keys: set[int], values: Sequence[Any] | None = None) -> Finding | None:
        """The batch checker's refusal of one of the keys, as they stand (or of what they hold of some values)."""
        result = self._check(shard, keys, values)
        given_up = [finding.key for finding in result.findings if finding.blame is Blame.GAVE_UP]
        shard.too_hard.update(map(shard.builder.key, given_up))
        return next((finding for finding in result.findings if finding.blame is Blame.SYSTEM), None)

    def _check(self, shard: _Shard, keys: set[int], values: Sequence[Any] | None) -> Result:
        every = len(keys) == shard.builder.keys
        history = shard.builder.history(None if every else sorted(keys), values)
        budget = Budget(states=LOOK_STATES, seconds=LOOK_SECONDS if self._clock else None, clock=self._clock)
        if self._model in CLOSED:
            return CLOSED[self._model](history, budget)
        return linearizability.check(
            history, model=self._model, initial=self._initial, null_read=self._null_read, budget=budget
        )

    def _take(self, event: Event, process: int, position: int) -> None:
        if event.type == "invoke":
            shard = self._shard(event.key)
            self._invoke(event, process, shard, position)
        else:
            operation = self._open.pop(process, None)
            shard = self._shard(event.key) if operation is None else operation.shard
            if operation is not None:  # else the builder complains
                self._complete(event, operation, position)
        shard.fresh.append((position + 1, event))

    def _shard(self, key: Any) -> _Shard:
        """The shard of a key; new ones are dealt out in turn."""
        known = identity(key)
        shard = self._shard_of.get(known)
        if shard is None:
            shard = self._shard_of[known] = self._shards[len(self._shard_of) % SHARDS]
        return shard

    def _invoke(self, event: Event, process: int, shard: _Shard, position: int) -> None:
        """An invocation proves nothing by itself: it may not have happened."""
        key = shard.builder.key(event.key)
        self._open[process] = _Open(shard, key, position, event.value)
        if self._model in ONLINE:
            register = shard.online.get(key)
            if register is None:
                register = shard.online[key] = OnlineRegister(initial=self._initial, null_read=self._null_read)
            if register.judges:
                register.invoke(event.f, event.value, position)

    def _complete(self, event: Event, operation: _Open, position: int) -> None:
        """Hands it to the key's register; where there is none that judges, the key needs another look."""
        shard, key = operation.shard, operation.key
        register = shard.online.get(key)
        if register is None or not register.judges:
            if event.type != "info":
                shard.dirty.add(key)
            return
        register.complete(event.f, event.type, operation.argument, event.value, operation.position, position)
        if register.refused:
            self._suspicions.append(_Suspicion(shard, key, position + 1))
