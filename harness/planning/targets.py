"""Who is hit: selectors as scenarios write them, resolved to node names when a fault begins.

``faults`` gets names only; that a node *leads* is known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from harness.errors import nearest

SELECTORS = {
    "leader": "the node that leads when the fault begins",
    "followers": "every node but the leader",
    "follower": "one node that does not lead, drawn at random",
    "minority": "the largest number of nodes that is less than half, drawn at random",
    "majority": "the smallest number of nodes that is more than half, drawn at random",
    "one": "one node drawn at random",
    "all": "every node",
    "subject": "the node whose event fired the trigger (only with `when`)",
}

NEEDS_LEADER = frozenset({"leader", "followers", "follower"})

Selector = str | Sequence[str]


def check_selector(selector: Selector, nodes: Sequence[str], *, triggered: bool) -> None:
    """Refuses a selector that can never be resolved.

    Raises:
        ValueError: unknown name, ``subject`` without a trigger, ``minority`` of fewer than three nodes, an empty list.
    """
    if not selector:
        raise ValueError(f"target {selector!r} is nobody: {nearest('', [*SELECTORS, *nodes])}")
    for name in (selector,) if isinstance(selector, str) else tuple(selector):
        if name not in SELECTORS and name not in nodes:
            raise ValueError(f"target {name!r} cannot exist here: {nearest(name, [*SELECTORS, *nodes])}")
        if name == "subject" and not triggered:
            raise ValueError("target 'subject' needs a trigger: add `when`, or name a node")
        if name == "minority" and len(nodes) < 3:
            raise ValueError(f"target 'minority' is nobody among {len(nodes)} node(s): use 'one', or at least 3 nodes")
        if name in ("followers", "follower") and len(nodes) < 2:
            raise ValueError(f"target {name!r} is nobody in a cluster of one: use 'one', or more nodes")


def resolve_targets(
    selector: Selector, *, nodes: Sequence[str], leader: str | None, random: Random, subject: str | None = None
) -> tuple[str, ...]:
    """Node names, in cluster order; a list means whoever any of its names means.

    Empty if it asks for a leader and there is none, also in a list: to hit only the rest would be another fault.
    """
    names = (selector,) if isinstance(selector, str) else tuple(selector)
    if leader not in nodes and NEEDS_LEADER & set(names):
        return ()
    chosen = {node for name in names for node in _select(name, nodes, leader, random, subject)}
    return tuple(node for node in nodes if node in chosen)


def _select(
    selector: str, nodes: Sequence[str], leader: str | None, random: Random, subject: str | None
) -> Sequence[str]:
    if selector in nodes:
        return [selector]
    match selector:
        case "all":
            return nodes
        case "one":
            return random.sample(nodes, 1)
        case "minority":
            return random.sample(nodes, (len(nodes) - 1) // 2)
        case "majority":
            return random.sample(nodes, len(nodes) // 2 + 1)
        case "subject":
            return [subject] if subject in nodes and subject is not None else []
        case "leader":
            return [leader] if leader in nodes and leader is not None else []
        case "followers":
            return [node for node in nodes if node != leader] if leader is not None else []
        case "follower":
            others = [node for node in nodes if node != leader]
            return random.sample(others, 1) if others and leader is not None else []
    raise ValueError(f"target {selector!r}: {nearest(selector, SELECTORS)}")
