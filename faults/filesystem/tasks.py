"""From requests to work: what each request of the kernel means, whom it concerns, and what is done to answer it.

Nothing is done here yet when a task is made: rules look at it first.
"""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from faults.filesystem import wire
from faults.filesystem.store import Store
from faults.filesystem.tree import Inode
from faults.filesystem.wire import Opcode, Request, Valid

Work = Callable[[], bytes]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One request, understood. ``path`` is below the root; ``work`` returns the body of the reply."""

    operation: str
    path: str
    work: Work
    grows: bool = False
    """Whether it needs room on the disk."""
    inode: Inode | None = None
    part: Callable[[int], bytes] | None = None
    """Of a write: does the first so many bytes of it."""
    offset: int = 0
    length: int = 0


class Tasks:
    """Understands requests."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tree = store.tree
        self._listings: dict[int, list[tuple[str, int, int]]] = {}
        self._handle = 0

    def understand(self, request: Request) -> Task | None:
        """The task of a request, or None if we don't know such requests.

        Raises:
            OSError: it can't be done: what it is about does not exist.
        """
        method = _METHODS.get(request.opcode)
        return None if method is None else method(self, request, self._tree.inode(request.node))

    # ---- names and attributes

    def _lookup(self, request: Request, folder: Inode) -> Task:
        (name,) = wire.names(request.body)
        return self._task("stat", self._in(folder, name), lambda: self._entry(self._tree.find(folder, name)))

    def _getattr(self, request: Request, inode: Inode) -> Task:
        del request
        return self._task("stat", self._tree.name_of(inode), lambda: self._attributes(inode))

    def _setattr(self, request: Request, inode: Inode) -> Task:
        valid, _, _, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _ = (
            wire.SETATTR_IN.unpack_from(request.body)
        )

        def work() -> bytes:
            if valid & Valid.SIZE:
                self._store.truncate(inode, size)
            if valid & Valid.MODE:
                self._tree.change_mode(inode, mode)
            if valid & (Valid.UID | Valid.GID):
                self._tree.change_owner(inode, uid if valid & Valid.UID else -1, gid if valid & Valid.GID else -1)
            if valid & (Valid.ATIME | Valid.MTIME):
                self._set_times(inode, valid, atime * 10**9 + atime_ns, mtime * 10**9 + mtime_ns)
            return self._attributes(inode)

        operation = "truncate" if valid & Valid.SIZE else "attributes"
        return self._task(operation, self._tree.name_of(inode), work, inode=inode)

    def _set_times(self, inode: Inode, valid: int, atime_ns: int, mtime_ns: int) -> None:
        now, before = time.time_ns(), self._store.stat(inode)
        wanted_atime = now if valid & Valid.ATIME_NOW else atime_ns
        wanted_mtime = now if valid & Valid.MTIME_NOW else mtime_ns
        self._store.change_times(
            inode,
            wanted_atime if valid & Valid.ATIME else before.st_atime_ns,
            wanted_mtime if valid & Valid.MTIME else before.st_mtime_ns,
        )

    def _read_link(self, request: Request, inode: Inode) -> Task:
        del request
        return self._task("read", self._tree.name_of(inode), lambda: self._store.read_link(inode).encode())

    def _make_link(self, request: Request, folder: Inode) -> Task:
        name, target = wire.names(request.body)
        return self._making(
            "link", request, folder, name, lambda: self._tree.make_link(folder, name, target, _owner(request))
        )

    def _make_node(self, request: Request, folder: Inode) -> Task:
        mode, *_ = wire.MKNOD_IN.unpack_from(request.body)
        (name,) = wire.names(request.body, wire.MKNOD_IN.size)
        return self._making(
            "create", request, folder, name, lambda: self._tree.make_node(folder, name, mode, _owner(request))
        )

    def _make_folder(self, request: Request, folder: Inode) -> Task:
        mode, _ = wire.MKDIR_IN.unpack_from(request.body)
        (name,) = wire.names(request.body, wire.MKDIR_IN.size)
        return self._making(
            "mkdir", request, folder, name, lambda: self._tree.make_folder(folder, name, mode, _owner(request))
        )

    def _link(self, request: Request, folder: Inode) -> Task:
        (number,) = wire.FH.unpack_from(request.body)
        (name,) = wire.names(request.body, wire.FH.size)
        inode = self._tree.inode(number)

        def make() -> Inode:
            self._tree.link(inode, folder, name)
            return inode

        return self._making("link", request, folder, name, make)

    def _unlink(self, request: Request, folder: Inode) -> Task:
        return self._removing("unlink", request, folder)

    def _remove_folder(self, request: Request, folder: Inode) -> Task:
        return self._removing("rmdir", request, folder)

    def _rename(self, request: Request, folder: Inode) -> Task:
        (to,) = wire.RENAME_IN.unpack_from(request.body)
        return self._renaming(folder, to, wire.names(request.body, wire.RENAME_IN.size), 0)

    def _rename_2(self, request: Request, folder: Inode) -> Task:
        to, flags, _ = wire.RENAME2_IN.unpack_from(request.body)
        return self._renaming(folder, to, wire.names(request.body, wire.RENAME2_IN.size), flags)

    def _renaming(self, folder: Inode, to_number: int, both: list[str], flags: int) -> Task:
        to, (name, new) = self._tree.inode(to_number), both

        def work() -> bytes:
            self._tree.rename(folder, name, to, new, flags)
            return b""

        return self._task("rename", self._in(to, new), work)

    # ---- content

    def _open(self, request: Request, inode: Inode) -> Task:
        del request

        def work() -> bytes:
            self._store.open(inode)
            return wire.open_reply(inode.number)

        return self._task("open", self._tree.name_of(inode), work)

    def _create(self, request: Request, folder: Inode) -> Task:
        _, mode, _, _ = wire.CREATE_IN.unpack_from(request.body)
        (name,) = wire.names(request.body, wire.CREATE_IN.size)

        def work() -> bytes:
            inode = self._tree.make_node(folder, name, mode, _owner(request))
            self._store.open(inode)
            return self._entry(inode) + wire.open_reply(inode.number)

        return self._task("create", self._in(folder, name), work, grows=True)

    def _read(self, request: Request, inode: Inode) -> Task:
        _, offset, size, *_ = wire.READ_IN.unpack_from(request.body)
        return self._task("read", self._tree.name_of(inode), lambda: self._store.read(inode, size, offset))

    def _write(self, request: Request, inode: Inode) -> Task:
        _, offset, size, *_ = wire.WRITE_IN.unpack_from(request.body)
        data = request.body[wire.WRITE_IN.size : wire.WRITE_IN.size + size]

        def part(length: int) -> bytes:
            return wire.WRITE_OUT.pack(self._store.write(inode, data[:length], offset), 0)

        return Task(
            operation="write",
            path=self._tree.name_of(inode),
            work=lambda: part(size),
            grows=offset + size > self._store.stat(inode).st_size,
            inode=inode,
            part=part,
            offset=offset,
            length=size,
        )

    def _allocate(self, request: Request, inode: Inode) -> Task:
        _, offset, length, mode, _ = wire.FALLOCATE_IN.unpack_from(request.body)

        def work() -> bytes:
            self._store.allocate(inode, mode, offset, length)
            return b""

        return self._task("allocate", self._tree.name_of(inode), work, grows=True, inode=inode)

    def _seek(self, request: Request, inode: Inode) -> Task:
        _, offset, whence, _ = wire.LSEEK_IN.unpack_from(request.body)
        return self._task(
            "read", self._tree.name_of(inode), lambda: wire.LSEEK_OUT.pack(self._store.seek(inode, offset, whence))
        )

    def _sync(self, request: Request, inode: Inode) -> Task:
        _, flags, _ = wire.FSYNC_IN.unpack_from(request.body)

        def work() -> bytes:
            self._store.sync(inode, data_only=bool(flags & wire.DATASYNC))
            return b""

        return self._task("fsync", self._tree.name_of(inode), work, inode=inode)

    def _release(self, request: Request, inode: Inode) -> Task:
        del request

        def work() -> bytes:
            self._store.release(inode)
            return b""

        return self._task("release", "", work)

    def _room(self, request: Request, inode: Inode) -> Task:
        del request

        def work() -> bytes:
            room = self._store.room()
            counts = (room.f_blocks, room.f_bfree, room.f_bavail, room.f_files, room.f_ffree)
            return wire.STATFS_OUT.pack(*counts, room.f_bsize, room.f_namemax, room.f_frsize, 0)

        return self._task("stat", self._tree.name_of(inode), work)

    # ---- listing

    def _open_folder(self, request: Request, folder: Inode) -> Task:
        """A listing is what stood there when it was opened."""
        del request

        def work() -> bytes:
            self._handle += 1
            above = folder.names[0][0] if folder.names else folder
            listed = [(".", folder.number, stat.S_IFDIR), ("..", above.number, stat.S_IFDIR)]
            listed += [(name, inode.number, self._kind(inode)) for name, inode in self._tree.entries(folder).items()]
            self._listings[self._handle] = listed
            return wire.open_reply(self._handle)

        return self._task("list", self._tree.name_of(folder), work)

    def _kind(self, inode: Inode) -> int:
        return stat.S_IFDIR if inode.is_folder else stat.S_IFMT(self._store.stat(inode).st_mode)

    def _list(self, request: Request, folder: Inode) -> Task:
        handle, offset, size, *_ = wire.READ_IN.unpack_from(request.body)

        def work() -> bytes:
            found = bytearray()
            for place, (name, number, kind) in enumerate(islice(self._listings[handle], offset, None), offset + 1):
                entry = wire.directory_entry(number, place, name, kind >> 12)
                if len(found) + len(entry) > size:
                    break
                found += entry
            return bytes(found)

        return self._task("list", self._tree.name_of(folder), work)

    def _release_folder(self, request: Request, folder: Inode) -> Task:
        del folder
        (handle,) = wire.FH.unpack_from(request.body)

        def work() -> bytes:
            self._listings.pop(handle, None)
            return b""

        return self._task("release", "", work)

    # ---- how

    def _task(self, operation: str, path: str, work: Work, *, grows: bool = False, inode: Inode | None = None) -> Task:
        return Task(operation=operation, path=path, work=work, grows=grows, inode=inode)

    def _making(self, operation: str, request: Request, folder: Inode, name: str, make: Callable[[], Inode]) -> Task:
        del request
        return self._task(operation, self._in(folder, name), lambda: self._entry(make()), grows=True)

    def _removing(self, operation: str, request: Request, folder: Inode) -> Task:
        (name,) = wire.names(request.body)

        def work() -> bytes:
            self._tree.remove(folder, name)
            return b""

        return self._task(operation, self._in(folder, name), work)

    def _in(self, folder: Inode, name: str) -> str:
        above = self._tree.name_of(folder)
        return f"{above}/{name}" if above else name

    def _entry(self, inode: Inode) -> bytes:
        """Every entry that the kernel is given, it will forget one day."""
        reply = wire.entry_reply(inode.number, self._store.stat(inode))
        inode.lookups += 1
        return reply

    def _attributes(self, inode: Inode) -> bytes:
        return wire.attribute_reply(inode.number, self._store.stat(inode))


