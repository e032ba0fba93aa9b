"""A disk that loses what was not synced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from node.raft.messages import Entry, HardState, Ready, Recovered, Snapshot


@dataclass
class Disk:
    """What survives a crash."""

    hard_state: HardState = field(default_factory=HardState)
    snapshot: Snapshot = field(default_factory=Snapshot)
    state: int = 0
    """The state machine's state in the snapshot."""
    entries: list[Entry] = field(default_factory=list)

    def term_at(self, index: int) -> int | None:
        """Term of the entry at ``index``; None where there is none (any more)."""
        position = index - self.entries[0].index if self.entries else -1
        return self.entries[position].term if 0 <= position < len(self.entries) else None

    def holds(self, index: int, term: int) -> bool:
        """Whether the entry (or a snapshot over it) is durable."""
        return index <= self.snapshot.index or self.term_at(index) == term

    def survives(self) -> bool:
        """Whether the entries fit to the snapshot; those that do not are forgotten at a start (figure 13)."""
        if not self.entries:
            return False
        position = self.snapshot.index - self.entries[0].index
        return position < len(self.entries) and (position < 0 or self.entries[position].term == self.snapshot.term)

    def last(self) -> tuple[int, int]:
        """(term, index) of the last entry that a start would find."""
        if self.survives():
            return self.entries[-1].term, self.entries[-1].index
        return self.snapshot.term, self.snapshot.index

    def write(self, ready: Ready, *, records: int | None = None) -> None:
        """A Ready's step 2; or, torn by a crash, only its first ``records`` records."""
        for record in self._records(ready)[:records]:
            record()

    def _records(self, ready: Ready) -> list[Callable[[], None]]:
        records: list[Callable[[], None]] = []
        if ready.hard_state is not None:
            records.append(partial(setattr, self, "hard_state", ready.hard_state))
        if ready.truncate_from is not None:
            records.append(partial(self.cut, ready.truncate_from))
        if ready.install is not None:
            records.append(partial(self.forget_below, ready.install.index + 1))
        records.extend(partial(self.entries.append, entry) for entry in ready.entries)
        return records

    def cut(self, index: int) -> None:
        """Drops entries from ``index`` on."""
        while self.entries and self.entries[-1].index >= index:
            self.entries.pop()

    def store(self, snapshot: Snapshot, state: int) -> None:
        """Makes a snapshot durable; a shell recovers from the newest, so an older one is of no consequence."""
        if snapshot.index > self.snapshot.index:
            self.snapshot, self.state = snapshot, state

    def forget_below(self, index: int) -> None:
        """Compaction: entries below ``index`` go."""
        self.entries[:] = [entry for entry in self.entries if entry.index >= index]

    def recovered(self) -> Recovered:
        """What a start finds."""
        return Recovered(hard_state=self.hard_state, snapshot=self.snapshot, entries=tuple(self.entries))
