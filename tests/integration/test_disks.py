"""A disk of a node's own, which loses what was not synced."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from faults.fakes.cluster import FakeUndoList
from faults.needs import DiskState, Loss
from harness.cleanup import undoing
from harness.errors import HarnessError
from harness.host import mounts
from harness.host.mounts import IMAGE_NAME
from harness.substrates.disks import ImageDisk
from harness.substrates.storage import Storage

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="loop devices need root"),
    pytest.mark.skipif(not os.path.exists("/dev/loop-control"), reason="no loop devices here"),
]


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[ImageDisk]:
    made = ImageDisk(image=tmp_path / IMAGE_NAME, mount=tmp_path / "disk", undo_list=FakeUndoList())
    await made.make()
    try:
        yield made
    finally:
        await made.remove()
        assert not os.path.ismount(made.mount)
        assert not made.image.exists()


def write(path: Path, text: str, *, sync: bool) -> None:
    with path.open("a") as file:
        file.write(text)
        file.flush()
        if sync:
            os.fsync(file.fileno())


async def test_what_was_synced_is_kept_and_the_rest_is_lost(disk: ImageDisk) -> None:
    """In one file and between files; and again after the disk came back."""
    for _ in range(2):
        write(disk.data / "log", "synced;", sync=True)
        folder = os.open(disk.data, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        write(disk.data / "log", "not synced;", sync=False)
        write(disk.data / "new", "not synced", sync=False)
        assert await disk.lose_unsynced() == Loss(synced_kept=True, unsynced_lost=True)
        assert not (disk.data / "new").exists()
        assert "not" not in (disk.data / "log").read_text()
    assert (disk.data / "log").read_text() == "synced;synced;"


async def test_a_disk_that_keeps_nothing_is_seen(tmp_path: Path) -> None:
    """The proof can fail: a mark that was not made durable is not there."""
    undo = FakeUndoList()
    made = ImageDisk(image=tmp_path / IMAGE_NAME, mount=tmp_path / "disk", undo_list=undo, sync=lambda _: None)
    await made.make()
    try:
        assert (await made.lose_unsynced()).synced_kept is False
    finally:
        await made.remove()
    assert undo.entries == {}


async def test_a_full_disk_refuses_what_needs_room(disk: ImageDisk) -> None:
    """Root too finds no block; what is freed can be used again. The power may fail meanwhile."""
    await disk.fill()
    await disk.fill()
    assert await disk.state() is DiskState.FULL
    with pytest.raises(OSError, match="No space left"):
        write(disk.data / "log", "x" * 5000, sync=True)
    assert await disk.lose_unsynced() == Loss(synced_kept=True, unsynced_lost=True)
    await disk.fill()
    await disk.free()
    await disk.free()
    assert await disk.state() is DiskState.WORKS
    write(disk.data / "log", "x" * 5000, sync=True)


@pytest.mark.parametrize(
    ("deed", "state", "words"),
    [
        (ImageDisk.die, DiskState.DEAD, "Input/output error"),
        (ImageDisk.make_read_only, DiskState.READ_ONLY, "Read-only file system"),
    ],
)
async def test_a_failed_disk_fails_files_that_are_open(
    disk: ImageDisk, deed: Callable[[ImageDisk], Awaitable[None]], state: DiskState, words: str
) -> None:
    """Done twice and mended twice, it has lost what was not synced, and works again."""
    write(disk.data / "log", "synced;", sync=True)
    with (disk.data / "log").open("a") as file:
        file.write("not synced;")
        file.flush()
        await deed(disk)
        await deed(disk)
        assert await disk.state() is state
        with pytest.raises(OSError, match=words):
            os.write(file.fileno(), b"more")
        with pytest.raises(OSError, match=words):
            os.fsync(file.fileno())
    await disk.revive()
    await disk.revive()
    assert await disk.state() is DiskState.WORKS
    assert (disk.data / "log").read_text() == "synced;"


async def test_a_disk_in_use_is_not_unmounted(disk: ImageDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a file open is waited for, then named; once it is closed, everything works."""
    monkeypatch.setattr("harness.substrates.disks.POLLS_MAX", 2)
    with (disk.data / "log").open("w"), pytest.raises(HarnessError, match="is in use"):
        await disk.lose_unsynced()
    await disk.revive()
    assert await disk.state() is DiskState.WORKS


@pytest.fixture
def onlooker(disk: ImageDisk) -> Iterator[int]:
    """A process whose mount namespace is a private copy of ours."""
    assert disk.mount.exists()
    holder = subprocess.Popen(["unshare", "--mount", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    yield holder.pid
    holder.kill()
    holder.communicate()


async def test_a_copy_in_another_namespace_is_noticed(
    disk: ImageDisk, onlooker: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that a copied mount keeps alive would come back dead: it is refused, with the process."""
    monkeypatch.setattr("harness.substrates.disks.POLLS_MAX", 20)
    with pytest.raises(HarnessError, match=str(onlooker)):
        await disk.lose_unsynced()


def test_namespaces_of_other_runs_leave_disks_behind(disk: ImageDisk) -> None:
    """Who enters namespaces of its own does not keep disks alive that were mounted before."""
    script = "from harness.host import mounts, namespaces; namespaces.enter(); print(len(mounts.disks()))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "0\n"
    assert str(disk.mount) in {each.point for each in mounts.disks()}


async def test_undoing_removes_what_a_dead_controller_left(tmp_path: Path) -> None:
    """The list's entries, newest first and twice, leave neither mount nor loop device nor file."""
    undo = FakeUndoList()
    storage = Storage(name="n1", folder=tmp_path / "n1", wanted=frozenset({"image"}), undo=undo)
    storage.folder.mkdir()
    await storage.make()
    device = mounts.device_of(storage.data)
    image = mounts.backing_file(device)
    assert await storage.image.state() is DiskState.WORKS if storage.image else False
    entries = [{"id": e.id, "kind": e.kind, "arguments": e.arguments} for e in reversed(undo.entries.values())]
    for _ in range(2):
        assert [undoing.perform(entry, timeout_s=5) for entry in entries] == [None] * len(entries)
    assert mounts.backing_file(device) != image
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


async def test_data_is_kept_if_it_is_to_be_kept(tmp_path: Path) -> None:
    """What was on the image is in the folder ``data`` in the end, where it is without an image."""
    storage = Storage(name="n1", folder=tmp_path, wanted=frozenset({"image"}), undo=FakeUndoList(), keep_data=True)
    await storage.make()
    write(storage.data / "log", "kept", sync=False)
    await storage.remove()
    assert [(path.name, path.read_text()) for path in (tmp_path / "data").iterdir()] == [("log", "kept")]
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
