"""Raft invariants about what a leader knows of its followers, judged from traces.

Sources: Ongaro & Ousterhout (2014), figure 2 (matchIndex: "increases monotonically"); microsoft/CCF checks it.
"""

from __future__ import annotations

from collections.abc import Iterator

from checkers.raft.replay import Story
from checkers.raft.sightings import accuse
from checkers.raft.testimony import Testimony
from checkers.raft.traces import Match, Start
from checkers.verdict import Finding


def match_never_goes_back(testimony: Testimony) -> Iterator[Finding]:
    """A leader's match index of a follower never falls within its term (figure 2, matchIndex). Traces tell it now and
    then: what fell and rose again between two lines is not seen."""
    for story in testimony.stories:
        term = -1
        highest: dict[str, tuple[int, int]] = {}  # follower: (match index, position)
        for position, event in story.trace.select(Match, Start):
            if not isinstance(event, Match):
                term, highest = -1, {}
                continue
            if event.term != term:
                term, highest = event.term, {}
            for name, index in event.match.items():
                known = highest.get(name)
                if known is not None and index < known[0]:
                    yield _fell(story, name, known, (index, position), term)
                highest[name] = max(known or (0, 0), (index, position))


def _fell(story: Story, name: str, before: tuple[int, int], after: tuple[int, int], term: int) -> Finding:
    first, second = story.at(before[1]), story.at(after[1])
    message = (
        f"{story.trace.node}, leader of term {term}, knew {name} to agree up to index {before[0]} {first.words}, but "
        f"only up to {after[0]} {second.words}; what it counted for a commit may not be there"
    )
    facts = {"follower": name, "index": after[0], "before": before[0], "term": term}
    return accuse("match never goes back", message, [first, second], **facts)
