"""Re-enacts a node's log from its trace, once, and keeps the facts that the Raft invariants are about.

The log is never copied: entries are the tuples that the trace was decoded to, in one list per node that ``append``
extends and ``truncate`` cuts, so a re-enactment costs a few list operations an event.

What a kill does to the log is told by the next ``start``. Entries that were traced but not durable may be gone; and
the disk may know more than the trace, because a kill between the disk's sync and the next message costs the lines of
that turn (nobody heard of them): appends, and truncations too. Both are normal. Whatever can't be known becomes
*unknown* (``None``), and an invariant that meets an unknown entry keeps silent: a lost chance to find something, never
a false alarm.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from checkers.raft.sightings import Sighting
from checkers.raft.traces import (
    Ack,
    Append,
    Apply,
    Commit,
    Config,
    Durable,
    Entry,
    RoleChange,
    SnapshotEvent,
    Start,
    TermChange,
    Trace,
    Truncate,
    Vote,
)

_UNKNOWN_MAX = 100_000
"""How many unknown entries are worth a place in memory; beyond that the known ones below them are given up."""


_ONE_READY = 3
"""Lines that may stand from a truncation to the snapshot that it makes way for: an append, a commit, and itself."""


class NodeLog:
    """One node's log as its trace tells it. Indexes are Raft's (the first entry is 1); an unknown term is ``None``."""

    def __init__(self) -> None:
        self.base = 0
        """Everything up to this index is unknown, or in a snapshot."""
        self.base_term: int | None = 0
        self.entries: list[Entry | None] = []
        self.certain = False
        """Whether ``last`` is known to be the log's end."""
        self.promised = 0
        """The last index that the disk must still have after a kill: durable, and not cut since."""
        self._untouched: int | None = None
        """Entries up to here were not cut by truncations that may not be durable yet (``None``: there are none)."""
        self._reached = 0
        """How far the log reached before those truncations: a sync told later may speak of that log still."""
        self._durable_indexes: list[int] = []
        self._durable_times: list[int] = []
        """Both rising: when (ns) the log became durable up to which index; cuts make it forget."""

    def durable_since(self, index: int) -> int | None:
        """When the node said that the entry it has at ``index`` was durable (ns of its clock), if it did."""
        place = bisect.bisect_left(self._durable_indexes, index)
        return self._durable_times[place] if place < len(self._durable_times) else None

    @property
    def last(self) -> int:
        """The index of the last entry."""
        return self.base + len(self.entries)

    def entry(self, index: int) -> Entry | None:
        """The entry at ``index``, if it is known."""
        place = index - self.base - 1
        return self.entries[place] if 0 <= place < len(self.entries) else None

    def term(self, index: int) -> int | None:
        """The term of the entry at ``index``, if it is known."""
        if index == self.base:
            return self.base_term
        entry = self.entry(index)
        return None if entry is None else entry[1]

    def span(self, first: int, last: int) -> list[Entry | None]:
        """The entries ``first..last`` as far as the log reaches."""
        return self.entries[max(first - self.base - 1, 0) : max(last - self.base, 0)]

    def append(self, entries: Sequence[Entry]) -> None:
        """Puts entries behind the log's end. The caller has cut what they replace."""
        self.entries.extend(entries)
        self.certain = True

    def cut(self, index: int) -> None:
        """Forgets the entries from ``index`` on, as a truncation does."""
        if index <= self.last:
            self._reached = self.last if self._untouched is None else max(self._reached, self.last)
            self._untouched = index - 1 if self._untouched is None else min(self._untouched, index - 1)
        self._keep(index - 1)
        self._promise_at_most(index - 1)

    def synced(self, index: int, time: int) -> None:
        """The log up to ``index`` is durable. Disks work behind the log: the line may tell of a log that has been cut
        since, unless it reaches further than that log did. So no promise is taken for what came after the cut; but
        the entries count as durable from now on for those who ask whether they may have been."""
        index = min(index, self.last) if self.certain else index
        self._note_durable(index, time)
        if self._untouched is not None and index > self._reached:
            self._untouched = None
        self.promised = index if self._untouched is None else min(index, self._untouched)

    def _note_durable(self, index: int, time: int) -> None:
        if not self._durable_indexes or self._durable_indexes[-1] < index:
            self._durable_indexes.append(index)
            self._durable_times.append(time)

    def install(self, index: int, term: int) -> None:
        """Figure 13, steps 6 and 7: keeps what follows an entry equal to the snapshot's last, else drops it all."""
        known = self.term(index)
        if index <= self.last and (known is None or known == term):
            self.certain = self.certain and known is not None
            return
        self._reached = max(self.last, index)
        self._reset(index, term)
        self._promise_at_most(index)
        self._untouched = index

    def recover(self, start: Start, committed: int) -> int:
        """What is left after a kill; returns up to where the log is what it was, as far as that is known.

        Log matching lets (last index, last term) tell the whole log if it is one that the trace knows. Otherwise only
        what the node knew to be ``committed`` and had not cut since its last durable point is certain: anything else
        may have been cut and written anew without a line.

        What was recovered is on the disk from then on: the kill may have cost the line that told of its sync.
        """
        last, term = recovered_end(start)
        same = last
        if not self.entries or last < self.base or last - self.last > _UNKNOWN_MAX:
            same = min(self.last, last)
            self._reset(last, term)
        elif last <= self.last and self.term(last) == term:
            self._keep(last)
        else:
            same = min(last, committed, self.last if self._untouched is None else self._untouched)
            self._keep(same)
            self.entries.extend([None] * (last - self.last))
        self._promise_at_most(last)
        self._note_durable(last, start.time)
        self._untouched = None
        self.certain = True
        return same

    def resume(self, first: int) -> None:
        """Makes the log end right before ``first``, when an append tells for the first time where it ends."""
        if first - 1 < self.last:
            self.cut(first)
        elif first - 1 - self.last > _UNKNOWN_MAX:
            self._reset(first - 1, None)
        else:
            self.entries.extend([None] * (first - 1 - self.last))

    def _keep(self, index: int) -> None:
        if index < self.base:
            self._reset(max(index, 0), None)
        del self.entries[index - self.base :]

    def _reset(self, index: int, term: int | None) -> None:
        self.base, self.base_term, self.entries = index, term if index else 0, []
        self.certain = True

    def _promise_at_most(self, index: int) -> None:
        self.promised = min(self.promised, index)
        kept = bisect.bisect_left(self._durable_indexes, index)
        if kept < len(self._durable_indexes):  # the first step that reaches index now reaches just that far
            self._durable_indexes[kept:] = [index]
            del self._durable_times[kept + 1 :]


