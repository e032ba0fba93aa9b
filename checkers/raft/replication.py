"""Raft invariants about logs and commits, judged from traces.

Sources: Ongaro & Ousterhout (2014), figure 3 and 5.3-5.4; Ongaro's thesis (2014), 3.5, 3.6 and its appendix (lemmas on
the terms in a log); etcd-io/raft and microsoft/CCF check most of them too. Each function's docstring names its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from checkers.raft.replay import Leading, Story
from checkers.raft.sightings import Sighting, accuse
from checkers.raft.testimony import Committed, Testimony
from checkers.raft.traces import Append, Commit, Entry, SnapshotEvent, Start
from checkers.verdict import Finding


def log_matching(testimony: Testimony) -> Iterator[Finding]:
    """Entries with the same index and term hold the same command, and their predecessors have the same term (figure 3,
    Log Matching; by induction all logs agree up to there). Over all nodes and all times, cut entries included."""
    places: dict[tuple[int, int], Entry] = {}
    known: dict[Entry, tuple[int | None, Story, int]] = {}  # its predecessor's term, and who told it first
    for story in testimony.stories:
        for position, previous in story.appends:
            for entry in _entries(story, position):
                seen = known.get(entry)
                if seen is None:
                    other = places.setdefault(entry[:2], entry)
                    if other is not entry:
                        yield _two_commands(entry, known[other][1].at(known[other][2]), story.at(position))
                    known[entry] = (previous, story, position)
                elif seen[0] is None:
                    known[entry] = (previous, story, position)
                elif previous is not None and seen[0] != previous:
                    yield _two_pasts(entry, (seen[0], previous), seen[1].at(seen[2]), story.at(position))
                previous = entry[1]


def _entries(story: Story, position: int) -> tuple[Entry, ...]:
    event = story.trace.events[position]
    return event.entries if isinstance(event, Append) else ()


def _two_commands(entry: Entry, first: Sighting, second: Sighting) -> Finding:
    index, term, _ = entry
    message = (
        f"index {index} of term {term} is not the same entry everywhere: {first.node} {first.words} and "
        f"{second.node} {second.words} put different commands there; one leader makes one entry an index"
    )
    return accuse("log matching", message, [first, second], index=index, term=term)


def _two_pasts(entry: Entry, terms: tuple[int, int], first: Sighting, second: Sighting) -> Finding:
    index, term, _ = entry
    message = (
        f"the entry at index {index} of term {term} follows an entry of term {terms[0]} on {first.node} {first.words}, "
        f"but one of term {terms[1]} on {second.node} {second.words}; logs that agree in an entry must agree before it"
    )
    return accuse("log matching", message, [first, second], index=index, term=term, previous_terms=list(terms))


def log_has_no_gaps(testimony: Testimony) -> Iterator[Finding]:
    """An append starts right behind the log's end (5.3: a follower refuses entries whose predecessor it lacks)."""
    for story in testimony.stories:
        for position, last in story.gaps:
            first = _entries(story, position)[0][0]
            message = (
                f"{story.trace.node} appended index {first} though its log ended at {last} "
                f"{story.at(position).words}; the entries between are missing"
            )
            yield accuse("log has no gaps", message, [story.at(position)], index=first, last=last)


def log_terms_never_fall(testimony: Testimony) -> Iterator[Finding]:
    """Terms never fall along a log (thesis, appendix: a leader's term is at least that of every entry it has)."""
    for story in testimony.stories:
        for position, previous in story.appends:
            before = previous or 0
            for index, term, _ in _entries(story, position):
                if term < before:
                    yield _falling(story, position, index, (before, term))
                before = term


def _falling(story: Story, position: int, index: int, terms: tuple[int, int]) -> Finding:
    sighting = story.at(position)
    message = (
        f"{story.trace.node} put an entry of term {terms[1]} at index {index} behind one of term {terms[0]} "
        f"{sighting.words}; it took entries from a leader whose time was over"
    )
    return accuse("log terms never fall", message, [sighting], index=index, term=terms[1], before=terms[0])


def leader_append_only(testimony: Testimony) -> Iterator[Finding]:
    """A leader never overwrites or deletes entries of its log in its term (figure 3, Leader Append-Only)."""
    for story in testimony.stories:
        for cut in story.cuts:
            if cut.leading is not None:
                sighting = story.at(cut.position)
                message = (
                    f"{story.trace.node}, leader of term {cut.leading}, cut its own log from index {cut.from_index} on "
                    f"{sighting.words}; a leader only appends"
                )
                yield accuse("leader append-only", message, [sighting], index=cut.from_index, term=cut.leading)


def cut_by_a_later_term(testimony: Testimony) -> Iterator[Finding]:
    """A follower cuts entries of a term only in a later one: they come from that term's one leader, which only appends,
    so nothing that it says can conflict with them (figure 3, Leader Append-Only; 5.3). What is cut nevertheless was
    acknowledged, and may be counted."""
    for story in testimony.stories:
        for cut in story.cuts:
            if cut.leading is None and cut.lost_term is not None and cut.lost_term >= cut.term:
                sighting = story.at(cut.position)
                message = (
                    f"{story.trace.node} cut its log from index {cut.from_index} on and lost entries of term "
                    f"{cut.lost_term} in that very term {sighting.words}; their leader never takes one back"
                )
                yield accuse("cut by a later term", message, [sighting], index=cut.from_index, term=cut.lost_term)


