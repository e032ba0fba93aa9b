"""What must hold in every state of a cluster: the properties of the paper's figure 3, and a few that crashes add.

The books are kept incrementally: each check looks only at what one event changed, so that a million steps are
affordable. "Global" knowledge (who was ever leader, what was ever committed) lives here and nowhere in the servers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from node.core import Raft
from node.messages import AppendReply, HardState, Message, Ready, RequestVote, Role, SnapshotReply, VoteReply
from tests.node.simulated.configurations import is_quorum
from tests.node.simulated.future import Future
from tests.node.simulated.logs import LogBook
from tests.node.simulated.promises import Durable, Promises
from tests.node.simulated.violation import Violation

PROMISES = (RequestVote, VoteReply, AppendReply, SnapshotReply)
"""Messages that say what the disk must be able to keep."""


class Invariants:
    """The omniscient observer of one simulated cluster."""

    def __init__(self, servers: Mapping[str, Durable]) -> None:
        self._servers = servers
        self.promises = Promises()
        self.logs = LogBook()
        self.future = Future(servers)
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

    def commits(self, core: Raft, before: int) -> None:
        """Checks a commit index that moved from ``before``; a leader's must rest on a *durable quorum*."""
        self.logs.commits(core, before)
        if core.role is not Role.LEADER:
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
        self.sometimes["snapshot installed"] += ready.install is not None
        self.sometimes["snapshot wanted"] += bool(ready.snapshots_wanted)

    def _order_of_duties(self, core: Raft, ready: Ready) -> None:
        if ready.hard_state is not None:
            raise Violation(f"order of duties: {core.name} sends before its term or vote is durable")
        if any(isinstance(message, PROMISES) for message in ready.messages_now):
            raise Violation(f"order of duties: {core.name} sends {ready.messages_now} before it persists")

    # Applying and reading

    def apply(self, name: str, index: int, term: int, state: int) -> None:
        """Checks *state machine safety*: at an index all servers apply the same entry and reach the same state."""
        known = self.applied.setdefault(index, (term, state))
        if known != (term, state):
            raise Violation(
                f"state machine safety: {name} applied term {term} at {index}; another applied term {known[0]}"
                + (" with another state" if known[0] == term else "")
            )

    def read(self, name: str, floor: int, index: int) -> None:
        """Checks that a linearizable read sees at least all that was committed anywhere before it began."""
        self.sometimes["read answered"] += 1
        if index < floor:
            raise Violation(
                f"stale read: {name} answered a read with index {index}; {floor} was committed before it began"
            )

    def restarted(self, core: Raft, disk: HardState) -> None:
        """Checks what a crash left."""
        self.sometimes["restarted"] += core.term > 0
        self.promises.restarted(core, disk)
