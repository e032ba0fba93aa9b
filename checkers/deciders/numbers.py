"""Values of a history as numbers, for deciders that compute with them."""

from __future__ import annotations

import numpy as np

from checkers.deciders.refusals import Ids
from checkers.history import History

NO_NUMBER = -(2**63) + 7919
"""Of what is no whole number. (Not the least number itself, which a counter that overflows may well show.)"""

NUMBER_MAX = 2**61
"""Numbers are cut here, and below at its negative: no count of operations comes near, and sums have room."""


def numbers(history: History) -> Ids:
    """Each value of the history, by its code, as a number; JSON's true and 1.0 are none."""
    plain = [value if type(value) is int else NO_NUMBER for value in history.values.values]
    try:
        table = np.array(plain, dtype=np.int64)
    except OverflowError:
        cut = [value if value == NO_NUMBER else max(-NUMBER_MAX, min(value, NUMBER_MAX)) for value in plain]
        table = np.array(cut, dtype=np.int64)
    return np.where(table == NO_NUMBER, table, np.clip(table, -NUMBER_MAX, NUMBER_MAX))
