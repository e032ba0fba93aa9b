"""What must hold in every state of a cluster: the properties of the paper's figure 3, and a few that crashes add.

The books are kept incrementally: each check looks only at what one event changed, so that a million steps are
affordable. "Global" knowledge (who was ever leader, what was ever committed) lives here and nowhere in the servers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from node.raft.core import Raft
from node.raft.messages import (
    AppendReply,
    Entry,
    EntryKind,
    HardState,
    Message,
    Ready,
    RequestVote,
    Role,
    SnapshotReply,
    VoteReply,
)
from tests.node.simulated.configurations import ConfigurationBook, is_quorum
from tests.node.simulated.future import Future
from tests.node.simulated.logs import LogBook
from tests.node.simulated.promises import Durable, Promises
from tests.node.simulated.violation import Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A client's read that is under way."""

    mode: str
    floor: int
    """What was committed anywhere before it began."""
    excused: bool = False
    """Whether it rests on clocks that are worse than what is promised."""


PROMISES = (RequestVote, VoteReply, AppendReply, SnapshotReply)
"""Messages that say what the disk must be able to keep."""


class Invariants:
    """The omniscient observer of one simulated cluster."""

    def __init__(self, servers: Mapping[str, Durable], founders: tuple[str, ...]) -> None:
        self._servers = servers
        self.promises = Promises()
        self.logs = LogBook()
        self.future = Future(servers)
        self.configurations = ConfigurationBook(founders)
        self.leaders: dict[int, tuple[str, int]] = {}
        """term -> (name, incarnation)"""
        self.applied: dict[int, tuple[int, int]] = {}
        """index -> (term, hash of the state after applying it)"""
        self.sometimes: Counter[str] = Counter()
        """How often things happened that a simulation must provoke to prove anything."""

    @property
    def commit_max(self) -> int:
        """The highest index that any server ever knew to be committed."""
        return self.logs.commit_max

    # What leaves

    def sent(self, message: Message) -> None:
        """A message leaves a server."""
        self.promises.sent(message, self._servers[message.source].disk)

    # What a server is, after each event

    def leads(self, core: Raft, incarnation: int) -> None:
        """Checks a server that has begun to lead: *election safety* and *leader completeness*."""
        self.sometimes["leader elected"] += 1
        holder = self.leaders.setdefault(core.term, (core.name, incarnation))
        if holder != (core.name, incarnation):
            raise Violation(f"election safety: term {core.term} has leaders {holder} and {(core.name, incarnation)}")
        votes = self.promises.voters_for(core.name, core.term) | ({core.name} if core.vote == core.name else set())
        if not is_quorum(core.configuration, votes):
            raise Violation(f"election safety: {core.name} leads term {core.term} by the votes of {sorted(votes)} only")
        self.logs.complete(core)

    def commits(self, core: Raft, before: int, *, led: bool) -> None:
        """Checks a commit index that moved from ``before``; that of the leader of this term (which may have stepped
        down as it committed) must rest on a *durable quorum*.
        """
        self.logs.commits(core, before, led=led)
        if not led:
            return
        index, term = core.commit, core.term_at(core.commit) or 0
        holders = self.future.holders(index, term)
        if not is_quorum(core.configuration, holders):
            raise Violation(
                f"durable quorum: {core.name} committed {index} in term {core.term}, but only {sorted(holders)} "
                f"have it on disk"
            )
        self.future.cannot_lose(index, term)

    def cut(self) -> None:
        """Checks, when a disk lost the end of a log, that what is committed can't be lost with it."""
        self.sometimes["log truncated on disk"] += 1
        index = max(self.logs.committed, default=0)
        if index:
            self.future.cannot_lose(index, self.logs.committed[index])

    # A Ready came out

    def told(self, core: Raft, ready: Ready, *, led: bool) -> None:
        """Checks what one Ready says; ``led``: the server has been leading in this term since its last Ready."""
        if ready.messages_now:
            self._order_of_duties(core, ready)
        if ready.truncate_from is not None:
            self.sometimes["log truncated"] += 1
            if led:
                raise Violation(
                    f"leader append-only: {core.name} cuts its log from {ready.truncate_from} in term {core.term}"
                )
        if ready.entries:
            self.logs.appended(core, ready.entries)
        self._configuration(core, ready)
        self.sometimes["snapshot installed"] += ready.install is not None
        self.sometimes["snapshot wanted"] += bool(ready.snapshots_wanted)

    def _configuration(self, core: Raft, ready: Ready) -> None:
        news = [entry for entry in ready.entries if entry.kind is EntryKind.CONFIG]
        if not news and ready.truncate_from is None and ready.install is None:
            return
        founders = self._servers[core.name].founders
        self.configurations.in_force(core, founders)
        for entry in news:
            if core.role is Role.LEADER and entry.term == core.term:
                self.sometimes["configuration proposed"] += 1
                self.configurations.proposed(core, entry, founders)

    def _order_of_duties(self, core: Raft, ready: Ready) -> None:
        if any(isinstance(message, PROMISES) for message in ready.messages_now):
            raise Violation(f"order of duties: {core.name} sends {ready.messages_now} before it persists")

    # Applying and reading

    def applies(self, name: str, entry: Entry, state: int) -> None:
        """A committed entry went through a state machine."""
        if entry.kind is EntryKind.CONFIG and entry.index not in self.configurations.committed:
            self.sometimes["configuration committed"] += 1
            self.configurations.applied(entry)
        self.reaches(name, entry.index, entry.term, state)

    def reaches(self, name: str, index: int, term: int, state: int) -> None:
        """Checks *state machine safety*: at an index all servers apply the same entry and reach the same state."""
        known = self.applied.setdefault(index, (term, state))
        if known != (term, state):
            raise Violation(
                f"state machine safety: {name} applied term {term} at {index}; another applied term {known[0]}"
                + (" with another state" if known[0] == term else "")
            )

    def read(self, name: str, read: Read, index: int) -> None:
        """Checks that a linearizable read sees at least all that was committed anywhere before it began."""
        self.sometimes[f"read answered, {read.mode}"] += 1
        if index >= read.floor:
            return
        if read.excused:
            self.sometimes[f"stale read by a clock beyond its bound, {read.mode}"] += 1
            return
        raise Violation(
            f"stale read: {name} answered a read ({read.mode}) with index {index}; {read.floor} was committed before "
            f"it began"
        )

    def restarted(self, core: Raft, disk: HardState) -> None:
        """Checks what a crash left."""
        self.sometimes["restarted"] += core.term > 0
        self.promises.restarted(core, disk)
