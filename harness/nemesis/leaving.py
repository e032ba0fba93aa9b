"""Who is left behind when only a majority is healed (design, section 6: safety, then liveness).

A system that promises to serve while a minority is gone must serve while a minority *stays* gone: so after the fault
phase some nodes are cut off (and, where that was drawn, killed behind the cut) before anything else is healed. The
healed majority must then make progress without their help. Pure; drawn from the run's seed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from pydantic import BaseModel, ConfigDict

Heal = Literal["all", "majority", "either"]
Way = Literal["stopped", "cut", "one-way", "messages"]
Direction = Literal["both", "in", "out"]
_WORDS: Mapping[tuple[Way, Direction], str] = {
    ("stopped", "both"): "left behind, killed behind a cut",
    ("cut", "both"): "left behind, cut off in both directions",
    ("one-way", "in"): "left behind, cut off in one direction (it can send but receives nothing)",
    ("one-way", "out"): "left behind, cut off in one direction (it receives but cannot send)",
    ("messages", "in"): "left behind, deaf (its connections stand, but its transport drops every message it receives)",
    ("messages", "out"): "left behind, mute (its connections stand, but its transport drops every message it sends)",
}


LEADER = "leader"
LEADER_SHARE = 0.4
"""How often it is the leader who stays behind, if nobody says who: more changes when that one is missed."""


class Behind(BaseModel):
    """What a scenario says of those who are left behind. What it does not say is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    target: str | list[str] | None = None
    """``leader``: who leads when the faults end; or nodes by name."""
    how: Way | None = None
    direction: Literal["in", "out"] | None = None
    """With ``one-way`` and ``messages``: ``in``, it is heard but hears nothing; ``out``, it hears but is not heard."""

    @property
    def names(self) -> tuple[str, ...]:
        """Nodes that are named."""
        named = [self.target] if isinstance(self.target, str) else self.target or []
        return tuple(name for name in named if name != LEADER)


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaving:
    """How a minority is left behind."""

    order: tuple[str, ...]
    """All nodes; the first of them are left behind."""
    count: int
    way: Way
    direction: Direction
    leader: bool = False
    """Whether it is the leader, whoever that will be."""

    def behind_leader(self, leader: str | None) -> Leaving:
        """The same, now that it is known who leads; nothing is changed if nobody does."""
        if not self.leader or leader is None:
            return self
        return replace(self, order=(leader, *(name for name in self.order if name != leader)))

    def by_packets(self) -> Leaving:
        """The same direction cut on the wire: for nodes that cannot be told just now which messages to drop."""
        return replace(self, way="one-way")

    def left(self, dead: Collection[str]) -> tuple[str, ...]:
        """Who is left behind. Nodes that are dead already (or had better be counted so) come first, so that a majority
        of living ones is healed.
        """
        return tuple(sorted(self.order, key=lambda name: name not in dead)[: max(self.count, self._dead_count(dead))])

    def _dead_count(self, dead: Collection[str]) -> int:
        return min(len(dead), (len(self.order) - 1) // 2)

    def fault(self, left: Sequence[str]) -> tuple[str, Mapping[str, object]]:
        """(family, parameters) of what keeps them behind from the first moment."""
        if self.way == "messages":
            return "message", {"target": list(left), "direction": self.direction, "action": "drop"}
        return "partition", {"shape": "isolate", "target": list(left), "direction": self.direction}

    @property
    def words(self) -> str:
        """What happens to them."""
        return _WORDS[self.way, self.direction]


def draw_leaving(
    heal: Heal,
    nodes: Sequence[str],
    seed: int,
    *,
    one_way: bool,
    hooked: bool = False,
    behind: Behind | None = None,
) -> Leaving | None:
    """What the run of this seed does; None if it heals everything at once. ``one_way``: whether the system promises
    progress while a minority is cut off in one direction only. ``hooked``: whether single messages can be dropped.
    ``behind``: what is not to be drawn.

    Packets cut off in one direction soon silence the other, too: a sender that gets no acknowledgement stops. Only
    messages that are dropped above the connection leave a node that is heard for as long as it likes and
    hears nothing.
    """
    random = Random(f"healing of {seed}")
    partial = random.random() < 0.5  # drawn in any case: `majority` and `either` leave the same nodes behind
    minority = (len(nodes) - 1) // 2
    if heal == "all" or minority < 1 or (heal == "either" and not partial):
        return None
    ways: tuple[Way, ...] = ("stopped", "cut", "cut", *(("one-way",) if one_way else ()))
    if one_way and hooked:
        ways = (*ways, "messages")
    order, count, way = tuple(random.sample(nodes, len(nodes))), random.randint(1, minority), random.choice(ways)
    asked = behind or Behind()
    way = asked.how or way
    direction: Direction = "both"
    if way in ("one-way", "messages"):
        drawn: tuple[Direction, ...] = ("in", "out")
        direction = random.choice(drawn) if asked.direction is None else asked.direction
    if asked.names:
        order, count = (*asked.names, *(name for name in order if name not in asked.names)), len(asked.names)
    leader = asked.target == LEADER or (asked.target is None and random.random() < LEADER_SHARE)
    return Leaving(order=order, count=1 if leader else count, way=way, direction=direction, leader=leader)
