"""What all traces of a run say together: each node's story, and the entries that were committed.

``Committed`` is the cluster's one log, as far as anybody knew it to be committed. It is put together from what every
node had in its log when its commit index passed. A follower learns of a commit only by a message whose term is at most
its own, so the node's current term at a commit is never below the term in which the entry was really committed: "the
lowest term in which anyone knew" can be relied on for leader completeness.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate

from checkers.raft.replay import Run, Story, retell
from checkers.raft.sightings import Sighting
from checkers.raft.traces import Entry, Trace
from checkers.verdict import Finding

_CONFLICTS_MAX = 100


@dataclass(slots=True)
class Committed:
    """The committed entries by index, and where two nodes disagree about them."""

    entries: dict[int, Entry] = field(default_factory=dict)
    conflicts: list[tuple[Entry, Sighting]] = field(default_factory=list)
    """Committed entries that differ from the one in ``entries``, at most a hundred."""
    _runs: list[tuple[Run, Story]] = field(default_factory=list)
    _terms: list[int] = field(default_factory=list)
    _heights: list[int] = field(default_factory=list)

    def height_before(self, term: int) -> int:
        """The highest index that anyone knew to be committed in a term below ``term``."""
        place = bisect.bisect_left(self._terms, term)
        return self._heights[place - 1] if place else 0

    def term_of_commit(self, index: int) -> int:
        """The lowest term in which anyone knew ``index`` to be committed; the index must be."""
        return self._terms[bisect.bisect_left(self._heights, index)]

    def witness(self, entry: Entry) -> Sighting:
        """Who first knew (lowest term) that ``entry`` was committed."""
        run, story = next((run, story) for run, story in self._runs if entry in run.entries)
        return story.at(run.position)

    def _enter(self, run: Run, story: Story) -> None:
        entries = self.entries
        for entry in run.entries:
            if entry is None or entries.setdefault(entry[0], entry) == entry:
                continue
            if len(self.conflicts) < _CONFLICTS_MAX:
                self.conflicts.append((entry, story.at(run.position)))


def committed_by(stories: Iterable[Story]) -> Committed:
    """Puts the committed log together; where nodes disagree, the lowest term's word stands."""
    runs = sorted(((run, story) for story in stories for run in story.runs), key=lambda pair: pair[0].term)
    committed = Committed(_runs=runs)
    height_of: dict[int, int] = {}
    for run, story in runs:
        committed._enter(run, story)
        last = next((entry[0] for entry in reversed(run.entries) if entry is not None), 0)
        height_of[run.term] = max(height_of.get(run.term, 0), last)
    committed._terms = list(height_of)
    committed._heights = list(accumulate(height_of.values(), max))
    return committed


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """All stories of a run. ``one_clock``: the nodes share CLOCK_MONOTONIC (they run on one machine)."""

    by_node: Mapping[str, Story]
    """By identity: a node that was taken out and came back empty is two servers."""
    committed: Committed
    one_clock: bool

    @property
    def stories(self) -> Collection[Story]:
        """All of them, by the nodes' names."""
        return self.by_node.values()


Invariant = Callable[[Testimony], Iterator[Finding]]


def hear(traces: Mapping[str, Trace], *, one_clock: bool) -> Testimony:
    """Re-enacts every trace."""
    stories = {part.identity: retell(part) for name in sorted(traces) for part in traces[name].identities()}
    return Testimony(by_node=stories, committed=committed_by(stories.values()), one_clock=one_clock)
