"""Files in a folder beneath, with what has not been synced kept apart: all that the file system does but for talking.

Names are those of :mod:`faults.filesystem.tree`. Every method raises OSError with the number that the caller of the
file system gets.
"""

from __future__ import annotations

import ctypes
import errno
import os

from faults.filesystem.journal import Journal
from faults.filesystem.tree import Inode, Tree
from faults.filesystem.unsynced import Unsynced

_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 1, 2, 16


class Store:
    """The files below ``folder``; removed ones lie in ``trash``, on the same file system, until that is committed."""

    def __init__(self, folder: str, trash: str, *, really: bool = False) -> None:
        """``really``: a sync syncs the files beneath, too, and takes as long as that."""
        os.makedirs(folder, exist_ok=True)
        os.makedirs(trash, exist_ok=True)
        self.journal = Journal()
        self.tree = Tree(folder, trash, self.journal)
        self._folder = folder
        self._really = really
        self._unsynced: set[Inode] = set()

    # ---- files

    def open(self, inode: Inode) -> None:
        """Somebody has it open now."""
        self._fd(inode)
        inode.opened += 1

    def release(self, inode: Inode) -> None:
        """Somebody closed it."""
        inode.opened -= 1
        self._close_if_unused(inode)

    def forget(self, number: int, lookups: int) -> None:
        """The kernel has forgotten so many lookups of it."""
        try:
            inode = self.tree.inode(number)
        except OSError:
            return
        inode.lookups -= lookups
        self._close_if_unused(inode)

    def stat(self, inode: Inode) -> os.stat_result:
        """Its attributes."""
        return os.fstat(inode.fd) if inode.fd >= 0 else os.lstat(self.tree.path(inode))

    def room(self) -> os.statvfs_result:
        """Of the file system beneath."""
        return os.statvfs(self._folder)

    def read_link(self, inode: Inode) -> str:
        """Where a symbolic link leads."""
        return os.readlink(self.tree.path(inode))

    def read(self, inode: Inode, size: int, offset: int) -> bytes:
        """Content; less of it at the end."""
        return os.pread(self._fd(inode), size, offset)

    def write(self, inode: Inode, data: bytes | memoryview, offset: int) -> int:
        """Writes all of it."""
        fd = self._fd(inode)
        self._unsynced_of(inode).before_write(fd, offset, len(data))
        return os.pwrite(fd, data, offset)

    def truncate(self, inode: Inode, size: int) -> None:
        """Makes it so long."""
        fd = self._fd(inode)
        self._unsynced_of(inode).before_truncate(fd, size)
        os.ftruncate(fd, size)

    def allocate(self, inode: Inode, mode: int, offset: int, length: int) -> None:
        """fallocate(2)."""
        if mode & ~(_KEEP_SIZE | _PUNCH_HOLE | _ZERO_RANGE):
            raise OSError(errno.EOPNOTSUPP, "fallocate")
        fd, destroys = self._fd(inode), mode & (_PUNCH_HOLE | _ZERO_RANGE)
        self._unsynced_of(inode).before_write(fd, offset, length if destroys else 0)
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
            raise OSError(ctypes.get_errno(), "fallocate")

    def seek(self, inode: Inode, offset: int, whence: int) -> int:
        """Where data or a hole begins."""
        return os.lseek(self._fd(inode), offset, whence)

    def change_times(self, inode: Inode, atime_ns: int, mtime_ns: int) -> None:
        """utimensat(2). Times are not taken back: nobody's data depends on them."""
        os.utime(self.tree.path(inode), ns=(atime_ns, mtime_ns), follow_symlinks=False)

    # ---- what is on the disk, and what is not

    def sync(self, inode: Inode, *, data_only: bool) -> None:
        """What was written to it is on the disk now; and names, by the rule of :mod:`faults.filesystem.journal`."""
        commits = self.journal.concerns(inode.number)
        if inode.unsynced is not None:
            fd = self._fd(inode)
            commits |= inode.unsynced.written and (not data_only or inode.unsynced.size_changed(fd))
            if self._really:
                os.fdatasync(fd)
            inode.unsynced.sync(fd)
            self._settle(inode)
        if commits:
            self.journal.commit()

    def sync_content(self, inode: Inode) -> None:
        """The kernel has written back what this file holds, of its own accord; names are not committed."""
        if inode.unsynced is not None:
            inode.unsynced.sync(self._fd(inode))
            self._settle(inode)

    def fail_sync(self, inode: Inode) -> None:
        """A sync of it failed."""
        if inode.unsynced is not None:
            inode.unsynced.fail(self._fd(inode))

    def sync_all(self) -> None:
        """Everything is on the disk now."""
        for inode in self._with_unsynced():
            self.sync_content(inode)
        self.journal.commit()

    def lose_unsynced(self) -> int:
        """The power fails; returns how many files have lost content. Nobody may go on using a file that he has open."""
        lost = self._with_unsynced()
        for inode in lost:
            assert inode.unsynced is not None
            inode.unsynced.lose(self._fd(inode))
            self._settle(inode)
        self.journal.lose()
        return len(lost)

    # ---- how

    def _fd(self, inode: Inode) -> int:
        """One for all who have it open: where to read is said with every request."""
        if inode.is_folder:
            raise OSError(errno.EISDIR, "a folder")
        if inode.fd < 0:
            path = self.tree.path(inode)
            try:
                inode.fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            except PermissionError:  # a mode without the right to write, and we are not root
                inode.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        return inode.fd

    def _unsynced_of(self, inode: Inode) -> Unsynced:
        if inode.unsynced is None:
            inode.unsynced = Unsynced(os.fstat(self._fd(inode)).st_size)
            self._unsynced.add(inode)
        return inode.unsynced

    def _with_unsynced(self) -> list[Inode]:
        """Files with content that is not synced, but for those that were removed for good since."""
        gone = [inode for inode in self._unsynced if inode.fd < 0 and self.tree.is_gone(inode)]
        for inode in gone:
            inode.unsynced = None
        self._unsynced.difference_update(gone)
        return list(self._unsynced)

    def _settle(self, inode: Inode) -> None:
        if inode.unsynced is not None and inode.unsynced.clean:
            inode.unsynced = None
            self._unsynced.discard(inode)

    def _close_if_unused(self, inode: Inode) -> None:
        if inode.opened > 0 or inode.lookups > 0:
            return
        if inode.fd >= 0:
            os.close(inode.fd)
            inode.fd = -1
        if self.tree.is_gone(inode):
            inode.unsynced = None
            self._unsynced.discard(inode)
            self.tree.drop(inode)
