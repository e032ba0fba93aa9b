"""Who is left behind when only a majority is healed (design, section 6: safety, then liveness).

A system that promises to serve while a minority is gone must serve while a minority *stays* gone: so after the fault
phase some nodes are cut off (and, where that was drawn, killed behind the cut) before anything else is healed. The
healed majority must then make progress without their help. Pure; drawn from the run's seed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

Heal = Literal["all", "majority", "either"]
Way = Literal["stopped", "cut", "one-way"]
Direction = Literal["both", "in", "out"]
_WORDS: Mapping[tuple[Way, Direction], str] = {
    ("stopped", "both"): "left behind, killed behind a cut",
    ("cut", "both"): "left behind, cut off in both directions",
    ("one-way", "in"): "left behind, cut off in one direction (it can send but receives nothing)",
    ("one-way", "out"): "left behind, cut off in one direction (it receives but cannot send)",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaving:
    """How a minority is left behind."""

    order: tuple[str, ...]
    """All nodes; the first of them are left behind."""
    count: int
    way: Way
    direction: Direction

    def left(self, dead: Collection[str]) -> tuple[str, ...]:
        """Who is left behind. Nodes that are dead already (or had better be counted so) come first, so that a majority
        of living ones is healed.
        """
        return tuple(sorted(self.order, key=lambda name: name not in dead)[: max(self.count, self._dead_count(dead))])

    def _dead_count(self, dead: Collection[str]) -> int:
        return min(len(dead), (len(self.order) - 1) // 2)

    @property
    def words(self) -> str:
        """What happens to them."""
        return _WORDS[self.way, self.direction]


def draw_leaving(heal: Heal, nodes: Sequence[str], seed: int, *, one_way: bool) -> Leaving | None:
    """What the run of this seed does; None if it heals everything at once. ``one_way``: whether the system promises
    progress while a minority is cut off in one direction only.
    """
    random = Random(f"healing of {seed}")
    partial = random.random() < 0.5  # drawn in any case: `majority` and `either` leave the same nodes behind
    minority = (len(nodes) - 1) // 2
    if heal == "all" or minority < 1 or (heal == "either" and not partial):
        return None
    ways: tuple[Way, ...] = ("stopped", "cut", "cut", *(("one-way",) if one_way else ()))
    order, count, way = tuple(random.sample(nodes, len(nodes))), random.randint(1, minority), random.choice(ways)
    direction: Direction = random.choice(("in", "out")) if way == "one-way" else "both"
    return Leaving(order=order, count=count, way=way, direction=direction)
