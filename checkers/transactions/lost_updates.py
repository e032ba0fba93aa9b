"""Lost updates: transactions that read the same version of a key and all wrote it (Bailis; Cerone's update atomicity).
Whichever came second overwrote a version that it had not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from checkers.history import Column
from checkers.transactions.sightings import EXAMPLES_MAX


@dataclass(frozen=True, kw_only=True, slots=True)
class LostUpdate:
    """The transactions (rows) that read one version of one key and wrote the key."""

    key: int
    version: int
    rows: tuple[int, ...]


def lost_updates(rows: Column, keys: Column, versions: Column) -> tuple[int, list[LostUpdate]]:
    """How many there are, and the first few. One element a read, by a transaction that also wrote the key."""
    if not len(rows):
        return 0, []
    table = np.unique(np.stack((keys, versions, rows)), axis=1)
    new = np.flatnonzero(np.any(table[:2, 1:] != table[:2, :-1], axis=0)) + 1
    starts, ends = np.concatenate(([0], new)), np.append(new, table.shape[1])
    lost = np.flatnonzero(ends - starts > 1)
    spans = ((int(starts[group]), int(ends[group])) for group in lost[:EXAMPLES_MAX])
    return len(lost), [
        LostUpdate(key=int(table[0, start]), version=int(table[1, start]), rows=tuple(table[2, start:end].tolist()))
        for start, end in spans
    ]
