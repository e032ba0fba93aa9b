"""Small random histories of every model, from the model alone: most are nearly right, so that both verdicts are
frequent. Values repeat, outcomes are unknown or failed, intervals overlap and touch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from checkers.models.model import Call, Model, Refused, hashable
from tests.checkers.histories import Event, intervals

Arguments = Callable[[random.Random], Any]


def _nothing(_: random.Random) -> Any:
    return None


def _value(random_: random.Random) -> Any:
    return random_.randrange(3)


def _pair(random_: random.Random) -> Any:
    return [random_.choice((None, 0, 1, 2)), random_.randrange(3)]


def _text(random_: random.Random) -> Any:
    return random_.choice("ab")


def _texts(random_: random.Random) -> Any:
    return [random_.choice((None, "a", "b", "ab")), random_.choice("ab")]


def _transaction(kind: str) -> Arguments:
    def steps(random_: random.Random) -> Any:
        kinds = random_.choices(("r", kind), k=random_.randint(1, 3))
        return [[item, random_.choice("xy"), None if item == "r" else random_.randrange(3)] for item in kinds]

    return steps


REGISTER: Mapping[str, Arguments] = {"read": _nothing, "write": _value, "cas": _pair}
LOCK: Mapping[str, Arguments] = {"acquire": _nothing, "release": _nothing}
ARGUMENTS: Mapping[str, Mapping[str, Arguments]] = {
    "register": {"read": _nothing, "write": _value},
    "cas-register": REGISTER,
    "multi-register": {"txn": _transaction("w")},
    "kv": {"get": _nothing, "put": _text, "append": _text, "delete": _nothing, "cas": _texts},
    "mutex": LOCK,
    "owned-mutex": LOCK,
    "reentrant-mutex": LOCK,
    "fenced-lock": LOCK,
    "versioned-register": REGISTER,
    "list-append": {"txn": _transaction("append")},
    "set": {"add": _value, "remove": _value, "contains": _value, "read": _nothing},
    "counter": {"add": _value, "read": _nothing},
    "log": {"append": _value, "read": _nothing},
    "fifo-queue": {"enqueue": _value, "dequeue": _nothing},
    "stack": {"push": _value, "pop": _nothing},
    "priority-queue": {"insert": _value, "poll": _nothing, "peek": _nothing},
}
"""The functions of each model (those that both the model and this file know are called) and their arguments."""


def any_history(random_: random.Random, name: str, model: Model, initial: Any) -> list[Event]:
    """Calls that took effect at random moments of a model, some results those of another moment."""
    return _Object(random_, name, model, initial).history()


class _Object:
    def __init__(self, random_: random.Random, name: str, model: Model, initial: Any) -> None:
        self.random, self.model = random_, model
        self.arguments = ARGUMENTS[name]
        self.states = [model.start(initial)]
        self.lies = random_.choice((0.0, 0.3, 0.6))
        self.pending: dict[int, tuple[str, Any, int]] = {}
        self.results: dict[int, Any] = {}

    def history(self) -> list[Event]:
        random_ = self.random
        schedule = intervals(random_, random_.randint(3, 7), random_.randint(1, 4))
        generation: dict[int, int] = {}
        calls: dict[int, tuple[str, Any, int]] = {}
        events: list[Event] = []
        time = 0
        for kind, worker, number in schedule:
            time += random_.choice((0, 1, 1))
            if kind == "invoke":
                process = worker + 10 * generation.get(worker, 0)
                f = random_.choice([*self.arguments])
                calls[number] = self.pending[number] = (f, self.arguments[f](random_), process)
            for other in random_.sample(sorted(self.pending), len(self.pending)):
                if (kind == "complete" and other == number) or random_.random() < 0.3:
                    self.take_effect(other, *self.pending.pop(other))
            f, value, process = calls[number]
            base = {"time": time, "process": process, "f": f, "value": value}
            if kind == "invoke":
                events.append({**base, "type": "invoke"})
                continue
            outcome = self.outcome(number)
            generation[worker] = generation.get(worker, 0) + (outcome in ("info", ""))
            if outcome:
                events.append({**base, "type": outcome, **({"value": self.results[number]} if outcome == "ok" else {})})
        return events

    def outcome(self, number: int) -> str:
        if self.random.random() < 0.15:
            return self.random.choice(("info", ""))
        return "fail" if self.results[number] is Refused else "ok"

    def take_effect(self, number: int, f: str, value: Any, process: int) -> None:
        lies = self.random.random() < self.lies
        seen = self.random.choice(self.others()) if lies else self.states[-1]
        every = self.candidates(seen, f, value)
        legal = [result for result in every if lies or self.after(seen, f, value, result, process)]
        self.results[number] = self.random.choice(legal) if legal else (value if lies and f != "txn" else Refused)
        true = self.candidates(self.states[-1], f, value)
        states = [state for result in true for state in self.after(self.states[-1], f, value, result, process)]
        if states and self.results[number] is not Refused:
            self.states.append(states[0])

    def others(self) -> Sequence[Any]:
        """States that a few calls lead to."""
        states = [self.states[0]]
        for process in range(4):
            f = self.random.choice([*self.arguments])
            value = self.arguments[f](self.random)
            for result in self.candidates(states[-1], f, value):
                states += self.after(states[-1], f, value, result, process)
        return states

    def after(self, state: Any, f: str, value: Any, result: Any, process: int) -> Sequence[Any]:
        """The state after a call with that result, if it is legal."""
        owner = process if self.model.by_process else None
        try:
            after = self.model.step(state, Call(f, _tuples(value), _tuples(result), True, owner))
        except (TypeError, ValueError, IndexError, KeyError):  # no result of such a call
            return []
        return [] if isinstance(after, Refused) else [after]

    def candidates(self, state: Any, f: str, value: Any) -> Sequence[Any]:
        """What a call may return, the likely first."""
        if f == "txn":
            return [*_transacted(self.model.shown(state), value)]
        if f in ("read", "get"):
            return [self.model.shown(state)]
        if f == "contains":
            return [True, False]
        if f in ("dequeue", "pop", "poll", "peek"):
            return [0, 1, 2, None]
        if f == "acquire":
            return [None, 1, 2, 3]
        return [value]


def _transacted(state: Any, steps: Any) -> Iterator[Any]:
    registers = {name: list(item) if isinstance(item, list | tuple) else item for name, item in dict(state).items()}
    done = []
    for kind, name, value in steps:
        if kind == "w":
            registers[name] = value
        elif kind == "append":
            registers[name] = [*registers.get(name, []), value]
        seen = registers.get(name)
        done.append([kind, name, value if kind != "r" else list(seen) if isinstance(seen, list) else seen])
    yield done


def _tuples(value: Any) -> Any:
    return hashable(value) if isinstance(value, list) else value