def recovered_end(start: Start) -> tuple[int, int]:
    """Index and term of the last entry that a start recovered, the snapshot's if the log behind it is empty."""
    if start.last_index >= start.snapshot_index:
        return start.last_index, start.last_term
    return start.snapshot_index, start.snapshot_term


class Appended(NamedTuple):
    """An append: the term of the entry before its first (``None``: unknown)."""

    position: int
    previous_term: int | None


class Gap(NamedTuple):
    """An append that left entries out: the log ended at ``last``."""

    position: int
    last: int


class Cut(NamedTuple):
    """A truncation: the term in which the node was leader (``None``: it was not), what it knew to be committed, its own
    term, and that of the last entry which it lost (``None``: unknown, or none).
    """

    position: int
    from_index: int
    leading: int | None
    committed: int
    term: int
    lost_term: int | None


class Committing(NamedTuple):
    """A commit: the log's last index, the entry at the commit index (``None``: unknown), whether the node led."""

    position: int
    last: int | None
    entry: Entry | None
    leading: bool


class Run(NamedTuple):
    """Entries that a node learnt to be committed, and in which (its own) term it did."""

    term: int
    position: int
    entries: list[Entry | None]


class Leading(NamedTuple):
    """A node became leader: its log behind ``known``, up to which it was committed or the trace does not tell it."""

    position: int
    term: int
    known: int
    tail: list[Entry | None]


class Restart(NamedTuple):
    """A start after an earlier incarnation.

    ``durable`` is the position of the last durable point before it, ``term`` the node's term before it, and ``lost``
    the first entry that was durable and is not there any more (legitimately, if it was cut without a line: see
    :func:`checkers.raft.persistence.nothing_durable_is_forgotten`).
    """

    position: int
    durable: int | None
    term: int
    lost: Entry | None


@dataclass(slots=True)
class Story:
    """The facts of one node's trace, in its order."""

    trace: Trace
    appends: list[Appended] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    cuts: list[Cut] = field(default_factory=list)
    commits: list[Committing] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    restarts: list[Restart] = field(default_factory=list)
    leaders: list[Leading] = field(default_factory=list)
    log: NodeLog = field(default_factory=NodeLog)
    """The log as the trace left it."""

    @property
    def identity(self) -> str:
        """What the node is called by its peers."""
        return self.trace.identity or self.trace.node

    def at(self, position: int) -> Sighting:
        """An event as evidence."""
        return Sighting(self.trace, position)


