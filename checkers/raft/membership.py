"""Raft invariants about configurations, judged from traces.

Sources: Ongaro & Ousterhout (2014), section 6; Ongaro's thesis (2014), 4.1 (single-server changes) and 4.3 (joint
consensus); microsoft/CCF's model keeps the same of its active configurations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import combinations

from checkers.raft.replay import Story
from checkers.raft.sightings import accuse
from checkers.raft.testimony import Testimony
from checkers.raft.traces import Config, SnapshotEvent, Start
from checkers.verdict import Finding

Voters = tuple[frozenset[str], ...]
"""The sets of voters of which a quorum needs a majority each: one, or two while a joint change is under way."""

_NODES_MAX = 16
"""Configurations with more nodes between them are passed over: their subsets are too many to try."""


def quorums_intersect(testimony: Testimony) -> Iterator[Finding]:
    """Any two quorums in force at one time intersect (section 6; CCF): of two configurations that follow one another on
    a node, no quorum of the one is without a member of the other's. While a change is under way some nodes act by the
    first and some by the second, so two leaders could be elected, and two entries committed at one index.

    A snapshot may jump over configurations, and a restart may: what comes after them is not held against what came
    before.
    """
    for story in testimony.stories:
        before: tuple[Voters, int] | None = None
        for position, event in story.trace.select(Start, Config, SnapshotEvent):
            if isinstance(event, SnapshotEvent):
                before = None if event.action == "installed" else before
                continue
            voters = voters_of(event)
            if not voters[0]:
                continue
            if isinstance(event, Config) and before is not None:
                apart = _apart(before[0], voters)
                if apart is not None:
                    yield _two_majorities(story, (before[1], position), apart)
            before = (voters, position)


def voters_of(event: object) -> Voters:
    """The voters that an event brings into force; one empty set if it tells of none."""
    if isinstance(event, Config):
        sets = [event.voters, event.outgoing] if event.outgoing else [event.voters]
        return tuple(map(frozenset, sets))
    return (frozenset(event.voters),) if isinstance(event, Start) else (frozenset(),)


@lru_cache(maxsize=1024)
def _apart(one: Voters, other: Voters) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """A quorum of each that have no node in common, the first as small as can be."""
    names = sorted(frozenset().union(*one, *other))
    if one == other or len(names) > _NODES_MAX:
        return None
    for size in range(1, len(names)):
        for chosen in combinations(names, size):
            rest = tuple(name for name in names if name not in chosen)
            if is_quorum(chosen, one) and is_quorum(rest, other):
                return chosen, rest
    return None


def is_quorum(nodes: Collection[str], voters: Voters) -> bool:
    """Whether these nodes hold a majority of every set of voters."""
    return all(2 * len(members.intersection(nodes)) > len(members) for members in voters)


def _two_majorities(story: Story, places: tuple[int, int], apart: tuple[Sequence[str], Sequence[str]]) -> Finding:
    first, second = (story.at(position) for position in places)
    one, other = (", ".join(names) for names in apart)
    message = (
        f"{story.trace.node} went from one configuration {first.words} to another {second.words} though {one} are a "
        f"quorum of the first and {other} hold one of the second: with no node in both, each can elect a leader"
    )
    return accuse("quorums intersect", message, [first, second], quorums=[list(names) for names in apart])
