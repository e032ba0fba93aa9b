"""What must hold in every state of a cluster: the properties of the paper's figure 3, and a few that crashes add.

The book is kept incrementally: each check looks only at what one Ready changed, so that a million steps are affordable.
"Global" knowledge (who was ever leader, what was ever committed) lives here and nowhere in the servers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from node.core import Raft
from node.messages import AppendEntries, Entry, HardState, Message, Ready, RequestVote, Role, VoteReply


class Violation(AssertionError):  # noqa: N818
    """An invariant is broken; the message names it."""


class Invariants:
    """The omniscient observer of one simulated cluster."""

    def __init__(self, durable_holders: Callable[[int, int], Iterable[str]]) -> None:
        """``durable_holders(index, term)`` names the servers whose disk has that entry (or a snapshot over it)."""
        self._durable_holders = durable_holders
        self.leaders: dict[int, tuple[str, int]] = {}
        self.votes: dict[tuple[str, int], str] = {}
        self.revealed_terms: dict[str, int] = {}
        self.entries: dict[tuple[int, int], tuple[int, bytes, int]] = {}
        self.applied: dict[int, tuple[int, int]] = {}
        """index -> (term, hash of the state after applying it)"""
        self.commit_by_term: dict[int, tuple[int, int]] = {}
        """term of the leader that committed -> (highest index, term of the entry there)"""
        self.sometimes: Counter[str] = Counter()
        """How often things happened that a simulation must provoke to prove anything."""
        self.commit_max = 0
        """The highest index that any server ever knew to be committed."""

    # Sending: promises that leave

    def sent(self, message: Message) -> None:
        """Checks *one vote a term* and *terms never fall*, across restarts."""
        source = message.source
        if isinstance(message, RequestVote) and not message.pre:
            self._voted(source, message.term, source)
        elif isinstance(message, VoteReply):
            if message.pre:
                return
            if message.granted:
                self._voted(source, message.term, message.target)
        elif isinstance(message, RequestVote):
            return
        if message.term < self.revealed_terms.get(source, 0):
            raise Violation(f"terms fall: {source} spoke in {self.revealed_terms[source]}, then in {message.term}")
        self.revealed_terms[source] = message.term

    def _voted(self, voter: str, term: int, candidate: str) -> None:
        before = self.votes.setdefault((voter, term), candidate)
        if before != candidate:
            raise Violation(f"one vote a term: in term {term} {voter} voted for {before} and for {candidate}")

    # A Ready came out

    def told(self, core: Raft, incarnation: int, commit_before: int, ready: Ready) -> None:
        """Checks everything that one Ready, and the core's state after it, say."""
        self._order_of_duties(core, ready)
        if ready.truncate_from is not None and core.role is Role.LEADER:
            raise Violation(
                f"leader append-only: {core.name} cuts its log from {ready.truncate_from} in term {core.term}"
            )
        self._log_matching(core, ready.entries)
        if core.commit < commit_before:
            raise Violation(f"commit goes back: {core.name} from {commit_before} to {core.commit}")
        if ready.role is Role.LEADER:
            self.sometimes["leader elected"] += 1
            self._became_leader(core, incarnation)
        self.sometimes["log truncated"] += ready.truncate_from is not None
        self.sometimes["snapshot installed"] += ready.install is not None
        self.sometimes["snapshot wanted"] += bool(ready.snapshots_wanted)
        if ready.commit is not None:
            self._committed(core, ready.commit)

    def _order_of_duties(self, core: Raft, ready: Ready) -> None:
        if ready.messages_now and ready.hard_state is not None:
            raise Violation(f"order of duties: {core.name} sends before its term or vote is durable")
        if not all(isinstance(m, AppendEntries) and core.role is Role.LEADER for m in ready.messages_now):
            raise Violation(f"order of duties: {core.name} sends {ready.messages_now} before it persists")

    def _log_matching(self, core: Raft, entries: tuple[Entry, ...]) -> None:
        """Two logs that hold an entry with the same index and term hold the same entry, and the same before it.

        The second half by induction: each entry is registered with the term of the one before it.
        """
        for entry in entries:
            fact = (entry.kind, entry.data, core.term_at(entry.index - 1) or 0)
            known = self.entries.setdefault((entry.index, entry.term), fact)
            if known != fact and core.term_at(entry.index - 1) is not None:
                raise Violation(
                    f"log matching: {core.name} has {fact} at {entry.index}, term {entry.term}; others {known}"
                )

    def _became_leader(self, core: Raft, incarnation: int) -> None:
        holder = self.leaders.setdefault(core.term, (core.name, incarnation))
        if holder != (core.name, incarnation):
            raise Violation(f"election safety: term {core.term} has leaders {holder} and {(core.name, incarnation)}")
        for term, (index, entry_term) in self.commit_by_term.items():
            if term < core.term and core.term_at(index) != entry_term and index >= core.first_index:
                raise Violation(
                    f"leader completeness: {core.name} leads term {core.term} without entry {index} of term "
                    f"{entry_term}, which was committed in term {term}"
                )

    def _committed(self, core: Raft, index: int) -> None:
        self.commit_max = max(self.commit_max, index)
        if core.role is not Role.LEADER:
            return
        entry_term = core.term_at(index) or 0
        self.commit_by_term[core.term] = (index, entry_term)
        holders = set(self._durable_holders(index, entry_term)) & set(core.voters)
        if len(holders) <= len(core.voters) // 2:
            raise Violation(
                f"durable quorum: {core.name} committed {index} in term {core.term}, but only {sorted(holders)} "
                f"have it on disk"
            )

    # Applying and reading

    def apply(self, name: str, index: int, term: int, state: int) -> None:
        """Checks *state machine safety*: at an index all servers apply the same entry and reach the same state."""
        known = self.applied.setdefault(index, (term, state))
        if known != (term, state):
            raise Violation(
                f"state machine safety: {name} applied term {term} at {index}; another applied term {known[0]}"
            )

    def read(self, name: str, floor: int, index: int) -> None:
        """Checks that a linearizable read sees at least all that was committed anywhere before it began."""
        self.sometimes["read answered"] += 1
        if index < floor:
            raise Violation(
                f"stale read: {name} answered a read with index {index}; {floor} was committed before it began"
            )

    def restarted(self, core: Raft, disk: HardState) -> None:
        """Checks that what was revealed before a crash is remembered after it."""
        self.sometimes["restarted"] += core.term > 0
        vote = self.votes.get((core.name, core.term))
        if core.term < self.revealed_terms.get(core.name, 0):
            raise Violation(f"terms fall: {core.name} restarts in {core.term} from {disk}")
        if vote is not None and core.vote != vote:
            raise Violation(f"one vote a term: {core.name} restarts in {core.term} and forgot its vote for {vote}")
