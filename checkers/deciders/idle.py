"""Operations that neither change nor show anything, and where they go in an order of all others."""

from __future__ import annotations

import numpy as np

from checkers.deciders.decision import Rows
from checkers.history import History


def with_idle(history: History, order: Rows, idle: Rows) -> Rows:
    """Puts idle operations into an order: each after all that had to be over before its invocation."""
    if not len(idle):
        return order
    reached = np.maximum.accumulate(history.call[order])
    place = np.concatenate((np.arange(len(order)), np.searchsorted(reached, history.call[idle]) - 0.5))
    rows = np.concatenate((order, idle))
    return rows[np.lexsort((history.call[rows], place))]
