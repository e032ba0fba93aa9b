"""A growing history, judged again and again: the violation that is provable now, if there is one.

Linearizability can be judged on the way, for two reasons. It is *closed under prefixes*: what is impossible stays so,
whatever comes later. And it is *local*: keys are judged apart, so that only those with new events need another look.
Checks that have not both (an element that is not there yet may still turn up) are judged at the end only;
:func:`streams` says which.

How a key is judged: registers by :mod:`checkers.streaming.register`, event by event. All other data types, and keys
that it must leave alone, by the batch checker over the key's operations so far, at each *look*; how often that is worth
its cost is the caller's to decide (:mod:`harness.live_process`). Searches get a small budget: a key that needs more is
not judged any further until the end. Whatever the method, a key is refused only if the batch checker refuses its
history as it stands: the online register only says when to ask.

What is fed must be a prefix of the history: every event that happened before the last one fed has been fed. Then what
is open counts as ``info``, and no refusal can be taken back by what is still on its way. A run's recorder gives such
prefixes: it takes an event's time and its place in the file in one step, on one event loop, and later events get later
times; so when a line is in the file, every event with an earlier time is above it. Recorders on several machines would
have to be merged up to the earliest of the times that they have been heard of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from checkers import linearizability
from checkers.event import Event
from checkers.history import HistoryBuilder
from checkers.models import MODELS
from checkers.search.exploration import Budget
from checkers.streaming.register import OnlineRegister
from checkers.verdict import Blame, Finding

ONLINE = frozenset({"register", "cas-register"})
"""Models that are judged event by event."""

LOOK_STATES = 20_000
LOOK_SECONDS = 0.2
"""What the searches of one look may use; the final check has the whole budget."""


def streams(model: str) -> bool:
    """Whether a check (a name of ``checkers.checking.CHECKS``) can be made while operations arrive."""
    return model in MODELS


@dataclass(frozen=True, kw_only=True, slots=True)
class Violation:
    """A refusal, with the number of events that had been fed: a prefix that the batch checker refuses, and the
    shortest one (``exact``) if the key was judged event by event.
    """

    finding: Finding
    events: int
    exact: bool


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
            raise ValueError(f"{model!r} is judged at the end only; these are judged on the way: {', '.join(MODELS)}")
        self._model, self._initial, self._null_read = model, initial, null_read
        self._clock = clock
        self._builder = HistoryBuilder(source="the history so far")
        self._online: dict[Any, OnlineRegister] = {}
        self._open: dict[int | str, tuple[int, Any, Any]] = {}
        self._dirty: set[int] = set()
        self._suspects: list[tuple[int, int]] = []
        """Keys that the online register refused, and the number of events at which it did."""
        self.events = 0
        self.too_hard: set[int] = set()
        """Keys whose search ran out of its budget: left to the final check."""

    def feed(self, events: Iterable[Event]) -> None:
        """Takes the next events, in order.

        Raises:
            HistoryError: they are no history.
        """
        batch = list(events)
        self._builder.read(enumerate(batch, self.events + 1))
        if self._model in ONLINE:
            for position, event in enumerate(batch, self.events):
                self._judge(event, position)
        else:
            for event in batch:
                self._touch(event)
        self.events += len(batch)

    @property
    def due(self) -> bool:
        """Whether a look could tell something new."""
        return bool(self._dirty or self._suspects)

    def look(self) -> Violation | None:
        """Judges what has not been judged yet.

        Raises:
            HistoryError: an operation that the model does not know.
        """
        while self._suspects:
            key, events = self._suspects.pop(0)
            finding = self._refused({key})
            if finding is not None:
                return Violation(finding=finding, events=events, exact=True)
        keys, self._dirty = self._dirty - self.too_hard, set()
        finding = self._refused(keys) if keys else None
        return None if finding is None else Violation(finding=finding, events=self.events, exact=False)

    def _refused(self, keys: set[int]) -> Finding | None:
        """The batch checker's refusal of one of the keys, as they stand."""
        history = self._builder.history(sorted(keys) if len(keys) < self._builder.keys else None)
        budget = Budget(states=LOOK_STATES, seconds=LOOK_SECONDS if self._clock else None, clock=self._clock)
        result = linearizability.check(
            history, model=self._model, initial=self._initial, null_read=self._null_read, budget=budget
        )
        self.too_hard.update(
            self._builder.key(finding.key) for finding in result.findings if finding.blame is Blame.GAVE_UP
        )
        return next((finding for finding in result.findings if finding.blame is Blame.SYSTEM), None)

    def _touch(self, event: Event) -> None:
        """Notes that the event's key needs another look. An invocation proves nothing: it may not have happened."""
        if type(event.process) is not int:
            return
        if event.type == "invoke":
            self._open[event.process] = (0, event.key, None)
        else:
            _, key, _ = self._open.pop(event.process)
            if event.type != "info":
                self._dirty.add(self._builder.key(key))

    def _judge(self, event: Event, position: int) -> None:
        """Hands the event to its key's register; where that gives up, the key is looked at like any other."""
        process = event.process
        if type(process) is not int:
            return
        if event.type == "invoke":
            key = self._builder.key(event.key)
            self._open[process] = (position, key, event.value)
            register = self._online.get(key)
            if register is None:
                register = self._online[key] = OnlineRegister(initial=self._initial, null_read=self._null_read)
            if register.deferred is None and not register.refused:
                register.invoke(event.f, event.value, position)
            return
        call, key, argument = self._open.pop(process)
        register = self._online[key]
        if register.deferred is not None or register.refused:
            if event.type != "info":
                self._dirty.add(key)
            return
        register.complete(event.f, event.type, argument, event.value, call, position)
        if register.refused:
            self._suspects.append((key, position + 1))