def _owner(request: Request) -> tuple[int, int]:
    return request.uid, request.gid


_METHODS: Mapping[int, Callable[[Tasks, Request, Inode], Task]] = {
    Opcode.LOOKUP: Tasks._lookup,
    Opcode.GETATTR: Tasks._getattr,
    Opcode.SETATTR: Tasks._setattr,
    Opcode.READLINK: Tasks._read_link,
    Opcode.SYMLINK: Tasks._make_link,
    Opcode.MKNOD: Tasks._make_node,
    Opcode.MKDIR: Tasks._make_folder,
    Opcode.UNLINK: Tasks._unlink,
    Opcode.RMDIR: Tasks._remove_folder,
    Opcode.RENAME: Tasks._rename,
    Opcode.RENAME2: Tasks._rename_2,
    Opcode.LINK: Tasks._link,
    Opcode.OPEN: Tasks._open,
    Opcode.CREATE: Tasks._create,
    Opcode.READ: Tasks._read,
    Opcode.WRITE: Tasks._write,
    Opcode.STATFS: Tasks._room,
    Opcode.RELEASE: Tasks._release,
    Opcode.FSYNC: Tasks._sync,
    Opcode.FSYNCDIR: Tasks._sync,
    Opcode.OPENDIR: Tasks._open_folder,
    Opcode.READDIR: Tasks._list,
    Opcode.RELEASEDIR: Tasks._release_folder,
    Opcode.FALLOCATE: Tasks._allocate,
    Opcode.LSEEK: Tasks._seek,
}
