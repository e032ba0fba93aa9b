"""Anomalies by name, and which imply which.

Names are Elle's. A cycle is named after its edges (Adya, Liskov & O'Neil, "Generalized Isolation Level Definitions",
2000): only write-write is G0; with write-read G1c; with exactly one read-write G-single; with several of which no two
follow each other G-nonadjacent (Cerone & Gotsman, "Analysing Snapshot Isolation"); else G2. All reads here name their
key, which Adya's ``-item`` says. ``-process`` and ``-realtime`` are the same cycles when the order of one process's
transactions, or the order in time, counts as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

INTERNAL: Final = "internal"
UNWRITTEN: Final = "unwritten-read"
ABORTED: Final = "G1a"
INTERMEDIATE: Final = "G1b"
FUTURE: Final = "future-read"
DIRTY_UPDATE: Final = "dirty-update"
DUPLICATE: Final = "duplicate-elements"
INCOMPATIBLE: Final = "incompatible-order"
CYCLIC_VERSIONS: Final = "cyclic-versions"
LOST_UPDATE: Final = "lost-update"
G0: Final = "G0"
G1C: Final = "G1c"
G_SINGLE: Final = "G-single-item"
G_NONADJACENT: Final = "G-nonadjacent-item"
G2_ITEM: Final = "G2-item"
NO_ORDER: Final = "no-serial-order"
"""No serial order exists, though every edge of the proof holds only because one was assumed (rw-register), or because
all orders were tried: it speaks against the serializable models and against no weaker one."""

LEVELS: Final[Sequence[str]] = ("", "-process", "-realtime")
"""Which orders beside the data count: none; that of each process; that of time, which includes it."""

_CYCLES: Mapping[str, Sequence[str]] = {
    G0: (G1C,),
    G1C: ("G1",),
    "G1": (),
    G_SINGLE: ("G-single", G_NONADJACENT),
    "G-single": ("G-nonadjacent", "G-SIb"),
    G_NONADJACENT: ("G-nonadjacent", G2_ITEM),
    "G-nonadjacent": ("G2",),
    G2_ITEM: ("G2",),
    "G2": (),
    "G-SIb": (),
    NO_ORDER: (),
}

_OTHERS: Mapping[str, Sequence[str]] = {
    INTERNAL: (),
    UNWRITTEN: ("G1",),
    ABORTED: ("G1",),
    INTERMEDIATE: ("G1",),
    FUTURE: (G1C,),
    DIRTY_UPDATE: (ABORTED,),
    DUPLICATE: (),
    INCOMPATIBLE: (ABORTED,),
    CYCLIC_VERSIONS: (),
    LOST_UPDATE: (G2_ITEM,),
}


def _implications() -> Mapping[str, Sequence[str]]:
    table: dict[str, list[str]] = {name: list(implied) for name, implied in _OTHERS.items()}
    for name, implied in _CYCLES.items():
        for level, suffix in enumerate(LEVELS):
            weaker = [name + LEVELS[level + 1]] if level + 1 < len(LEVELS) else []
            table[name + suffix] = [other + suffix for other in implied] + weaker
    return table


IMPLIES: Final[Mapping[str, Sequence[str]]] = _implications()
"""Whoever has the anomaly on the left has those on the right, too."""


def implied(anomalies: Iterable[str]) -> frozenset[str]:
    """The anomalies and all that they imply."""
    reached: set[str] = set()
    open_ = list(anomalies)
    while open_:
        name = open_.pop()
        if name not in reached:
            reached.add(name)
            open_.extend(IMPLIES.get(name, ()))
    return frozenset(reached)


SEVERITY: Final[Sequence[str]] = (
    *(INTERNAL, UNWRITTEN, DUPLICATE, INCOMPATIBLE, CYCLIC_VERSIONS, ABORTED, DIRTY_UPDATE, INTERMEDIATE, FUTURE),
    LOST_UPDATE,
    *(shape + level for level in LEVELS for shape in (G0, G1C, G_SINGLE, G_NONADJACENT, G2_ITEM, NO_ORDER)),
)
"""Every anomaly that is looked for, worst first: what breaks values, then the data, then sessions, then time."""
