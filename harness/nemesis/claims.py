"""Who may be hit just now: nobody for whom two faults would compete, nobody who is dead already, and of those whose
data is destroyed for good never more than a minority. Pure; the nemesis keeps one for a run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random

from faults.family import Claim, Family
from harness.planning.targets import Selector, resolve_targets

ALIVE: frozenset[Claim] = frozenset({"process", "clock", "storage", "resources", "messages"})
"""What can only be taken of a node whose server runs: who is dead can be neither killed nor slowed."""

ON_PURPOSE = frozenset({"all", "majority"})
"""Selectors that ask for more than a minority in so many words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """Who is hit, or why nobody is."""

    targets: tuple[str, ...] = ()
    nobody: str | None = None


@dataclass(slots=True, kw_only=True)
class Claims:
    """What faults in force hold, and whose data was destroyed since the run began."""

    nodes: tuple[str, ...]
    held: dict[int, frozenset[tuple[str, Claim]]] = field(default_factory=dict)
    """By number of the fault: (node, claim)."""
    damaged: set[str] = field(default_factory=set)
    """Nodes that a family that ``damages`` was aimed at."""

    @property
    def spare(self) -> int:
        """How many more nodes may be damaged before they are no minority."""
        return max(0, (len(self.nodes) - 1) // 2 - len(self.damaged))

    def contested(self, family: Family, nodes: Iterable[str]) -> tuple[str, ...]:
        """Of these nodes, those that another fault holds something of that this family needs for itself."""
        taken = {node for held in self.held.values() for node, claim in held if claim in family.claims}
        return tuple(node for node in nodes if node in taken)

    def too_many(self, family: Family, nodes: Collection[str]) -> bool:
        """Whether more than a minority would be damaged."""
        return family.damages and len(set(nodes) - self.damaged) > self.spare

    def hold(self, number: int, family: Family, nodes: Iterable[str]) -> None:
        """From now on these are this fault's."""
        names = tuple(nodes)
        self.held[number] = frozenset((node, claim) for node in names for claim in family.claims)
        if family.damages:
            self.damaged.update(names)

    def release(self, number: int) -> None:
        """The fault is healed. What it damaged stays damaged."""
        self.held.pop(number, None)

    def choose(
        self,
        selector: Selector,
        family: Family,
        *,
        dead: Collection[str],
        leader: str | None,
        subject: str | None,
        random: Random,
        drawn: bool,
    ) -> Choice:
        """Resolves a selector among the nodes that are free; whoever is not free is passed over.

        ``dead`` are nodes that do not run. ``drawn``: nobody asked for this very fault, so it damages a minority at
        most, whatever it says.
        """
        needs_life = bool(family.claims & ALIVE)
        contested = self.contested(family, self.nodes)
        free = [name for name in self.nodes if name not in contested and not (needs_life and name in dead)]
        bounded = family.damages and (drawn or not _on_purpose(selector, self.nodes))
        if bounded and self.spare == 0:
            free = [name for name in free if name in self.damaged]
        pool = free if selector == "one" and free else self.nodes
        wanted = resolve_targets(selector, nodes=pool, leader=leader, random=random, subject=subject)
        targets = [name for name in wanted if name in free]
        if bounded:
            targets = self._minority_of(targets, random)
        if targets:
            return Choice(targets=tuple(targets))
        return Choice(nobody=self._why(selector, wanted, contested, dead if needs_life else (), bounded))

    def _minority_of(self, targets: Sequence[str], random: Random) -> list[str]:
        whole = [name for name in targets if name not in self.damaged]
        kept = {*random.sample(whole, min(len(whole), self.spare)), *self.damaged}
        return [name for name in targets if name in kept]

    def _why(
        self,
        selector: Selector,
        wanted: Sequence[str],
        contested: Collection[str],
        dead: Collection[str],
        bounded: bool,
    ) -> str:
        """In words, why nobody is left of those that were wanted."""
        if not wanted:
            return f"nobody to hit: target {selector!r} is no node just now"
        reasons = []
        for name in wanted:
            if name in contested:
                reasons.append(f"{name} is held by another fault")
            elif name in dead:
                reasons.append(f"{name} does not run")
            elif bounded:
                reasons.append(f"{name}'s data would be destroyed, and a minority's is already")
        return f"nobody to hit: {', '.join(reasons)}"


def _on_purpose(selector: Selector, nodes: Collection[str]) -> bool:
    """Whether a scenario says itself how many are hit."""
    return not isinstance(selector, str) or selector in ON_PURPOSE or selector in nodes
