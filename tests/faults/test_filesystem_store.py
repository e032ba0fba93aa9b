"""What is on the disk and what is not: the store, without a mount."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faults.filesystem.store import Store
from faults.filesystem.tree import Inode
from faults.filesystem.unsynced import PAGE, SECTOR, torn

OWNER = (os.geteuid(), os.getegid())
NAMES = ("a", "b", "c")


@contextmanager
def stored() -> Iterator[tuple[Store, Path]]:
    """A store on an empty folder, and that folder."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "store"
        yield Store(str(folder), str(Path(scratch) / "trash")), folder


def create(store: Store, name: str) -> Inode:
    return store.tree.make_node(store.tree.root, name, 0o644, OWNER)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@dataclass
class Twin:
    """The same, too simple to be wrong: whole copies of everything. Files are told apart by a number."""

    names: dict[str, int] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)
    names_synced: dict[str, int] = field(default_factory=dict)
    data_synced: dict[int, bytes] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)
    written: set[int] = field(default_factory=set)

    def sync(self, file: int, *, data_only: bool) -> None:
        grown = len(self.data[file]) != len(self.data_synced[file])
        commits = file in self.touched or (file in self.written and (not data_only or grown))
        self.data_synced[file] = self.data[file]
        self.written.discard(file)
        if commits:
            self.commit()

    def commit(self) -> None:
        self.names_synced = dict(self.names)
        self.touched.clear()

    def lose(self) -> None:
        self.names, self.data = dict(self.names_synced), dict(self.data_synced)
        self.touched.clear()
        self.written.clear()

    def seen(self) -> dict[str, bytes]:
        return {name: self.data[file] for name, file in self.names.items()}


names = st.sampled_from(NAMES)
places = st.integers(0, 3 * PAGE)
operations = st.one_of(
    st.tuples(st.just("create"), names),
    st.tuples(st.just("write"), names, places, st.integers(1, PAGE + 100), st.integers(1, 255)),
    st.tuples(st.just("truncate"), names, places),
    st.tuples(st.just("sync"), names, st.booleans()),
    st.tuples(st.just("sync folder")),
    st.tuples(st.just("remove"), names),
    st.tuples(st.just("rename"), names, names),
    st.tuples(st.just("lose")),
)


