"""Which operations that may have happened could matter, given those that certainly did.

An optional operation is irrelevant if every legal order that holds it can do without it: then "no order exists without
it" proves "no order exists". One rule a kind of data type, each with its proof; where there is none, all matter.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from checkers.models.container import Container
from checkers.models.key_value import KeyValue
from checkers.models.list_append import ListAppend
from checkers.models.log import Log
from checkers.models.model import NOTHING, Call, Model, hashable
from checkers.models.multi_register import MultiRegister
from checkers.models.set_ import Set


def relevant(model: Model, start: Any, certain: Sequence[Call], optional: Sequence[Call]) -> list[bool]:
    """For each optional call, whether an order may need it. ``start``: the state in which the key begins."""
    if model.valued():
        return _of_values(model, certain, optional)
    if isinstance(model, KeyValue):
        return _of_texts(certain, optional)
    if isinstance(model, Container):
        return _of_elements(model, certain, optional)
    if isinstance(model, Set):
        return _of_members(start, certain, optional)
    if isinstance(model, Log):
        return _of_entries(certain, optional)
    return [True] * len(optional)


def blind(model: Model) -> bool:
    """May an order do without every optional operation that leads to what nobody sees (``UNOBSERVED``)?

    So it is where all that is legal then is legal anywhere, and sets the state to the same or leaves it alone: between
    that operation and the next one that sets the state, nothing observes, so all of it is as legal without.
    """
    return model.valued() or isinstance(model, KeyValue)


def finite(model: Model) -> bool:
    """Are the states that a history's calls lead to finitely many, however often each happens?"""
    return model.valued() or isinstance(model, KeyValue | ListAppend | MultiRegister | Set)


def _of_values(model: Model, certain: Sequence[Call], optional: Sequence[Call]) -> list[bool]:
    """What writes a value that nobody observes is not needed: what follows it up to the next write observes nothing."""
    seen = {model.observes(call) for call in certain}
    left = {call: (model.observes(call), model.produces(call)) for call in dict.fromkeys(optional)}
    while True:
        wanted = (seen | {observed for observed, _ in left.values()}) - {NOTHING}
        useful = {call: values for call, values in left.items() if values[1] in wanted}
        if len(useful) == len(left):
            return [call in useful for call in optional]
        left = useful


def _of_texts(certain: Sequence[Call], optional: Sequence[Call]) -> list[bool]:
    """A text that is put or appended and is part of no text that anybody observes is not needed: no observation is
    legal from there to the next put or delete, and all else is legal always.
    """
    texts = {call.result for call in certain if call.f == "get"}
    texts |= {call.value[0] for call in (*certain, *optional) if call.f == "cas"}
    known = [text for text in texts if isinstance(text, str)]
    return [call.f not in ("put", "append") or any(call.value in text for text in known) for call in optional]


def _of_elements(model: Container, certain: Sequence[Call], optional: Sequence[Call]) -> list[bool]:
    """An element that no certain operation returns is not needed: either it stays, and what stands behind it is never
    asked for; or an optional operation takes it, and both can be left out.
    """
    returned = {hashable(call.result) for call in certain if call.f != model.put}
    return [call.f != model.put or hashable(call.value) in returned for call in optional]


def _of_members(start: Any, certain: Sequence[Call], optional: Sequence[Call]) -> list[bool]:
    """An element that nothing certain mentions is not needed: it can have been absent all the time. (Elements are
    independent of one another; without a read of everything, only contains tells of them.)
    """
    reads = [call for call in certain if call.f == "read" and call.known]
    asked: set[Hashable] = {
        hashable(call.value) for call in certain if call.f == "contains" or (reads and call.f != "read")
    }
    for read in reads:
        asked.update(hashable(item) for item in read.result or ())
    if reads:
        asked.update(start)
    return [call.f in ("add", "remove") and hashable(call.value) in asked for call in optional]


def _of_entries(certain: Sequence[Call], optional: Sequence[Call]) -> list[bool]:
    """An entry that no certain read shows stands after all of these reads; so nobody needs it, unless a certain append
    tells how many entries came before it.
    """
    if any(call.f == "append" and call.known and call.result is not None for call in certain):
        return [True] * len(optional)
    shown = {hashable(item) for call in certain if call.f == "read" and call.known for item in call.result or ()}
    return [call.f == "append" and hashable(call.value) in shown for call in optional]