def committed_prefix_is_kept(testimony: Testimony) -> Iterator[Finding]:
    """A node that knew an entry to be committed never truncates it (5.3, 5.4; CCF's append-only committed prefix)."""
    for story in testimony.stories:
        for cut in story.cuts:
            if cut.from_index <= cut.committed:
                sighting = story.at(cut.position)
                message = (
                    f"{story.trace.node} cut its log from index {cut.from_index} on, but knew that everything up to "
                    f"{cut.committed} was committed {sighting.words}; committed entries are for ever"
                )
                facts = {"index": cut.from_index, "committed": cut.committed}
                yield accuse("committed prefix is kept", message, [sighting], **facts)


def commit_agreement(testimony: Testimony) -> Iterator[Finding]:
    """No two nodes hold different entries to be committed at one index (5.4.3, before anything is applied)."""
    committed = testimony.committed
    for entry, sighting in committed.conflicts:
        other = committed.entries[entry[0]]
        first = committed.witness(other)
        message = (
            f"two different entries were committed at index {entry[0]}: one of term {other[1]} {first.words} and one "
            f"of term {entry[1]} {sighting.words}"
        )
        yield accuse("commit agreement", message, [first, sighting], index=entry[0], terms=[other[1], entry[1]])


def leader_completeness(testimony: Testimony) -> Iterator[Finding]:
    """An entry committed in a term is in the log of every leader of a later term (figure 3, Leader Completeness).

    Judged when a node becomes leader: what it knew itself to be committed is left to commit agreement, so only the tail
    of its log behind that is compared, which keeps the whole linear.
    """
    for story in testimony.stories:
        for leading in story.leaders:
            index = _first_missing(leading, testimony.committed)
            if index is not None:
                yield _incomplete(story, leading, testimony.committed, index)


def _first_missing(leading: Leading, committed: Committed) -> int | None:
    """The first committed index at which the new leader has another entry, or none."""
    for place, index in enumerate(range(leading.known + 1, committed.height_before(leading.term) + 1)):
        wanted = committed.entries.get(index)
        if wanted is None:
            continue
        if place >= len(leading.tail):
            return index
        held = leading.tail[place]
        if held is not None and held != wanted:
            return index
    return None


def _incomplete(story: Story, leading: Leading, committed: Committed, index: int) -> Finding:
    entry = committed.entries[index]
    first, second = committed.witness(entry), story.at(leading.position)
    message = (
        f"{story.trace.node} became leader of term {leading.term} {second.words} without the entry at index {index} of "
        f"term {entry[1]}, which was committed {first.words}; it will overwrite what was acknowledged"
    )
    return accuse("leader completeness", message, [first, second], index=index, term=leading.term, entry_term=entry[1])


def commit_within_log(testimony: Testimony) -> Iterator[Finding]:
    """The commit index never passes the log's end (figure 2, AppendEntries step 5: at most the last new entry)."""
    for story in testimony.stories:
        for position, last, _, _ in story.commits:
            event = story.trace.events[position]
            if isinstance(event, Commit) and last is not None and event.index > last:
                sighting = story.at(position)
                message = (
                    f"{story.trace.node} took index {event.index} for committed though its log ended at {last} "
                    f"{sighting.words}"
                )
                yield accuse("commit within the log", message, [sighting], index=event.index, last=last)


def commit_by_own_term(testimony: Testimony) -> Iterator[Finding]:
    """A leader commits by counting only entries of its own term; earlier ones come with them (5.4.2, figure 8)."""
    for story in testimony.stories:
        for position, _, entry, leading in story.commits:
            event = story.trace.events[position]
            if leading and isinstance(event, Commit) and entry is not None and entry[1] < event.term:
                sighting = story.at(position)
                message = (
                    f"{story.trace.node}, leader of term {event.term}, committed index {event.index}, an entry of term "
                    f"{entry[1]} {sighting.words}; a later leader may still replace it (figure 8)"
                )
                facts = {"index": event.index, "term": event.term, "entry_term": entry[1]}
                yield accuse("commit by own term", message, [sighting], **facts)


def commit_never_goes_back(testimony: Testimony) -> Iterator[Finding]:
    """The commit index increases monotonically (figure 2, commitIndex); it is volatile, so within an incarnation."""
    for story in testimony.stories:
        highest = (0, 0)  # (index, position)
        for position, event in story.trace.select(Commit, Start, SnapshotEvent):
            if isinstance(event, Start):
                highest = (event.snapshot_index, position)
            elif isinstance(event, Commit) and event.index < highest[0]:
                yield _commit_fell(story, highest, (event.index, position))
            elif isinstance(event, Commit) or (isinstance(event, SnapshotEvent) and event.action == "installed"):
                highest = max(highest, (event.index, position))


def _commit_fell(story: Story, before: tuple[int, int], after: tuple[int, int]) -> Finding:
    first, second = story.at(before[1]), story.at(after[1])
    message = (
        f"the commit index of {story.trace.node} went back from {before[0]} {first.words} to {after[0]} {second.words}"
    )
    return accuse("commit never goes back", message, [first, second], index=after[0], before=before[0])