class Both:
    """The store and its twin, side by side."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.twin = Twin()

    def do(self, operation: tuple[object, ...]) -> None:
        """On both, if it can be done."""
        what, *arguments = operation
        if what == "lose":
            self.store.lose_unsynced()
            self.twin.lose()
        elif what == "sync folder":
            self.store.sync(self.store.tree.root, data_only=False)
            self.twin.commit()
        else:
            name = str(arguments[0])
            if (what == "create") == (name not in self.twin.names):
                getattr(self, f"_{what}")(name, *arguments[1:])

    def _create(self, name: str) -> None:
        number = create(self.store, name).number
        self.twin.names[name] = number
        self.twin.data[number] = self.twin.data_synced[number] = b""
        self.twin.touched.add(number)

    def _write(self, name: str, offset: int, length: int, byte: int) -> None:
        inode, data = self._found(name), bytes([byte]) * length
        assert self.store.write(inode, data, offset) == length
        before = self.twin.data[inode.number].ljust(offset, b"\0")
        self.twin.data[inode.number] = before[:offset] + data + before[offset + length :]
        self.twin.written.add(inode.number)

    def _truncate(self, name: str, size: int) -> None:
        inode = self._found(name)
        self.store.truncate(inode, size)
        self.twin.data[inode.number] = self.twin.data[inode.number][:size].ljust(size, b"\0")
        self.twin.written.add(inode.number)

    def _sync(self, name: str, data_only: bool) -> None:
        inode = self._found(name)
        self.store.sync(inode, data_only=data_only)
        self.twin.sync(inode.number, data_only=data_only)

    def _remove(self, name: str) -> None:
        self.store.tree.remove(self.store.tree.root, name)
        self.twin.touched.add(self.twin.names.pop(name))

    def _rename(self, name: str, new: str) -> None:
        self.store.tree.rename(self.store.tree.root, name, self.store.tree.root, new)
        if name != new:
            self.twin.names[new] = self.twin.names.pop(name)
            self.twin.touched.add(self.twin.names[new])

    def _found(self, name: str) -> Inode:
        inode = self.store.tree.find(self.store.tree.root, name)
        assert inode.number == self.twin.names[name]
        return inode


@settings(max_examples=60)
@given(st.lists(operations, max_size=30))
def test_the_store_does_what_its_twin_does(steps: list[tuple[object, ...]]) -> None:
    """What is seen after every step, and what is left when the power fails, is what whole copies say."""
    with stored() as (store, folder):
        both = Both(store)
        for step in steps:
            both.do(step)
            assert contents(folder) == both.twin.seen()
        both.do(("lose",))
        assert contents(folder) == both.twin.seen()
        assert not list((folder.parent / "trash").iterdir())


def test_what_a_failed_sync_should_have_written_is_lost_though_the_next_succeeds() -> None:
    """Until it is written again: the pages were marked clean ("fsyncgate")."""
    with stored() as (store, folder):
        file = create(store, "a")
        store.write(file, b"old" * 2000, 0)
        store.sync(file, data_only=False)
        store.write(file, b"new", 0)
        store.write(file, b"tail", 6000)
        store.fail_sync(file)
        store.sync(file, data_only=False)
        assert (folder / "a").read_bytes()[:3] == b"new"
        store.lose_unsynced()
        assert (folder / "a").read_bytes() == b"old" * 2000 + bytes(4)
        store.write(file, b"new", 0)
        store.fail_sync(file)
        store.write(file, b"again", 0)
        store.sync(file, data_only=False)
        store.lose_unsynced()
        assert (folder / "a").read_bytes()[:5] == b"again"


def test_holes_are_punched_and_come_back() -> None:
    """Preallocated space, too, as write-ahead logs have it."""
    with stored() as (store, folder):
        file = create(store, "a")
        store.allocate(file, 0, 0, 1 << 20)
        store.write(file, b"x" * 10000, 0)
        store.sync(file, data_only=False)
        store.allocate(file, 3, 0, 8192)
        store.truncate(file, 100)
        assert (folder / "a").read_bytes() == bytes(100)
        store.lose_unsynced()
        assert (folder / "a").read_bytes() == b"x" * 10000 + bytes((1 << 20) - 10000)


def test_folders_links_and_modes_come_back_in_reverse() -> None:
    """A tree that was taken apart stands again."""
    with stored() as (store, folder):
        root = store.tree.root
        wal = store.tree.make_folder(root, "wal", 0o755, OWNER)
        file = store.tree.make_node(wal, "1", 0o600, OWNER)
        store.write(file, b"content", 0)
        store.sync(file, data_only=False)
        store.tree.link(file, wal, "2")
        store.tree.remove(wal, "1")
        store.tree.change_mode(file, 0o444)
        store.tree.remove(wal, "2")
        store.tree.remove(root, "wal")
        store.tree.make_link(root, "wal", "elsewhere", OWNER)
        assert os.readlink(folder / "wal") == "elsewhere"
        store.lose_unsynced()
        assert contents(folder / "wal") == {"1": b"content"}
        assert (folder / "wal" / "1").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("deed", "number"),
    [
        (lambda store: create(store, "a"), errno.EEXIST),
        (lambda store: store.tree.find(store.tree.root, "z"), errno.ENOENT),
        (lambda store: store.tree.remove(store.tree.root, "full"), errno.ENOTEMPTY),
        (lambda store: store.tree.rename(store.tree.root, "a", store.tree.root, "full"), errno.EISDIR),
        (lambda store: store.tree.rename(store.tree.root, "full", store.tree.root, "a"), errno.ENOTDIR),
        (lambda store: store.tree.rename(store.tree.root, "a", store.tree.root, "b", 2), errno.EINVAL),
        (lambda store: store.tree.rename(store.tree.root, "full", store.tree.root, "full2", 0), errno.ENOTEMPTY),
        (lambda store: store.tree.make_node(store.tree.root, "n", 0o060600, OWNER), errno.EPERM),
        (lambda store: store.tree.inode(999), errno.ESTALE),
        (lambda store: store.allocate(store.tree.find(store.tree.root, "a"), 8, 0, 1), errno.EOPNOTSUPP),
    ],
)
def test_callers_get_the_errors_that_a_kernel_gives(deed: object, number: int) -> None:
    """By number."""
    with stored() as (store, _):
        create(store, "a")
        for name in ("full", "full2"):
            store.tree.make_node(store.tree.make_folder(store.tree.root, name, 0o755, OWNER), "x", 0o600, OWNER)
        with pytest.raises(OSError, match=r"Errno") as caught:
            deed(store)  # type: ignore[operator]
        assert caught.value.errno == number


def test_a_torn_write_ends_at_a_boundary_of_sectors() -> None:
    """Of those within it; one that crosses none is lost as a whole."""
    assert torn(10, 100, 0.5) == 0
    assert torn(0, SECTOR, 0.9) == 0
    assert torn(500, 13, 0.5) == 12
    assert {torn(100, 2000, share) for share in (0.0, 0.3, 0.6, 0.99)} == {412, 924, 1436, 1948}
