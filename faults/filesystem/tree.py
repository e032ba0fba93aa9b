"""The tree of names, kept in memory above a folder that nobody else changes, with a way back for every change.

Inodes are ours, and their numbers are never used again. Every method raises OSError with the number that the caller of
the file system gets.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field

from faults.filesystem.journal import Change, Journal
from faults.filesystem.unsynced import Unsynced
from faults.filesystem.wire import RENAME_NOREPLACE, ROOT

Owner = tuple[int, int]
_MADE_HERE = (0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK)


@dataclass(eq=False, slots=True)
class Inode:
    """A file, folder or link. ``names`` are where it stands: (folder, name); none once it is unlinked."""

    number: int
    is_folder: bool
    names: list[tuple[Inode, str]] = field(default_factory=list)
    entries: dict[str, Inode] | None = None
    """Of a folder, once they were read."""
    trash: str | None = None
    """Where it lies while its removal is not committed."""
    fd: int = -1
    opened: int = 0
    lookups: int = 0
    unsynced: Unsynced | None = None


class Tree:
    """The names below ``folder``; what is removed lies in ``trash``, on the same file system, until it is committed."""

    def __init__(self, folder: str, trash: str, journal: Journal) -> None:
        self.journal = journal
        self.root = Inode(ROOT, is_folder=True)
        self._folder = folder
        self._trash = trash
        self._inodes = {ROOT: self.root}
        self._next = ROOT + 1

    # ---- finding

    def inode(self, number: int) -> Inode:
        """By its number."""
        try:
            return self._inodes[number]
        except KeyError:
            raise OSError(errno.ESTALE, "no such inode") from None

    def find(self, folder: Inode, name: str) -> Inode:
        """By its name."""
        try:
            return self.entries(folder)[name]
        except KeyError:
            raise OSError(errno.ENOENT, name) from None

    def entries(self, folder: Inode) -> dict[str, Inode]:
        """What stands in a folder."""
        if not folder.is_folder:
            raise OSError(errno.ENOTDIR, "not a folder")
        if folder.entries is None:
            folder.entries = {}
            with os.scandir(self.path(folder)) as found:
                for each in found:
                    self._enter(folder, each.name, self._new(is_folder=each.is_dir(follow_symlinks=False)))
        return folder.entries

    def name_of(self, inode: Inode) -> str:
        """The path from the root, without a slash before it; empty for what is removed, and for the root."""
        parts: list[str] = []
        while inode.names:
            inode, name = inode.names[0]
            parts.append(name)
        return "/".join(reversed(parts)) if inode is self.root else ""

    def path(self, inode: Inode) -> str:
        """Where it lies beneath."""
        if inode.trash is not None:
            return inode.trash
        if not inode.names and inode is not self.root:
            raise OSError(errno.ENOENT, "removed")
        return os.path.join(self._folder, self.name_of(inode))

    def is_gone(self, inode: Inode) -> bool:
        """Whether it was removed for good."""
        return not inode.names and inode.trash is None and inode is not self.root

    def drop(self, inode: Inode) -> None:
        """Nobody will ask for it again."""
        self._inodes.pop(inode.number, None)

    # ---- changing

    def make_node(self, folder: Inode, name: str, mode: int, owner: Owner) -> Inode:
        """A file, a pipe or a socket."""
        if stat.S_IFMT(mode) not in _MADE_HERE:
            raise OSError(errno.EPERM, name)
        return self._make(folder, name, mode, owner, lambda path: os.mknod(path, mode))

    def make_folder(self, folder: Inode, name: str, mode: int, owner: Owner) -> Inode:
        """A folder."""
        made = self._make(folder, name, mode, owner, lambda path: os.mkdir(path, stat.S_IMODE(mode)))
        made.entries = {}
        return made

    def make_link(self, folder: Inode, name: str, target: str, owner: Owner) -> Inode:
        """A symbolic link."""
        return self._make(folder, name, None, owner, lambda path: os.symlink(target, path))

    def link(self, inode: Inode, folder: Inode, name: str) -> None:
        """A further name of a file."""
        self._must_be_free(folder, name)
        os.link(self.path(inode), self._path_in(folder, name), follow_symlinks=False)
        self._enter(folder, name, inode)

        def undo() -> None:
            os.unlink(self._path_in(folder, name))
            self._leave(folder, name, inode)

        self.journal.add(Change(undo=undo, inodes=(folder.number, inode.number)))

    def remove(self, folder: Inode, name: str) -> None:
        """Unlinks a file, or removes an empty folder."""
        inode = self.find(folder, name)
        if inode.is_folder and self.entries(inode):
            raise OSError(errno.ENOTEMPTY, name)
        self.journal.add(self._take_away(folder, name, inode))

    def rename(self, folder: Inode, name: str, to: Inode, new: str, flags: int = 0) -> None:
        """rename(2), and renameat2(2) without exchange."""
        if flags & ~RENAME_NOREPLACE:
            raise OSError(errno.EINVAL, new)
        inode, replaced = self.find(folder, name), self.entries(to).get(new)
        if replaced is inode:
            return
        away = None
        if replaced is not None:
            self._check_replaceable(inode, replaced, flags)
            away = self._take_away(to, new, replaced)
        self._move(inode, folder, name, to, new)

        def undo() -> None:
            self._move(inode, to, new, folder, name)
            if away is not None:
                away.undo()

        numbers = (folder.number, to.number, inode.number)
        self.journal.add(Change(undo=undo, commit=away.commit if away is not None else None, inodes=numbers))

    def change_mode(self, inode: Inode, mode: int) -> None:
        """chmod(2)."""
        before = stat.S_IMODE(os.lstat(self.path(inode)).st_mode)
        os.chmod(self.path(inode), stat.S_IMODE(mode))
        self.journal.add(Change(undo=lambda: os.chmod(self.path(inode), before), inodes=(inode.number,)))

    def change_owner(self, inode: Inode, uid: int, gid: int) -> None:
        """chown(2); -1 leaves one as it is."""
        before = os.lstat(self.path(inode))
        os.lchown(self.path(inode), uid, gid)

        def undo() -> None:
            os.lchown(self.path(inode), before.st_uid, before.st_gid)

        self.journal.add(Change(undo=undo, inodes=(inode.number,)))

    # ---- how

    def _new(self, *, is_folder: bool) -> Inode:
        inode = Inode(self._next, is_folder)
        self._inodes[inode.number] = inode
        self._next += 1
        return inode

    def _enter(self, folder: Inode, name: str, inode: Inode) -> None:
        assert folder.entries is not None
        folder.entries[name] = inode
        inode.names.append((folder, name))

    def _leave(self, folder: Inode, name: str, inode: Inode) -> None:
        assert folder.entries is not None
        del folder.entries[name]
        inode.names.remove((folder, name))

    def _path_in(self, folder: Inode, name: str) -> str:
        return os.path.join(self.path(folder), name)

    def _must_be_free(self, folder: Inode, name: str) -> None:
        if name in self.entries(folder):
            raise OSError(errno.EEXIST, name)

    def _make(self, folder: Inode, name: str, mode: int | None, owner: Owner, make: Callable[[str], None]) -> Inode:
        """Makes something, for its owner and with exactly this mode (the kernel has heeded the caller's umask)."""
        self._must_be_free(folder, name)
        path = self._path_in(folder, name)
        make(path)
        if owner != (os.geteuid(), os.getegid()):
            os.lchown(path, *owner)
        if mode is not None:
            os.chmod(path, stat.S_IMODE(mode))
        inode = self._new(is_folder=stat.S_ISDIR(os.lstat(path).st_mode))
        self._enter(folder, name, inode)

        def undo() -> None:
            (os.rmdir if inode.is_folder else os.unlink)(self._path_in(folder, name))
            self._leave(folder, name, inode)

        self.journal.add(Change(undo=undo, inodes=(folder.number, inode.number)))
        return inode

    def _take_away(self, folder: Inode, name: str, inode: Inode) -> Change:
        """Removes a name; a file's last one with a way back until it is committed."""
        numbers = (folder.number, inode.number)
        if len(inode.names) > 1:
            os.unlink(self._path_in(folder, name))
            self._leave(folder, name, inode)

            def link_again() -> None:
                os.link(self.path(inode), self._path_in(folder, name), follow_symlinks=False)
                self._enter(folder, name, inode)

            return Change(undo=link_again, inodes=numbers)
        trash = os.path.join(self._trash, str(inode.number))
        os.rename(self.path(inode), trash)
        self._leave(folder, name, inode)
        inode.trash = trash

        def bring_back() -> None:
            os.rename(trash, self._path_in(folder, name))
            inode.trash = None
            self._enter(folder, name, inode)

        def delete() -> None:
            (os.rmdir if inode.is_folder else os.unlink)(trash)
            inode.trash = None

        return Change(undo=bring_back, commit=delete, inodes=numbers)

    def _check_replaceable(self, inode: Inode, replaced: Inode, flags: int) -> None:
        if flags & RENAME_NOREPLACE:
            raise OSError(errno.EEXIST, "there already")
        if replaced.is_folder and not inode.is_folder:
            raise OSError(errno.EISDIR, "a folder")
        if inode.is_folder and not replaced.is_folder:
            raise OSError(errno.ENOTDIR, "no folder")
        if replaced.is_folder and self.entries(replaced):
            raise OSError(errno.ENOTEMPTY, "not empty")

    def _move(self, inode: Inode, folder: Inode, name: str, to: Inode, new: str) -> None:
        os.rename(self._path_in(folder, name), self._path_in(to, new))
        self._leave(folder, name, inode)
        self._enter(to, new, inode)
