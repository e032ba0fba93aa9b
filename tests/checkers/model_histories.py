"""Small random histories of every model: calls that took effect at random moments of the model itself, with some
results spoiled and some outcomes unknown, so that both verdicts are frequent.

Values repeat. A process goes on under its number after ok and fail, under a new one after info, so that locks with
owners can be held, released, and lost.
"""

# ruff: noqa: ARG001 (answers share one signature, and so do lies; few need all of it)

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from checkers.models import MODELS
from checkers.models.container import Container
from checkers.models.list_append import ListAppend
from checkers.models.model import Call, Model, Refused
from tests.checkers.histories import Event, intervals

Answer = Callable[[Model, Any, str, Any, random.Random], Any]


@dataclass(frozen=True, kw_only=True)
class Case:
    """How histories of a model are made: the initial value, calls, what they return, and what else they might."""

    initial: Any
    call: Callable[[random.Random], tuple[str, Any]]
    answer: Answer
    lie: Callable[[random.Random, str, Any, Any], Any]


def history(name: str, random_: random.Random) -> list[Event]:
    """Two to seven operations, as events."""
    case, model = CASES[name], MODELS[name](null_read="value")
    schedule = intervals(random_, random_.randint(2, 7), random_.randint(1, 4))
    made = _Making(case, model, random_)
    for time, (kind, worker, number) in enumerate(schedule):
        made.step(time, kind, worker, number)
    return made.events


class _Making:
    def __init__(self, case: Case, model: Model, random_: random.Random) -> None:
        self.case, self.model, self.random = case, model, random_
        self.state: Any = model.start(case.initial)
        self.calls: dict[int, tuple[int, str, Any]] = {}
        self.pending: list[int] = []
        self.results: dict[int, tuple[bool, Any]] = {}
        self.process: dict[int, int] = {}
        self.events: list[Event] = []

    def step(self, time: int, kind: str, worker: int, number: int) -> None:
        if kind == "invoke":
            self.calls[number] = (self.process.setdefault(worker, worker), *self.case.call(self.random))
            self.pending.append(number)
        for other in self.random.sample(self.pending, len(self.pending)):
            if (kind == "complete" and other == number) or self.random.random() < 0.3:
                self.take_effect(other)
        process, f, value = self.calls[number]
        base = {"time": time, "process": process, "f": f}
        if kind == "invoke":
            self.events.append({**base, "type": "invoke", "value": value})
        elif self.random.random() < 0.15:
            self.process[worker] = process + 10
            if self.random.random() < 0.5:
                self.events.append({**base, "type": "info", "value": value})
        else:
            self.events.append({**base, **self.completion(number, f, value)})

    def take_effect(self, number: int) -> None:
        self.pending.remove(number)
        process, f, value = self.calls[number]
        result = self.case.answer(self.model, self.state, f, value, self.random)
        after = self.model.step(self.state, Call(f, frozen(value), frozen(result), True, process))
        self.results[number] = (not isinstance(after, Refused), result)
        if not isinstance(after, Refused):
            self.state = after

    def completion(self, number: int, f: str, value: Any) -> Mapping[str, Any]:
        happened, result = self.results[number]
        if not happened and self.random.random() < 0.85:
            return {"type": "fail", "value": value}
        if self.random.random() < 0.15:
            result = self.case.lie(self.random, f, value, result)
        return {"type": "ok", "value": result}


def frozen(value: Any) -> Any:
    """Lists as tuples, as a history holds them."""
    return tuple(map(frozen, value)) if isinstance(value, list | tuple) else value


def _plain(model: Model, state: Any, f: str, value: Any, random_: random.Random) -> Any:
    """Reads return what the model shows; all else what it was given."""
    return model.shown(state) if f in ("read", "get") else value


def _elements(model: Model, state: Any, f: str, value: Any, random_: random.Random) -> Any:
    assert isinstance(model, Container)
    if f == model.put:
        return value
    return model.removed(state)[0] if state else None


def _members(model: Model, state: Any, f: str, value: Any, random_: random.Random) -> Any:
    return (value in state) if f == "contains" else _plain(model, state, f, value, random_)


def _counted(model: Model, state: Any, f: str, value: Any, random_: random.Random) -> Any:
    return random_.choice((None, state + value)) if f == "increment" else _plain(model, state, f, value, random_)


def _offset(model: Model, state: Any, f: str, value: Any, random_: random.Random) -> Any:
    return list(state) if f == "read" else random_.choice((None, len(state)))


def _version(model: Model, state: Any, f: str, value: Any, random_: random.Random) -> Any:
    return random_.choice((value, [state[0] + 1, value])) if f == "write" else _plain(model, state, f, value, random_)


def _token(model: Model, state: Any, f: str, value: Any, random_: random.Random) -> Any:
    last = state[1] or 0
    return random_.choice((None, last + 1, last + 1, last + 2)) if f == "acquire" else None


