"""The log in memory: a window on the entries behind the last compaction, and what the disk knows of it.

Three marks move along it: ``handed`` (given to the shell to be persisted), ``durable`` (the shell said that it is), and
``base`` (everything up to there is compacted into a snapshot; its term is kept for the consistency check of
AppendEntries). ``cut`` remembers a truncation until the shell is told.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from node.raft.messages import Entry, Snapshot


def _term(entry: Entry) -> int:
    return entry.term


class Log:
    """Entries ``base_index + 1 .. last_index``.

    Indices count from 1; index 0 has term 0, so that figure 2's consistency check needs no special case for a start.
    """

    __slots__ = ("_entries", "base_index", "base_term", "cut", "durable", "handed", "last_index", "last_term")

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self.base_index = self.base_term = 0
        self.last_index = self.last_term = 0
        self.handed = self.durable = 0
        self.cut: int | None = None

    def restore(self, snapshot: Snapshot, entries: Sequence[Entry]) -> bool:
        """Fills a fresh log from the disk; False if the entries conflict with the snapshot and had to go (figure 13).

        Entries below the snapshot stay as its tail. Raises :class:`ValueError` if they can't be one log.
        """
        check_contiguous(entries)
        if entries and entries[0].index > snapshot.index + 1:
            raise ValueError(
                f"recovered log begins at index {entries[0].index}, but the snapshot ends at {snapshot.index}: "
                f"the entries between are lost"
            )
        self.reset(snapshot.index, snapshot.term)
        first = entries[0].index if entries else snapshot.index + 1
        if entries and first == snapshot.index + 1 and entries[0].term < snapshot.term:
            raise ValueError(
                f"recovered entry {first} has term {entries[0].term}, below the term {snapshot.term} of the snapshot "
                f"that it follows"
            )
        position = snapshot.index - first
        if position >= len(entries) or (position >= 0 and entries[position].term != snapshot.term):
            return False
        if position >= 0 and first == 1:
            self.base_index = self.base_term = 0
        elif position >= 0:  # the term before the first entry is unknown, so the first entry itself becomes the base
            self.base_index, self.base_term = first, entries[0].term
            entries = entries[1:]
        self.cut = None
        self._find_last()
        self.extend(entries)
        self.handed = self.durable = self.last_index
        return True

    def term_at(self, index: int) -> int | None:
        """Term of the entry at ``index`` (the base included); None outside the window."""
        offset = index - self.base_index
        if offset > 0:
            return self._entries[offset - 1].term if index <= self.last_index else None
        return self.base_term if offset == 0 else None

    def entry(self, index: int) -> Entry | None:
        """The entry at ``index``; None outside the window."""
        return self._entries[index - self.base_index - 1] if self.base_index < index <= self.last_index else None

    def slice(self, first: int, last: int) -> tuple[Entry, ...]:
        """Entries ``first .. last``, as far as the window has them."""
        base = self.base_index + 1
        return tuple(self._entries[max(first - base, 0) : max(last - base + 1, 0)])

    def batch(self, first: int, *, entries_max: int, bytes_max: int) -> tuple[tuple[Entry, ...], int]:
        """Entries from ``first`` on within both limits, at least one if there is one; and their bytes."""
        entries = self.slice(first, first + entries_max - 1)
        size = 0
        for position, entry in enumerate(entries):
            size += len(entry.data)
            if size > bytes_max and position:
                return entries[:position], size - len(entry.data)
        return entries, size

    def start_of(self, last: int, *, entries_max: int, bytes_max: int) -> int:
        """Behind which index the entries that the log holds, up to ``last``, are within both limits."""
        entries = self.slice(last - entries_max + 1, last)
        for position, entry in enumerate(reversed(entries)):
            bytes_max -= len(entry.data)
            if bytes_max < 0:
                return last - position
        return last - len(entries)

    def extend(self, entries: Sequence[Entry]) -> None:
        """Appends entries that begin at ``last_index + 1``."""
        if entries:
            self._entries.extend(entries)
            self.last_index = entries[-1].index
            self.last_term = entries[-1].term

    def truncate(self, index: int) -> None:
        """Cuts everything from ``index`` on; what is compacted can't be cut."""
        index = max(index, self.base_index + 1)
        del self._entries[index - self.base_index - 1 :]
        self._find_last()
        if index <= self.handed:
            self.cut = index if self.cut is None else min(self.cut, index)
        self.handed = min(self.handed, index - 1)
        self.durable = min(self.durable, index - 1)

    def compact(self, index: int, term: int) -> None:
        """Forgets everything up to ``index``, whose entry has ``term``."""
        if index > self.base_index:
            del self._entries[: index - self.base_index]
            self.base_index, self.base_term = index, term
            self._find_last()

    def reset(self, index: int, term: int) -> None:
        """Forgets everything: the log now begins behind ``index``, and the disk must forget what it has there too."""
        self._entries.clear()
        self.base_index, self.base_term = index, term
        self._find_last()
        self.handed = self.durable = index
        self.cut = index + 1 if self.cut is None else min(self.cut, index + 1)

    def keep_behind(self, index: int, term: int) -> None:
        """A durable snapshot now stands for everything up to ``index``; what follows stays."""
        self.compact(index, term)
        self.handed = max(self.handed, index)
        self.durable = max(self.durable, index)

    def _find_last(self) -> None:
        self.last_index = self.base_index + len(self._entries)
        self.last_term = self._entries[-1].term if self._entries else self.base_term

    def hand_out(self) -> tuple[tuple[Entry, ...], int | None]:
        """What the shell has not been given yet: (entries, where to cut before them). Each is said once."""
        cut, self.cut = self.cut, None
        entries = self.slice(self.handed + 1, self.last_index)
        self.handed = self.last_index
        return entries, cut

    def mark_durable(self, index: int, term: int) -> None:
        """The disk has the log up to ``index``; ignored if that entry has been truncated since.

        An entry may be cut and come back while its first sync is under way; then this mark is early. It does no harm:
        ``durable`` is read by a leader only, to commit entries of its own term, and those are never cut under it.
        """
        if index > self.durable and self.term_at(index) == term:
            self.durable = index

    def first_index_of_term(self, term: int) -> int:
        """The first index in the window whose term is at least ``term``."""
        return self.base_index + 1 + bisect_left(self._entries, term, key=_term)

    def last_index_of_term(self, term: int) -> int | None:
        """The last index in the window with exactly this term."""
        index = self.base_index + bisect_right(self._entries, term, key=_term)
        return index if self.term_at(index) == term else None


def check_contiguous(entries: Sequence[Entry]) -> None:
    """Raises :class:`ValueError` if indices leave gaps or terms fall."""
    for before, after in pairwise(entries):
        if after.index != before.index + 1 or after.term < before.term:
            raise ValueError(
                f"recovered log is broken: entry {after.index} of term {after.term} follows "
                f"entry {before.index} of term {before.term}"
            )
