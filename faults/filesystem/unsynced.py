"""What of one file's content has not been synced: enough to take it back.

Programs see what they wrote, as through the kernel's page cache; beneath, the file holds it, too. What is remembered is
the *old* content of pages that were overwritten and the size at the last sync, so an append costs nothing, and a sync
is forgetting. A power failure puts the old content back.

A sync that fails is special (Rebello et al., "Can Applications Recover from fsync Failures?", 2020; "fsyncgate", 2018):
the kernel marks the pages clean although they never reached the disk, so the next sync, which succeeds, does not
write them. They are *forsaken*: whoever reads sees them until the power fails.
"""

from __future__ import annotations

import os

PAGE = 4096
SECTOR = 512
"""What a disk writes whole or not at all."""


class Unsynced:
    """One open file's. ``fd`` is the file beneath, which is changed right *after* each ``before_...`` call."""

    def __init__(self, size: int) -> None:
        self.size_synced = size
        self.written = False
        """Whether anything was written since the last sync."""
        self._old: dict[int, bytes] = {}
        self._forsaken: dict[int, bytes] = {}

    def before_write(self, fd: int, offset: int, length: int) -> None:
        """Remembers what is about to be overwritten."""
        self.written = True
        known = min(offset + length, self.size_synced)
        for page in range(offset // PAGE, -(-known // PAGE)):
            if page not in self._old and page not in self._forsaken:
                self._old[page] = self._page(fd, page)
        if self._forsaken:  # written once more, they are the next sync's again
            again = range(offset // PAGE, -(-(offset + length) // PAGE))
            for page in [page for page in self._forsaken if page in again]:
                self._old[page] = self._forsaken.pop(page)

    def before_truncate(self, fd: int, size: int) -> None:
        """Remembers what is about to be cut off. Holes are left out: they are nothing but zeros."""
        self.written = True
        position, end = size, self.size_synced
        while position < end:
            try:
                begin = os.lseek(fd, position, os.SEEK_DATA)
                until = min(os.lseek(fd, begin, os.SEEK_HOLE), end)
            except OSError:  # ENXIO: no data from here on
                return
            self.before_write(fd, begin, until - begin)
            position = until

    def size_changed(self, fd: int) -> bool:
        """Whether the file is longer or shorter than at its last sync."""
        return os.fstat(fd).st_size != self.size_synced

    def sync(self, fd: int) -> None:
        """All of it is on the disk now (but for what was forsaken)."""
        self._old.clear()
        self.size_synced = os.fstat(fd).st_size
        self.written = False

    def fail(self, fd: int) -> None:
        """A sync failed: what it should have written never will be."""
        added = range(self.size_synced // PAGE, -(-os.fstat(fd).st_size // PAGE))
        fresh = {page: self._page(fd, page) for page in added if page not in self._forsaken}
        self._forsaken |= fresh | self._old
        self._old.clear()

    @property
    def clean(self) -> bool:
        """Whether there is nothing to take back."""
        return not (self.written or self._old or self._forsaken)

    def lose(self, fd: int) -> None:
        """The power fails: the file is as it was when it was last synced."""
        os.ftruncate(fd, self.size_synced)
        for page, old in {**self._old, **self._forsaken}.items():
            length = min(PAGE, self.size_synced - page * PAGE)
            if length > 0:
                os.pwrite(fd, old[:length].ljust(length, b"\0"), page * PAGE)
        self._old.clear()
        self._forsaken.clear()
        self.written = False

    def _page(self, fd: int, page: int) -> bytes:
        return os.pread(fd, max(0, min(PAGE, self.size_synced - page * PAGE)), page * PAGE)


def torn(offset: int, length: int, share: float) -> int:
    """How many bytes of a write survive if the power fails in the middle of it: up to one of the sector boundaries in
    it, of which ``share`` (0 to 1) chooses; none if it lies within one sector.
    """
    boundaries = range(-(-(offset + 1) // SECTOR) * SECTOR, offset + length, SECTOR)
    return boundaries[min(int(share * len(boundaries)), len(boundaries) - 1)] - offset if boundaries else 0