@dataclass(slots=True)
class _Teller:
    """Goes through a trace once; knows the node's volatile state at each event."""

    story: Story
    leading: int | None = None
    committed: int = 0
    """Entries up to here were known as committed by this node in this or an earlier incarnation, and are in its log."""
    durable: int | None = None
    term: int = 0
    doubtful: bool = False
    """The end of an incarnation of which a line may be missing in the middle of what happened at once."""

    @property
    def log(self) -> NodeLog:
        return self.story.log

    def append(self, position: int, entries: Sequence[Entry]) -> None:
        log, first = self.log, entries[0][0]
        self.term = max(self.term, entries[-1][1])
        if not log.certain:
            log.resume(first)
        elif first <= log.last:
            entries = self._replaced(position, entries)
            if not entries:
                return
        elif first > log.last + 1:
            self.story.gaps.append(Gap(position, log.last))
            log.resume(first)
        self.story.appends.append(Appended(position, log.term(log.last)))
        log.append(entries)

    def _replaced(self, position: int, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Entries written again where others stand: equal ones are no news, an unequal one cuts the log there."""
        log = self.log
        for place, entry in enumerate(entries):
            if entry[0] > log.last or (entry[0] > log.base and log.entry(entry[0]) != entry):
                if entry[0] <= log.last:
                    self.cut(position, entry[0])
                return entries[place:]
        return ()

    def truncate(self, position: int, event: Truncate) -> None:
        """A cut. One that makes way for a snapshot may be told before its ``installed`` line, together with what comes
        behind the snapshot; if a kill took that line, nobody can tell, and the rest of the incarnation is passed over.
        """
        self.cut(position, event.from_index)
        following = self.story.trace.events[position + 1 : position + 1 + _ONE_READY]
        for one in following:
            if isinstance(one, SnapshotEvent) and one.action == "installed" and one.index >= event.from_index - 1:
                self.snapshot(one)
                return
            if isinstance(one, Start):
                break
            if not isinstance(one, (Append, Commit, Config)):
                return
        else:
            if len(following) == _ONE_READY:
                return
        self.doubtful = True

    def cut(self, position: int, index: int) -> None:
        log = self.log
        lost_term = log.term(log.last) if log.certain and log.last >= index else None
        self.story.cuts.append(Cut(position, index, self.leading, self.committed, self.term, lost_term))
        self.committed = min(self.committed, max(index - 1, 0))
        self.log.cut(index)

    def commit(self, position: int, event: Commit) -> None:
        self.term = event.term
        log, index = self.log, event.index
        entry = log.entry(index)
        last = log.last if log.certain else None
        self.story.commits.append(Committing(position, last, entry, self.leading == event.term))
        if index > self.committed:
            self.story.runs.append(Run(event.term, position, log.span(self.committed + 1, index)))
            self.committed = min(index, log.last)

    def start(self, position: int, event: Start) -> None:
        if position:
            self.story.restarts.append(Restart(position, self.durable, self.term, self._lost(event)))
        self.committed = min(self.committed, self.log.recover(event, self.committed))
        self.term = event.term
        self.leading = None
        self.doubtful = False

    def _lost(self, start: Start) -> Entry | None:
        last, term = recovered_end(start)
        index = last + 1 if self.log.term(last) in (None, term) else last
        return self.log.entry(index) if index <= self.log.promised else None

    def role(self, position: int, event: RoleChange) -> None:
        self.term = event.term
        if event.role != "leader":
            self.leading = None
        elif self.leading != event.term:
            self.leading = event.term
            known = max(self.committed, self.log.base)
            self.story.leaders.append(Leading(position, event.term, known, self.log.span(known + 1, self.log.last)))

    def snapshot(self, event: SnapshotEvent) -> None:
        if event.action == "installed":
            self.log.install(event.index, event.term)
            self.committed = max(self.committed, event.index)


def retell(trace: Trace) -> Story:
    """Re-enacts a trace: linear in its size."""
    teller = _Teller(Story(trace))
    log = teller.story.log
    for position, event in enumerate(trace.events):
        if event.__class__ is Apply or event.__class__ is Ack:
            continue  # the frequent ones that say nothing about the log
        if teller.doubtful and not isinstance(event, Start):
            continue
        if isinstance(event, Append):
            if event.entries:
                teller.append(position, event.entries)
        elif isinstance(event, Durable):
            log.synced(event.index, event.time)
            teller.durable = position
            teller.term = max(teller.term, event.term)
        elif isinstance(event, Commit):
            teller.commit(position, event)
        elif isinstance(event, Truncate):
            teller.truncate(position, event)
        elif isinstance(event, RoleChange):
            teller.role(position, event)
        elif isinstance(event, SnapshotEvent):
            teller.snapshot(event)
        elif isinstance(event, (TermChange, Vote)):
            teller.term = event.term
        elif isinstance(event, Start):
            teller.start(position, event)
    return teller.story
