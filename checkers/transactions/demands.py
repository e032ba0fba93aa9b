"""What a serial order must explain: which states of which keys each transaction needs, and what it writes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from checkers.history import Column
from checkers.transactions.serial import Place


@dataclass(frozen=True, kw_only=True, slots=True)
class Demands:
    """``rows``: the transactions that took effect, as the graph numbers them, then those ``info`` ones that may be
    needed (``optional`` of them). ``grows`` and ``returns`` as in :class:`~checkers.transactions.serial.Puzzle`."""

    rows: Column
    optional: int
    reads: Sequence[Sequence[Place]]
    writes: Sequence[Sequence[Place]]
    initial: Hashable
    grows: bool
    returns: bool
    null_read: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reads:
    """Registers only, as columns of nodes: who wrote each key (its last write of it), and who read whose write. What
    order they force upon each other is for :mod:`checkers.transactions.saturation`."""

    writer: Column
    writer_key: Column
    writer_version: Column
    reader: Column
    reader_key: Column
    read_writer: Column
    read_version: Column


def places(nodes: int, node: Sequence[int], key: Sequence[Any], state: Sequence[Hashable]) -> list[list[Place]]:
    """Columns as one list a node."""
    found: list[list[Place]] = [[] for _ in range(nodes)]
    for one, name, value in zip(node, key, state, strict=True):
        if one >= 0:
            found[one].append((name, value))
    return found
