"""Raft invariants about configurations, judged from traces.

Sources: Ongaro & Ousterhout (2014), section 6; Ongaro's thesis (2014), 4.1 (single-server changes) and 4.3 (joint
consensus); microsoft/CCF's model keeps the same of its active configurations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

from checkers.raft.replay import Story
from checkers.raft.sightings import accuse
from checkers.raft.testimony import Testimony
from checkers.raft.traces import AnyEvent, Append, Commit, Config, RoleChange, SnapshotEvent, Start, Truncate
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
                before = None if isinstance(event, Start) else before
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


@dataclass(slots=True)
class _Reign:
    """A node as far as changes that it begins as a leader are concerned."""

    before: tuple[Config, int] | None = None
    """The configuration in force and its place."""
    leading: int | None = None
    first_own: int | None = None
    """Index of the first entry of the term that it leads."""
    committed: int = 0
    commit_position: int = 0

    def see(self, event: AnyEvent, position: int) -> None:
        if isinstance(event, Start):
            self.before, self.leading, self.first_own, self.committed = None, None, None, event.snapshot_index
        elif isinstance(event, RoleChange):
            if event.role != "leader" or self.leading != event.term:
                self.first_own = None
            self.leading = event.term if event.role == "leader" else None
        elif isinstance(event, Append) and event.entries and self.leading == event.entries[0][1]:
            self.first_own = self.first_own or event.entries[0][0]
        elif isinstance(event, Commit) and event.index > self.committed:
            self.committed, self.commit_position = event.index, position
        elif isinstance(event, SnapshotEvent) and event.action == "installed":
            self.committed = max(self.committed, event.index)

    def begins(self, event: Config) -> bool:
        """Whether this configuration is a change of voters, in one step, that the node makes as a leader."""
        if self.first_own is None or event.index < self.first_own or self.before is None or event.outgoing:
            return False
        return set(self.before[0].voters) != set(event.voters) or bool(self.before[0].outgoing)


def one_change_at_a_time(testimony: Testimony) -> Iterator[Finding]:
    """A leader changes the voters only when the configuration before is committed (thesis 4.1), and an entry of its own
    term is (the remedy announced on raft-dev in July 2015): else an older change that it does not know may still come
    up, and a majority of the one need not meet a majority of the other. What a joint change begins with is not judged:
    its majorities meet those of both.
    """
    for story in testimony.stories:
        reign = _Reign()
        for position, event in enumerate(story.trace.events):
            if not isinstance(event, Config):
                reign.see(event, position)
                continue
            if reign.begins(event) and reign.before is not None:
                if reign.committed < reign.before[0].index:
                    yield _too_early(story, reign.before[1], position, "the change before it was committed")
                elif not reign.before[0].outgoing and reign.committed < (reign.first_own or 0):
                    yield _too_early(story, reign.before[1], position, "any entry of its own term was committed")
            reign.before = (event, position)


def _too_early(story: Story, before: int, position: int, what: str) -> Finding:
    first, second = story.at(before), story.at(position)
    message = (
        f"{story.trace.node} began to change the voters {second.words} before {what}: those of the configuration "
        f"before {first.words} may decide something else"
    )
    return accuse("one change at a time", message, [first, second])


def configuration_follows_log(testimony: Testimony) -> Iterator[Finding]:
    """A configuration whose entry is cut is in force no longer (section 6: always the latest one in the log; thesis
    4.1): the one before it is told next, behind nothing but what the log gained in the same breath.
    """
    for story in testimony.stories:
        known: tuple[int, int] | None = None  # index of the configuration in force, position
        cut: tuple[int, int] | None = None  # from which index, position
        for position, event in enumerate(story.trace.events):
            if isinstance(event, Config):
                cut = None if cut is not None and event.index < cut[0] else cut
                known = (event.index, position)
            elif isinstance(event, Start) or (isinstance(event, SnapshotEvent) and event.action == "installed"):
                known = cut = None
            elif isinstance(event, Truncate):
                cut = (event.from_index, position) if known is not None and known[0] >= event.from_index else cut
            elif cut is not None and known is not None and not isinstance(event, (Append, Commit)):
                yield _not_rolled_back(story, known[1], cut[1])
                known = cut = None


def _not_rolled_back(story: Story, config: int, cut: int) -> Finding:
    first, second = story.at(config), story.at(cut)
    message = (
        f"{story.trace.node} kept to a configuration {first.words} though it cut the entry that brought it "
        f"{second.words}: it counts majorities of voters that the cluster may never have had"
    )
    return accuse("configuration follows the log", message, [first, second])