def _done(model: Model, state: Any, f: str, value: Any, random_: random.Random) -> Any:
    """The transaction with its reads filled in, one after another."""
    done: list[list[Any]] = []
    for kind, name, item in value:
        here = model.step(state, Call("txn", frozen([s for s in done if s[0] != "r"]), None, False))
        held = dict(here).get(name)  # type: ignore[call-overload]
        seen = list(held or ()) if isinstance(model, ListAppend) else held
        done.append([kind, name, seen if kind == "r" else item])
    return done


def _transaction(write: str) -> Callable[[random.Random], tuple[str, Any]]:
    def call(random_: random.Random) -> tuple[str, Any]:
        kinds = random_.choices(("r", write), k=random_.randint(1, 3))
        return "txn", [[kind, random_.choice("xy"), None if kind == "r" else random_.randrange(3)] for kind in kinds]

    return call


def _one_of(*functions: str, **values: tuple[Any, ...]) -> Callable[[random.Random], tuple[str, Any]]:
    def call(random_: random.Random) -> tuple[str, Any]:
        f = random_.choice(functions)
        return f, random_.choice(values.get(f, (None,)))

    return call


def _lies(**results: tuple[Any, ...]) -> Callable[[random.Random, str, Any, Any], Any]:
    def lie(random_: random.Random, f: str, value: Any, result: Any) -> Any:
        return random_.choice(results[f]) if f in results else result

    return lie


def _lying_transaction(*reads: Any) -> Callable[[random.Random, str, Any, Any], Any]:
    def lie(random_: random.Random, f: str, value: Any, result: Any) -> Any:
        return [[kind, name, random_.choice(reads) if kind == "r" else item] for kind, name, item in result]

    return lie


_SMALL = (0, 1, 2)
_LISTS: tuple[list[int], ...] = ([], [0], [1], [0, 1], [1, 0], [1, 2])
_PAIRS = tuple([a, b] for a in _SMALL for b in _SMALL)
_REGISTER = _one_of("read", "read", "write", "cas", write=_SMALL, cas=_PAIRS)
_LOCK = _one_of("acquire", "release")

CASES: Mapping[str, Case] = {
    "register": Case(initial=0, call=_one_of("read", "write", write=_SMALL), answer=_plain, lie=_lies(read=_SMALL)),
    "cas-register": Case(initial=0, call=_REGISTER, answer=_plain, lie=_lies(read=_SMALL)),
    "multi-register": Case(
        initial={"x": 0}, call=_transaction("w"), answer=_done, lie=_lying_transaction(None, *_SMALL)
    ),
    "kv": Case(
        initial="",
        call=_one_of("get", "get", "put", "append", "append", "delete", put=("a", "b"), append=("a", "b", "c")),
        answer=_plain,
        lie=_lies(get=("", "a", "ab", "ba", "bc", None)),
    ),
    "mutex": Case(initial=None, call=_LOCK, answer=_plain, lie=_lies()),
    "owned-mutex": Case(initial=None, call=_LOCK, answer=_plain, lie=_lies()),
    "reentrant-mutex": Case(initial={"bound": 2}, call=_LOCK, answer=_plain, lie=_lies()),
    "fenced-lock": Case(
        initial=None, call=_one_of("acquire", "acquire", "release"), answer=_token, lie=_lies(acquire=(1, 2, 3))
    ),
    "versioned-register": Case(
        initial=None,
        call=_one_of("read", "read", "write", "cas", write=_SMALL, cas=(*_PAIRS, [[1, 0], 2], [[2, 1], 0])),
        answer=_version,
        lie=_lies(read=tuple([v, x] for v in (None, *_SMALL) for x in _SMALL)),
    ),
    "list-append": Case(initial=None, call=_transaction("append"), answer=_done, lie=_lying_transaction(*_LISTS)),
    "set": Case(
        initial=[2],
        call=_one_of("add", "remove", "contains", "read", add=_SMALL, remove=_SMALL, contains=_SMALL),
        answer=_members,
        lie=_lies(contains=(True, False), read=([], [0], [2, 1], [2])),
    ),
    "counter": Case(
        initial=None,
        call=_one_of("add", "increment", "read", "read", add=(1, 2, -1), increment=(1, 2)),
        answer=_counted,
        lie=_lies(read=(0, 1, 2, 3), increment=(1, 2, 3)),
    ),
    "log": Case(
        initial=None,
        call=_one_of("append", "append", "read", append=_SMALL),
        answer=_offset,
        lie=_lies(read=_LISTS, append=(0, 1, 2)),
    ),
    "fifo-queue": Case(
        initial=None,
        call=_one_of("enqueue", "dequeue", enqueue=_SMALL),
        answer=_elements,
        lie=_lies(dequeue=(None, 0, 1)),
    ),
    "stack": Case(initial=[1], call=_one_of("push", "pop", push=_SMALL), answer=_elements, lie=_lies(pop=(None, 0, 1))),
    "priority-queue": Case(
        initial=None,
        call=_one_of("insert", "insert", "poll", "poll", "peek", insert=_SMALL),
        answer=_elements,
        lie=_lies(poll=(None, 0, 1), peek=(None, 0, 1)),
    ),
}
"""Every model of :data:`checkers.models.MODELS` (a test holds that none is missing)."""
