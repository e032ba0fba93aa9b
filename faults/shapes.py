"""Shapes of partitions: which directions between which nodes are cut. Pure.

``halves``, ``bridge``, ``majorities-ring`` and ``minority-third`` are Jepsen's (``jepsen.nemesis``: complete-grudge,
bridge, majorities-ring; ``jepsen.nemesis.combined``: minority-third).
A cut is a pair (source, target): what source sends does not reach target.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from faults.cuts import Pair

Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """Who is cut from whom: two sides (and perhaps a bridge that both can reach), or any links."""

    first: Names = ()
    second: Names = ()
    bridge: str | None = None
    links: tuple[Pair, ...] = ()
    """Cut in both directions; only shapes without sides have them."""

    def centre(self) -> Names:
        """Whom the division is about: the bridge, or the first side."""
        return (self.bridge,) if self.bridge is not None else self.first

    def cuts(self, direction: str) -> tuple[Pair, ...]:
        """The cut directions; ``in`` and ``out`` are seen from the first side."""
        inward = [(other, one) for one in self.first for other in self.second]
        outward = [(one, other) for one in self.first for other in self.second]
        linked = [pair for one, other in self.links for pair in ((one, other), (other, one))]
        sided = {"in": inward, "out": outward, "both": inward + outward}[direction]
        return tuple(sorted(sided + linked))


def halves(targets: Names, nodes: Names, random: Random) -> Division:
    """Two sides, the first with half of the nodes, rounded down; targets stand there, the others are drawn."""
    _at_least(2, nodes, "halves")
    size = len(nodes) // 2
    if len(targets) > size:
        raise ValueError(f"halves: {len(targets)} targets do not fit into a half of {size} of {len(nodes)} nodes")
    others = [node for node in nodes if node not in targets]
    first = {*targets, *random.sample(others, size - len(targets))}
    return _sides(first, nodes)


def isolate(targets: Names, nodes: Names, random: Random) -> Division:
    """The targets (or one node drawn at random) stay connected with each other, and are cut from all others."""
    _at_least(2, nodes, "isolate")
    first = set(targets or random.sample(nodes, 1))
    if len(first) == len(nodes):
        raise ValueError("isolate: every node is a target, so nobody is left to be cut from; name fewer")
    return _sides(first, nodes)


def bridge(targets: Names, nodes: Names, random: Random) -> Division:
    """Two halves that only one node, the target (or one drawn at random), can reach."""
    _at_least(3, nodes, "bridge")
    if len(targets) > 1:
        raise ValueError(f"bridge: exactly one node can be the bridge, not {', '.join(targets)}")
    middle = targets[0] if targets else random.choice(nodes)
    others = tuple(node for node in nodes if node != middle)
    division = _sides(set(random.sample(others, len(others) // 2)), others)
    return Division(first=division.first, second=division.second, bridge=middle)


def majorities_ring(targets: Names, nodes: Names, random: Random) -> Division:
    """Every node reaches a majority (its nearest on a ring in random order), no two the same one."""
    del targets
    _at_least(4, nodes, "majorities-ring")
    ring = random.sample(nodes, len(nodes))
    reach = -(-(len(nodes) // 2) // 2)  # so many on each side: with the node itself, at least a majority
    links = [
        (one, other) for place, one in enumerate(ring) for other in ring[place + reach + 1 : len(ring) + place - reach]
    ]
    return Division(links=tuple(sorted(links)))


def minority_third(targets: Names, nodes: Names, random: Random) -> Division:
    """The largest number of nodes that is less than a third is cut from all others; targets stand there."""
    _at_least(4, nodes, "minority-third")
    size = (len(nodes) - 1) // 3
    if len(targets) > size:
        raise ValueError(
            f"minority-third: {len(targets)} targets do not fit into the {size} of {len(nodes)} nodes that are less"
            " than a third"
        )
    others = [node for node in nodes if node not in targets]
    return _sides({*targets, *random.sample(others, size - len(targets))}, nodes)


def link(targets: Names, nodes: Names, random: Random) -> Division:
    """One link between two nodes: the targets, or the target and any other, or any two."""
    _at_least(2, nodes, "link")
    if len(targets) > 2:
        raise ValueError(f"link: a link has two ends, not {', '.join(targets)}")
    others = [node for node in nodes if node not in targets]
    ends = [*targets, *random.sample(others, 2 - len(targets))]
    return Division(first=(ends[0],), second=(ends[1],))


def random_links(targets: Names, nodes: Names, random: Random) -> Division:
    """Every link between two nodes is cut with an even chance; at least one is."""
    del targets
    _at_least(2, nodes, "random")
    every = [(one, other) for place, one in enumerate(nodes) for other in nodes[place + 1 :]]
    links = [link for link in every if random.random() < 0.5] or [random.choice(every)]
    return Division(links=tuple(links))


SHAPES: Mapping[str, Callable[[Names, Names, Random], Division]] = {
    "halves": halves,
    "isolate": isolate,
    "bridge": bridge,
    "majorities-ring": majorities_ring,
    "minority-third": minority_third,
    "link": link,
    "random": random_links,
}

SIDED = frozenset({"halves", "isolate", "bridge", "minority-third", "link"})
"""Shapes with a first side: only they have an inward and an outward direction, a target, and clients that can be cut
off too.
"""


def _sides(first: set[str], nodes: Sequence[str]) -> Division:
    return Division(
        first=tuple(node for node in nodes if node in first), second=tuple(node for node in nodes if node not in first)
    )


def _at_least(count: int, nodes: Names, shape: str) -> None:
    if len(nodes) < count:
        raise ValueError(f"{shape}: needs at least {count} nodes, there are {len(nodes)}")
