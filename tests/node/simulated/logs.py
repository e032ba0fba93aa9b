"""What is known of all logs together: log matching, and what was ever committed."""

from __future__ import annotations

from node.raft.core import Raft
from node.raft.messages import Entry, EntryKind
from tests.node.simulated.violation import Violation


class LogBook:
    """Every entry that any server ever held, every index that was ever committed."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], tuple[EntryKind, bytes, int]] = {}
        """(index, term) -> kind, data, term of the entry before"""
        self.committed: dict[int, int] = {}
        """index -> term, as leaders committed them"""
        self.by_leader: dict[int, tuple[int, int]] = {}
        """term of the leader that committed -> (highest index, term of the entry there)"""
        self.commit_max = 0
        """The highest index that any server ever knew to be committed."""

    def appended(self, core: Raft, entries: tuple[Entry, ...]) -> None:
        """Log matching: two logs that hold an entry with the same index and term hold the same entry, and the same
        before it. The second half by induction: each entry is registered with the term of the one before it.
        """
        for entry in entries:
            before = core.term_at(entry.index - 1)
            fact = (entry.kind, entry.data, before or 0)
            known = self.entries.setdefault((entry.index, entry.term), fact)
            if known != fact and before is not None:
                raise Violation(
                    f"log matching: {core.name} has {fact} at {entry.index}, term {entry.term}; others {known}"
                )

    def commits(self, core: Raft, before: int, *, led: bool) -> None:
        """A server's commit index moved from ``before``: leaders decide, all others learn what was decided."""
        if core.commit < before:
            raise Violation(f"commit goes back: {core.name} from {before} to {core.commit}")
        for index in range(before + 1, core.commit + 1):
            term = core.term_at(index)
            if term is None:
                continue
            known = self.committed.setdefault(index, term) if led else self.committed.get(index)
            if known != term:
                raise Violation(
                    f"state machine safety: {core.name} commits term {term} at {index}; "
                    + ("no leader committed that yet" if known is None else f"a leader committed term {known} there")
                )
        self.commit_max = max(self.commit_max, core.commit)
        if led:
            self.by_leader[core.term] = (core.commit, core.term_at(core.commit) or 0)

    def complete(self, core: Raft) -> None:
        """Leader completeness: whoever leads has what leaders of older terms committed."""
        for term, (index, entry_term) in self.by_leader.items():
            if term < core.term and index >= core.first_index and core.term_at(index) != entry_term:
                raise Violation(
                    f"leader completeness: {core.name} leads term {core.term} without entry {index} of term "
                    f"{entry_term}, which was committed in term {term}"
                )
