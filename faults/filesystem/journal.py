"""Changes of names that are not on the disk yet, in their order: enough to take them back.

As ext4 does it (Documentation/filesystems/ext4/journal.rst): one journal for the whole file system. A sync that has to
write anything to it commits *everything* before it: the sync of a file that is new, was renamed or has another
size, or of a folder in which something changed. A sync that only writes content over content commits nothing. What
is not committed when the power fails has never happened. A file that is removed lies in a folder for the purpose
until that is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One change of a name. ``inodes`` are the numbers of those that a sync would have to commit it for."""

    undo: Callable[[], None]
    inodes: Collection[int]
    commit: Callable[[], None] | None = None
    """What can be done only when there is no way back."""


class Journal:
    """All of them."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._inodes: set[int] = set()

    def add(self, change: Change) -> None:
        """Notes a change that was made."""
        self._changes.append(change)
        self._inodes.update(change.inodes)

    def concerns(self, inode: int) -> bool:
        """Whether something about it is not committed."""
        return inode in self._inodes

    @property
    def clean(self) -> bool:
        """Whether there is nothing to take back."""
        return not self._changes

    def commit(self) -> None:
        """Everything is on the disk now."""
        changes, self._changes = self._changes, []
        self._inodes.clear()
        for change in changes:
            if change.commit is not None:
                change.commit()

    def lose(self) -> None:
        """The power fails: none of it has happened."""
        changes, self._changes = self._changes, []
        self._inodes.clear()
        for change in reversed(changes):
            change.undo()
