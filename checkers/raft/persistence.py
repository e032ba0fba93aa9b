"""Raft invariants about what the disks must remember, judged from traces.

Sources: Ongaro & Ousterhout (2014), figure 2 ("persistent state ... updated on stable storage before responding"), 5.5;
Ongaro's thesis (2014), 3.8 and 10.2.1 (a leader may count itself only once its own disk has the entry).
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence

from checkers.raft.membership import Voters, is_quorum, voters_of
from checkers.raft.replay import Restart, Story, recovered_end
from checkers.raft.sightings import accuse
from checkers.raft.testimony import Committed, Testimony
from checkers.raft.traces import Ack, Commit, Config, Durable, Start
from checkers.verdict import Finding


def nothing_durable_is_forgotten(testimony: Testimony) -> Iterator[Finding]:
    """What was traced as durable comes back after a restart: the vote in its term, and the log (figure 2, persistent
    state). Entries that moved into a snapshot are kept. Terms: see ``term_never_goes_back``.

    A truncation whose line was lost in the kill may explain a shorter or another log, but only for an entry that could
    be cut: not one that anybody knew to be committed in a term that the node had reached already. (Only a leader of
    that term or a later one could have made the node cut it, and all of those have it: leader completeness.)
    """
    for story in testimony.stories:
        for restart in story.restarts:
            start = story.trace.events[restart.position]
            if restart.durable is not None and isinstance(start, Start):
                yield from _forgotten_vote(story, restart, start)
                yield from _forgotten_log(testimony.committed, story, restart, start)


def _forgotten_vote(story: Story, restart: Restart, start: Start) -> Iterator[Finding]:
    durable = story.trace.events[restart.durable or 0]
    if not isinstance(durable, Durable) or durable.vote is None:
        return
    if start.term == durable.term and start.vote != durable.vote:
        first, second = story.at(restart.durable or 0), story.at(restart.position)
        found = "no vote" if start.vote is None else f"a vote for {start.vote}"
        message = (
            f"{story.trace.node} forgot a vote: its vote for {durable.vote} in term {durable.term} was durable "
            f"{first.words}, but after a restart it found {found} {second.words}; it may now vote a second time in "
            "that term, and so two leaders can be elected"
        )
        yield accuse("nothing durable is forgotten", message, [first, second], term=start.term)


def _forgotten_log(committed: Committed, story: Story, restart: Restart, start: Start) -> Iterator[Finding]:
    lost = restart.lost
    if lost is None or committed.entries.get(lost[0]) != lost or committed.term_of_commit(lost[0]) > restart.term:
        return
    last, term = recovered_end(start)
    first, second = story.at(restart.durable or 0), story.at(restart.position)
    found = f"its log ended at index {last}" if last < lost[0] else f"it found one of term {term} there"
    message = (
        f"{story.trace.node} lost the committed entry at index {lost[0]} of term {lost[1]}: it was durable "
        f"{first.words}, but after a restart {found} {second.words}"
    )
    yield accuse("nothing durable is forgotten", message, [first, second], index=lost[0], term=lost[1], last=last)


def acknowledged_on_majority(testimony: Testimony) -> Iterator[Finding]:
    """A write is acknowledged only when a majority of the voters has it on disk (figure 2, persistent state; 5.3).

    A follower's ``durable`` line comes before its answer, so the lines of a majority exist when a leader acknowledges;
    that much needs no clock. That they are *earlier* is judged only with ``one_clock``. Voters without a trace, or
    whose trace tells no durable point, are taken to have the entry.
    """
    yield from _lacking(testimony, "acknowledged on a majority")


def committed_on_majority(testimony: Testimony) -> Iterator[Finding]:
    """A leader commits an entry only when a majority of the voters has it on disk (figure 2, leaders, last rule; 5.3;
    thesis 10.2.1; CCF). Judged as acknowledgements are, but before anybody is told: followers learn of commits later
    and are not held to it."""
    yield from _lacking(testimony, "committed on a majority")


def _lacking(testimony: Testimony, kind: str) -> Iterator[Finding]:
    silent = {story.identity for story in testimony.stories if not _tells_durable(story)}
    for story in testimony.stories:
        if story.identity in silent:
            continue
        leading = {commit.position for commit in story.commits if commit.leading}
        for position, event, voters in _decisions(story):
            if kind.startswith("ack") if isinstance(event, Ack) else position in leading and kind.startswith("com"):
                names = frozenset().union(*voters)
                missing = {name for name in names if name not in silent and not _has(testimony, name, event)}
                if not is_quorum(names - missing, voters):
                    yield _early(testimony, story, position, sorted(missing))


def _decisions(story: Story) -> Iterator[tuple[int, Ack | Commit, Voters]]:
    """Commits and acknowledgements, each with the voters that were in force when it was committed: whoever has left
    since was asked then.
    """
    voters: Voters = ()
    committed: list[tuple[int, Voters]] = []  # rising
    for position, event in story.trace.select(Start, Config, Ack, Commit):
        if isinstance(event, (Start, Config)):
            voters = told if (told := voters_of(event))[0] else voters
            if isinstance(event, Start):
                committed.clear()
        elif isinstance(event, Commit) and voters:
            committed.append((event.index, voters))
            yield position, event, voters
        elif isinstance(event, Ack) and voters:
            place = bisect.bisect_left(committed, event.index, key=lambda one: one[0])
            yield position, event, committed[place][1] if place < len(committed) else voters


def _tells_durable(story: Story) -> bool:
    return next(story.trace.select(Durable), None) is not None


def _has(testimony: Testimony, name: str, done: Ack | Commit) -> bool:
    """Whether a voter may have had the entry on disk (before it was acknowledged or committed, if clocks can tell)."""
    story = testimony.by_node.get(name)
    if story is None:
        return True
    entry, wanted = story.log.entry(done.index), testimony.committed.entries.get(done.index)
    if entry is not None and wanted is not None and entry != wanted:
        return False
    since = story.log.durable_since(done.index)
    return since is not None and (not testimony.one_clock or since <= done.time)


def _early(testimony: Testimony, story: Story, position: int, missing: Sequence[str]) -> Finding:
    sighting = story.at(position)
    index = sighting.event.index  # type: ignore[union-attr]
    when = "then" if testimony.one_clock else "at any time"
    acknowledged = isinstance(sighting.event, Ack)
    did = "acknowledged the command" if acknowledged else "took the entry for committed"
    message = (
        f"{story.trace.node} {did} at index {index} {sighting.words}, but it was not durable {when} "
        f"on {', '.join(missing)}: no majority of the voters could have brought it back"
    )
    kind = "acknowledged on a majority" if acknowledged else "committed on a majority"
    return accuse(kind, message, [sighting], index=index, missing=list(missing))
