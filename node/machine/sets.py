"""Sets: a key holds elements, each once."""

from __future__ import annotations

from typing import cast

from node import kv_pb2
from node.machine.held import Set
from node.machine.limits import COLLECTION_BYTES_MAX
from node.machine.result import OK, Result, refused
from node.machine.state import FULL, State, new_weight, wrong_type
from node.serving.events import EventKind

_TOO_BIG = refused(f"the set would have more than {COLLECTION_BYTES_MAX} bytes")


def add(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Adds an element; one that is there stays."""
    key, element, held = request.key, request.set_add.element, state.get(request.key)
    if held is None:
        held, growth = Set({}, state.generation, 0), new_weight(key) + len(element) + 8
    elif not isinstance(held, Set):
        return wrong_type(key, held, "set")
    elif element in held.elements:
        return OK
    else:
        growth = len(element) + 8
    if held.weight + len(element) + 8 > COLLECTION_BYTES_MAX:
        return _TOO_BIG
    if not state.has_room(growth):
        return FULL
    held = cast(Set, state.writable(key, held))
    held.elements[element] = None
    held.weight += len(element) + 8
    state.put(key, held, growth)
    state.tell(EventKind.ADD, key, frozenset((element,)))
    return OK


def remove(state: State, request: kv_pb2.ExecuteRequest) -> Result:
    """Takes an element out. A set that is empty stays a set; a key without a value stays without."""
    key, element, held = request.key, request.set_remove.element, state.get(request.key)
    if held is None:
        return OK
    if not isinstance(held, Set):
        return wrong_type(key, held, "set")
    if element in held.elements:
        held = cast(Set, state.writable(key, held))
        del held.elements[element]
        held.weight -= len(element) + 8
        state.put(key, held, -len(element) - 8)
        state.tell(EventKind.REMOVE, key, frozenset((element,)))
    return OK
