"""Raft invariants about what the state machines did, judged from traces.

Sources: Ongaro & Ousterhout (2014), figure 2 (lastApplied), figure 3 (State Machine Safety), section 7 (snapshots).
"""

from __future__ import annotations

from collections.abc import Iterator

from checkers.raft.replay import Story
from checkers.raft.sightings import Sighting, accuse
from checkers.raft.testimony import Testimony
from checkers.raft.traces import Ack, Applied, Apply, Commit, SnapshotEvent, Start
from checkers.verdict import Finding


def state_machine_safety(testimony: Testimony) -> Iterator[Finding]:
    """Every node and incarnation applies the same command with the same result at an index (figure 3, State Machine
    Safety; DEMi), and it is the command that was committed there."""
    known: dict[int, tuple[Applied, Story, int]] = {}
    for story in testimony.stories:
        for position, event in story.trace.select(Apply):
            for applied in event.entries if isinstance(event, Apply) else ():
                seen = known.get(applied[0])
                if seen is None:
                    known[applied[0]] = (applied, story, position)
                elif seen[0] != applied:
                    yield _differ(seen[0], applied, seen[1].at(seen[2]), story.at(position))
    yield from _not_committed(testimony, known)


def _differ(old: Applied, new: Applied, first: Sighting, second: Sighting) -> Finding:
    what = "the result" if old[:3] == new[:3] else "the command"
    message = (
        f"{what} applied at index {new[0]} differs between {first.node} {first.words} and {second.node} "
        f"{second.words}; the replicas have parted"
    )
    return accuse("state machine safety", message, [first, second], index=new[0], terms=[old[1], new[1]])


def _not_committed(testimony: Testimony, known: dict[int, tuple[Applied, Story, int]]) -> Iterator[Finding]:
    committed = testimony.committed
    for index, (applied, story, position) in known.items():
        entry = committed.entries.get(index)
        if entry is not None and entry[1] != applied[1]:
            first, second = committed.witness(entry), story.at(position)
            message = (
                f"{story.trace.node} applied an entry of term {applied[1]} at index {index} {second.words}, but the "
                f"entry committed there is of term {entry[1]} {first.words}"
            )
            yield accuse("state machine safety", message, [first, second], index=index, terms=[entry[1], applied[1]])


def applied_never_goes_back(testimony: Testimony) -> Iterator[Finding]:
    """No incarnation applies an index twice or falls back behind what it applied, by a snapshot either (figure 2,
    lastApplied; section 7). Indexes may be left out: not every entry is a command."""
    for story in testimony.stories:
        highest = (0, 0)  # (index, position)
        for position, event in story.trace.select(Apply, Start, SnapshotEvent):
            if isinstance(event, Start):
                highest = (event.snapshot_index, position)
            elif isinstance(event, Apply):
                for applied in event.entries:
                    if applied[0] <= highest[0]:
                        yield _fell(story, highest, (applied[0], position), "applied")
                    highest = max(highest, (applied[0], position))
            elif isinstance(event, SnapshotEvent) and event.action == "installed":
                if event.index < highest[0]:
                    yield _fell(story, highest, (event.index, position), "installed a snapshot of")
                highest = max(highest, (event.index, position))


def _fell(story: Story, before: tuple[int, int], after: tuple[int, int], did: str) -> Finding:
    first, second = story.at(before[1]), story.at(after[1])
    message = (
        f"{story.trace.node} {did} index {after[0]} {second.words} after it had applied index {before[0]} {first.words}"
    )
    return accuse("applied never goes back", message, [first, second], index=after[0], before=before[0])


def applied_was_committed(testimony: Testimony) -> Iterator[Finding]:
    """Nothing is applied, and nothing acknowledged, beyond the commit index (figure 2: lastApplied follows commitIndex;
    5.3). Judged from an incarnation's first commit line on: a system may restore its commit index from disk untold."""
    for story in testimony.stories:
        known: tuple[int, int] | None = None  # (index, position)
        for position, event in story.trace.select(Apply, Ack, Commit, Start, SnapshotEvent):
            if isinstance(event, Start):
                known = None
            elif isinstance(event, Commit):
                known = max(known or (0, 0), (event.index, position))
            elif known is None:
                continue
            elif isinstance(event, SnapshotEvent):
                known = max(known, (event.index, position)) if event.action == "installed" else known
            else:
                index = _reach(event)
                if index > known[0]:
                    yield _too_far(story, known, (index, position))


def _reach(event: object) -> int:
    if isinstance(event, Apply):
        return max((applied[0] for applied in event.entries), default=0)
    return event.index if isinstance(event, Ack) else 0


def _too_far(story: Story, known: tuple[int, int], after: tuple[int, int]) -> Finding:
    first, second = story.at(known[1]), story.at(after[1])
    did = "applied" if isinstance(second.event, Apply) else "acknowledged"
    message = (
        f"{story.trace.node} {did} index {after[0]} {second.words}, but knew only entries up to {known[0]} to be "
        f"committed {first.words}"
    )
    return accuse("applied was committed", message, [first, second], index=after[0], committed=known[0])


def snapshot_agreement(testimony: Testimony) -> Iterator[Finding]:
    """Snapshots of the same index hold the same state on all nodes, taken or installed (section 7; bug zoo: CONV), and
    name the term of the entry that was committed there."""
    known: dict[int, tuple[str | None, int, Story, int]] = {}
    for story in testimony.stories:
        for position, event in story.trace.select(SnapshotEvent):
            if not isinstance(event, SnapshotEvent):
                continue
            new = (event.hash, event.term, story, position)
            seen = known.setdefault(event.index, new)
            if seen[1] != event.term or (None not in (seen[0], event.hash) and seen[0] != event.hash):
                yield _two_states(event.index, seen[2].at(seen[3]), story.at(position))
            elif seen[0] is None:
                known[event.index] = new
    yield from _wrong_terms(testimony, known)


def _two_states(index: int, first: Sighting, second: Sighting) -> Finding:
    message = (
        f"the snapshots of index {index} differ between {first.node} {first.words} and {second.node} {second.words}; "
        "the replicas have parted"
    )
    return accuse("snapshot agreement", message, [first, second], index=index)


def _wrong_terms(testimony: Testimony, known: dict[int, tuple[str | None, int, Story, int]]) -> Iterator[Finding]:
    committed = testimony.committed
    for index, (_, term, story, position) in known.items():
        entry = committed.entries.get(index)
        if entry is not None and entry[1] != term:
            first, second = committed.witness(entry), story.at(position)
            message = (
                f"the snapshot of index {index} {second.words} says that its last entry is of term {term}, but the one "
                f"committed there is of term {entry[1]} {first.words}"
            )
            yield accuse("snapshot agreement", message, [first, second], index=index, terms=[entry[1], term])
