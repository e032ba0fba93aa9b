"""The data types that the search knows, by the names that users say: one file each."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from checkers.models.counter import Counter
from checkers.models.fifo_queue import FifoQueue
from checkers.models.key_value import KeyValue
from checkers.models.list_append import ListAppend
from checkers.models.log import Log
from checkers.models.model import Model
from checkers.models.multi_register import MultiRegister
from checkers.models.mutex import FencedLock, Mutex, OwnedMutex, ReentrantMutex
from checkers.models.priority_queue import PriorityQueue
from checkers.models.register import Register
from checkers.models.set_ import Set
from checkers.models.stack import Stack
from checkers.models.versioned_register import VersionedRegister

MODELS: Mapping[str, Callable[..., Model]] = {
    "register": functools.partial(Register, functions=frozenset({"read", "write"})),
    "cas-register": Register,
    "multi-register": MultiRegister,
    "kv": KeyValue,
    "mutex": Mutex,
    "owned-mutex": OwnedMutex,
    "reentrant-mutex": ReentrantMutex,
    "fenced-lock": FencedLock,
    "versioned-register": VersionedRegister,
    "list-append": ListAppend,
    "set": Set,
    "counter": Counter,
    "log": Log,
    "fifo-queue": FifoQueue,
    "stack": Stack,
    "priority-queue": PriorityQueue,
}
"""Every model by the name that users say."""
