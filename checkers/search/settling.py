"""What a call tells of the state around it, whatever the state was before.

Two uses in :mod:`checkers.search.weakening`. A core near the end of a long history need not begin at its beginning: it
can begin in *any* state, and becomes definite with the first call that settles it. And an order is given up as soon as
a certain operation can never be legal again, for types that only grow.

Only claims that hold always are made; in doubt nothing is known, and a call may still become legal.
"""

from __future__ import annotations

from typing import Any

from checkers.models.container import Container
from checkers.models.counter import Counter
from checkers.models.key_value import KeyValue
from checkers.models.list_append import ListAppend
from checkers.models.log import Log
from checkers.models.model import NOTHING, UNOBSERVED, Call, Model, hashable
from checkers.models.mutex import FencedLock
from checkers.models.set_ import Set
from checkers.models.versioned_register import VersionedRegister


def settled(model: Model, call: Call) -> Any:
    """The state after the call wherever it is legal, or :data:`NOTHING` if that is not known."""
    if model.valued():
        before = model.observes(call)
        if before is NOTHING and model.produces(call) is NOTHING:
            return NOTHING
        return model.step(before, call)
    if isinstance(model, KeyValue):
        return _text(model, call)
    told = call.known and call.result is not None
    if isinstance(model, FencedLock):
        return (call.process, call.result) if told and call.f == "acquire" else NOTHING
    if isinstance(model, Counter):
        return call.result if told and call.f != "add" else NOTHING
    if isinstance(model, Log):
        return tuple(map(hashable, call.result)) if told and call.f == "read" else NOTHING
    if isinstance(model, Set):
        return frozenset(map(hashable, call.result)) if told and call.f == "read" else NOTHING
    if isinstance(model, VersionedRegister):
        version, value = call.result if told and call.f == "read" else (None, None)
        return NOTHING if version is None or value is None else (version, hashable(value))
    if isinstance(model, Container):
        return () if call.known and call.result is None and call.f != model.put else NOTHING
    return NOTHING


def _text(model: KeyValue, call: Call) -> Any:
    if call.f == "get":
        told = call.known and call.result is not None
        return model.step(call.result, call) if told else NOTHING
    if call.f == "cas":
        return model.step(call.value[0], call)
    return NOTHING if call.f == "append" else model.step(None, call)


def grows(model: Model) -> bool:
    """Is :func:`attainable` worth asking?"""
    return isinstance(model, Log | VersionedRegister | FencedLock | ListAppend)


def attainable(model: Model, state: Any, call: Call) -> bool:
    """May the call be legal in this state, or after any other calls?"""
    if not call.known or call.result is None or state is UNOBSERVED:
        return True
    if isinstance(model, Log):
        if call.f == "append":
            return bool(len(state) <= call.result)
        return bool(tuple(map(hashable, call.result[: len(state)])) == state)
    if isinstance(model, VersionedRegister):
        version = call.result[0] if call.f == "read" else None
        return version is None or bool(state[0] <= version)
    if isinstance(model, FencedLock):
        return call.f != "acquire" or state[1] is None or bool(state[1] < call.result)
    if isinstance(model, ListAppend):
        lists = dict(state)
        return all(_begins(lists.get(hashable(name), ()), value) for kind, name, value in call.result if kind == "r")
    return True


def _begins(items: Any, read: Any) -> bool:
    return read is None or bool(items is not UNOBSERVED and hashable(tuple(read)[: len(items)]) == items)
