"""Polynomial methods for single data types: no search, any length. One file or package each, by model."""

from __future__ import annotations

from collections.abc import Mapping

from checkers.deciders.containers.priority_queue import PriorityQueueDecider
from checkers.deciders.containers.queue import QueueDecider
from checkers.deciders.containers.stack import StackDecider
from checkers.deciders.counter import CounterDecider
from checkers.deciders.decision import Decider
from checkers.deciders.locks.mutex import MutexDecider
from checkers.deciders.locks.sections import SectionsDecider
from checkers.deciders.log.decider import LogDecider
from checkers.deciders.register.decider import RegisterDecider
from checkers.deciders.sets.decider import SetDecider

DECIDERS: Mapping[str, Decider] = {
    "register": RegisterDecider(),
    "cas-register": RegisterDecider(),
    "set": SetDecider(),
    "counter": CounterDecider(),
    "log": LogDecider(),
    "mutex": MutexDecider(),
    "owned-mutex": SectionsDecider(fenced=False),
    "fenced-lock": SectionsDecider(fenced=True),
    "fifo-queue": QueueDecider(),
    "stack": StackDecider(),
    "priority-queue": PriorityQueueDecider(),
}
"""The decider of a model, where there is one."""
